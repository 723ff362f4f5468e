//! Zip archives of several files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::harness::{Database, Replica, Response, Vars, request, vars};
use crate::sample_files::{SampleFiles, unzip};

/// Job 1's folder.
const FOLDER: &str = "MARI/RBNumber/RB1820497/autoreduced";

async fn replica(files: &SampleFiles, settings: &Vars) -> (Replica, Database) {
    let database = Database::seeded().await;
    let replica = Replica::new(&[&database.vars(), &files.vars(), settings]);
    (replica, database)
}

async fn zip(replica: &Replica, body: &Value) -> Response {
    let request = request(Method::POST, "/job/download-zip", "staff", Some(body));
    replica.send(request).await
}

fn names(response: &Response) -> Vec<String> {
    assert_eq!(response.status, StatusCode::OK, "{:?}", response.headers);
    unzip(&response.body)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

/// Lists the archive with Python's `zipfile` and tests it with `unzip`; both verify every byte.
fn list_and_test(archive: &Path) -> (Output, Output) {
    let list = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
        for i in z.infolist(): print(i.filename, i.file_size, i.compress_type, oct(i.external_attr >> 16))";
    let python = Command::new("python3")
        .args(["-c", list])
        .arg(archive)
        .output();
    let unzip = Command::new("unzip").arg("-tq").arg(archive).output();
    (python.unwrap(), unzip.unwrap())
}

#[tokio::test]
async fn members_follow_the_request_order_without_duplicates() {
    let files = SampleFiles::new();
    let folder = files.reduced(FOLDER);
    fs::write(folder.join(r"a\b"), "1").unwrap();
    fs::write(folder.join("a_b"), "2").unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let request = json!({
        " 1_4 ": ["mine.nxs"],
        "1": ["sub/deep.nxspe", "MAR1.nxspe", "./MAR1.nxspe", "MAR1.nxspe", "deep.nxspe", r"a\b", "a_b", r"a\b"],
    });
    let response = zip(&replica, &request).await;
    assert_eq!(
        names(&response),
        [
            "14/mine.nxs",
            "1/sub/deep.nxspe",
            "1/MAR1.nxspe",
            "1/deep.nxspe",
            "1/a_b",
            "1/a_b_"
        ]
    );
    assert_eq!(response.header("x-missing-files"), "");
    assert_eq!(response.header("x-missing-files-count"), "");
}

#[tokio::test]
async fn missing_files_are_listed_in_headers() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let gone = "x".repeat(300);
    let request = json!({"1": [
        "MAR1.nxspe", "gone;a\r\nx: y", "☃", "", ".", "../secret.txt", "/etc/passwd", "a\u{0}b", gone, "sub"
    ]});
    let response = zip(&replica, &request).await;
    assert_eq!(names(&response), ["1/MAR1.nxspe"]);
    assert_eq!(response.header("x-missing-files-count"), "9");
    let start =
        "1/gone%3Ba%0D%0Ax%3A%20y;1/%E2%98%83;1/;1/.;1/../secret.txt;1//etc/passwd;1/a%00b;1/xxx";
    let missing = response.header("x-missing-files");
    assert!(missing.starts_with(start), "{missing}");
    assert!(missing.ends_with(";1/sub"), "{missing}");

    let many: Vec<String> = (0..5000).map(|i| format!("gone-{i}.nxs")).collect();
    let response = zip(&replica, &json!({ "1": many })).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(response.header("x-missing-files-count"), "5000");
    assert!(response.header("x-missing-files").len() <= 8192);
    assert_eq!(
        response.json()["missing_files"].as_array().unwrap().len(),
        5000
    );
}

#[tokio::test]
async fn jobs_without_a_folder_have_no_files() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let response = zip(
        &replica,
        &json!({"12": ["a"], "3": ["x"], "1": ["MAR1.nxspe"]}),
    )
    .await;
    assert_eq!(names(&response), ["1/MAR1.nxspe"]);
    assert_eq!(response.header("x-missing-files"), "12/a;3/x");
}

