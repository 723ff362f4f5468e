//! The single reader of all logs that have viewers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::streams::Hub;
use crate::streams::topic::Topic;
use crate::streams::valkey::{CommandError, PAGE};

/// Delay before a retry after a failed read.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Delay after a read, so that entries of a burst reach each viewer in one wake-up.
const BATCH_DELAY: Duration = Duration::from_millis(20);

/// Follows the logs until the task is aborted.
pub(super) async fn follow(hub: Arc<Hub>) {
    let mut is_failing = false;
    loop {
        let topics = hub.topics();
        if topics.iter().all(|topic| topic.tail().is_none()) {
            drop(topics);
            hub.wake.notified().await;
            continue;
        }
        match read(&hub, &topics).await {
            Ok(longest) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("live logs: reading resumed");
                }
                // A full reply means that more entries are waiting.
                if (1..PAGE).contains(&longest) {
                    sleep(BATCH_DELAY).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    let retry_ms = RETRY_DELAY.as_millis();
                    tracing::warn!(%error, retry_ms, "live logs unreadable: viewers wait");
                }
                report(&hub, &topics, &error).await;
                drop(topics);
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Reads once. Returns the largest number of entries of one log.
async fn read(hub: &Hub, topics: &[Arc<Topic>]) -> Result<usize, CommandError> {
    let followed = topics.iter().filter_map(|topic| {
        let tail = topic.tail()?;
        Some((topic.key.as_str(), tail))
    });
    let followed: Vec<_> = followed.collect();
    let mut entries = hub.tail.follow(&followed).await?;
    let longest = entries.values().map(Vec::len).max().unwrap_or_default();
    for topic in topics {
        if let Some(frames) = entries.remove(&topic.key) {
            topic.add(frames);
        }
    }
    Ok(longest)
}

/// Notifies the viewers. Valkey rejects a whole command if one of its keys is not a stream: such
/// topics are suspended until a viewer finds a stream.
async fn report(hub: &Hub, topics: &[Arc<Topic>], error: &CommandError) {
    let mut rejected = Vec::new();
    if let CommandError::Rejected(_) = error {
        for topic in topics {
            if let Err(CommandError::Rejected(_)) = hub.tail.last(&topic.key).await {
                rejected.push(topic);
            }
        }
    }
    if rejected.is_empty() || rejected.len() == topics.len() {
        // The failure is not specific to a key.
        topics.iter().for_each(|topic| topic.report_outage());
    } else {
        rejected.into_iter().for_each(|topic| topic.suspend());
    }
}
