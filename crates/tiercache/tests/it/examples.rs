//! The examples, run against a Valkey of the tests.

use devstack::Valkey;

#[path = "../../examples/two_replicas.rs"]
#[expect(dead_code, reason = "the test calls `run` instead of `main`")]
mod two_replicas;

#[tokio::test]
async fn two_replicas_and_a_foreign_writer() {
    let valkey = Valkey::start().await.unwrap();
    two_replicas::run(&valkey.url()).await.unwrap();
}
