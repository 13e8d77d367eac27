//! What every engine under the store must do, as functions over a fresh [`Store`].

pub mod access;
pub mod documents;
pub mod forgotten;
pub mod leases;
pub mod log;
pub mod read_models;
pub mod roster;
pub mod stress;

use chrono::{DateTime, Utc};
use muster_domain::event::{Body, NewEvent};
use muster_domain::ids::OrganisationId;
use muster_store::{Secret, Store, Who};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A moment of the tests' own: seconds after some day in 2024.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_710_000_000 + seconds, 123_456_789).expect("a valid time")
}

/// Somebody who writes at that moment.
pub fn who(seconds: i64) -> Who {
    Who { actor: "test".into(), correlation: Uuid::from_u128(7), causation: None, now: at(seconds) }
}

/// An event without a body.
pub fn event(stream: &str) -> NewEvent {
    NewEvent {
        id: Uuid::new_v4(),
        stream: stream.into(),
        expected_version: None,
        kind: "test.happened".into(),
        schema: 1,
        data: RawValue::from_string("{\"n\":1}".into()).expect("JSON"),
        body: None,
    }
}

/// An event with so many lines.
pub fn event_with_body(stream: &str, lines: usize) -> NewEvent {
    let mut body = Body::default();
    for i in 0..lines {
        body.push([i as u8; 16], format!("{{\"line\":{i}}}").as_bytes());
    }
    NewEvent { body: Some(body), ..event(stream) }
}

/// A new organisation.
pub async fn organisation(store: &Store, slug: &str) -> OrganisationId {
    let org = OrganisationId(Uuid::new_v4());
    let mut tx = store.begin(org, None).await.expect("begun");
    tx.create_organisation(slug, &Secret::new([9; 32]), at(0)).await.expect("created");
    tx.commit().await.expect("committed");
    org
}
