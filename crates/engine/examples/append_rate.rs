//! Measures how many events are appended in a second: `append_rate URL`, of a database without organisations.
//!
//! A small event is one transaction, durable when it is answered. A chunk is 1,000 changes of about 250 bytes in one event,
//! hashed and packed on the way, as many of them to a transaction as a change set records at a time.

use std::time::{Duration, Instant};

use chrono::Utc;
use muster_domain::event::{Body, NewEvent};
use muster_domain::ids::OrganisationId;
use muster_store::{Secret, Store, Who};
use serde_json::{json, value::RawValue};
use uuid::Uuid;

/// How long each figure is measured.
const LASTS: Duration = Duration::from_secs(3);
/// Chunks to a transaction.
const CHUNKS: usize = 50;
const LINES: u64 = 1_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn who() -> Who {
    Who { actor: "bench".into(), correlation: Uuid::now_v7(), causation: None, now: Utc::now() }
}

fn event(body: Option<Body>) -> Outcome<NewEvent> {
    let data = RawValue::from_string("{\"change_set\":\"0192d0c4-0000-7000-8000-000000000000\",\"first\":0}".into())?;
    let id = Uuid::now_v7();
    Ok(NewEvent {
        id,
        stream: format!("bench:{id}"),
        expected_version: None,
        kind: "bench.noted".into(),
        schema: 1,
        data,
        body,
    })
}

fn chunk(seed: u64) -> Body {
    let mut body = Body::default();
    for i in 0..LINES {
        let n = (seed * LINES + i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let line = json!({
            "kind": "add", "line": i, "key": format!("E{n:020}"), "to": {
                "first_name": format!("Anna{}", n % 977), "last_name": format!("Schmidt{}", n % 7919),
                "email": format!("a{n:x}@example.com"), "department": format!("Department {}", n % 40),
                "date_of_birth": format!("19{:02}-0{}-1{}", n % 60 + 40, n % 9 + 1, n % 10), "location": "Berlin",
            },
        });
        body.push((n as u128).to_le_bytes(), line.to_string().as_bytes());
    }
    body
}

async fn organisation(store: &Store) -> Outcome<OrganisationId> {
    let id = OrganisationId(Uuid::now_v7());
    let mut tx = store.begin(id, None).await?;
    tx.create_organisation(&format!("bench-{}", id.0.simple()), &Secret::new([7; 32]), Utc::now()).await?;
    tx.commit().await?;
    Ok(id)
}

/// Appends one event a transaction until the time is over.
async fn write(store: Store, org: OrganisationId, until: Instant) -> Outcome<u64> {
    let mut appended = 0;
    while Instant::now() < until {
        let mut tx = store.begin(org, None).await?;
        tx.append(vec![event(None)?], &who()).await?;
        tx.commit().await?;
        appended += 1;
    }
    Ok(appended)
}

/// Events a second by so many writers, all of one organisation or each of another.
async fn small(store: &Store, writers: usize, organisations: usize) -> Outcome<f64> {
    let mut orgs = Vec::new();
    for _ in 0..organisations {
        orgs.push(organisation(store).await?);
    }
    let began = Instant::now();
    let until = began + LASTS;
    let all: Vec<_> =
        (0..writers).map(|w| tokio::spawn(write(store.clone(), orgs[w % organisations], until))).collect();
    let mut appended = 0;
    for writer in all {
        appended += writer.await??;
    }
    Ok(appended as f64 / began.elapsed().as_secs_f64())
}

/// Changes a second in chunks.
async fn chunks(store: &Store) -> Outcome<f64> {
    let org = organisation(store).await?;
    let bodies: Vec<Body> = (0..CHUNKS as u64).map(chunk).collect();
    let (began, mut appended) = (Instant::now(), 0);
    while began.elapsed() < LASTS {
        let events = bodies.iter().map(|body| event(Some(body.clone()))).collect::<Outcome<Vec<_>>>()?;
        let mut tx = store.begin(org, None).await?;
        tx.append(events, &who()).await?;
        tx.commit().await?;
        appended += CHUNKS as u64 * LINES;
    }
    Ok(appended as f64 / began.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("say which database: append_rate URL")?;
    Store::migrate(&url).await?;
    let store = Store::open(&url).await?;
    let figures = json!({
        "one_writer": small(&store, 1, 1).await?,
        "eight_writers": small(&store, 8, 1).await?,
        "eight_writers_eight_organisations": small(&store, 8, 8).await?,
        "changes_in_chunks": chunks(&store).await?,
    });
    println!("{figures}");
    store.close().await;
    Ok(())
}
