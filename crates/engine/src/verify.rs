//! Verifying: the log is folded again from its stored bytes and held against everything that is stored beside it.

use std::collections::{BTreeMap, BTreeSet};

use muster_domain::{
    access::INSTALLATION,
    codec,
    event::{GENESIS, chain},
    ids::{FeedNo, MemberNo, OrganisationId},
    replay::{Checked, Replay, ReplayError},
};
use muster_store::{Filter, IDENTS_PER_PAGE, Ident, MEMBERS_PER_PAGE, RawEvent};
use serde::Serialize;

use crate::{
    Engine, Organisation, Result,
    bits::Bits,
    export::SLICE,
    known::Known,
    rebuild::{self, Told},
    roster::{self, in_parallel},
};

/// How many differences are told.
const SHOWN: usize = 20;

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Events whose hashes and meaning are in order.
    pub events: u64,
    /// Members compared.
    pub members: u64,
    /// The first differences, a sentence each; none if all is well.
    pub differences: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    fn differs(&mut self, what: impl FnOnce() -> String) {
        if self.differences.len() < SHOWN {
            self.differences.push(what());
        }
    }

    fn same<T: PartialEq + std::fmt::Display>(&mut self, what: &str, stored: T, told: T) {
        if stored != told {
            self.differs(|| format!("Stored as the {what} is {stored}; the log says {told}."));
        }
    }

    /// Names the first field in which two documents differ.
    fn documents<T: PartialEq + Serialize>(&mut self, what: &str, stored: &T, told: &T) -> Result<()> {
        if stored != told {
            let field = first_field(&serde_json::to_value(stored)?, &serde_json::to_value(told)?);
            self.differs(|| format!("{what} is stored otherwise than the log says, in `{field}`."));
        }
        Ok(())
    }
}

