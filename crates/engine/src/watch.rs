//! Watching: which feeds have not sent what they were expected to send, recorded once, and that they have come back.

use chrono::{DateTime, Duration, Utc};
use muster_domain::{
    documents::{Feed, Upload},
    fact::{Fact, FeedOverdue, State},
    ids::UploadId,
    liveness::{Overdue, Verdict, Watched, came_for, due, judge},
    schedule::Expected,
};
use muster_store::{Filter, Lease, OrganisationRow, Who};
use serde::Serialize;
use uuid::Uuid;

use crate::{Engine, Organisation, Result, event, organisation::put_feed};

/// Uploads that are looked at together for the last that could be read.
const PAGE: u32 = 50;

/// A verdict, a recovery and another verdict: more cannot be recorded of one feed at one time.
const MOST_VERDICTS: usize = 2;

/// A feed that is expected, as it stands at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedWatch {
    /// The feed's name.
    pub feed: String,
    /// The last run, if there was one since it is expected.
    pub last_run: Option<DateTime<Utc>>,
    /// Whether a payload came for it.
    pub came: bool,
    /// The next run.
    pub next_run: Option<DateTime<Utc>>,
    /// When the last payload came that could be read.
    pub last_payload: Option<DateTime<Utc>>,
    /// The payload that is overdue, if one is.
    pub overdue: Option<Overdue>,
    /// When it will be overdue if nothing comes; none if it is already.
    #[serde(skip)]
    pub due: Option<DateTime<Utc>>,
    /// What was recorded about it now: `overdue` or `recovered`; both where it came back and failed again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<&'static str>,
}

/// When a feed's last payload came, and which it was.
#[derive(Clone, Copy, Default)]
struct Came {
    at: Option<DateTime<Utc>>,
    upload: Option<UploadId>,
    /// When one came that is still being worked on.
    in_work: Option<DateTime<Utc>>,
}

impl Came {
    fn watched<'a>(&self, feed: &Feed, expected: Option<&'a Expected>) -> Watched<'a> {
        // Nobody is late whose payload is just being worked on; but it may be refused, so nobody is back by it either.
        let last = if feed.overdue.is_some() { self.at } else { self.at.max(self.in_work) };
        Watched { expected, set_at: feed.expected_since, last, overdue: feed.overdue }
    }
}

impl Engine {
    /// Judges every feed of an organisation that is expected, and records which are overdue and which are no longer.
    /// Doing it again records nothing again.
    ///
    /// # Errors
    /// If the store refuses, or another process works on the organisation for long.
    pub async fn watch_feeds(&self, slug: &str, now: DateTime<Utc>) -> Result<Vec<FeedWatch>> {
        let org = self.organisation(slug).await?;
        if !self.is_verdict_due(&org, now).await? {
            return self.watched_feeds(&org, now).await;
        }
        let lease = self.lease(org.row.id).await?;
        let outcome = self.record_liveness(&lease, slug, now).await;
        self.give_back(&lease, outcome).await
    }

    /// The same, unless something is to be recorded and somebody else is working on the organisation: none then.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn watch_feeds_if_free(
        &self,
        row: &OrganisationRow,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<FeedWatch>>> {
        let org = self.load(row.clone()).await?;
        if !self.is_verdict_due(&org, now).await? {
            return self.watched_feeds(&org, now).await.map(Some);
        }
        let Some(lease) = self.lease_if_free(row.id).await? else { return Ok(None) };
        let outcome = self.record_liveness(&lease, &row.slug, now).await;
        self.give_back(&lease, outcome).await.map(Some)
    }

