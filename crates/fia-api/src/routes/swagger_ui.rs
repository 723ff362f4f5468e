//! The files of Swagger UI: unpacked from the archive in this binary, each when it is first requested.

use std::borrow::Cow;
use std::io::{Cursor, Read as _};
use std::sync::OnceLock;

use axum::body::Bytes;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The folder of the files within the archive's only one.
const FOLDER: &str = "dist/";

/// A file that the page needs.
struct File {
    name: &'static str,
    media_type: &'static str,
    content: OnceLock<Option<Bytes>>,
}

impl File {
    const fn new(name: &'static str, media_type: &'static str) -> Self {
        Self {
            name,
            media_type,
            content: OnceLock::new(),
        }
    }
}

static FILES: [File; 6] = [
    File::new("swagger-ui.css", "text/css"),
    File::new("swagger-ui-bundle.js", "text/javascript"),
    File::new("favicon-16x16.png", "image/png"),
    File::new("favicon-32x32.png", "image/png"),
    File::new("oauth2-redirect.html", "text/html"),
    File::new("oauth2-redirect.js", "text/javascript"),
];

/// The media type and the content of a file, if the page has one of this name.
pub(super) fn file(name: &str) -> Option<(&'static str, Bytes)> {
    let file = FILES.iter().find(|file| file.name == name)?;
    let content = file.content.get_or_init(|| unpack(file.name));
    Some((file.media_type, content.clone()?))
}

/// `None` if the archive has no such file, which a test would show.
fn unpack(name: &str) -> Option<Bytes> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).ok()?;
    let is_it = |path: &Cow<'_, str>| {
        let (_, within) = path.split_once('/').unwrap_or_default();
        within.strip_prefix(FOLDER) == Some(name)
    };
    let path = archive.file_names().flatten().find(is_it)?.into_owned();
    let mut content = Vec::new();
    let mut file = archive.by_name(&path).ok()?;
    file.read_to_end(&mut content).ok()?;
    Some(content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_every_file() {
        for File { name, .. } in &FILES {
            let (_, content) = file(name).unwrap();
            assert!(!content.is_empty(), "{name}");
        }
        assert!(file("index.html").is_none());
    }
}
