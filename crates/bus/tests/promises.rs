//! What the bus promises, whichever making it is: one suite for both.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_bus::{Bus, Message, Role};
use muster_testkit::rabbitmq;

use crate::support::{LONG, bell, connected, hear_all, settings, silent};

/// One test on both makings.
macro_rules! promises {
    ($($name:ident)*) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let bus = super::Bus::in_process_again_after(std::time::Duration::from_millis(200));
                super::$name(bus).await;
            })*
        }
        mod amqp {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::on_the_broker().await).await;
            })*
        }
    };
}

promises! {
    every_bell_rung_is_heard
    a_bell_that_is_not_done_comes_again_and_says_so
    competing_consumers_share
    nothing_is_lost_when_a_consumer_goes_half_way
    after_close_nothing_is_delivered_and_nothing_taken
    what_is_under_way_when_the_bus_closes_may_be_acknowledged
    a_receiver_ends_with_the_last_of_the_bus
    a_bell_of_one_role_is_not_heard_by_another
    many_who_ring_at_once_are_all_confirmed
    a_message_that_nobody_listens_to_is_confirmed
}

async fn on_the_broker() -> Bus {
    let address = tokio::task::spawn_blocking(rabbitmq::address).await.unwrap().unwrap();
    let bus = Bus::amqp(settings(&address)).unwrap();
    connected(&bus).await;
    bus
}

async fn every_bell_rung_is_heard(bus: Bus) {
    // An organisation each, so that none of them need be joined with another.
    let rings: Vec<_> = (1..=500).map(|n| (Role::Worker, bell(n, n as u64))).collect();
    for result in bus.ring_all(&rings).await {
        result.unwrap();
    }
    bus.ring(Role::Worker, bell(501, 501)).await.unwrap();
    hear_all(&mut bus.bells(Role::Worker), (1..=501).collect()).await;
    let counts = bus.counts();
    assert_eq!((counts.published, counts.confirmed, counts.delivered), (501, 501, 501), "{counts:?}");
    assert_eq!((counts.refused, counts.in_doubt, counts.redelivered), (0, 0, 0), "{counts:?}");
}

async fn a_bell_that_is_not_done_comes_again_and_says_so(bus: Bus) {
    bus.ring(Role::Projector, bell(1, 7)).await.unwrap();
    let mut bells = bus.bells(Role::Projector);
    let first = bells.next().await.unwrap();
    assert!(!first.redelivered());
    drop(first);
    let again = tokio::time::timeout(LONG, bells.next()).await.unwrap().unwrap();
    assert_eq!(again.bell(), bell(1, 7));
    assert!(again.redelivered());
    again.done();
    assert!(silent(&mut bells, Duration::from_millis(700)).await, "what is done does not come again");
    assert_eq!(bus.counts().redelivered, 1);
}

async fn competing_consumers_share(bus: Bus) {
    let (mut one, mut other) = (bus.bells(Role::Worker), bus.bells(Role::Worker));
    let count = async |bells: &mut muster_bus::Bells| {
        let mut heard = BTreeSet::new();
        while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_secs(2), bells.next()).await {
            heard.insert(delivery.bell().up_to);
            // Some work, during which the other may take the next.
            tokio::time::sleep(Duration::from_millis(5)).await;
            delivery.done();
        }
        heard
    };
    let rings: Vec<_> = (1..=200).map(|n| (Role::Worker, bell(n, n as u64))).collect();
    assert!(bus.ring_all(&rings).await.iter().all(Result::is_ok));
    let (by_one, by_other) = tokio::join!(count(&mut one), count(&mut other));
    assert_eq!(by_one.union(&by_other).count(), 200);
    assert_eq!(by_one.intersection(&by_other).count(), 0);
    assert!(by_one.len() >= 40 && by_other.len() >= 40, "{} and {}", by_one.len(), by_other.len());
}

async fn nothing_is_lost_when_a_consumer_goes_half_way(bus: Bus) {
    let rings: Vec<_> = (1..=50).map(|n| (Role::Worker, bell(n, n as u64))).collect();
    assert!(bus.ring_all(&rings).await.iter().all(Result::is_ok));
    let mut heard = BTreeSet::new();
    let mut going = bus.bells(Role::Worker);
    for n in 0..10 {
        let delivery = going.next().await.unwrap();
        // Half of them it finishes; the other half are under way when it goes.
        if n % 2 == 0 {
            heard.insert(delivery.bell().up_to);
            delivery.done();
        }
    }
    drop(going);
    hear_all(&mut bus.bells(Role::Worker), (1..=50).filter(|n| !heard.contains(n)).collect()).await;
}

async fn after_close_nothing_is_delivered_and_nothing_taken(bus: Bus) {
    let mut bells = bus.bells(Role::Worker);
    let waiting = tokio::spawn(async move {
        let none = bells.next().await.is_none();
        none && bells.next().await.is_none()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    bus.close().await;
    assert!(waiting.await.unwrap());
    assert!(bus.bells(Role::Worker).next().await.is_none());
    let refused = bus.ring(Role::Worker, bell(1, 1)).await.unwrap_err();
    assert!(!refused.in_doubt(), "{refused}");
    let message = Message { key: "a.b".into(), content_type: "text/plain".into(), body: vec![] };
    assert!(bus.tell(message).await.is_err());
    bus.close().await;
}

async fn what_is_under_way_when_the_bus_closes_may_be_acknowledged(bus: Bus) {
    bus.ring(Role::Worker, bell(1, 1)).await.unwrap();
    let mut bells = bus.bells(Role::Worker);
    let delivery = bells.next().await.unwrap();
    let closing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.close().await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    delivery.done();
    tokio::time::timeout(LONG, closing).await.unwrap().unwrap();
    assert_eq!(bus.counts().done, 1);
}

async fn a_receiver_ends_with_the_last_of_the_bus(bus: Bus) {
    let mut bells = bus.bells(Role::Worker);
    let other = bus.clone();
    drop(bus);
    other.ring(Role::Worker, bell(1, 1)).await.unwrap();
    bells.next().await.unwrap().done();
    drop(other);
    assert!(tokio::time::timeout(LONG, bells.next()).await.unwrap().is_none());
}

async fn many_who_ring_at_once_are_all_confirmed(bus: Bus) {
    let ringing: Vec<_> = (1..=200)
        .map(|n| {
            let bus = bus.clone();
            tokio::spawn(async move { bus.ring(Role::Worker, bell(n, n as u64)).await })
        })
        .collect();
    for rung in ringing {
        rung.await.unwrap().unwrap();
    }
    hear_all(&mut bus.bells(Role::Worker), (1..=200).collect()).await;
}

async fn a_bell_of_one_role_is_not_heard_by_another(bus: Bus) {
    bus.ring(Role::Worker, bell(1, 1)).await.unwrap();
    let (mut worker, mut projector) = (bus.bells(Role::Worker), bus.bells(Role::Projector));
    assert!(silent(&mut projector, Duration::from_millis(500)).await);
    worker.next().await.unwrap().done();
}

async fn a_message_that_nobody_listens_to_is_confirmed(bus: Bus) {
    let message = |n: u8| Message { key: format!("acme.upload.{n}"), content_type: "text/plain".into(), body: vec![n] };
    for n in 0..100 {
        bus.tell(message(n)).await.unwrap();
    }
}
