//! Reviews: change sets that wait, and what a reviewer decides about all or part of them.

use std::collections::HashMap;

use muster_domain::{
    change::{Change, Kind},
    digest::Identifier,
    documents::{ChangeSet, Upload},
    eligibility,
    event::Body,
    fact::{Applied, Fact, Rejected, State},
    fold,
    ids::{ChangeSetId, FeedNo, MemberNo},
    member::{ABSENT, Member, NAMED, Reason},
    normalise, rebase,
    selection::Selection,
};
use muster_store::{Lease, Tx};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result,
    apply::{Application, Chunks, Deed},
    event,
    organisation::put_feed,
    pipeline::{Report, put_change_set},
};

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

/// What a reviewer approves.
#[derive(Clone, Debug, Default)]
pub struct Approval {
    /// Which changes.
    pub choice: Choice,
    /// Whether the rest is rejected in the same breath.
    pub reject_rest: bool,
    /// The digest of what the reviewer saw.
    pub digest: Option<String>,
    /// How many removals the reviewer knows of.
    pub confirm_removals: Option<u64>,
    /// Why.
    pub comment: Option<String>,
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

/// A rejection that is remembered.
#[derive(Clone, Debug, Serialize)]
pub struct Remembered {
    /// The person's match key.
    pub key: String,
    /// Whose word was rejected.
    pub feed: String,
    /// The field; `named` for a person not taken onto the roster, `absent` for a removal.
    pub field: String,
    /// The rejected value.
    pub value: Option<String>,
    /// Since when.
    pub since: chrono::NaiveDate,
    /// Why the word is not the roster's value.
    pub reason: Reason,
}

impl Choice {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.except.is_empty() && self.kinds.is_empty() && self.except_fields.is_empty()
    }

    /// Whether a change is meant. An absence that the payload does not prove must be asked for by key or kind.
    fn takes(&self, change: &Change) -> bool {
        let named = |keys: &[String]| {
            let is = |k: &String| {
                let k = normalise::key(k);
                normalise::key(&change.key) == k
                    || change.old_key.as_deref().is_some_and(|old| normalise::key(old) == k)
            };
            keys.iter().any(is)
        };
        let asked = !self.only.is_empty() || self.kinds.contains(&change.kind);
        (self.only.is_empty() || named(&self.only))
            && !named(&self.except)
            && (self.kinds.is_empty() || self.kinds.contains(&change.kind))
            && (!change.unproven || asked)
            && (change.to.is_empty() || !change.to.iter().all(|(f, _)| self.leaves_out(f)))
    }

    fn leaves_out(&self, field: &str) -> bool {
        self.except_fields.iter().any(|f| f == field)
    }
}

/// The changes of a set that wait, looked through once.
struct Waiting {
    chosen: Selection,
    /// Chosen, and with a field left out.
    unfinished: Selection,
    removals: u64,
}

