//! What became of a change set since somebody looked at it: told to whoever decides on something that it is no longer.

use chrono::{DateTime, Utc};
use muster_domain::{documents::ChangeSet, fact::Fact, selection::Selection};
use serde::Serialize;

use crate::{Engine, Error, Organisation, Result, access::Names};

/// What happened to changes of a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// They were applied.
    Applied,
    /// They were rejected.
    Rejected,
    /// They dropped out: the roster says the same already.
    AlreadySo,
    /// They dropped out: they contradict what happened to the roster.
    Conflicting,
    /// Others stand in their place, since they would do something else than they said.
    Revised,
    /// A newer complete payload of the feed took the place of all of them.
    Superseded,
}

/// What happened to some changes of a change set, since it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Since {
    /// What.
    pub what: Became,
    /// To how many of them.
    pub changes: u32,
    /// When.
    pub at: DateTime<Utc>,
    /// Who decided it, as people are told; none where the roster did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Since {
    /// What happened, in words.
    pub fn sentence(since: &[Since]) -> String {
        if since.is_empty() {
            return "It never waited under the digest that was given.".to_owned();
        }
        let steps: Vec<String> = since.iter().map(Since::words).collect();
        format!("Since it was looked at, {}.", steps.join("; "))
    }

    fn words(&self) -> String {
        let (n, at) = (self.changes, self.at.format("%Y-%m-%d %H:%M:%S UTC"));
        let (changes, were) = if n == 1 { ("change", "was") } else { ("changes", "were") };
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        match self.what {
            Became::Applied => format!("{n} {changes} {were} applied{by} ({at})"),
            Became::Rejected => format!("{n} {changes} {were} rejected{by} ({at})"),
            Became::AlreadySo => format!("{n} {changes} dropped out, as the roster says the same by now ({at})"),
            Became::Conflicting => format!("{n} {changes} dropped out, as the roster has moved on ({at})"),
            Became::Revised => format!("{n} {changes} {were} compared anew, as the roster has moved on ({at})"),
            Became::Superseded => format!("a newer list took its place ({at})"),
        }
    }
}

impl Engine {
    /// What happened to a change set since it had that digest, in order; nothing if it never had it, or has it.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn since(&self, org: &Organisation, set: &ChangeSet, seen: &str) -> Result<Vec<Since>> {
        let (mut digest, mut known, mut since) = (String::new(), false, Vec::new());
        for event in self.store.stream_events_from(org.row.id, &set.id.stream(), set.created_seq).await? {
            let (now, at, actor) = (&mut digest, event.meta.recorded_at, event.meta.actor.as_str());
            let mut tell = |what, changes: &Selection, by: Option<&str>| {
                if !changes.is_empty() {
                    since.push(Since { what, changes: changes.len(), at, by: by.map(str::to_owned) });
                }
            };
            let before = now.clone();
            match Fact::read(&event.meta)? {
                Fact::Computed(computed) => now.clone_from(&computed.digest),
                Fact::Applied(applied) => {
                    tell(Became::Applied, &applied.selection, applied.reviewed.then_some(actor));
                    now.clone_from(applied.rest.as_ref().unwrap_or(&before));
                }
                Fact::Rejected(rejected) => {
                    tell(Became::Rejected, &rejected.selection, Some(actor));
                    now.clone_from(rejected.rest.as_ref().unwrap_or(&before));
                }
                Fact::Rebased { already_so, conflicts, revised, digest, .. } => {
                    tell(Became::AlreadySo, &already_so, None);
                    tell(Became::Conflicting, &conflicts, None);
                    tell(Became::Revised, &revised, None);
                    *now = digest;
                }
                Fact::Superseded { .. } => tell(Became::Superseded, &set.waiting(), None),
                _ => {}
            }
            // From here on it was what was seen, once more or for the first time.
            if digest != before && digest == seen {
                known = true;
                since.clear();
            }
        }
        if !known {
            since.clear();
        }
        self.by_name(org, since).await
    }

    /// With people called by name.
    async fn by_name(&self, org: &Organisation, mut since: Vec<Since>) -> Result<Vec<Since>> {
        let actors: Vec<&str> = since.iter().filter_map(|step| step.by.as_deref()).collect();
        let names: Names = self.names(org.row.id, &actors).await?;
        for by in since.iter_mut().filter_map(|step| step.by.as_mut()) {
            *by = names.of(by).to_owned();
        }
        Ok(since)
    }

    /// Why a decision is not carried out that names a digest which the change set no longer has. `done` is what was not done.
    pub(crate) async fn stale(&self, org: &Organisation, set: &ChangeSet, seen: &str, done: &str) -> Error {
        let since = match self.since(org, set, seen).await {
            Ok(since) => Since::sentence(&since),
            Err(e) => return e,
        };
        Error::Stale(format!(
            "Nothing was {done}. {since} {} of {} changes wait now, with the digest {}. Look at them with `muster changes show {}` \
             and decide again.",
            set.waiting().len(),
            set.changes,
            set.digest,
            set.id,
        ))
    }
}
