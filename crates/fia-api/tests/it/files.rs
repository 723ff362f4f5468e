//! Finding and downloading files: literal names, confinement to a folder, byte ranges.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use axum::body::Body;
use fia_api::files::{FileError, Files, Folder, Name};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use crate::harness::{Database, Replica, Response, config, request};
use crate::sample_files::SampleFiles;

/// Job 1's folder, readable by staff.
const FOLDER: &str = "MARI/RBNumber/RB1820497/autoreduced";
const SECRET: &[u8] = b"SECRET";

/// A replica with the sample files. The database must outlive it.
async fn replica(files: &SampleFiles) -> (Replica, Database) {
    let database = Database::seeded().await;
    (Replica::new(&[&database.vars(), &files.vars()]), database)
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

async fn download(replica: &Replica, name: &str, headers: &[(&str, &str)]) -> Response {
    let path = format!("/job/1/filename/{}", encoded(name));
    let mut request = request(Method::GET, &path, "staff", None);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    replica.send(request).await
}

async fn find(replica: &Replica, name: &str) -> Response {
    let name = encoded(name);
    let path = format!("/find_file/instrument/MARI/experiment_number/1820497?filename={name}");
    replica.get(&path, "staff").await
}

#[tokio::test]
async fn names_match_literally_and_in_subfolders() {
    let files = SampleFiles::new();
    let folder = files.reduced(FOLDER);
    let long = "x".repeat(255);
    for name in [r"a\b", "*", "[M]AR1.nxspe", "a b;c\r\nd", "\"q\"", &long] {
        fs::write(folder.join(name), name).unwrap();
    }
    fs::create_dir_all(folder.join("one/two")).unwrap();
    fs::write(folder.join("one/two/twice"), "deeper").unwrap();
    fs::write(folder.join("one/twice"), "nearer").unwrap();
    let (replica, _database) = replica(&files).await;
    for name in [r"a\b", "*", "[M]AR1.nxspe", "a b;c\r\nd", "\"q\"", &long] {
        let response = download(&replica, name, &[]).await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (StatusCode::OK, name)
        );
        let found = find(&replica, name).await.json();
        assert_eq!(found, format!("{FOLDER}/{name}"));
    }
    for (name, place) in [
        ("twice", "one/twice"),
        ("one/two/twice", "one/two/twice"),
        ("./one//twice", "one/twice"),
        ("two", "one/two"),
        ("one", "one"),
    ] {
        let found = find(&replica, name).await.json();
        assert_eq!(found, format!("{FOLDER}/{place}"), "{name}");
    }
    for name in ["", "."] {
        assert_eq!(find(&replica, name).await.json(), FOLDER);
    }
    for name in ["*.nxspe", "MAR?.nxspe", "two/twice", "nope"] {
        assert_eq!(
            find(&replica, name).await.status,
            StatusCode::NOT_FOUND,
            "{name}"
        );
    }
    let folder = download(&replica, "one", &[]).await;
    assert_eq!(folder.status, StatusCode::NOT_FOUND);
}

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
        let (result, content) = TREE.with(|tree| tree.ask(&name));
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

    fn ask(&self, name: &str) -> (Result<(), FileError>, Vec<u8>) {
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

#[tokio::test]
async fn a_folder_too_deep_to_search_is_503_not_404() {
    let files = SampleFiles::new();
    let mut deep = files.reduced(FOLDER);
    for _ in 0..40 {
        deep.push("d");
    }
    fs::create_dir_all(deep).unwrap();
    let (replica, _database) = replica(&files).await;
    let missing = find(&replica, "nope").await;
    assert_eq!(missing.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(find(&replica, "MAR1.nxspe").await.status, StatusCode::OK);
}

#[tokio::test]
async fn byte_ranges_are_served() {
    let files = SampleFiles::new();
    let content: Vec<u8> = (0..1000_u16).map(|i| i.to_le_bytes()[0]).collect();
    fs::write(files.reduced(FOLDER).join("r"), &content).unwrap();
    let (replica, _database) = replica(&files).await;
    let whole = download(&replica, "r", &[]).await;
    assert_eq!(whole.body, content);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let (tag, modified) = (whole.header("etag"), whole.header("last-modified"));
    assert_eq!((tag.len(), modified.len()), (34, 29));

    for (range, part, content_range) in [
        ("bytes=0-9", 0..10, "bytes 0-9/1000"),
        ("bytes=990-", 990..1000, "bytes 990-999/1000"),
        ("bytes=-1", 999..1000, "bytes 999-999/1000"),
    ] {
        let response = download(&replica, "r", &[("range", range)]).await;
        assert_eq!(response.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(response.header("content-range"), content_range);
        assert_eq!(response.body, content[part]);
    }
    for (mark, status) in [
        (tag, StatusCode::PARTIAL_CONTENT),
        (modified, StatusCode::PARTIAL_CONTENT),
        ("\"other\"", StatusCode::OK),
    ] {
        let headers = [("range", "bytes=0-0"), ("if-range", mark)];
        assert_eq!(download(&replica, "r", &headers).await.status, status);
    }
    let not_asked = [("if-none-match", tag), ("if-modified-since", modified)];
    assert_eq!(
        download(&replica, "r", &not_asked).await.status,
        StatusCode::OK
    );

    let beyond = download(&replica, "r", &[("range", "bytes=1000-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */1000");
    let malformed = download(&replica, "r", &[("range", "bytes=x")]).await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    assert_eq!(malformed.text(), "Malformed range header.");
}

#[tokio::test]
async fn several_ranges_are_a_multipart_body_of_the_declared_length() {
    let files = SampleFiles::new();
    fs::write(files.reduced(FOLDER).join("r"), "0123456789").unwrap();
    let (replica, _database) = replica(&files).await;
    let response = download(&replica, "r", &[("range", "bytes=8-,0-1")]).await;
    assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
    let kind = response.header("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range, text| {
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {range}/10\r\n\r\n{text}\r\n"
        )
    };
    let expected = part("0-1", "01") + &part("8-9", "89") + &format!("--{boundary}--\r\n");
    assert_eq!(response.text(), expected);
    assert_eq!(
        response.header("content-length"),
        expected.len().to_string()
    );
}

#[tokio::test]
async fn head_is_served_for_downloads_only() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files).await;
    let head = |path: &str| request(Method::HEAD, path, "staff", None);
    let whole = replica.get("/job/1/filename/MAR1.nxspe", "staff").await;
    let mut request = head("/api/job/1/filename/MAR1.nxspe");
    request
        .headers_mut()
        .insert("range", "bytes=0-0".parse().unwrap());
    let response = replica.send(request).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.body.is_empty());
    let described = |headers: &HeaderMap| {
        [
            "content-length",
            "etag",
            "last-modified",
            "content-disposition",
        ]
        .map(|name| headers.get(name).cloned().unwrap())
    };
    assert_eq!(described(&response.headers), described(&whole.headers));
    let missing = replica.send(head("/job/1/filename/nope")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    for path in [
        "/job/1",
        "/extras/",
        "/job/1/filename/",
        "/job/1/filename/a/b",
    ] {
        let status = replica.send(head(path)).await.status;
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn a_missing_data_root_is_503() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files).await;
    fs::remove_dir_all(files.reduced("")).unwrap();
    let response = find(&replica, "MAR1.nxspe").await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.text().contains("ceph"), "{}", response.text());
}

#[tokio::test]
async fn downloads_require_a_token() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files).await;
    let request = Request::builder().uri("/job/1/filename/MAR1.nxspe");
    let response = replica.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
}
