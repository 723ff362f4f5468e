//! Generates the lists of sample files under `data/files` and `data/scripts` that the library
//! embeds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let missing = |name: &str| io::Error::other(format!("{name} is not set by cargo"));
    let data = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?,
    )
    .join("data");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    println!("cargo::rerun-if-changed={}", data.display());
    for (list, dir) in [("files.rs", "files"), ("scripts.rs", "scripts")] {
        let root = data.join(dir);
        let mut files = Vec::new();
        walk(&root, &mut files)?;
        files.sort();
        let mut text = String::from("&[\n");
        for file in files {
            let name = file.strip_prefix(&root).map_err(io::Error::other)?;
            writeln!(text, "({name:?}, include_bytes!({file:?}) as &[u8]),")
                .map_err(io::Error::other)?;
        }
        text.push_str("]\n");
        fs::write(out.join(list), text)?;
    }
    Ok(())
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
