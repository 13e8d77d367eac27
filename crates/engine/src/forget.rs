//! Forgetting: one person's data erased from roster, log and originals, and kept from coming back.
//!
//! What is about the person is found first (`person`, `log`, `search`), then erased in one transaction (`erase`), and
//! then the files of originals go and the database is swept of traces. Killed in between, the same command finishes.

use std::collections::BTreeSet;

use muster_domain::{
    event::Body,
    fact::{Fact, State},
    forgotten::Block,
    ids::MemberNo,
    member::Member,
};
use muster_store::{Lease, StoreError};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result, crash, event, export::SLICE, lists::Which, members::Whom,
    organisation::put_feed,
};

mod erase;
mod log;
mod person;
mod search;

use log::Lines;
use person::Person;
use search::Originals;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct ForgetRequest {
    /// The person.
    pub key: Whom,
    /// Why, for the log; it must not say who.
    pub reason: Option<String>,
    /// Show what would go, and change nothing.
    pub dry_run: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The person is forgotten.
    Forgotten,
    /// The person had been forgotten before; what came since is gone too.
    AlreadyForgotten,
    /// It was only tried.
    DryRun,
    /// The person may come back.
    Lifted,
}

/// What the person was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// On the roster.
    Listed,
    /// On the roster once.
    Former,
    /// Named by a feed and never taken on.
    Declined,
    /// Named in change sets or originals alone.
    NeverListed,
}

/// What forgetting came to. It does not say who.
#[derive(Clone, Debug, Serialize)]
pub struct ForgetReport {
    /// What became of it.
    pub state: Outcome,
    /// What the person was.
    pub was: Standing,
    /// Rows of members erased: more than one where members had been linked.
    pub members: u64,
    /// Events that lost lines.
    pub events: u64,
    /// How many lines those were.
    pub lines: u64,
    /// Change sets that waited and proposed something for the person.
    pub change_sets: u64,
    /// Originals destroyed.
    pub originals: u64,
    /// How many of them because they could not be looked into.
    pub unreadable: u64,
    /// Identifiers by which nobody new is taken from a payload any more.
    pub blocked: u64,
    /// Whether the database has been swept of traces.
    pub swept: bool,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event when this was done: who reads what projections make waits for it to see this.
    pub seq: u64,
}

/// What is about somebody, found before anything is erased.
struct Plan {
    person: Person,
    was: Standing,
    originals: Originals,
    lines: Lines,
    blocks: BTreeSet<Block>,
    /// Whether the person was forgotten before.
    already: bool,
}

