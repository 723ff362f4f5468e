//! The one reader of all logs that somebody looks at.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::streams::Hub;
use crate::streams::topic::Topic;
use crate::streams::valkey::{PAGE, Trouble};

/// How long to wait where nothing can be read.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// How long to wait after something was read: what comes meanwhile goes to the viewers at
/// once, in one waking of each.
const GATHER: Duration = Duration::from_millis(20);

/// Follows the logs; never returns.
pub(super) async fn follow(hub: Arc<Hub>) {
    let mut is_away = false;
    loop {
        let topics = hub.topics();
        if topics.iter().all(|topic| topic.tail().is_none()) {
            drop(topics);
            hub.wake.notified().await;
            continue;
        }
        match read(&hub, &topics).await {
            Ok(longest) => {
                if std::mem::take(&mut is_away) {
                    tracing::info!("the live logs are read again");
                }
                // More is waiting where a reply is full.
                if (1..PAGE).contains(&longest) {
                    sleep(GATHER).await;
                }
            }
            Err(trouble) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%trouble, "the live logs cannot be read; trying on");
                }
                report(&hub, &topics, &trouble).await;
                drop(topics);
                sleep(RETRY).await;
            }
        }
    }
}

/// Reads once; returns how many entries there were of the log that had most.
async fn read(hub: &Hub, topics: &[Arc<Topic>]) -> Result<usize, Trouble> {
    let followed = topics.iter().filter_map(|topic| {
        let tail = topic.tail()?;
        Some((topic.key.as_str(), tail))
    });
    let followed: Vec<_> = followed.collect();
    let mut news = hub.tail.follow(&followed).await?;
    let longest = news.values().map(Vec::len).max().unwrap_or_default();
    for topic in topics {
        if let Some(frames) = news.remove(&topic.key) {
            topic.add(frames);
        }
    }
    Ok(longest)
}

/// Tells the viewers. A command is refused as a whole where one of its keys is no stream: that
/// one is left out until its viewers find it to be one.
async fn report(hub: &Hub, topics: &[Arc<Topic>], trouble: &Trouble) {
    let mut culprits = Vec::new();
    if let Trouble::Refused(_) = trouble {
        for topic in topics {
            if let Err(Trouble::Refused(_)) = hub.tail.last(&topic.key).await {
                culprits.push(topic);
            }
        }
    }
    if culprits.is_empty() || culprits.len() == topics.len() {
        // Not about one of them.
        topics.iter().for_each(|topic| topic.report_outage());
    } else {
        culprits.into_iter().for_each(|topic| topic.suspend());
    }
}
