//! A feed cut at any byte never leads to an applied removal that the file does not prove.

use muster_domain::{
    fact::State,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{
    Engine, Error,
    pipeline::{Report, Request},
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const PEOPLE: usize = 30;

fn row(i: usize) -> String {
    format!("E{i:03},\"Last, {i}\",First{i},p{i}@example.com,\"Two\nlines {i}\",Team {}\n", i % 4)
}

fn payload(order: &[usize]) -> String {
    let rows: String = order.iter().map(|i| row(*i)).collect();
    format!("Employee ID,Last Name,First Name,Email,Location,Department\n{rows}")
}

async fn sync(engine: &Engine, bytes: &[u8], request: Request) -> Result<Report, Error> {
    let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..request };
    engine.sync("acme", request, &mut &*bytes).await
}

/// Every guard that could catch a removal is off: what is tried here is whether absence is believed.
async fn begin(dir: &std::path::Path) -> Engine {
    let url = format!("sqlite:{}", dir.join("m.db").display());
    let engine = Engine::open(&url, dir, "test").await.unwrap();
    let mut settings = Settings::default();
    for (key, value) in [
        ("guard.first_import", "off"),
        ("guard.removals.max_percent", "off"),
        ("guard.min_rows_percent", "off"),
        ("guard.blanked_field_percent", "off"),
    ] {
        settings.set(key, value).unwrap();
    }
    engine.create_organisation("acme", settings).await.unwrap();
    let everybody: Vec<usize> = (0..PEOPLE).collect();
    let report = sync(&engine, payload(&everybody).as_bytes(), Request::default()).await.unwrap();
    assert_eq!((report.state, report.counts.added), (State::Applied, PEOPLE as u64));
    engine
}

fn removes(outcome: &Result<Report, Error>) -> bool {
    matches!(outcome, Ok(r) if matches!(r.state, State::Applied | State::PartlyApplied) && r.counts.removed > 0)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn with_expect_rows_or_sha256_a_cut_never_removes(order in order(), cut in 0.0..1.0f64, by_hash: bool) {
        let whole = payload(&order);
        let cut = cut_at(&whole, cut);
        let mut request = Request::default();
        if by_hash {
            let hash = Sha256::digest(whole.as_bytes());
            request.expect_sha256 = Some(hash.iter().map(|b| format!("{b:02x}")).collect());
        } else {
            request.expect_rows = Some(PEOPLE as u64);
        }
        let outcome = runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let engine = begin(dir.path()).await;
            sync(&engine, cut, request).await
        });
        prop_assert!(!removes(&outcome), "{outcome:?}");
    }

    #[test]
    fn without_them_only_a_cut_between_rows_that_is_not_the_tail_of_last_time_removes(order in order(), cut in 0.0..1.0f64) {
        let whole = payload(&order);
        let cut = cut_at(&whole, cut);
        let outcome = runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let engine = begin(dir.path()).await;
            sync(&engine, cut, Request::default()).await
        });
        if removes(&outcome) {
            let text = String::from_utf8_lossy(cut);
            let left = (1..=PEOPLE).find(|n| payload(&order[..*n]) == text || payload(&order[..*n]).trim_end() == text);
            let left = left.expect("the cut is between rows");
            let mut missing: Vec<usize> = order[left..].to_vec();
            missing.sort_unstable();
            let tail: Vec<usize> = (PEOPLE - missing.len()..PEOPLE).collect();
            prop_assert!(missing.len() < 2 || missing != tail, "{outcome:?}");
        }
    }
}

/// The payload in the order of last time, or in any other.
fn order() -> impl Strategy<Value = Vec<usize>> {
    let everybody: Vec<usize> = (0..PEOPLE).collect();
    prop_oneof![Just(everybody.clone()), Just(everybody).prop_shuffle()]
}

fn cut_at(whole: &str, at: f64) -> &[u8] {
    &whole.as_bytes()[..(whole.len() as f64 * at) as usize]
}
