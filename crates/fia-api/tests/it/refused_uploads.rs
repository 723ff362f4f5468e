//! Real clients whose upload is refused: they get the status, and not a reset connection.
//!
//! `scripts/check-clients` does the same with further clients.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::oneshot;

use crate::harness::{Replica, within};

/// The sizes of the bodies in bytes.
const SIZES: [&str; 4] = ["100000", "1000000", "20000000", "130000000"];
/// Without a token, and beyond `MAX_BODY_BYTES` from the third on.
const STATUSES: [&str; 4] = ["401", "401", "413", "413"];
const LIMIT: Duration = Duration::from_secs(60);

fn serve() -> (SocketAddr, oneshot::Sender<()>) {
    let address = "127.0.0.1:0".parse().unwrap();
    let edge = Replica::new(&[]).edge();
    let server = fia_api::app::Server::bind(address, edge).unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(server.run(async { drop(stopped.await) }));
    (address, stop)
}

async fn output(command: &mut Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the client", LIMIT, command.output()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Takes seconds: 300 MB are sent by two clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_and_curl_get_the_status_of_a_refused_upload() {
    let (address, _stop) = serve();
    let url = format!("http://{address}/live-data/mari/script");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/upload.py");
    let mut python = Command::new("python3");
    python.args([script, "http.client", &url]).args(SIZES);
    let statuses = output(&mut python).await;
    assert_eq!(statuses.lines().collect::<Vec<_>>(), STATUSES);

    let folder = tempfile::tempdir().unwrap();
    for (size, status) in SIZES.iter().zip(STATUSES) {
        let body = folder.path().join("body");
        std::fs::write(&body, vec![b'1'; size.parse().unwrap()]).unwrap();
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ]);
        // Without this header, curl sends the body at once.
        curl.args([
            "-X",
            "PUT",
            "-H",
            "Expect:",
            "-H",
            "Content-Type: application/json",
        ]);
        curl.args([
            "--noproxy",
            "*",
            "--data-binary",
            &format!("@{}", body.display()),
            &url,
        ]);
        assert_eq!(output(&mut curl).await, status, "{size} bytes");
    }
}
