//! Links, traversal and special files never leave the folder.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use axum::body::Body;
use fia_api::files::{FileError, Files, Folder, Name};
use http::StatusCode;
use http_body_util::BodyExt as _;
use proptest::prelude::*;

use crate::files::{FOLDER, download, find, replica};
use crate::harness::config;
use crate::sample_files::SampleFiles;

const SECRET: &[u8] = b"SECRET";

/// Adds links out of job 1's folder. Files outside contain `SECRET`.
fn hostile_tree(files: &SampleFiles) {
    let folder = files.reduced(FOLDER);
    let outside = files.reduced("MARI/RBNumber/RB999/autoreduced");
    fs::create_dir_all(&outside).unwrap();
    for place in [outside.join("secret"), files.reduced("secret.txt")] {
        fs::write(place, SECRET).unwrap();
    }
    fs::create_dir(folder.join("inner")).unwrap();
    fs::write(folder.join("inner/fine"), "fine").unwrap();
    for (link, target) in [
        ("absolute", outside.join("secret")),
        ("relative", "../../RB999/autoreduced/secret".into()),
        ("folder", outside.clone()),
        ("up", "..".into()),
        ("root", "/".into()),
        ("nowhere", "/no/such/file".into()),
        ("loop", "loop".into()),
        ("inner/out", "../../../RB999/autoreduced/secret".into()),
        ("inner/in", "fine".into()),
        ("proc", "/proc/self/root/etc/passwd".into()),
    ] {
        symlink(target, folder.join(link)).unwrap();
    }
    fs::write(folder.join(OsStr::from_bytes(b"\xff\xfe")), "x").unwrap();
    fs::create_dir(folder.join("closed")).unwrap();
    fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    drop(UnixListener::bind(folder.join("s")).unwrap());
    let pipe = std::process::Command::new("mkfifo")
        .arg(folder.join("pipe"))
        .status();
    assert!(pipe.unwrap().success());
}

#[tokio::test]
async fn symlinks_do_not_escape_the_folder() {
    let files = SampleFiles::new();
    hostile_tree(&files);
    let (replica, _database) = replica(&files).await;
    for name in [
        "absolute",
        "relative",
        "nowhere",
        "loop",
        "out",
        "proc",
        "secret",
        "s",
        "pipe",
        "\u{fffd}\u{fffd}",
        "folder",
        "up",
        "root",
    ] {
        let response = download(&replica, name, &[]).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{name}");
        assert_eq!(response.text(), r#"{"message":"Resource not found"}"#);
    }
    for name in [
        "folder/secret",
        "folder/nope",
        "up/RB1820497/autoreduced/MAR1.nxspe",
        "root/etc/passwd",
        "root/nope",
        "../../../../secret.txt",
        "/etc/passwd",
        "pipe",
    ] {
        let response = find(&replica, name).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{name}");
    }
    let inner = download(&replica, "in", &[]).await;
    assert_eq!(inner.text(), "fine");
}

#[tokio::test]
async fn an_experiment_folder_may_not_be_a_symlink() {
    let files = SampleFiles::new();
    let outside = files.reduced("MARI/RBNumber/RB999/autoreduced");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("MAR1.nxspe"), SECRET).unwrap();
    let folder = files.reduced(FOLDER);
    fs::remove_dir_all(&folder).unwrap();
    symlink("../RB999/autoreduced", &folder).unwrap();
    let (replica, _database) = replica(&files).await;
    let response = download(&replica, "MAR1.nxspe", &[]).await;
    assert_eq!(response.status, StatusCode::FORBIDDEN);
}

/// The contents of the readable files in the folder.
fn contents_inside() -> BTreeSet<Vec<u8>> {
    [&b"fine"[..], b"x"].map(<[u8]>::to_vec).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// For any name, the content is one of the folder's files.
    #[test]
    fn no_name_reaches_content_outside_the_folder(
        parts in prop::collection::vec(
            prop_oneof![
                Just("..".to_owned()), Just(".".to_owned()), Just(String::new()),
                Just("up".to_owned()), Just("root".to_owned()), Just("folder".to_owned()),
                Just("inner".to_owned()), Just("secret".to_owned()), Just("out".to_owned()),
                Just("in".to_owned()), Just("absolute".to_owned()), Just("RB999".to_owned()),
                Just("autoreduced".to_owned()), Just("secret.txt".to_owned()),
                Just("proc".to_owned()), "[a-z*?\\[\\]\\\\\u{0}\r\n]{0,6}",
            ],
            1..6,
        )
    ) {
        let name = parts.join("/");
        let (result, content) = TREE.with(|tree| tree.open(&name));
        match result {
            Ok(()) => prop_assert!(contents_inside().contains(&content), "{name:?}: {content:?}"),
            Err(error) => prop_assert!(matches!(error, FileError::Missing), "{name:?}: {error}"),
        }
    }
}

thread_local! {
    static TREE: Tree = Tree::new();
}

struct Tree {
    runtime: tokio::runtime::Runtime,
    files: Files,
    _sample: SampleFiles,
}

impl Tree {
    fn new() -> Self {
        let sample = SampleFiles::new();
        let folder = sample.reduced(FOLDER);
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(&folder).unwrap();
        hostile_tree(&sample);
        Self {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            files: Files::new(&config(&[&sample.vars()]).files),
            _sample: sample,
        }
    }

    fn open(&self, name: &str) -> (Result<(), FileError>, Vec<u8>) {
        let Some(name) = Name::new(name) else {
            return (Err(FileError::Missing), Vec::new());
        };
        let folder = Folder::Instrument {
            instrument: fia_api::model::InstrumentName::new("MARI").unwrap(),
            experiment: 1_820_497,
        };
        self.runtime.block_on(async {
            match self.files.open(folder, name).await {
                Err(error) => (Err(error), Vec::new()),
                Ok(file) => {
                    let all = vec![fia_api::files::Piece::Part(0..file.size())];
                    let body = Body::from_stream(file.read(all));
                    (Ok(()), body.collect().await.unwrap().to_bytes().to_vec())
                }
            }
        })
    }
}
