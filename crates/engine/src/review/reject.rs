//! Rejecting: all of a change set as wrong, or part of it, which is remembered and not proposed again.

use std::collections::HashMap;

use muster_domain::{
    documents::{ChangeSet, Feed},
    event::Body,
    fact::{Fact, Rejected, State},
    ids::{FeedNo, MemberNo},
    member::{ABSENT, Member, NAMED, Reason, Word},
    selection::Selection,
};
use muster_store::Tx;
use serde::Serialize;

use super::{Choice, comment_body, expect_waiting};
use crate::{
    Engine, Error, Organisation, Result,
    apply::{Application, Chunks, Deed},
    event,
    report::Report,
};

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

impl Remembered {
    /// What is remembered of a member's word.
    pub fn of(org: &Organisation, member: &Member, word: &Word) -> Remembered {
        Remembered {
            key: member.key.clone(),
            feed: org.feed_name(word.feed).to_owned(),
            field: match word.field {
                ABSENT => "absent".to_owned(),
                NAMED => "named".to_owned(),
                field => org.settings.fields.name(field).to_owned(),
            },
            value: word.value.clone(),
            since: muster_domain::ids::date_of(word.since),
            reason: word.reason,
        }
    }
}

/// What the transaction has done so far, which nobody can read from the store yet.
#[derive(Default)]
pub(super) struct Uncommitted {
    /// Members as they are now.
    pub members: HashMap<MemberNo, Member>,
    /// Changes added to the change set.
    pub chunks: Vec<(u32, Body)>,
}

/// What is rejected, and how.
pub(super) struct Rejection<'a> {
    /// Which changes.
    pub chosen: Selection,
    /// Whether they are remembered; of a change set that is wrong as a whole they are not.
    pub remembered: bool,
    /// Why.
    pub comment: Option<&'a str>,
    /// What the same transaction did before.
    pub before: Uncommitted,
}

impl Engine {
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
        self.reject_seen(slug, id, choice, comment, None).await
    }

    /// The same, if what waits is what was seen: it has this digest.
    ///
    /// # Errors
    /// [`Error::Stale`] if it has another.
    pub async fn reject_seen(
        &self,
        slug: &str,
        id: Option<&str>,
        choice: Choice,
        comment: Option<String>,
        digest: Option<&str>,
    ) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = async {
            let org = self.organisation(slug).await?;
            let set = self.find_change_set(&org, id).await?;
            expect_waiting(&set)?;
            if let Some(digest) = digest.filter(|digest| *digest != set.digest) {
                return Err(self.stale(&org, &set, digest, "rejected").await);
            }
            let everything = choice.is_everything();
            let chosen = match everything {
                true => set.waiting(),
                false => self.look_through(&org, &set, &choice, None).await?.chosen,
            };
            if chosen.is_empty() {
                return Err(Error::Wrong(
                    "No waiting change is meant by this choice; `muster changes show` lists them.".to_owned(),
                ));
            }
            let mut tx = self.store.begin(org.row.id, Some(&lease)).await?;
            let mut feeds = org.feeds.clone();
            let rejection = Rejection {
                chosen,
                remembered: !everything,
                comment: comment.as_deref(),
                before: Uncommitted::default(),
            };
            let set = self.reject_in(&mut tx, &org, &mut feeds, set, rejection).await?;
            self.finish_review(&mut tx, &org, &mut feeds, &set).await?;
            tx.commit().await?;
            self.review_report(&org, &set).await
        }
        .await;
        self.give_back(&lease, outcome).await
    }

    /// Rejections that are remembered.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn rejected(&self, org: &Organisation) -> Result<Vec<Remembered>> {
        let mut remembered = Vec::new();
        self.each_rejected(org, |member, word| remembered.push(Remembered::of(org, member, word))).await?;
        Ok(remembered)
    }

    /// Calls a function with every word that was rejected or undone and is remembered, member by member and sorted by feed and
    /// field.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn each_rejected(&self, org: &Organisation, mut visit: impl FnMut(&Member, &Word)) -> Result<()> {
        self.each_member(org.row.id, |member| {
            let words = member.words.iter().filter(|w| matches!(w.reason, Reason::Rejected | Reason::Undone));
            words.for_each(|word| visit(&member, word));
        })
        .await
    }

    /// Rejects in a transaction that goes on; whoever approved before it in the same one hands over what it did.
    pub(super) async fn reject_in(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        feeds: &mut [Feed],
        mut set: ChangeSet,
        rejection: Rejection<'_>,
    ) -> Result<ChangeSet> {
        let Rejection { chosen, remembered, comment, before } = rejection;
        let remembered = remembered && set.feed != FeedNo::HAND;
        let ctx = self.deciding_on(org, &set);
        let first_no = tx.head().await?.next_member;
        let rest = set.waiting().minus(&chosen);
        let left = self.digest_behind(org, &set, &rest, &before.chunks).await?;
        // Also where a field was left out of every change that was applied, in this transaction or before it.
        let any_applied = !set.applied.is_empty()
            || !before.members.is_empty()
            || rest.is_empty() && self.last_applied(org, &set).await?.is_some();
        let mut numbers = Vec::new();
        if remembered {
            let application = Application {
                engine: self,
                org: org.row.id,
                keys: &org.keys,
                ctx,
                selection: &chosen,
                deed: Deed::Reject,
                except_fields: &[],
            };
            for chunks in [Chunks::Stored(set.id), Chunks::Here(before.chunks)] {
                let effects = application.run_with(tx, &chunks, &before.members).await?;
                self.settle_feeds(tx, feeds, &effects, None).await?;
                numbers.extend(effects.numbers.ordinals());
            }
        }
        let rejected = Rejected {
            change_set: set.id,
            selection: chosen,
            remembered,
            absences: remembered,
            feed: set.feed,
            day: ctx.day,
            first_no,
            new_members: numbers.len() as u32,
            numbered: numbers.iter().copied().collect(),
            state: match (rest.is_empty(), any_applied) {
                (true, false) => State::Rejected,
                (true, true) => State::Applied,
                (false, _) => set.state,
            },
            rest: left,
        };
        let fact = Fact::Rejected(Box::new(rejected.clone()));
        tx.append(vec![event(&fact, comment_body(comment))], &self.who(set.upload.0)).await?;
        set.take_rejected(&rejected, &self.actor);
        Ok(set)
    }
}
