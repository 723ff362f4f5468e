//! Names, subfolders, missing folders and access.

use std::fs;

use axum::body::Body;
use http::{Request, StatusCode};

use crate::files::{FOLDER, download, find, replica};
use crate::sample_files::SampleFiles;

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
