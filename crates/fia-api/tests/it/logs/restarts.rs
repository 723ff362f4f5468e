//! Streams that begin again, and large entries.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, cmd, pipe};

use crate::harness::Vars;
use crate::logs::{Event, KEY, Logs, Viewer};

/// Adds entries with these ids, whose messages are their milliseconds.
fn add(pipeline: &mut Pipeline, ids: &[u32]) {
    for id in ids {
        let add = pipeline.cmd("XADD").arg(KEY).arg(format!("{id}-1"));
        add.arg("msg").arg(id.to_string()).ignore();
    }
}

async fn write(connection: &mut MultiplexedConnection, ids: &[u32]) {
    let mut pipeline = pipe();
    add(&mut pipeline, ids);
    let () = pipeline.query_async(connection).await.unwrap();
}

/// Deletes the stream and writes it again, as a live-data processor does when it starts.
async fn recreate(connection: &mut MultiplexedConnection, ids: &[u32]) {
    let mut pipeline = pipe();
    pipeline.atomic().del(KEY).ignore();
    add(&mut pipeline, ids);
    let () = pipeline.query_async(connection).await.unwrap();
}

/// Waits until the reader is idle: a keep-alive follows a second without entries.
async fn caught_up(viewers: &mut [&mut Viewer]) {
    for viewer in viewers {
        assert_eq!(viewer.next().await, Event::KeepAlive);
    }
}

/// The clock that ids come from was set back.
#[tokio::test]
async fn viewers_follow_a_log_whose_ids_go_back() {
    let logs = Logs::start(&Vars::new()).await;
    let mut connection = logs.connection().await;
    write(&mut connection, &[1000, 1001]).await;
    let mut early = logs.view("").await;
    assert_eq!(early.messages(2).await, [1000, 1001]);

    recreate(&mut connection, &[5, 6]).await;
    assert_eq!(early.messages(2).await, [5, 6]);
    let mut new = logs.view("").await;
    assert_eq!(new.messages(2).await, [5, 6]);
    // Its last entry was one of the deleted stream.
    let mut resumed = logs.view("?since=1001-1").await;
    assert_eq!(resumed.messages(2).await, [5, 6]);
    let mut from_now = logs.view("?since=$").await;
    caught_up(&mut [&mut from_now]).await;
    write(&mut connection, &[7, 1000, 1001, 1002]).await;
    let mut viewers = [&mut early, &mut new, &mut resumed, &mut from_now];
    for viewer in &mut viewers {
        assert_eq!(viewer.messages(4).await, [7, 1000, 1001, 1002]);
    }
    caught_up(&mut viewers).await;
}

#[tokio::test]
async fn viewers_follow_a_log_that_is_deleted_for_a_while() {
    let logs = Logs::start(&Vars::new()).await;
    let mut connection = logs.connection().await;
    write(&mut connection, &[1000, 1001]).await;
    let mut viewer = logs.view("").await;
    viewer.messages(2).await;
    let _: u32 = cmd("DEL")
        .arg(KEY)
        .query_async(&mut connection)
        .await
        .unwrap();
    caught_up(&mut [&mut viewer]).await;
    let mut resumed = logs.view("?since=1001-1").await;
    caught_up(&mut [&mut resumed]).await;
    write(&mut connection, &[999, 1001, 1003]).await;
    for viewer in [&mut viewer, &mut resumed] {
        assert_eq!(viewer.messages(3).await, [999, 1001, 1003]);
    }
    caught_up(&mut [&mut viewer, &mut resumed]).await;
}

/// The new stream has ids below and above the last one that was read.
#[tokio::test]
async fn no_entry_is_lost_or_repeated_when_a_log_is_recreated_at_once() {
    let logs = Logs::start(&Vars::new()).await;
    let mut connection = logs.connection().await;
    let first: Vec<u32> = (1000..1010).collect();
    write(&mut connection, &first).await;
    let mut viewer = logs.view("").await;
    assert_eq!(viewer.messages(10).await, first);
    for start in [5, 3, 1] {
        let ids = [start, start + 1, 1005, 2000 + start, 2001 + start];
        recreate(&mut connection, &ids).await;
        assert_eq!(viewer.messages(5).await, ids);
    }
    caught_up(&mut [&mut viewer]).await;
}

/// Together they are several times what a ring holds.
#[tokio::test]
async fn large_entries_reach_every_viewer_once_and_in_order() {
    const SIZE: usize = 300_000;
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..1).await;
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = logs.view("").await;
        viewer.messages(1).await;
        viewers.push(viewer);
    }
    let mut connection = logs.connection().await;
    let mut pipeline = pipe();
    for n in 1..41 {
        let add = pipeline.cmd("XADD").arg(KEY).arg("*").arg("msg").arg(n);
        add.arg("data").arg("x".repeat(SIZE)).ignore();
    }
    let () = pipeline.query_async(&mut connection).await.unwrap();
    logs.write(41..51).await;
    let mut late = logs.view("").await;
    assert_eq!(late.messages(51).await, Vec::from_iter(0..51));
    for viewer in &mut viewers {
        assert_eq!(viewer.messages(50).await, Vec::from_iter(1..51));
    }
}