impl Engine {
    /// Checks the hash chain, folds the log, and compares the result with what is stored, row for row.
    ///
    /// # Errors
    /// If the store cannot be read; what differs is no error but stands in the report.
    pub async fn verify(&self, org: &Organisation) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        self.verify_access(org.row.id, "this organisation's keys and roles", &mut report).await?;
        self.verify_access(INSTALLATION, "users", &mut report).await?;
        let Some(replay) = self.fold_for_verify(org, &mut report).await? else { return Ok(report) };
        self.compare_head(org, &replay, &mut report).await?;
        self.compare_documents(org, &replay, &mut report).await?;
        let told = self.compare_members(org, &replay, &mut report).await?;
        self.compare_idents(org, told.idents, &mut report).await?;
        for feed in replay.documents().feeds().keys() {
            self.compare_spoken(org, *feed, told.named.get(feed), &mut report).await?;
            self.compare_fingerprints(org, *feed, told.plain.get(feed), &mut report).await?;
        }
        Ok(report)
    }

    /// Folds the stored log; `None` if it breaks off at something that is wrong with it.
    async fn fold_for_verify(&self, org: &Organisation, report: &mut VerifyReport) -> Result<Option<Replay>> {
        let mut replay = Replay::new();
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let folded = tokio::task::block_in_place(|| -> Result<Result<(), String>> {
                for event in in_parallel(&slice, |raw| Ok(check(raw)))? {
                    if let Err(why) = event.and_then(|e| replay.take(e).map_err(|e| sentence(&e))) {
                        return Ok(Err(why));
                    }
                }
                Ok(Ok(()))
            })?;
            report.events = replay.last_seq();
            if let Err(why) = folded {
                report.differs(|| why);
                return Ok(None);
            }
        }
        Ok(Some(replay))
    }

    /// Checks the chain of a log of access, which is apart from the organisation's.
    async fn verify_access(&self, org: OrganisationId, of: &str, report: &mut VerifyReport) -> Result<()> {
        if !self.store.has_access() {
            return Ok(());
        }
        let access = self.store.access().await?;
        let Some(head) = access.head(org).await? else { return Ok(()) };
        let (mut seq, mut hash) = (0, GENESIS);
        loop {
            let slice = access.raw_events(org, seq, SLICE).await?;
            if slice.is_empty() {
                break;
            }
            for raw in slice {
                let whole = raw.open().ok().filter(|e| {
                    let root = e.body.as_ref().map_or([0; 32], muster_domain::event::Body::root);
                    e.meta.seq == seq + 1 && e.root == root && e.hash == chain(&hash, &e.meta_bytes, &root)
                });
                let Some(event) = whole else {
                    report.differs(|| format!("Event {} of the log of {of} is not what was written.", seq + 1));
                    return Ok(());
                };
                (seq, hash) = (seq + 1, event.hash);
            }
        }
        if (head.last_seq, head.hash) != (seq, hash) {
            report.differs(|| format!("The log of {of} does not end where its head says."));
        }
        Ok(())
    }

    async fn compare_head(&self, org: &Organisation, replay: &Replay, report: &mut VerifyReport) -> Result<()> {
        let head = self.store.head(org.row.id).await?;
        report.same("number of the last event", head.last_seq, replay.last_seq());
        if head.hash != *replay.last_hash() {
            report.differs(|| "Stored as the hash of the last event is another than the log's.".to_owned());
        }
        let at = replay.last_recorded_at();
        report.same("time of the last event", head.last_recorded_at.to_rfc3339(), at.to_rfc3339());
        report.same("roster version", head.roster_version, replay.roster_version());
        report.same("next member's number", head.next_member, replay.next_member());
        report.same("next arrival number", head.next_arrival, replay.documents().arrivals() + 1);
        Ok(())
    }

    async fn compare_documents(&self, org: &Organisation, replay: &Replay, report: &mut VerifyReport) -> Result<()> {
        let (id, told) = (org.row.id, replay.documents());
        report.same("organisation's slug", org.row.slug.as_str(), told.slug());
        let settings = match self.store.settings(id).await? {
            Some(doc) => serde_json::from_slice(&doc)?,
            None => muster_domain::settings::Settings::default(),
        };
        report.documents("The settings document", &settings, told.settings())?;
        let stored = self.store.feeds(id).await?;
        let rows = stored.iter().map(|f| (f.no, f.doc.as_slice()));
        let feeds = rebuild::feeds(replay).map(|feed| (feed.no, feed)).collect();
        compare_all("feed", |no: &FeedNo| no.0.to_string(), rows, &feeds, report)?;
        let all = Filter::default();
        let uploads = self.store.uploads(id, &all).await?;
        for row in uploads.iter().filter(|r| told.uploads().get(&r.id).is_some_and(|t| t.state.word() != r.state)) {
            report.differs(|| {
                format!("Upload {} is found in the state {}, which the log does not say.", row.id, row.state)
            });
        }
        let rows = uploads.iter().map(|u| (u.id, u.doc.as_slice()));
        compare_all("upload", ToString::to_string, rows, told.uploads(), report)?;
        let sets = self.store.change_sets(id, &all).await?;
        for row in sets.iter().filter(|r| told.change_sets().get(&r.id).is_some_and(|t| t.state.word() != r.state)) {
            report.differs(|| {
                format!("Change set {} is found in the state {}, which the log does not say.", row.id, row.state)
            });
        }
        let rows = sets.iter().map(|s| (s.id, s.doc.as_slice()));
        compare_all("change set", ToString::to_string, rows, told.change_sets(), report)?;
        self.compare_forgotten(org, replay, report).await
    }

    /// Who is kept from coming back, and that originals which the log says are destroyed are gone.
    async fn compare_forgotten(&self, org: &Organisation, replay: &Replay, report: &mut VerifyReport) -> Result<()> {
        if self.blocked(org).await? != *replay.documents().blocked() {
            report.differs(|| "Other people are kept from coming back than the log says were forgotten.".to_owned());
        }
        let destroyed = replay.documents().uploads().iter().filter(|(_, u)| u.destroyed.is_some());
        for (id, _) in destroyed.filter(|(id, _)| self.payloads.path(org.row.id, **id).exists()) {
            report.differs(|| {
                format!(
                    "The original of upload {id} is there, and the log says that it was destroyed; \
                     `muster retention run` removes it."
                )
            });
        }
        Ok(())
    }

    /// Compares rows in their packed form, and gathers what they say of identifiers and feeds.
    async fn compare_members(&self, org: &Organisation, replay: &Replay, report: &mut VerifyReport) -> Result<Told> {
        let mut told = Told::default();
        let mut first: MemberNo = 0;
        // One slice more than there are numbers, so that rows past the end are seen.
        while first <= replay.next_member() {
            let stored = roster::slice(&self.store, org.row.id, first / MEMBERS_PER_PAGE).await?;
            let end = first + roster::SLICE * MEMBERS_PER_PAGE;
            for no in first..end.min(replay.next_member()) {
                compare_row(org, no, stored.get(&no).map(Vec::as_slice), replay.packed(no), report);
            }
            for no in stored.range(replay.next_member().max(first)..).map(|(no, _)| no) {
                report.differs(|| format!("A row is stored for member {no}, whom the log does not know."));
            }
            report.members += told.gather(replay, &org.keys, first..end.min(replay.next_member()))?;
            first = end;
        }
        told.sort();
        Ok(told)
    }

    /// Everybody is found by everything by which they can be recognised; identifiers that they no longer have may stay.
    async fn compare_idents(&self, org: &Organisation, told: Vec<Ident>, report: &mut VerifyReport) -> Result<()> {
        for part in told.chunks(IDENTS_PER_PAGE * 16) {
            let mut wanted: Vec<u64> = part.iter().map(|i| i.0).collect();
            wanted.dedup();
            let mut found = self.store.idents(org.row.id, &wanted).await?;
            found.sort_unstable();
            for (_, no) in part.iter().filter(|ident| found.binary_search(ident).is_err()) {
                report.differs(|| format!("Member {no} is not found by one of their identifiers."));
            }
        }
        Ok(())
    }

    async fn compare_spoken(
        &self,
        org: &Organisation,
        feed: FeedNo,
        told: Option<&Bits>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let stored = self.named(org.row.id, feed).await?;
        let none = Bits::default();
        let told = told.unwrap_or(&none);
        if let Some(no) = stored.minus(told).next() {
            report
                .differs(|| format!("Feed {} is stored as naming member {no}; the log says that it does not.", feed.0));
        }
        if let Some(no) = told.minus(&stored).next() {
            report
                .differs(|| format!("Feed {} is not stored as naming member {no}; the log says that it does.", feed.0));
        }
        Ok(())
    }

    /// A known row says nothing new, so its member is claimed by the feed, which did not last leave them out.
    async fn compare_fingerprints(
        &self,
        org: &Organisation,
        feed: FeedNo,
        plain: Option<&Bits>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let Some(known) = Known::load(&self.store, org.row.id, feed).await? else { return Ok(()) };
        let mut seen = BTreeSet::new();
        for (_, no) in known.entries().filter(|(_, no)| !plain.is_some_and(|p| p.contains(*no))) {
            if seen.insert(no) && seen.len() <= SHOWN {
                report.differs(|| {
                    format!("Feed {} has a fingerprint of member {no}, of whom its rows say something new.", feed.0)
                });
            }
        }
        Ok(())
    }
}

