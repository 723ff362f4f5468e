//! The single reader of all logs that have viewers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep};

use crate::streams::Hub;
use crate::streams::connection::CommandError;
use crate::streams::entry::Frame;
use crate::streams::ring::Progress;
use crate::streams::topic::Topic;
use crate::streams::valkey::{ReadFrom, StreamRead};

/// Delay before a retry after a failed read.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Delay after a read, so that entries of a burst reach each viewer in one wake-up.
const BATCH_DELAY: Duration = Duration::from_millis(20);

/// Interval of checks whether streams still exist.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Follows the logs until the task is aborted.
pub(super) async fn follow(hub: Arc<Hub>) {
    let mut is_failing = false;
    let mut checked_at = Instant::now();
    loop {
        let topics = hub.topics();
        if topics.iter().all(|topic| topic.progress().is_none()) {
            drop(topics);
            hub.wake.notified().await;
            continue;
        }
        match read(&hub, &topics, &mut checked_at).await {
            Ok(has_more) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("live logs: reading resumed");
                }
                if !has_more {
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

/// Waits for entries, and reads those of each log that has any. From time to time it reads every
/// log, since one that was deleted has none. Returns true if more entries are waiting.
async fn read(
    hub: &Hub,
    topics: &[Arc<Topic>],
    checked_at: &mut Instant,
) -> Result<bool, CommandError> {
    let followed: Vec<(&Topic, Progress)> = topics
        .iter()
        .filter_map(|topic| Some((&**topic, topic.progress()?)))
        .collect();
    let tails: Vec<_> = followed
        .iter()
        .map(|(topic, progress)| (topic.key.as_str(), progress.tail))
        .collect();
    let news = hub.tail.wait(&tails).await?;
    let is_check_due = checked_at.elapsed() >= CHECK_INTERVAL;
    if is_check_due {
        *checked_at = Instant::now();
    }
    let reads = followed
        .into_iter()
        .filter(|(topic, _)| is_check_due || news.contains(&topic.key))
        .map(async |(topic, before)| {
            let count = topic.page_size();
            let after = ReadFrom::After(before.tail);
            let read = hub.tail.read(&topic.key, after, count).await?;
            let is_full = read.frames.len() == count;
            if before.is_contradicted_by(&read, read.frames.len()) {
                recover(hub, topic, &read).await?;
            } else {
                topic.add(read);
            }
            Ok(is_full)
        });
    let full = try_join_all(reads).await?;
    Ok(full.contains(&true))
}

/// Follows a stream that is not what was read before: it began again, or it was restored without
/// its last entries.
async fn recover(hub: &Hub, topic: &Topic, read: &StreamRead) -> Result<(), CommandError> {
    let witnesses = topic.witnesses(read.last);
    for witness in &witnesses {
        let from = ReadFrom::At(witness.id);
        let found = hub.tail.read(&topic.key, from, 1).await?;
        let same = |frame: &Frame| frame.id == witness.id && frame.event == witness.event;
        if !found.frames.first().is_some_and(same) {
            topic.begin_again();
            return Ok(());
        }
    }
    if witnesses.is_empty() {
        topic.begin_again();
    } else {
        topic.roll_back(read);
    }
    Ok(())
}

/// Notifies the viewers. Valkey rejects a whole command if one of its keys is not a stream: such
/// topics are suspended until a viewer finds a stream.
async fn report(hub: &Hub, topics: &[Arc<Topic>], error: &CommandError) {
    let mut rejected = Vec::new();
    if let CommandError::Rejected(_) = error {
        for topic in topics {
            let state = hub.tail.read(&topic.key, ReadFrom::End, 1).await;
            if let Err(CommandError::Rejected(_)) = state {
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
