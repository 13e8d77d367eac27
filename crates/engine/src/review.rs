//! Reviews: change sets that wait, which of their changes are meant, and how far they are decided.

use muster_domain::{
    change::{Change, Kind},
    documents::ChangeSet,
    eligibility,
    event::Body,
    fact::State,
    fold,
    ids::FeedNo,
    member::Reason,
    normalise,
    selection::Selection,
};
use muster_store::Tx;
use serde::Serialize;
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result, organisation::put_feed, report::Report, seal::put_change_set};

mod approve;
mod losing;
mod rebase;
mod reject;
mod second;
mod since;

pub use approve::Approval;
pub(crate) use losing::LosingLately;
pub use losing::{Losing, Unconfirmed};
pub use reject::Remembered;
pub use second::{Approvals, FirstOfTwo};
pub use since::{Became, Since};

/// Which changes are meant; everything that waits, unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only people with these match keys.
    pub only: Vec<String>,
    /// Not people with these match keys.
    pub except: Vec<String>,
    /// Only changes of these kinds.
    pub kinds: Vec<Kind>,
    /// Not these fields.
    pub except_fields: Vec<String>,
}

/// How far a change is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It waits.
    Waiting,
    /// It is on the roster.
    Applied,
    /// It was rejected.
    Rejected,
    /// It no longer held.
    Dropped,
    /// The person was forgotten.
    Erased,
}

impl Choice {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.except.is_empty() && self.kinds.is_empty() && self.except_fields.is_empty()
    }

    /// The keys that it names, each of which must be that of somebody whom the change set is about.
    fn named(&self, org: &Organisation) -> Result<Vec<&str>> {
        if let Some(field) = self.except_fields.iter().find(|f| org.settings.fields.by_name(f).is_none()) {
            return Err(Error::Wrong(format!("There is no field {field}. Nothing was decided.")));
        }
        Ok(self.only.iter().chain(&self.except).map(String::as_str).collect())
    }

    /// Whether a change is meant. An absence that the payload does not prove must be asked for by key or kind.
    fn takes(&self, change: &Change) -> bool {
        let named = |keys: &[String]| keys.iter().any(|key| is_about(change, key));
        let asked = !self.only.is_empty() || self.kinds.contains(&change.kind);
        (self.only.is_empty() || named(&self.only))
            && !named(&self.except)
            && (self.kinds.is_empty() || self.kinds.contains(&change.kind))
            && (!change.unproven || asked)
            && (change.to.is_empty() || !change.to.iter().all(|(f, _)| self.leaves_out(f)))
    }

    /// The fields that are left out, as a change of its own that waits until the person is on the roster.
    fn left_out(&self, change: &Change) -> Change<'static> {
        let mut later = Change::new(Kind::Update, change.no, change.member, change.key.as_ref());
        later.line = change.line;
        for (field, value) in change.to.iter().filter(|(f, _)| self.leaves_out(f)) {
            let before = change.from.iter().find(|(f, _)| f == field).and_then(|(_, v)| v.clone());
            later.from.push((field.clone(), before));
            later.to.push((field.clone(), value.clone()));
        }
        later.raw = change.raw.iter().filter(|(f, _)| self.leaves_out(f)).cloned().collect();
        later.into_owned()
    }

    fn leaves_out(&self, field: &str) -> bool {
        self.except_fields.iter().any(|f| f == field)
    }
}

/// Whether a change is about whoever has this match key, or had it before the change.
pub fn is_about(change: &Change, key: &str) -> bool {
    let key = normalise::key(key);
    normalise::key(&change.key) == key || change.old_key.as_deref().is_some_and(|old| normalise::key(old) == key)
}

/// The changes of a set that wait, looked through once.
#[derive(Default)]
struct Waiting {
    chosen: Selection,
    /// Chosen, and with a field left out.
    unfinished: Selection,
    /// What is left out of changes that cannot be applied a second time, as changes of their own, by ordinal.
    later: Vec<(u32, Change<'static>)>,
    /// How many people the chosen ones make ineligible, if that was asked.
    losing: Losing,
}

impl Waiting {
    /// Notes a change that is meant.
    fn choose(&mut self, ordinal: u32, change: &Change, choice: &Choice) {
        self.chosen.insert(ordinal);
        if !change.to.iter().any(|(f, _)| choice.leaves_out(f)) {
            return;
        }
        // Applied again, these would bring a second person, or find what they change changed.
        if matches!(change.kind, Kind::Add | Kind::Reinstate) || change.spells.is_some() {
            self.later.push((ordinal, choice.left_out(change)));
        } else {
            self.unfinished.insert(ordinal);
        }
    }
}

impl Engine {
    /// Which of the changes that wait are meant and, where they are folded with something, how many people they make ineligible.
    async fn look_through(
        &self,
        org: &Organisation,
        set: &ChangeSet,
        choice: &Choice,
        ctx: Option<&fold::Context<'_>>,
    ) -> Result<Waiting> {
        let mut waiting = Waiting::default();
        let mut strangers = choice.named(org)?;
        let mut reading = self.changes_from(org, set, 0);
        while let Some(some) = reading.next().await? {
            let mut in_question = Vec::new();
            for read in some.iter(set) {
                let (ordinal, Some(change), standing) = read? else { continue };
                strangers.retain(|key| !is_about(&change, key));
                if standing != Standing::Waiting || !choice.takes(&change) {
                    continue;
                }
                waiting.choose(ordinal, &change, choice);
                let change = change.without(&choice.except_fields);
                in_question.extend(ctx.filter(|ctx| eligibility::may_cut_short(&change, ctx.fields)).map(|_| change));
            }
            if let Some(ctx) = ctx {
                self.count_losing(org, ctx, &in_question, &mut waiting.losing).await?;
            }
        }
        match strangers.first() {
            // Whoever meant somebody else would not want the rest to be decided either.
            Some(key) => Err(Error::Wrong(format!(
                "Nothing of change set {} is about {key}; see `muster changes show {}`. (What stands behind --only or \
                 --except is taken for match keys; the id of a change set comes before them.) Nothing was decided.",
                set.id, set.id
            ))),
            None => Ok(waiting),
        }
    }