/// Opens an event and checks its lines.
fn check(raw: &RawEvent) -> std::result::Result<Checked, String> {
    let seq = raw.seq;
    let event = raw.clone().open().map_err(|e| format!("Event {seq} cannot be read: {e}."))?;
    Checked::new(event).map_err(|e| sentence(&e))
}

fn sentence(error: &ReplayError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

fn compare_row(
    org: &Organisation,
    no: MemberNo,
    stored: Option<&[u8]>,
    told: Option<&[u8]>,
    report: &mut VerifyReport,
) {
    match (stored, told) {
        (None, Some(_)) => report.differs(|| format!("Member {no} has no stored row; the log knows them.")),
        (Some(_), None) => report.differs(|| format!("A row is stored for member {no}, whom the log does not know.")),
        (Some(stored), Some(told)) if stored != told => {
            report.differs(|| {
                format!(
                    "The stored row of member {no} is not what the log says: {}.",
                    row_difference(org, no, stored, told)
                )
            });
        }
        _ => {}
    }
}

/// Where two rows of a member differ, without saying what stands there.
fn row_difference(org: &Organisation, no: MemberNo, stored: &[u8], told: &[u8]) -> String {
    let (Ok(stored), Ok(told)) = (codec::decode(no, stored), codec::decode(no, told)) else {
        return "it cannot be read".to_owned();
    };
    let fields = &org.settings.fields;
    if let Some(field) = fields.all().find(|f| stored.values.get(*f) != told.values.get(*f)) {
        return format!("it differs in `{}`", fields.name(field));
    }
    let parts = [
        (stored.uuid != told.uuid, "the identity"),
        (stored.key != told.key, "the match key"),
        (stored.aliases != told.aliases, "old match keys"),
        (stored.spells != told.spells, "claims"),
        (stored.words != told.words, "what feeds last said"),
    ];
    let named: Vec<&str> = parts.iter().filter(|(differs, _)| *differs).map(|(_, name)| *name).collect();
    format!("it differs in {}", if named.is_empty() { "its form".to_owned() } else { named.join(" and ") })
}

fn compare_all<'d, K: Ord + Copy, T: PartialEq + Serialize + serde::de::DeserializeOwned>(
    what: &str,
    name: impl Fn(&K) -> String,
    stored: impl Iterator<Item = (K, &'d [u8])>,
    told: &BTreeMap<K, T>,
    report: &mut VerifyReport,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (key, doc) in stored {
        seen.insert(key);
        match (told.get(&key), serde_json::from_slice::<T>(doc)) {
            (None, _) => report.differs(|| format!("The {what} {} is stored; the log does not know it.", name(&key))),
            (_, Err(_)) => report.differs(|| format!("The document of {what} {} cannot be read.", name(&key))),
            (Some(told), Ok(stored)) => {
                report.documents(&format!("The {what} {}", name(&key)), &stored, told)?;
            }
        }
    }
    for key in told.keys().filter(|k| !seen.contains(k)) {
        report.differs(|| format!("The {what} {} is not stored; the log knows it.", name(key)));
    }
    Ok(())
}

/// The path of the first field in which two JSON documents differ.
fn first_field(one: &serde_json::Value, other: &serde_json::Value) -> String {
    let (Some(a), Some(b)) = (one.as_object(), other.as_object()) else { return String::new() };
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let Some(key) = keys.into_iter().find(|k| a.get(*k) != b.get(*k)) else { return String::new() };
    match (a.get(key), b.get(key)) {
        (Some(x), Some(y)) if x.is_object() && y.is_object() => format!("{key}.{}", first_field(x, y)),
        _ => key.clone(),
    }
}