    async fn is_verdict_due(&self, org: &Organisation, now: DateTime<Utc>) -> Result<bool> {
        for feed in &org.feeds {
            if !self.verdicts(org, feed, now).await?.1.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How every feed of an organisation that is expected stands, or that is overdue by the log.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn watched_feeds(&self, org: &Organisation, now: DateTime<Utc>) -> Result<Vec<FeedWatch>> {
        let mut watches = Vec::new();
        for feed in &org.feeds {
            watches.extend(self.watch_of(org, feed, now).await?);
        }
        Ok(watches)
    }

    /// How a feed stands, as judged now; none if nothing is expected of it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn watch_of(&self, org: &Organisation, feed: &Feed, now: DateTime<Utc>) -> Result<Option<FeedWatch>> {
        let (expected, came) = self.expectation(org, feed).await?;
        if expected.is_none() && feed.overdue.is_none() {
            return Ok(None);
        }
        let (judged, _) = judged(feed, expected.as_ref(), &came, now);
        let last_run =
            expected.as_ref().and_then(|e| e.last_before(now)).filter(|run| feed.expected_since < Some(*run));
        Ok(Some(FeedWatch {
            feed: feed.settings.name.clone(),
            last_run,
            came: last_run.is_some_and(|run| came_for(came.at, run)),
            next_run: expected.as_ref().and_then(|e| e.next_after(now)),
            last_payload: came.at,
            overdue: judged.overdue,
            due: judged.overdue.is_none().then(|| due(&came.watched(&judged, expected.as_ref()))).flatten(),
            recorded: Vec::new(),
        }))
    }

    async fn record_liveness(&self, lease: &Lease, slug: &str, now: DateTime<Utc>) -> Result<Vec<FeedWatch>> {
        let org = self.organisation(slug).await?;
        let mut recorded = Vec::new();
        for feed in &org.feeds {
            let (feed, facts) = self.verdicts(&org, feed, now).await?;
            if !facts.is_empty() {
                recorded.push((feed, facts));
            }
        }
        let who = Who { now, ..self.who(Uuid::now_v7()) };
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        for (feed, facts) in &recorded {
            tx.append(facts.iter().map(|fact| event(fact, None)).collect(), &who).await?;
            put_feed(&mut tx, feed).await?;
        }
        tx.commit().await?;
        let mut watches = Vec::new();
        for feed in self.organisation(slug).await?.feeds {
            let words = recorded.iter().filter(|(f, _)| f.no == feed.no).flat_map(|(_, facts)| facts.iter().map(word));
            let words: Vec<&str> = words.collect();
            let watch = self.watch_of(&org, &feed, now).await?;
            let watch = watch.or_else(|| (!words.is_empty()).then(|| FeedWatch::unexpected(&feed.settings.name)));
            watches.extend(watch.map(|watch| FeedWatch { recorded: words, ..watch }));
        }
        Ok(watches)
    }

    /// What is to be recorded of a feed now, and its document with that folded in.
    async fn verdicts(&self, org: &Organisation, feed: &Feed, now: DateTime<Utc>) -> Result<(Feed, Vec<Fact>)> {
        let (expected, came) = self.expectation(org, feed).await?;
        Ok(judged(feed, expected.as_ref(), &came, now))
    }

    /// When a feed is expected, and when it came.
    async fn expectation(&self, org: &Organisation, feed: &Feed) -> Result<(Option<Expected>, Came)> {
        let expected = Expected::of(&feed.settings, &org.settings);
        let came = match expected.is_none() && feed.overdue.is_none() {
            true => Came::default(),
            false => self.last_came(org, feed).await?,
        };
        Ok((expected, came))
    }

    /// The last payload of a feed that could be read, whatever was decided about it.
    async fn last_came(&self, org: &Organisation, feed: &Feed) -> Result<Came> {
        let mut came = Came::default();
        let mut filter = Filter { feed: Some(feed.no), limit: PAGE, ..Filter::default() };
        loop {
            let page = self.store.uploads(org.row.id, &filter).await?;
            for row in &page {
                let upload: Upload = serde_json::from_slice(&row.doc)?;
                match upload.state {
                    State::Refused | State::DryRun => {}
                    State::Received => came.in_work = came.in_work.max(Some(upload.received_at)),
                    _ => {
                        (came.at, came.upload) = (Some(upload.received_at), Some(upload.received.upload));
                        return Ok(came);
                    }
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE as usize => filter.before = Some(last.arrival),
                _ => return Ok(came),
            }
        }
    }
}

impl FeedWatch {
    /// A feed of which nothing is expected any more.
    pub(crate) fn unexpected(name: &str) -> FeedWatch {
        FeedWatch {
            feed: name.to_owned(),
            last_run: None,
            came: false,
            next_run: None,
            last_payload: None,
            overdue: None,
            due: None,
            recorded: Vec::new(),
        }
    }
}

fn fact(feed: &Feed, verdict: Verdict, grace: Option<Duration>, came: &Came) -> Option<Fact> {
    let no = feed.no;
    match verdict {
        Verdict::Nothing => None,
        Verdict::Overdue(overdue) => Some(Fact::FeedOverdue(FeedOverdue {
            no,
            overdue,
            grace_minutes: grace.and_then(|g| u32::try_from(g.num_minutes()).ok()).unwrap_or_default(),
            last_payload: came.at,
        })),
        Verdict::Recovered { missed, by_payload } => {
            Some(Fact::FeedRecovered { no, missed, upload: came.upload.filter(|_| by_payload) })
        }
    }
}

fn word(fact: &Fact) -> &'static str {
    if matches!(fact, Fact::FeedOverdue(_)) { "overdue" } else { "recovered" }
}

/// The facts that judging a feed comes to, and its document with them folded in.
fn judged(feed: &Feed, expected: Option<&Expected>, came: &Came, now: DateTime<Utc>) -> (Feed, Vec<Fact>) {
    let (mut feed, mut facts) = (feed.clone(), Vec::new());
    for _ in 0..MOST_VERDICTS {
        let verdict = judge(&came.watched(&feed, expected), now);
        feed.overdue = match verdict {
            Verdict::Nothing => break,
            Verdict::Overdue(overdue) => Some(overdue),
            Verdict::Recovered { .. } => None,
        };
        facts.extend(fact(&feed, verdict, expected.map(Expected::grace), came));
    }
    (feed, facts)
}
