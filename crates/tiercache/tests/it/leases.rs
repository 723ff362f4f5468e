//! Leases and fences of other processes, as a read meets them.

use std::time::Duration;

use crate::support::{
    Fixture, Gate, KEY, enqueue, foreign_marker, loaded, long_timeouts, no_load, payload,
    shared_hit, wait_until,
};

#[limited::test]
async fn a_lease_of_a_dead_process_delays_a_read_by_the_lease_wait_only() {
    let fixture =
        Fixture::with(|url| long_timeouts(url).lease_wait(Duration::from_millis(30))).await;
    let lease = foreign_marker(b'\t');
    fixture.raw.set(KEY, &lease).await;
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(
        fixture.raw.get(KEY).await.unwrap(),
        lease,
        "a read without the lease does not fill"
    );
    assert_eq!(fixture.stats().leases_met, 1);
}

#[limited::test]
async fn a_read_waits_for_the_fill_of_another_lease_holder() {
    let fixture = Fixture::with(|url| long_timeouts(url).lease_wait(Duration::from_secs(10))).await;
    fixture.raw.set(KEY, foreign_marker(b'\t')).await;
    let request = enqueue(&fixture.rows, no_load);
    wait_until("the lease to be seen", async || {
        fixture.stats().leases_met == 1
    })
    .await;
    fixture.raw.set(KEY, payload(5)).await;
    assert_eq!(request.await.unwrap(), shared_hit(5));
}

#[limited::test]
async fn a_released_lease_is_acquired_by_a_waiting_reader() {
    let fixture = Fixture::with(|url| long_timeouts(url).lease_wait(Duration::from_secs(10))).await;
    fixture.raw.set(KEY, foreign_marker(b'\t')).await;
    let request = enqueue(&fixture.rows, fixture.database.loader());
    wait_until("the lease to be seen", async || {
        fixture.stats().leases_met == 1
    })
    .await;
    fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    assert_eq!(request.await.unwrap(), loaded(0));
    assert_eq!(fixture.get().await, shared_hit(0));
}

#[limited::test]
async fn a_read_behind_a_fence_does_not_fill() {
    let fixture = Fixture::new().await;
    let fence = foreign_marker(b'\n');
    fixture.raw.set(KEY, &fence).await;
    assert_eq!(fixture.get().await, loaded(0));
    assert_eq!(fixture.raw.get(KEY).await.unwrap(), fence);
    assert_eq!(fixture.stats().fences_met, 1);
}

#[limited::test]
async fn a_fill_after_losing_the_lease_is_refused() {
    let fixture = Fixture::new().await;
    for found in [
        foreign_marker(b'\t'),
        foreign_marker(b'\n'),
        b"null".to_vec(),
        payload(9).to_vec(),
    ] {
        fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        let (mut gate, load) = Gate::after(|| Ok(0));
        let request = enqueue(&fixture.rows, load);
        gate.entered().await;
        fixture.raw.set(KEY, &found).await;
        gate.open();
        assert_eq!(request.await.unwrap(), loaded(0));
        assert_eq!(fixture.raw.get(KEY).await.unwrap(), found);
    }
    assert_eq!(fixture.stats().fills_refused, 4);
}