#[tokio::test]
async fn python_and_unzip_read_the_archives() {
    let files = SampleFiles::new();
    let folder = files.reduced(FOLDER);
    let noise: Vec<u8> = (0..400_000).map(|_| rand::random()).collect();
    fs::write(folder.join("noise"), &noise).unwrap();
    fs::write(folder.join("text"), "again and again ".repeat(30_000)).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::set_permissions(folder.join("text"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(folder.join("noise"), fs::Permissions::from_mode(0o640)).unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let response = zip(
        &replica,
        &json!({"1": ["noise", "text", "empty", "ünï.txt"]}),
    )
    .await;
    assert!(
        response.body.len() < noise.len() + 50_000,
        "{}",
        response.body.len()
    );
    assert_eq!(unzip(&response.body)[0].1, noise);
    let mut archive = tempfile::NamedTempFile::new().unwrap();
    archive.write_all(&response.body).unwrap();
    let (python, unzip) = list_and_test(archive.path());
    let listed = String::from_utf8(python.stdout).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("1/noise 400000 0 ") && lines[0].ends_with("640"),
        "{listed}"
    );
    assert!(
        lines[1].starts_with("1/text 480000 8 ") && lines[1].ends_with("750"),
        "{listed}"
    );
    assert!(lines[2].starts_with("1/empty 0 "), "{listed}");
    assert!(lines[3].starts_with("1/ünï.txt 13 "), "{listed}");
    assert!(
        unzip.status.success(),
        "{}",
        String::from_utf8_lossy(&unzip.stdout)
    );
}

#[tokio::test]
async fn archives_are_limited_in_files_and_bytes() {
    let files = SampleFiles::new();
    let settings = vars(&[("MAX_ZIP_FILES", "2"), ("MAX_ZIP_BYTES", "9010")]);
    let (replica, _database) = replica(&files, &settings).await;
    for (names, status) in [
        (json!(["MAR1.nxspe", "MAR2 10.5meV.nxspe"]), 200),
        (json!(["MAR1.nxspe", "ünï.txt"]), 413),
        (json!(["a", "b", "c"]), 413),
    ] {
        let response = zip(&replica, &json!({ "1": names })).await;
        assert_eq!(response.status, status, "{names}");
    }
}

#[tokio::test]
async fn invalid_archive_bodies_are_422() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    for body in [
        json!([]),
        json!({"x": ["a"]}),
        json!({"1.0": ["a"]}),
        json!({"1": [1]}),
        json!({"1": null}),
    ] {
        let response = zip(&replica, &body).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn an_abandoned_archive_releases_its_permit() {
    let files = SampleFiles::new();
    let noise = fs::File::create(files.reduced(FOLDER).join("big")).unwrap();
    noise.set_len(8 << 30).unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let body = json!({"1": ["big"]});
    let request = || request(Method::POST, "/job/download-zip", "staff", Some(&body));
    // More requests than permits, one after another.
    for _ in 0..40 {
        let response = replica.edge().handle(request()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let first = response.into_body().into_data_stream().next().await;
        assert!(!first.unwrap().unwrap().is_empty());
    }
}

/// Starts an archive of job 1's files, changes the folder, and receives the archive.
async fn zip_while(
    files: &SampleFiles,
    names: &[&str],
    change: impl FnOnce(&Path),
) -> Result<Vec<u8>, axum::Error> {
    let (replica, _database) = replica(files, &Vars::new()).await;
    let body = json!({"1": names});
    let request = request(Method::POST, "/job/download-zip", "staff", Some(&body));
    let response = replica.edge().handle(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("x-missing-files"));
    change(&files.reduced(FOLDER));
    let received = response.into_body().collect().await?;
    Ok(received.to_bytes().to_vec())
}

#[tokio::test]
async fn files_removed_during_streaming_are_named_in_the_archive() {
    let files = SampleFiles::new();
    let folder = files.reduced(FOLDER);
    for name in ["first", "second", "third"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let received = zip_while(&files, &["first", "second", "third"], |folder| {
        fs::remove_file(folder.join("first")).unwrap();
        fs::remove_file(folder.join("third")).unwrap();
    });
    let members = unzip(&received.await.unwrap());
    let missing = b"1/first\n1/third\n".to_vec();
    assert_eq!(
        members,
        [
            ("1/second".to_owned(), b"second".to_vec()),
            ("MISSING.txt".to_owned(), missing)
        ]
    );

    // Even if nothing is left, the archive is complete.
    let received = zip_while(&files, &["second", "MAR1.nxspe"], |folder| {
        fs::rename(folder, folder.with_extension("gone")).unwrap();
    });
    let missing = b"1/second\n1/MAR1.nxspe\n".to_vec();
    assert_eq!(
        unzip(&received.await.unwrap()),
        [("MISSING.txt".to_owned(), missing)]
    );
}

/// The archive would hold a corrupt file.
#[tokio::test]
async fn a_file_truncated_during_streaming_aborts_the_archive() {
    let files = SampleFiles::new();
    let big = files.reduced(FOLDER).join("big");
    fs::write(&big, vec![b'x'; 1 << 23]).unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let body = json!({"1": ["big"]});
    let request = request(Method::POST, "/job/download-zip", "staff", Some(&body));
    let mut stream = replica
        .edge()
        .handle(request)
        .await
        .into_body()
        .into_data_stream();
    // Opened now; read only as far as the first piece needs.
    assert!(stream.next().await.unwrap().is_ok());
    fs::File::options()
        .write(true)
        .open(&big)
        .unwrap()
        .set_len(10)
        .unwrap();
    let mut last = stream.next().await;
    while let Some(Ok(_)) = last {
        last = stream.next().await;
    }
    assert!(matches!(last, Some(Err(_))), "the archive ended properly");
}

#[tokio::test]
async fn a_job_whose_folder_is_missing_has_no_files() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let body = json!({"14": ["mine.nxs"], "1": ["MAR1.nxspe", "a/b"]});
    fs::rename(files.reduced(FOLDER), files.reduced("MARI/gone")).unwrap();
    let response = zip(&replica, &body).await;
    assert_eq!(names(&response), ["14/mine.nxs"]);
    assert_eq!(response.header("x-missing-files"), "1/MAR1.nxspe;1/a/b");
    assert_eq!(response.header("x-missing-files-count"), "2");
}
