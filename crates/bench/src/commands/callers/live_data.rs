//! A live-data processor, which polls its script.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::super::client::Connection;
use super::{Run, count};

const POLL_EVERY: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Polls the script without a token; keeps the last one unless it gets 200 with a string.
pub(super) async fn poll(run: Arc<Run>) {
    loop {
        count(&run.counts.script_polls);
        let exchange = async {
            let mut connection = Connection::open_anonymous(run.address).await?;
            let path = "/live-data/mari/script";
            connection.send(Method::GET, path, &[], "").await
        };
        let response = tokio::time::timeout(TIMEOUT, exchange).await;
        let is_script = response.is_ok_and(|response| {
            response.is_ok_and(|response| {
                let body: Result<Value, _> = serde_json::from_slice(&response.body);
                response.status == 200 && body.is_ok_and(|body| body.is_string())
            })
        });
        if !is_script {
            count(&run.counts.script_failures);
        }
        sleep(POLL_EVERY).await;
    }
}
