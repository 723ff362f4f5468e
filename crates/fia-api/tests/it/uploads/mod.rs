//! Extras: listing and upload.

mod forms;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, StatusCode, header};
use tokio::sync::mpsc;

use crate::harness::{Replica, Response, Vars, eventually, request, vars};
use crate::sample_files::{SampleFiles, form};

/// A replica without a database: extras need none.
fn replica(files: &SampleFiles, settings: &Vars) -> Replica {
    Replica::new(&[&files.vars(), settings])
}

fn upload_request(path: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(Method::POST, path, "staff", None);
    let kind = kind.parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    *request.body_mut() = body.into();
    request
}

async fn upload(replica: &Replica, path: &str, content: &str) -> Response {
    let (kind, body) = form("file", content);
    replica.send(upload_request(path, kind, body)).await
}

fn names(files: &SampleFiles, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(files.extras(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn uploads_replace_files_atomically_and_keep_the_mode() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    let mask = files.extras("mari/mask.xml");
    fs::set_permissions(&mask, fs::Permissions::from_mode(0o664)).unwrap();
    let large = "0123456789".repeat(100_000);
    for (path, content) in [
        ("/extras/mari/mask.xml", "new"),
        ("/extras/mari/large.txt", large.as_str()),
        ("/extras/test/keep", ""),
        ("/extras/mari/a%20b.txt", "x"),
    ] {
        let response = upload(&replica, path, content).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        let name = path.rsplit('/').next().unwrap().replace("%20", " ");
        assert_eq!(response.json(), format!("Successfully uploaded {name}"));
    }
    assert_eq!(fs::read_to_string(&mask).unwrap(), "new");
    let mode = fs::metadata(&mask).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o664);
    assert_eq!(
        fs::read_to_string(files.extras("mari/large.txt")).unwrap(),
        large
    );
    assert_eq!(names(&files, "mari"), ["a b.txt", "large.txt", "mask.xml"]);
}

/// The tests run as root, so that they may give a file away, or as the owner of all files.
#[tokio::test]
async fn uploads_keep_owner_and_group_where_allowed() {
    let files = SampleFiles::new();
    let mask = files.extras("mari/mask.xml");
    let may_give_away = chown(&mask, Some(1234), Some(4321)).is_ok();
    fs::set_permissions(&mask, fs::Permissions::from_mode(0o2750)).unwrap();
    let before = fs::metadata(&mask).unwrap();
    let replica = replica(&files, &Vars::new());
    let response = upload(&replica, "/extras/mari/mask.xml", "new").await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let after = fs::metadata(&mask).unwrap();
    assert_ne!(before.ino(), after.ino(), "replaced, not overwritten");
    let kept = |metadata: &fs::Metadata| (metadata.uid(), metadata.gid(), metadata.mode());
    assert_eq!(kept(&after), kept(&before));
    if may_give_away {
        assert_eq!((after.uid(), after.gid()), (1234, 4321));
    }
}

#[tokio::test]
async fn links_within_the_folder_are_followed_and_kept() {
    let files = SampleFiles::new();
    fs::create_dir(files.extras("mari/masks")).unwrap();
    for (link, target) in [
        ("mari/current.xml", "mask.xml"),
        ("mari/chain.xml", "./masks/../current.xml"),
        ("mari/masks/back.xml", "../mask.xml"),
        ("mari/down.xml", "masks/back.xml"),
        ("mari/dangling.xml", "masks/new.xml"),
        ("mari/nowhere.xml", "gone/new.xml"),
        ("mari/loop.xml", "loop.xml"),
        ("mari/out.xml", "../readme.txt"),
        ("mari/up.xml", "masks/../../readme.txt"),
    ] {
        symlink(target, files.extras(link)).unwrap();
    }
    let outside = fs::read_to_string(files.extras("readme.txt")).unwrap();
    let replica = replica(&files, &Vars::new());
    for (name, status, target) in [
        ("current.xml", 200, "mari/mask.xml"),
        ("chain.xml", 200, "mari/mask.xml"),
        ("down.xml", 200, "mari/mask.xml"),
        ("dangling.xml", 200, "mari/masks/new.xml"),
        ("nowhere.xml", 403, ""),
        ("loop.xml", 403, ""),
        ("out.xml", 403, ""),
        ("up.xml", 403, ""),
    ] {
        let response = upload(&replica, &format!("/extras/mari/{name}"), name).await;
        assert_eq!(response.status, status, "{name}: {}", response.text());
        let link = fs::symlink_metadata(files.extras("mari").join(name)).unwrap();
        assert!(link.is_symlink(), "{name}");
        if status == 200 {
            let stored = fs::read_to_string(files.extras(target)).unwrap();
            assert_eq!(stored, name);
        }
    }
    let unchanged = fs::read_to_string(files.extras("readme.txt")).unwrap();
    assert_eq!(unchanged, outside);
    assert_eq!(names(&files, "mari/masks"), ["back.xml", "new.xml"]);
}

#[tokio::test]
async fn uploads_outside_the_allowed_folders_are_rejected() {
    let files = SampleFiles::new();
    let outside = files.reduced("secret.txt");
    let before = fs::read(&outside).unwrap();
    symlink(&outside, files.extras("mari/link.txt")).unwrap();
    symlink(files.reduced(""), files.extras("iris")).unwrap();
    fs::create_dir(files.extras("mari/folder.d")).unwrap();
    let replica = replica(&files, &Vars::new());
    let long = format!("/extras/mari/{}.txt", "x".repeat(252));
    for (path, status) in [
        ("/extras/zoom/a.txt", 403),
        ("/extras/mari/nodot", 403),
        ("/extras/mari/link.txt", 403),
        ("/extras/mari/folder.d", 403),
        ("/extras/iris/secret.txt", 403),
        ("/extras/MARI/a.txt", 422),
        ("/extras/mari/a%00.txt", 422),
        (long.as_str(), 422),
        ("/extras/mari/..%2f..%2fevil.txt", 404),
        ("/extras/mari/..", 404),
    ] {
        assert_eq!(
            upload(&replica, path, "evil").await.status,
            status,
            "{path}"
        );
    }
    assert_eq!(fs::read(&outside).unwrap(), before);
    assert_eq!(names(&files, "mari"), ["folder.d", "link.txt", "mask.xml"]);
    assert_eq!(
        names(&files, ""),
        ["iris", "loq", "mari", "readme.txt", "test"]
    );
}

#[tokio::test]
async fn an_oversized_upload_keeps_the_old_file() {
    let files = SampleFiles::new();
    let replica = replica(&files, &vars(&[("EXTRAS_MAX_BYTES", "1000")]));
    assert_eq!(
        upload(&replica, "/extras/mari/mask.xml", "old")
            .await
            .status,
        200
    );
    let full = "x".repeat(1000);
    assert_eq!(
        upload(&replica, "/extras/mari/full.txt", &full)
            .await
            .status,
        200
    );
    for size in [1001, 100_000] {
        let response = upload(&replica, "/extras/mari/mask.xml", &"x".repeat(size)).await;
        assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE, "{size}");
    }
    // A declared length over the limit is rejected without reading the body.
    let (kind, _) = form("file", "");
    let mut announced = upload_request(
        "/extras/mari/mask.xml",
        kind,
        Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()),
    );
    let length = header::HeaderValue::from(1_000_000);
    announced
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    assert_eq!(
        replica.send(announced).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        fs::read_to_string(files.extras("mari/mask.xml")).unwrap(),
        "old"
    );
}

