//! Buses to test, and doorbells to ring.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use muster_bus::{Bells, Bus, Doorbell, Health, Settings};
use muster_domain::ids::OrganisationId;
use uuid::Uuid;

/// Longer than anything should take on a machine that is busy with other things.
pub const LONG: Duration = Duration::from_secs(60);

/// A doorbell of the organisation with this number.
pub fn bell(organisation: u128, up_to: u64) -> Doorbell {
    Doorbell { organisation: OrganisationId(Uuid::from_u128(organisation)), up_to }
}

/// Settings with which tests need not wait long, and names that nobody else uses.
pub fn settings(url: &str) -> Settings {
    let mut settings = Settings::new(url);
    settings.prefix = format!("test-{}", Uuid::new_v4().simple());
    settings.again_after = Duration::from_millis(200);
    settings.longest_wait = Duration::from_secs(1);
    settings
}

pub async fn connected(bus: &Bus) {
    let mut health = bus.health();
    let waited = tokio::time::timeout(LONG, health.wait_for(Health::is_connected)).await;
    assert!(waited.is_ok(), "not connected: {:?}", bus.health().borrow());
}

/// Waits until the bus says that something is wrong, and gives what it says.
pub async fn degraded(bus: &Bus) -> String {
    let mut health = bus.health();
    let waited = tokio::time::timeout(LONG, health.wait_for(|health| !health.is_connected())).await;
    match waited.expect("still connected").expect("the bus is there").clone() {
        Health::Degraded { why, .. } => why,
        Health::Connected => unreachable!(),
    }
}

/// Takes and acknowledges bells until all of these were heard.
pub async fn hear_all(bells: &mut Bells, mut wanted: BTreeSet<u64>) {
    let began = Instant::now();
    while !wanted.is_empty() {
        let next = tokio::time::timeout(LONG.saturating_sub(began.elapsed()), bells.next()).await;
        let delivery = next.unwrap_or_else(|_| panic!("{} bells were not heard: {wanted:?}", wanted.len()));
        let delivery = delivery.expect("the bus is open");
        wanted.remove(&delivery.bell().up_to);
        delivery.done();
    }
}

/// Whether nothing comes for a while.
pub async fn silent(bells: &mut Bells, during: Duration) -> bool {
    tokio::time::timeout(during, bells.next()).await.is_err()
}

/// Rings until it is confirmed, as the relay does.
pub async fn ring_until_confirmed(bus: &Bus, role: muster_bus::Role, bell: Doorbell) {
    let began = Instant::now();
    while let Err(why) = bus.ring(role, bell).await {
        assert!(began.elapsed() < LONG, "{why}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