    /// Writes the documents after a decision.
    async fn finish_review(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        feeds: &mut [muster_domain::documents::Feed],
        set: &ChangeSet,
    ) -> Result<()> {
        put_change_set(tx, set).await?;
        let upload = self.upload(org, set.upload).await?;
        self.put_upload_state(tx, org, set.upload, set.state, None, upload.counts).await?;
        let decided = !matches!(set.state, State::Held | State::PartlyApplied);
        for feed in feeds.iter_mut() {
            if feed.no == set.feed && decided && set.state == State::Applied {
                feed.accept(&upload.received, &set.baseline);
            }
            put_feed(tx, feed).await?;
        }
        Ok(())
    }

    /// The digest of some changes of a set, those of `more` at its end among them; none if there are none.
    pub(crate) async fn digest_of(
        &self,
        org: &Organisation,
        set: &ChangeSet,
        selection: &Selection,
        more: &[(u32, Body)],
    ) -> Result<Option<String>> {
        if selection.is_empty() {
            return Ok(None);
        }
        let mut digest = org.keys.digest();
        let mut add = |chunks: &[(u32, Body)]| {
            for (first, body) in chunks {
                let lines = body.iter().enumerate().filter_map(|(i, line)| Some((first + i as u32, line?)));
                lines.filter(|(o, _)| selection.contains(*o)).for_each(|(_, line)| digest.add(line));
            }
        };
        let mut chunks = self.chunks(org.row.id, set.id);
        while let Some(group) = chunks.next(20).await? {
            add(&group);
        }
        add(more);
        Ok(Some(digest.finish()))
    }

    /// The digest of a set behind a decision: of what is left or, where that says nothing of what was decided, another than it had.
    /// Whoever saw the set before has not seen what it has come to. None where all of it was decided at once.
    async fn digest_behind(
        &self,
        org: &Organisation,
        set: &ChangeSet,
        rest: &Selection,
        more: &[(u32, Body)],
    ) -> Result<Option<String>> {
        let left = self.digest_of(org, set, rest, more).await?;
        let in_parts = !set.applied.is_empty() || !set.rejected.is_empty();
        Ok(match left {
            None if in_parts => Some(decided(org, set, b"nothing waits")),
            // Of every change that waits a field was left out.
            Some(left) if left == set.digest => Some(decided(org, set, b"in part")),
            left => left,
        })
    }

    async fn review_report(&self, org: &Organisation, set: &ChangeSet) -> Result<Report> {
        self.report(org, &self.upload(org, set.upload).await?).await
    }
}

/// A digest that a set has not had.
fn decided(org: &Organisation, set: &ChangeSet, how: &[u8]) -> String {
    let mut digest = org.keys.digest();
    [how, set.digest.as_bytes()].into_iter().for_each(|part| digest.add(part));
    digest.finish()
}

/// Why words that a change set displaces are no longer the roster's value.
pub(crate) fn displaced(feed: FeedNo, undo: bool) -> Reason {
    match (feed, undo) {
        (_, true) => Reason::Undone,
        (FeedNo::HAND, false) => Reason::Pinned,
        _ => Reason::AnotherFeed,
    }
}

pub(crate) fn standing(set: &ChangeSet, ordinal: u32, erased: bool) -> Standing {
    match () {
        () if set.applied.contains(ordinal) => Standing::Applied,
        () if set.rejected.contains(ordinal) => Standing::Rejected,
        () if set.dropped.contains(ordinal) => Standing::Dropped,
        () if erased => Standing::Erased,
        () => Standing::Waiting,
    }
}

fn expect_waiting(set: &ChangeSet) -> Result<()> {
    if set.is_undecided() {
        return Ok(());
    }
    Err(Error::Wrong(format!("Nothing of change set {} waits: it is {}.", set.id, set.state.word())))
}

fn comment_body(comment: Option<&str>) -> Option<Body> {
    let comment = comment?;
    let mut body = Body::default();
    body.push(*Uuid::new_v4().as_bytes(), serde_json::json!({ "comment": comment }).to_string().as_bytes());
    Some(body)
}
