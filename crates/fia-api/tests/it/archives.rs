//! Archives of several files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use axum::body::Body;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::harness::{Answer, Database, Replica, Vars, request, vars};
use crate::trees::{SampleFiles, unzip};

/// The folder of job 1.
const FOLDER: &str = "MARI/RBNumber/RB1820497/autoreduced";

async fn replica(files: &SampleFiles, settings: &Vars) -> (Replica, Database) {
    let database = Database::seeded().await;
    let replica = Replica::new(&[&database.vars(), &files.vars(), settings]);
    (replica, database)
}

async fn zip(replica: &Replica, body: &Value) -> Answer {
    let request = request(Method::POST, "/job/download-zip", "staff", Some(body));
    replica.send(request).await
}

fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.headers);
    unzip(&answer.body)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

/// Python's `zipfile` and `unzip`, which both check every byte.
fn opened_by_others(archive: &Path) -> (Output, Output) {
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
async fn members_stand_in_the_order_of_the_request_and_once() {
    let files = SampleFiles::new();
    let folder = files.reduced(FOLDER);
    fs::write(folder.join(r"a\b"), "1").unwrap();
    fs::write(folder.join("a_b"), "2").unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let asked = json!({
        " 1_4 ": ["mine.nxs"],
        "1": ["sub/deep.nxspe", "MAR1.nxspe", "./MAR1.nxspe", "MAR1.nxspe", "deep.nxspe", r"a\b", "a_b", r"a\b"],
    });
    let answer = zip(&replica, &asked).await;
    assert_eq!(
        names(&answer),
        [
            "14/mine.nxs",
            "1/sub/deep.nxspe",
            "1/MAR1.nxspe",
            "1/deep.nxspe",
            "1/a_b",
            "1/a_b_"
        ]
    );
    assert_eq!(answer.header("x-missing-files"), "");
    assert_eq!(answer.header("x-missing-files-count"), "");
}

#[tokio::test]
async fn what_is_missing_is_said_in_headers_that_hold() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let gone = "x".repeat(300);
    let asked = json!({"1": [
        "MAR1.nxspe", "gone;a\r\nx: y", "☃", "", ".", "../secret.txt", "/etc/passwd", "a\u{0}b", gone, "sub"
    ]});
    let answer = zip(&replica, &asked).await;
    assert_eq!(names(&answer), ["1/MAR1.nxspe"]);
    assert_eq!(answer.header("x-missing-files-count"), "9");
    let start =
        "1/gone%3Ba%0D%0Ax%3A%20y;1/%E2%98%83;1/;1/.;1/../secret.txt;1//etc/passwd;1/a%00b;1/xxx";
    let missing = answer.header("x-missing-files");
    assert!(missing.starts_with(start), "{missing}");
    assert!(missing.ends_with(";1/sub"), "{missing}");

    let many: Vec<String> = (0..5000).map(|i| format!("gone-{i}.nxs")).collect();
    let answer = zip(&replica, &json!({ "1": many })).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header("x-missing-files-count"), "5000");
    assert!(answer.header("x-missing-files").len() <= 8192);
    assert_eq!(
        answer.json()["missing_files"].as_array().unwrap().len(),
        5000
    );
}

#[tokio::test]
async fn jobs_without_a_place_for_files_have_none() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let answer = zip(
        &replica,
        &json!({"12": ["a"], "3": ["x"], "1": ["MAR1.nxspe"]}),
    )
    .await;
    assert_eq!(names(&answer), ["1/MAR1.nxspe"]);
    assert_eq!(answer.header("x-missing-files"), "12/a;3/x");
}

#[tokio::test]
async fn other_programs_open_archives_and_find_modes_and_methods() {
    let files = SampleFiles::new();
    let folder = files.reduced(FOLDER);
    let noise: Vec<u8> = (0..400_000).map(|_| rand::random()).collect();
    fs::write(folder.join("noise"), &noise).unwrap();
    fs::write(folder.join("text"), "again and again ".repeat(30_000)).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::set_permissions(folder.join("text"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(folder.join("noise"), fs::Permissions::from_mode(0o640)).unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let answer = zip(
        &replica,
        &json!({"1": ["noise", "text", "empty", "ünï.txt"]}),
    )
    .await;
    assert!(
        answer.body.len() < noise.len() + 50_000,
        "{}",
        answer.body.len()
    );
    assert_eq!(unzip(&answer.body)[0].1, noise);
    let mut archive = tempfile::NamedTempFile::new().unwrap();
    archive.write_all(&answer.body).unwrap();
    let (python, unzip) = opened_by_others(archive.path());
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
async fn archives_have_limits() {
    let files = SampleFiles::new();
    let settings = vars(&[("MAX_ZIP_FILES", "2"), ("MAX_ZIP_BYTES", "9010")]);
    let (replica, _database) = replica(&files, &settings).await;
    for (names, status) in [
        (json!(["MAR1.nxspe", "MAR2 10.5meV.nxspe"]), 200),
        (json!(["MAR1.nxspe", "ünï.txt"]), 413),
        (json!(["a", "b", "c"]), 413),
    ] {
        let answer = zip(&replica, &json!({ "1": names })).await;
        assert_eq!(answer.status, status, "{names}");
    }
}

#[tokio::test]
async fn bodies_that_name_no_files_are_refused() {
    let files = SampleFiles::new();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    for body in [
        json!([]),
        json!({"x": ["a"]}),
        json!({"1.0": ["a"]}),
        json!({"1": [1]}),
        json!({"1": null}),
    ] {
        let answer = zip(&replica, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn an_archive_that_nobody_takes_is_not_read_on() {
    let files = SampleFiles::new();
    let noise = fs::File::create(files.reduced(FOLDER).join("big")).unwrap();
    noise.set_len(8 << 30).unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let body = json!({"1": ["big"]});
    let asked = || request(Method::POST, "/job/download-zip", "staff", Some(&body));
    // More than there may be at once, one after another: each frees its place.
    for _ in 0..40 {
        let answer = replica.edge().handle(asked()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let first = answer.into_body().into_data_stream().next().await;
        assert!(!first.unwrap().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_vanishes_meanwhile_breaks_the_archive_off() {
    let files = SampleFiles::new();
    let big = files.reduced(FOLDER).join("big");
    fs::File::create(&big).unwrap().set_len(1 << 30).unwrap();
    fs::write(files.reduced(FOLDER).join("later"), "x").unwrap();
    let (replica, _database) = replica(&files, &Vars::new()).await;
    let body = json!({"1": ["big", "later"]});
    let asked = request(Method::POST, "/job/download-zip", "staff", Some(&body));
    let answer = replica.edge().handle(asked).await;
    fs::remove_file(files.reduced(FOLDER).join("later")).unwrap();
    let received: Result<_, axum::Error> = Body::new(answer.into_body()).collect().await;
    assert!(received.is_err());
}