impl Engine {
    /// Change sets, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn change_sets(&self, org: &Organisation, state: Option<State>) -> Result<Vec<ChangeSet>> {
        let filter = muster_store::Filter { state: state.map(|s| s.word().to_owned()), ..Default::default() };
        let rows = self.store.change_sets(org.row.id, &filter).await?;
        rows.iter().map(|r| Ok(serde_json::from_slice(&r.doc)?)).collect()
    }

    /// A change set by id or the beginning of one; without, the newest that waits.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub async fn find_change_set(&self, org: &Organisation, id: Option<&str>) -> Result<ChangeSet> {
        let sets = self.change_sets(org, None).await?;
        let Some(id) = id else {
            let waits = |s: &ChangeSet| matches!(s.state, State::Held | State::PartlyApplied);
            return sets
                .into_iter()
                .find(waits)
                .ok_or_else(|| Error::Unknown("No change set waits for review.".to_owned()));
        };
        let id = id.trim().to_lowercase();
        let mut matching = sets.into_iter().filter(|s| s.id.to_string().starts_with(&id));
        match (matching.next(), matching.next()) {
            (Some(set), None) => Ok(set),
            (Some(_), Some(_)) => {
                Err(Error::Wrong(format!("More than one change set begins with {id}; give more of the id.")))
            }
            _ => Err(Error::Unknown(format!(
                "There is no change set {id}; `muster changes list` shows those there are."
            ))),
        }
    }

    /// Calls a function with every change of a change set, in order.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn each_change(
        &self,
        org: &Organisation,
        set: &ChangeSet,
        mut visit: impl FnMut(u32, Option<&Change>, Standing),
    ) -> Result<()> {
        let mut chunks = self.chunks(org.row.id, set.id);
        while let Some(group) = chunks.next(20).await? {
            for (first, body) in &group {
                for (i, line) in body.iter().enumerate() {
                    let ordinal = first + i as u32;
                    let change = line.map(Change::read).transpose()?;
                    visit(ordinal, change.as_ref(), standing(set, ordinal, change.is_none()));
                }
            }
        }
        Ok(())
    }

    /// Approves all or part of a change set.
    ///
    /// # Errors
    /// [`Error::Stale`] if the digest is no longer the change set's; if nothing of it waits or is meant.
    pub async fn approve(&self, slug: &str, id: Option<&str>, approval: Approval) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = self.approve_leased(&lease, slug, id, approval).await;
        self.store.release_lease(&lease).await?;
        outcome
    }

    async fn approve_leased(&self, lease: &Lease, slug: &str, id: Option<&str>, approval: Approval) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let set = self.find_change_set(&org, id).await?;
        expect_waiting(&set)?;
        let seen = set.digest.clone();
        let set = self.rebase(lease, &org, set).await?;
        if let Some(digest) = approval.digest.as_ref().filter(|d| **d != set.digest) {
            let moved = if *digest == seen {
                "the roster has moved on and changes dropped out"
            } else {
                "it is not the digest of what waits now"
            };
            return Err(Error::Stale(format!(
                "Nothing was approved: {moved}. {} of {} changes wait now, with the digest {}. Look at them with `muster changes show {}` and approve again.",
                set.waiting().len(),
                set.changes,
                set.digest,
                set.id,
            )));
        }
        expect_waiting(&set)?;
        let waiting = self.look_through(&org, &set, &approval.choice).await?;
        if waiting.chosen.is_empty() {
            return Err(Error::Wrong(
                "No waiting change is meant by this choice; `muster changes show` lists them.".to_owned(),
            ));
        }
        check_removals(&set, &approval, waiting.removals)?;
        self.apply_reviewed(lease, &org, set, &approval, waiting).await
    }

    /// Rejects all or part of a change set. All of it, with no choice, is "this file is wrong": nothing is remembered.
    ///
    /// # Errors
    /// If nothing of it waits or is meant.
    pub async fn reject(
        &self,
        slug: &str,
        id: Option<&str>,
        choice: Choice,
        comment: Option<String>,
    ) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = async {
            let org = self.organisation(slug).await?;
            let set = self.find_change_set(&org, id).await?;
            expect_waiting(&set)?;
            let everything = choice.is_everything();
            let chosen = match everything {
                true => set.waiting(),
                false => self.look_through(&org, &set, &choice).await?.chosen,
            };
            if chosen.is_empty() {
                return Err(Error::Wrong(
                    "No waiting change is meant by this choice; `muster changes show` lists them.".to_owned(),
                ));
            }
            let mut tx = self.store.begin(org.row.id, Some(&lease)).await?;
            let mut feeds = org.feeds.clone();
            let set = self.reject_in(&mut tx, &org, &mut feeds, set, chosen, !everything, comment.as_deref()).await?;
            self.finish_review(&mut tx, &org, &mut feeds, &set).await?;
            tx.commit().await?;
            self.review_report(&org, &set).await
        }
        .await;
        self.store.release_lease(&lease).await?;
        outcome
    }

    /// Rejections that are remembered.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn rejected(&self, org: &Organisation) -> Result<Vec<Remembered>> {
        let mut remembered = Vec::new();
        self.each_member(org.row.id, |member| {
            let words = member.words.iter().filter(|w| matches!(w.reason, Reason::Rejected | Reason::Undone));
            remembered.extend(words.map(|w| Remembered {
                key: member.key.clone(),
                feed: org.feed_name(w.feed).to_owned(),
                field: match w.field {
                    ABSENT => "absent".to_owned(),
                    NAMED => "named".to_owned(),
                    field => org.settings.fields.name(field).to_owned(),
                },
                value: w.value.clone(),
                since: muster_domain::ids::date_of(w.since),
                reason: w.reason,
            }));
        })
        .await?;
        Ok(remembered)
    }

    /// Compares what waits with the roster as it is now: what is already so drops out, and what conflicts.
    async fn rebase(&self, lease: &Lease, org: &Organisation, set: ChangeSet) -> Result<ChangeSet> {
        let head = self.store.head(org.row.id).await?;
        if head.roster_version == set.roster_version {
            return Ok(set);
        }
        let waiting = set.waiting();
        let (mut already_so, mut conflicts) = (Selection::default(), Selection::default());
        let mut digest = org.keys.digest();
        let mut chunks = self.chunks(org.row.id, set.id);
        while let Some(group) = chunks.next(20).await? {
            for (first, body) in &group {
                let lines = body.iter().enumerate().filter_map(|(i, line)| Some((first + i as u32, line?)));
                let lines: Vec<(u32, &[u8])> = lines.filter(|(o, _)| waiting.contains(*o)).collect();
                let changes = lines.iter().map(|(o, l)| Ok((*o, Change::read(l)?))).collect::<Result<Vec<_>>>()?;
                let members = self.members_of(org, &changes).await?;
                for ((ordinal, line), (_, change)) in lines.iter().zip(&changes) {
                    let member = members.get(ordinal);
                    match rebase::rebase(member, change, set.feed, &org.settings.fields) {
                        rebase::Standing::Holds => digest.add(line),
                        rebase::Standing::AlreadySo => already_so.insert(*ordinal),
                        rebase::Standing::Conflicts => conflicts.insert(*ordinal),
                    }
                }
            }
        }
        let digest = digest.finish();
        let fact =
            Fact::Rebased { change_set: set.id, already_so, conflicts, digest, roster_version: head.roster_version };
        let mut set = set;
        set.take_rebased(&fact);
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.append(vec![event(&fact, None)], &self.who(set.upload.0)).await?;
        put_change_set(&mut tx, &set).await?;
        tx.commit().await?;
        Ok(set)
    }

    /// The members that changes are about, by ordinal; for people new to the organisation whoever has their key by now.
    async fn members_of(&self, org: &Organisation, changes: &[(u32, Change<'_>)]) -> Result<HashMap<u32, Member>> {
        let mut numbers: Vec<MemberNo> = changes.iter().filter_map(|(_, c)| c.no).collect();
        let mut hashes: Vec<u64> = Vec::new();
        for (_, change) in changes.iter().filter(|(_, c)| c.no.is_none()) {
            hashes.push(org.keys.identifier(Identifier::Key, &change.key));
        }
        hashes.sort_unstable();
        let found = self.store.idents(org.row.id, &hashes).await?;
        numbers.extend(found.iter().map(|f| f.1));
        numbers.sort_unstable();
        numbers.dedup();
        let members = self.members(org.row.id, &numbers).await?;
        let by_key = |change: &Change| {
            let hash = org.keys.identifier(Identifier::Key, &change.key);
            let mut candidates = found.iter().filter(move |f| f.0 == hash).filter_map(|f| members.get(&f.1));
            candidates.find(|m| normalise::key(&m.key) == normalise::key(&change.key))
        };
        let of = |change: &Change| match change.no {
            Some(no) => members.get(&no),
            None => by_key(change),
        };
        Ok(changes.iter().filter_map(|(o, c)| Some((*o, of(c)?.clone()))).collect())
    }

    async fn look_through(&self, org: &Organisation, set: &ChangeSet, choice: &Choice) -> Result<Waiting> {
        let mut waiting = Waiting { chosen: Selection::default(), unfinished: Selection::default(), removals: 0 };
        self.each_change(org, set, |ordinal, change, standing| {
            let Some(change) = change.filter(|c| standing == Standing::Waiting && choice.takes(c)) else { return };
            waiting.chosen.insert(ordinal);
            waiting.removals += u64::from(change.kind == Kind::Remove);
            // Of somebody new the field cannot wait here: applied again, the change would bring a second person. The
            // feed's next payload proposes it again.
            if change.no.is_some() && change.to.iter().any(|(f, _)| choice.leaves_out(f)) {
                waiting.unfinished.insert(ordinal);
            }
        })
        .await?;
        Ok(waiting)
    }

    async fn apply_reviewed(
        &self,
        lease: &Lease,
        org: &Organisation,
        mut set: ChangeSet,
        approval: &Approval,
        waiting: Waiting,
    ) -> Result<Report> {
        let day = eligibility::today(&org.settings, self.now());
        let undo = !set.undoes.is_empty();
        let ctx = fold::Context {
            change_set: set.id,
            feed: set.feed,
            day,
            displaced: displaced(set.feed, undo),
            fields: &org.settings.fields,
        };
        let first_no = self.store.head(org.row.id).await?.next_member;
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        let application = Application {
            engine: self,
            org: org.row.id,
            keys: &org.keys,
            ctx,
            selection: &waiting.chosen,
            deed: Deed::Apply,
            except_fields: &approval.choice.except_fields,
        };
        let effects = application.run(&mut tx, &Chunks::Stored(set.id)).await?;
        let mut feeds = org.feeds.clone();
        self.settle_feeds(&mut tx, &mut feeds, &effects, None).await?;
        let rest = set.waiting().minus(&waiting.chosen.minus(&waiting.unfinished));
        let state = if rest.is_empty() { State::Applied } else { State::PartlyApplied };
        let applied = Applied {
            change_set: set.id,
            selection: waiting.chosen,
            feed: set.feed,
            day,
            displaced: ctx.displaced,
            first_no,
            new_members: effects.numbers.len() as u32,
            numbered: effects.numbers.iter().map(|n| n.0).collect(),
            roster_version: tx.bump_roster_version().await?,
            state,
            digest: set.digest.clone(),
            reviewed: true,
            except_fields: approval.choice.except_fields.clone(),
            unfinished: waiting.unfinished,
            rest: self.digest_of(org, &set, &rest).await?,
        };
        tx.append(
            vec![event(&Fact::Applied(Box::new(applied.clone())), comment_body(approval.comment.as_deref()))],
            &self.who(set.upload.0),
        )
        .await?;
        set.take_applied(&applied, &self.actor);
        self.note_undone(org, &mut feeds, &set).await?;
        if approval.reject_rest && !rest.is_empty() {
            set = self.reject_in(&mut tx, org, &mut feeds, set, rest, true, approval.comment.as_deref()).await?;
        }
        crate::crash::point("approve_before_commit");
        self.finish_review(&mut tx, org, &mut feeds, &set).await?;
        tx.commit().await?;
        crate::crash::point("approve_after_commit");
        self.review_report(org, &set).await
    }

    #[expect(clippy::too_many_arguments, reason = "one step of two transactions")]
    async fn reject_in(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        feeds: &mut [muster_domain::documents::Feed],
        mut set: ChangeSet,
        chosen: Selection,
        remembered: bool,
        comment: Option<&str>,
    ) -> Result<ChangeSet> {
        let day = eligibility::today(&org.settings, self.now());
        let ctx = fold::Context {
            change_set: set.id,
            feed: set.feed,
            day,
            displaced: displaced(set.feed, !set.undoes.is_empty()),
            fields: &org.settings.fields,
        };
        let mut effects = Default::default();
        let first_no = tx.head().await?.next_member;
        if remembered && set.feed != FeedNo::HAND {
            let application = Application {
                engine: self,
                org: org.row.id,
                keys: &org.keys,
                ctx,
                selection: &chosen,
                deed: Deed::Reject,
                except_fields: &[],
            };
            effects = application.run(tx, &Chunks::Stored(set.id)).await?;
            self.settle_feeds(tx, feeds, &effects, None).await?;
        }
        let rest = set.waiting().minus(&chosen);
        let state = match (rest.is_empty(), set.applied.is_empty()) {
            (true, true) => State::Rejected,
            (true, false) => State::Applied,
            (false, _) => set.state,
        };
        let rejected = Rejected {
            change_set: set.id,
            selection: chosen,
            remembered: remembered && set.feed != FeedNo::HAND,
            feed: set.feed,
            day,
            first_no,
            new_members: effects.numbers.len() as u32,
            numbered: effects.numbers.iter().map(|n| n.0).collect(),
            state,
            rest: self.digest_of(org, &set, &rest).await?,
        };
        tx.append(
            vec![event(&Fact::Rejected(Box::new(rejected.clone())), comment_body(comment))],
            &self.who(set.upload.0),
        )
        .await?;
        set.take_rejected(&rejected, &self.actor);
        Ok(set)
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
        let upload: Upload = serde_json::from_slice(&self.store.upload(org.row.id, set.upload).await?.doc)?;
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

    /// The digest of some changes of a set; none if there are none.
    async fn digest_of(&self, org: &Organisation, set: &ChangeSet, selection: &Selection) -> Result<Option<String>> {
        if selection.is_empty() {
            return Ok(None);
        }
        let mut digest = org.keys.digest();
        let mut chunks = self.chunks(org.row.id, set.id);
        while let Some(group) = chunks.next(20).await? {
            for (first, body) in &group {
                let lines = body.iter().enumerate().filter_map(|(i, line)| Some((first + i as u32, line?)));
                lines.filter(|(o, _)| selection.contains(*o)).for_each(|(_, line)| digest.add(line));
            }
        }
        Ok(Some(digest.finish()))
    }

    async fn review_report(&self, org: &Organisation, set: &ChangeSet) -> Result<Report> {
        let row = self.store.upload(org.row.id, set.upload).await?;
        self.report(org, &serde_json::from_slice(&row.doc)?).await
    }
}

/// Why words that a change set displaces are no longer the roster's value.
pub(crate) fn displaced(feed: FeedNo, undo: bool) -> Reason {
    match (feed, undo) {
        (_, true) => Reason::Undone,
        (FeedNo::HAND, false) => Reason::Pinned,
        _ => Reason::AnotherFeed,
    }
}

fn standing(set: &ChangeSet, ordinal: u32, erased: bool) -> Standing {
    match () {
        () if set.applied.contains(ordinal) => Standing::Applied,
        () if set.rejected.contains(ordinal) => Standing::Rejected,
        () if set.dropped.contains(ordinal) => Standing::Dropped,
        () if erased => Standing::Erased,
        () => Standing::Waiting,
    }
}

fn expect_waiting(set: &ChangeSet) -> Result<()> {
    if matches!(set.state, State::Held | State::PartlyApplied) && !set.waiting().is_empty() {
        return Ok(());
    }
    Err(Error::Wrong(format!("Nothing of change set {} waits: it is {}.", set.id, set.state.word())))
}

/// Where the guard on removals tripped, the reviewer must know how many people leave.
fn check_removals(set: &ChangeSet, approval: &Approval, removals: u64) -> Result<()> {
    let guarded = set.holds.iter().any(|h| h.guard == "removals" || h.guard == "removals_count");
    match approval.confirm_removals {
        Some(n) if n != removals => Err(Error::Wrong(format!(
            "Nothing was approved: {n} removals were confirmed and this would be {removals}."
        ))),
        None if guarded && removals > 0 => Err(Error::Wrong(format!(
            "Nothing was approved: this removes {removals} people and the guard on removals tripped. Add --confirm-removals {removals} if that is right, or --except/--kind to leave them out."
        ))),
        _ => Ok(()),
    }
}

fn comment_body(comment: Option<&str>) -> Option<Body> {
    let comment = comment?;
    let mut body = Body::default();
    body.push(*Uuid::new_v4().as_bytes(), serde_json::json!({ "comment": comment }).to_string().as_bytes());
    Some(body)
}

/// A change set's id, for callers that have only its text.
pub fn parse_id(id: &str) -> Option<ChangeSetId> {
    Uuid::parse_str(id).ok().map(ChangeSetId)
}
