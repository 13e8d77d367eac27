//! Measures the store's share of a first import of a million members and of a nightly sync: `bulk URL`.

use std::time::{Duration, Instant};

use chrono::Utc;
use muster_domain::event::{Body, NewEvent};
use muster_domain::ids::{FeedNo, OrganisationId};
use muster_store::{EncodedBody, Ident, MEMBERS_PER_PAGE, Prepared, Secret, Store, Stored, Who, encode};
use serde_json::value::RawValue;
use uuid::Uuid;

const MEMBERS: u32 = 1_000_000;
/// Bytes of a packed member.
const ROW: usize = 120;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Bytes that do not compress.
fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n);
    bytes
}

fn prepared(i: u64) -> Outcome<Prepared> {
    let event = NewEvent {
        id: Uuid::now_v7(),
        stream: "change_set:x".into(),
        expected_version: None,
        kind: "change_set.chunk".into(),
        schema: 1,
        data: RawValue::from_string("{}".into())?,
        body: None,
    };
    let body = EncodedBody { bytes: noise(60_000, i + 1), root: [i as u8; 32], count: 1000 };
    Ok(Prepared { body: Some(body), ..Prepared::try_from(event)? })
}

fn say(what: &str, time: Duration) {
    println!("{what:55} {:8.1} ms", time.as_secs_f64() * 1000.0);
}

async fn import(store: &Store, org: OrganisationId, who: &Who) -> Outcome<()> {
    let events = (0..1000).map(prepared).collect::<Outcome<Vec<_>>>()?;
    let pages: Vec<_> = (0..MEMBERS.div_ceil(MEMBERS_PER_PAGE))
        .map(|p| (p, noise(ROW * MEMBERS_PER_PAGE as usize, p.into())))
        .collect();
    let mut idents: Vec<Ident> =
        (0..2 * MEMBERS).map(|i| (u64::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15), i / 2)).collect();
    idents.sort_unstable();
    let prints: Vec<_> = (0..400).map(|i| noise(60_000, i)).collect();
    let all = Instant::now();
    let mut tx = store.begin(org, None).await?;
    let started = Instant::now();
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        tx.append_prepared(events.by_ref().take(100).collect(), who).await?;
    }
    say("append 1,000 events of 60 KB", started.elapsed());
    let started = Instant::now();
    tx.put_roster_pages(pages).await?;
    say(&format!("put roster pages of {MEMBERS_PER_PAGE}"), started.elapsed());
    let started = Instant::now();
    tx.put_ident_pages(0, &idents).await?;
    say("put 2,000,000 idents", started.elapsed());
    let started = Instant::now();
    tx.put_fingerprints(FeedNo::MAIN, b"x").await?;
    tx.add_fingerprint_pages(FeedNo::MAIN, 0, prints).await?;
    say("put 24 MB of fingerprints", started.elapsed());
    let started = Instant::now();
    tx.commit().await?;
    say("commit", started.elapsed());
    say("first import, store", all.elapsed());
    Ok(())
}

async fn nightly(store: &Store, org: OrganisationId, who: &Who, night: u32) -> Outcome<()> {
    let numbers: Vec<u32> = (0..10_000u32).map(|i| (i * 97 + night * 13) % MEMBERS).collect();
    let hashes: Vec<u64> = numbers.iter().map(|n| (u64::from(*n) * 2).wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let all = Instant::now();
    let started = Instant::now();
    let mut prints = 0;
    store.each_fingerprint_page(org, FeedNo::MAIN, |_| prints += 1).await?;
    say(&format!("read {prints} pages of fingerprints"), started.elapsed());
    let started = Instant::now();
    let (mut pages, mut newer) = (0, 0);
    let count = |stored: Stored<'_>| match stored {
        Stored::Newer(..) => newer += 1,
        Stored::Page(..) => pages += 1,
    };
    store.visit_members(org, &numbers, count).await?;
    say(&format!("read 10,000 members: {pages} pages, {newer} newer"), started.elapsed());
    let started = Instant::now();
    let found = store.idents(org, &hashes).await?;
    say(&format!("read 10,000 idents: {} found", found.len()), started.elapsed());
    let rows = numbers.iter().map(|n| (*n, noise(ROW, (*n).into()))).collect();
    let words: Vec<_> = hashes.iter().take(200).map(|h| (*h, 5, true)).collect();
    let events = (0..12).map(prepared).collect::<Outcome<Vec<_>>>()?;
    let started = Instant::now();
    let mut tx = store.begin(org, None).await?;
    tx.append_prepared(events, who).await?;
    let delta = Instant::now();
    tx.put_members(rows).await?;
    say("  put 10,000 newer rows", delta.elapsed());
    tx.put_idents(&words).await?;
    tx.add_fingerprint_delta(FeedNo::MAIN, noise(240_000, 1)).await?;
    let committing = Instant::now();
    tx.commit().await?;
    say("  commit", committing.elapsed());
    say("append 12 events, 10,000 members, commit", started.elapsed());
    say("nightly sync, store", all.elapsed());
    Ok(())
}

async fn single(store: &Store, org: OrganisationId) -> Outcome<()> {
    let started = Instant::now();
    for i in 0..1000u64 {
        store.idents(org, &[(i * 1999).wrapping_mul(0x9E37_79B9_7F4A_7C15)]).await?;
    }
    say("1,000 times one ident", started.elapsed());
    let started = Instant::now();
    for i in 0..1000u32 {
        store.visit_members(org, &[i * 997], |_| ()).await?;
    }
    say("1,000 times one member", started.elapsed());
    Ok(())
}

async fn encoding() -> Outcome<()> {
    let mut body = Body::default();
    for i in 0..1000u64 {
        let hex: String = noise(20, i).iter().map(|b| format!("{b:02x}")).collect();
        body.push([i as u8; 16], format!("{{\"kind\":\"add\",\"member\":\"{hex}\",\"key\":\"{i}\",\"line\":{i},\"to\":{{\"first_name\":\"Anna\",\"department\":\"Sales\",\"job_title\":\"Engineer\"}}}}").as_bytes());
    }
    let started = Instant::now();
    let mut bytes = 0;
    for _ in 0..100 {
        bytes = encode(&body)?.bytes.len();
    }
    say(&format!("hash and pack 100,000 lines ({bytes} bytes a thousand)"), started.elapsed());
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("bulk URL")?;
    encoding().await?;
    Store::migrate(&url).await?;
    let started = Instant::now();
    let store = Store::open(&url).await?;
    say("open", started.elapsed());
    let who = Who { actor: "bulk".into(), correlation: Uuid::now_v7(), causation: None, now: Utc::now() };
    let org = OrganisationId(Uuid::now_v7());
    let mut tx = store.begin(org, None).await?;
    tx.create_organisation(&org.to_string(), &Secret::new([1; 32]), Utc::now()).await?;
    tx.commit().await?;
    import(&store, org, &who).await?;
    let started = Instant::now();
    store.close().await;
    say("close", started.elapsed());
    let store = Store::open(&url).await?;
    for night in 0..2 {
        nightly(&store, org, &who, night).await?;
    }
    single(&store, org).await?;
    let started = Instant::now();
    store.close().await;
    say("close", started.elapsed());
    Ok(())
}