#[tokio::test]
async fn an_aborted_upload_leaves_no_file() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    assert_eq!(
        upload(&replica, "/extras/mari/mask.xml", "old")
            .await
            .status,
        200
    );
    let (kind, body) = form("file", &"x".repeat(2_000_000));
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let arriving = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    let sent = upload_request(
        "/extras/mari/mask.xml",
        kind,
        Body::from_stream(arriving.boxed()),
    );
    let edge = replica.edge();
    let responding = tokio::spawn(async move { edge.handle(sent).await.status() });
    let half = Bytes::from(body).slice(..1_500_000);
    sender.send(Ok(half)).await.unwrap();
    eventually(Duration::from_secs(5), async || {
        names(&files, "mari").len() == 2
    })
    .await;
    let listed = replica.get("/extras/mari", "staff").await;
    assert_eq!(listed.json(), serde_json::json!(["mask.xml"]));
    responding.abort();
    eventually(Duration::from_secs(5), async || {
        names(&files, "mari") == ["mask.xml"]
    })
    .await;
    assert_eq!(
        fs::read_to_string(files.extras("mari/mask.xml")).unwrap(),
        "old"
    );
}

#[tokio::test]
async fn abandoned_temporary_files_are_removed_after_a_day() {
    let files = SampleFiles::new();
    let replica = replica(&files, &Vars::new());
    let left = |name: &str, hours: u64| {
        let file = fs::File::create(files.extras("mari").join(name)).unwrap();
        let age = Duration::from_secs(hours * 3600);
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    left(".fia-api-upload-0123456789abcdef", 25);
    left(".fia-api-upload-fedcba9876543210", 23);
    assert_eq!(
        upload(&replica, "/extras/mari/a.txt", "x").await.status,
        200
    );
    assert_eq!(
        names(&files, "mari"),
        [".fia-api-upload-fedcba9876543210", "a.txt", "mask.xml"]
    );
}

#[tokio::test]
async fn folder_listings_keep_their_status_codes() {
    let files = SampleFiles::new();
    symlink(files.reduced(""), files.extras("out")).unwrap();
    let replica = replica(&files, &Vars::new());
    for (path, status) in [
        ("/extras/mari", 200),
        ("/extras/nope", 403),
        ("/extras/no.dir", 404),
        ("/extras/readme.txt", 404),
        ("/extras/out", 403),
        ("/extras/a%00b", 403),
    ] {
        assert_eq!(replica.get(path, "staff").await.status, status, "{path}");
    }
    let wrong = replica.get("/extras/a/b", "staff").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.header("allow"), "POST");
}
