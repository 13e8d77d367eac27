//! The stress test: what is committed is what every reader that follows by number sees, in order and without gaps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use muster_domain::ids::OrganisationId;
use muster_store::{Store, StoreError};
use uuid::Uuid;

use super::{event, event_with_body, organisation, who};

const WRITERS: usize = 16;
const ORGANISATIONS: usize = 4;
const LASTS: Duration = Duration::from_secs(2);

/// Appends until the time is over; every seventh transaction is given up. The answer: what was committed.
async fn write(store: Store, org: OrganisationId, writer: usize) -> Vec<Uuid> {
    let started = Instant::now();
    let mut committed = Vec::new();
    for round in 0.. {
        if started.elapsed() > LASTS {
            break;
        }
        let stream = format!("writer:{writer}");
        let mut events = vec![event(&stream), event("shared")];
        if round % 3 == 0 {
            events.push(event_with_body(&stream, 20));
        }
        let mut tx = store.begin(org, None).await.unwrap();
        let appended = tx.append(events, &who(round)).await.unwrap();
        if round % 7 == 6 {
            drop(tx);
            continue;
        }
        tx.commit().await.unwrap();
        committed.extend(appended.into_iter().map(|a| a.id));
    }
    committed
}

/// Follows the log by number until it is told that nothing more comes.
async fn follow(store: Store, org: OrganisationId, over: Arc<AtomicBool>) -> Vec<Uuid> {
    let mut seen = Vec::new();
    loop {
        let last = over.load(Ordering::SeqCst);
        let events = store.events(org, seen.len() as u64, 500).await.unwrap();
        if events.is_empty() && last {
            return seen;
        }
        for event in events {
            assert_eq!(event.meta.seq, seen.len() as u64 + 1, "a gap, or an event out of order");
            seen.push(event.meta.id);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// 16 writers on 4 organisations, a reader each that follows meanwhile.
pub async fn readers_see_exactly_what_was_committed(store: &Store) {
    let mut orgs = Vec::new();
    for i in 0..ORGANISATIONS {
        orgs.push(organisation(store, &format!("org-{i}")).await);
    }
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = orgs.iter().map(|org| tokio::spawn(follow(store.clone(), *org, over.clone()))).collect();
    let writers: Vec<_> =
        (0..WRITERS).map(|w| (w, tokio::spawn(write(store.clone(), orgs[w % ORGANISATIONS], w)))).collect();
    let mut committed = vec![BTreeSet::new(); ORGANISATIONS];
    for (w, writer) in writers {
        committed[w % ORGANISATIONS].extend(writer.await.unwrap());
    }
    over.store(true, Ordering::SeqCst);
    for (i, reader) in readers.into_iter().enumerate() {
        let seen = reader.await.unwrap();
        assert!(!seen.is_empty());
        assert_eq!(seen.len(), committed[i].len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), committed[i]);
    }
}

/// Of many who expect the same version of a stream, one wins each round.
pub async fn one_of_many_wins_a_version(store: &Store) {
    let org = organisation(store, "acme").await;
    for round in 0..5 {
        let attempts: Vec<_> = (0..8).map(|_| tokio::spawn(expecting(store.clone(), org, round))).collect();
        let mut won = 0;
        for attempt in attempts {
            won += usize::from(attempt.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

async fn expecting(store: Store, org: OrganisationId, version: u64) -> bool {
    let mut tx = store.begin(org, None).await.unwrap();
    let mut event = event("a");
    event.expected_version = Some(version);
    match tx.append(vec![event], &who(1)).await {
        Ok(_) => tx.commit().await.is_ok(),
        Err(StoreError::VersionConflict { .. }) => false,
        Err(other) => panic!("{other:?}"),
    }
}