impl Engine {
    /// Forgets one person.
    ///
    /// # Errors
    /// If nothing is known of such a person, or the reason says who it is.
    pub async fn forget(&self, slug: &str, request: &ForgetRequest) -> Result<ForgetReport> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        // On the heap: whoever waits for this holds all that it works with on their stack.
        let outcome = Box::pin(self.forget_leased(&lease, slug, request)).await;
        let outcome = self.give_back(&lease, outcome).await;
        // It would wait for its own lease to be renewed.
        drop(lease);
        let mut report = outcome?;
        if !request.dry_run {
            crash::point("forget_originals");
            // The person is forgotten: what goes wrong from here on leaves traces, and undoes nothing.
            let traces = self.sweep_traces(&org).await;
            report.swept = report.swept && traces.unwrap_or_else(|e| left_behind(&e));
            report.seq = self.store.head(org.row.id).await.map_or(report.seq, |head| head.last_seq);
        }
        Ok(report)
    }

    async fn forget_leased(&self, lease: &Lease, slug: &str, request: &ForgetRequest) -> Result<ForgetReport> {
        let mut org = self.organisation(slug).await?;
        if !request.dry_run {
            self.finish_pending(lease, &org.row, None).await?;
            self.remove_destroyed(&org).await?;
            org = self.organisation(slug).await?;
        }
        let plan = self.plan(&org, &request.key).await?;
        if request.reason.as_deref().is_some_and(|why| plan.person.is_named_in(why)) {
            return Err(Error::Wrong(
                "The reason says who is to be forgotten, and it stays in the log; give one that names nobody."
                    .to_owned(),
            ));
        }
        let nothing = plan.person.members.is_empty() && plan.lines.by_event.is_empty();
        if nothing && plan.originals.uploads.is_empty() && !plan.already {
            return Err(self.unknown(&org, &request.key, &plan));
        }
        let mut report = self.forget_report(&org, &plan).await?;
        if request.dry_run {
            report.state = Outcome::DryRun;
            return Ok(report);
        }
        if !(nothing && plan.originals.uploads.is_empty()) {
            report.roster_version = self.erase(lease, &org, &plan, request.reason.as_deref()).await?;
            crash::point("forget_after_commit");
        }
        report.swept = match self.remove_destroyed(&org).await {
            Ok(_) => true,
            Err(e) => left_behind(&e),
        };
        Ok(report)
    }

    /// Clears what else knows of a person who was forgotten; whether no trace is left.
    async fn sweep_traces(&self, org: &Organisation) -> Result<bool> {
        let read_models = self.forget_in_read_models(org.row.id).await?;
        let answers = self.forget_in_answers(org.row.id).await?;
        Ok(read_models && answers && is_swept(self.store.sweep().await)?)
    }

    fn unknown(&self, org: &Organisation, key: &Whom, plan: &Plan) -> Error {
        Error::Unknown(match plan.person.others.is_empty() {
            true => format!(
                "Nobody is known as {key} in {}, now or formerly: not on the roster, not in a change set, not in an original.",
                org.row.slug
            ),
            false => {
                format!("{key} was once said of a member who is known otherwise now; name them by the key of now.")
            }
        })
    }

    async fn forget_report(&self, org: &Organisation, plan: &Plan) -> Result<ForgetReport> {
        let mut waiting = 0;
        for set in self.change_sets(org, Which::default()).await? {
            let theirs = plan.lines.changes.get(&set.id);
            let waits = matches!(set.state, State::Held | State::PartlyApplied);
            waiting += u64::from(waits && theirs.is_some_and(|t| t.iter().any(|o| set.waiting().contains(o))));
        }
        let head = self.store.head(org.row.id).await?;
        Ok(ForgetReport {
            state: if plan.already { Outcome::AlreadyForgotten } else { Outcome::Forgotten },
            was: plan.was,
            members: plan.person.members.len() as u64,
            events: plan.lines.by_event.len() as u64,
            lines: plan.lines.count(),
            change_sets: waiting,
            originals: plan.originals.uploads.len() as u64,
            unreadable: plan.originals.unreadable,
            blocked: plan.blocks.len() as u64,
            swept: false,
            roster_version: head.roster_version,
            seq: head.last_seq,
        })
    }

    /// Finds everything that is about the person; changes nothing.
    async fn plan(&self, org: &Organisation, key: &Whom) -> Result<Plan> {
        let (mut person, was) = match self.whom(org, key).await {
            Ok(member) => {
                let mut person = Person::default();
                person.take_member(&member);
                (person, standing(&member))
            }
            Err(e) => match (e, key) {
                (Error::Unknown(_), Whom::Known(text)) => (Person::known_as(text), Standing::NeverListed),
                (e, _) => return Err(e),
            },
        };
        while self.take_linked(org, &mut person).await? {}
        let found = self.store.idents(org.row.id, &person.hashes(&org.keys)).await?;
        let others: Vec<MemberNo> = found.iter().map(|i| i.1).filter(|no| !person.members.contains_key(no)).collect();
        self.members(org.row.id, &others).await?.values().for_each(|other| person.share_with(other));
        let originals = self.originals_with(org, &person).await?;
        let lines = self.lines_about(org, &person, &originals.lines).await?;
        let blocked = self.blocked(org).await?;
        let is_blocked = |text: &String| Block::meant_by(&org.keys, text).iter().any(|b| blocked.contains(b));
        let already = person.members.is_empty() && matches!(key, Whom::Known(text) if is_blocked(text));
        let blocks = person.blocks(&org.keys);
        Ok(Plan { person, was, originals, lines, blocks, already })
    }

    /// Takes over what the log says of the person; whether somebody was linked to them of whom it is still to be taken.
    async fn take_linked(&self, org: &Organisation, person: &mut Person) -> Result<bool> {
        let linked: Vec<MemberNo> = self.gather(org, person).await?.into_iter().collect();
        let is_linked = |m: &Member, person: &Person| {
            person.members.values().any(|uuid: &Uuid| m.key.ends_with(&format!("(linked to {uuid})")))
        };
        let mut more = false;
        for member in self.members(org.row.id, &linked).await?.values() {
            if is_linked(member, person) {
                person.take_member(member);
                more = true;
            }
        }
        Ok(more)
    }

    /// By what people who were forgotten would be known again.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn blocked(&self, org: &Organisation) -> Result<BTreeSet<Block>> {
        Ok(self.store.blocked(org.row.id).await?.into_iter().map(Block).collect())
    }

    /// Lets somebody who was forgotten come back: with the next payload that names them, or by hand.
    ///
    /// # Errors
    /// If nobody known by that was forgotten.
    pub async fn lift_forgetting(&self, slug: &str, key: &str, reason: Option<&str>) -> Result<u64> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = self.lift_leased(&lease, slug, key, reason).await;
        self.give_back(&lease, outcome).await
    }

    async fn lift_leased(&self, lease: &Lease, slug: &str, key: &str, reason: Option<&str>) -> Result<u64> {
        let org = self.organisation(slug).await?;
        if reason.is_some_and(|why| Person::known_as(key).is_named_in(why)) {
            return Err(Error::Wrong(
                "The reason says who comes back, and it stays in the log; give one that names nobody.".to_owned(),
            ));
        }
        let blocked = self.blocked(&org).await?;
        let meant: BTreeSet<Block> =
            Block::meant_by(&org.keys, key).into_iter().filter(|b| blocked.contains(b)).collect();
        if meant.is_empty() {
            return Err(Error::Unknown(format!(
                "Nobody known as {key} is kept from {slug}: there is nothing to lift."
            )));
        }
        // Whoever is blocked by one identifier is by the others too.
        let mut lifted = meant.clone();
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            for raw in slice.iter().filter(|raw| raw.kind() == Some("member.forgotten")) {
                if let Fact::Forgotten(forgotten) = Fact::read(&raw.clone().open()?.meta)?
                    && forgotten.blocked.iter().any(|b| meant.contains(b))
                {
                    lifted.extend(forgotten.blocked.iter().filter(|b| blocked.contains(b)));
                }
            }
        }
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.lift_blocked(&lifted.iter().map(|b| b.0).collect::<Vec<_>>()).await?;
        let fact = Fact::BlockLifted { blocked: lifted.iter().copied().collect() };
        tx.append(vec![event(&fact, reason_body(reason))], &self.who(Uuid::now_v7())).await?;
        for mut feed in org.feeds {
            feed.decided = None;
            put_feed(&mut tx, &feed).await?;
        }
        tx.commit().await?;
        Ok(lifted.len() as u64)
    }
}

/// Traces are left, and why is for whoever looks at the log: the person is forgotten all the same, and asking again clears them.
fn left_behind(error: &Error) -> bool {
    tracing::warn!(%error, "somebody was forgotten, and traces of them are left until they are forgotten once more");
    false
}

/// Whether traces are gone; not yet, if somebody else was in the database all the while.
pub(crate) fn is_swept(outcome: muster_store::Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(StoreError::Busy) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn standing(member: &Member) -> Standing {
    match (member.is_listed(), member.spells.is_empty()) {
        (true, _) => Standing::Listed,
        (false, false) => Standing::Former,
        (false, true) => Standing::Declined,
    }
}

fn reason_body(reason: Option<&str>) -> Option<Body> {
    let mut body = Body::default();
    body.push(*Uuid::new_v4().as_bytes(), serde_json::json!({ "reason": reason? }).to_string().as_bytes());
    Some(body)
}
