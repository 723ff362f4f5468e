//! The second implementation of the protocol, in Python, passes the same kit.

use std::path::Path;
use std::process::Command;

use devstack::Valkey;

#[limited::test]
async fn the_implementation_in_python_passes_the_kit() {
    let valkey = Valkey::start().await.unwrap();
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit_python/check.py");
    let (host, port) = (valkey.addr().ip().to_string(), valkey.port().to_string());
    let mut python = Command::new("python3");
    python.arg("-B").arg(check).args([host, port]);
    let output = tokio::task::spawn_blocking(move || python.output()).await;
    let output = output.unwrap().expect("python3 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report = String::from_utf8_lossy(&output.stdout);
    // It has no local level.
    let races = super::races();
    let races = races.iter().filter(|race| !race.needs("local")).count();
    assert!(
        report.ends_with(&format!(" vectors, {races} races\n")),
        "{report}"
    );
}
