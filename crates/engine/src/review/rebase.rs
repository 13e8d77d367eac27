//! Rebasing: what waits is compared with the roster as it is now, before anybody approves it or looks at it.

use std::collections::HashMap;

use muster_domain::{
    change::Change, diff, digest::Identifier, documents::ChangeSet, eligibility, event::Body, fact::Fact,
    ids::MemberNo, member::Member, normalise, rebase, selection::Selection,
};
use muster_store::{Lease, Tx};

use crate::{Engine, Organisation, Result, event, recorder::Recorder, seal::put_change_set, spill::prepare};

/// What has become of the changes that wait.
#[derive(Default)]
struct Sorted {
    already_so: Selection,
    conflicts: Selection,
    revised: Selection,
    /// What the revised ones come to now.
    chunks: Vec<(u32, Body)>,
    digest: String,
}

impl Engine {
    /// A change set as it stands now: where the roster has moved on, what waits is compared with it before.
    ///
    /// # Errors
    /// If there is none of that id (or, without one, none that waits), or the store refuses.
    pub async fn look(&self, org: &Organisation, id: Option<&str>) -> Result<ChangeSet> {
        loop {
            let set = self.find_change_set(org, id).await?;
            let head = self.store.head(org.row.id).await?;
            if !set.is_undecided() || set.roster_version == head.roster_version {
                return Ok(set);
            }
            // Whoever only looks does not wait for somebody else's work to end: it is shown as it was last compared.
            let Ok(lease) = self.lease(org.row.id).await else { return Ok(set) };
            let looked = self.rebase_now(&lease, org, &set).await;
            let set = self.give_back(&lease, looked).await?;
            if id.is_some() || set.is_undecided() {
                return Ok(set);
            }
        }
    }

    /// Under the lease, the change set is read anew: it may have been decided meanwhile.
    async fn rebase_now(&self, lease: &Lease, org: &Organisation, set: &ChangeSet) -> Result<ChangeSet> {
        let set = self.change_set(org, set.id).await?;
        if set.is_undecided() { self.rebase(lease, org, set).await } else { Ok(set) }
    }

    /// What is already so drops out, and what conflicts; what would do something else than it says is put anew. If
    /// nothing is left, the change set ends.
    pub(super) async fn rebase(&self, lease: &Lease, org: &Organisation, mut set: ChangeSet) -> Result<ChangeSet> {
        let head = self.store.head(org.row.id).await?;
        if head.roster_version == set.roster_version {
            return Ok(set);
        }
        let sorted = self.sort(org, &set).await?;
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        if !sorted.chunks.is_empty() {
            tx.append_prepared(prepare(set.id, &sorted.chunks)?, &self.who(set.upload.0)).await?;
        }
        let fact = Fact::Rebased {
            change_set: set.id,
            already_so: sorted.already_so,
            conflicts: sorted.conflicts,
            added: sorted.revised.len(),
            revised: sorted.revised,
            digest: sorted.digest,
            roster_version: head.roster_version,
            state: None,
        };
        self.record_rebased(&mut tx, org, &mut set, fact).await?;
        tx.commit().await?;
        Ok(set)
    }

    /// Appends what dropped out of a change set, and ends the change set if nothing is left of it.
    pub(crate) async fn record_rebased(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        set: &mut ChangeSet,
        mut fact: Fact,
    ) -> Result<()> {
        set.take_rebased(&fact);
        let ended = set.ended();
        if let Fact::Rebased { state, .. } = &mut fact {
            *state = ended;
        }
        set.state = ended.unwrap_or(set.state);
        tx.append(vec![event(&fact, None)], &self.who(set.upload.0)).await?;
        put_change_set(tx, set).await?;
        if let Some(state) = ended {
            let upload = self.upload(org, set.upload).await?;
            self.put_upload_state(tx, org, set.upload, state, None, upload.counts).await?;
        }
        Ok(())
    }

    /// Takes changes that wait out of a change set: they hold no longer. The digest is that of what is left.
    ///
    /// # Errors
    /// If the store refuses.
    pub(crate) async fn take_out(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        mut set: ChangeSet,
        conflicts: Selection,
        digest: String,
    ) -> Result<()> {
        let fact = Fact::Rebased {
            change_set: set.id,
            already_so: Selection::default(),
            conflicts,
            revised: Selection::default(),
            added: 0,
            digest,
            roster_version: set.roster_version,
            state: None,
        };
        self.record_rebased(tx, org, &mut set, fact).await
    }

    async fn sort(&self, org: &Organisation, set: &ChangeSet) -> Result<Sorted> {
        let (priorities, speaks) = (org.priorities(), org.speaks());
        let ctx = diff::Context {
            feed: set.feed,
            priorities: &priorities,
            speaks: &speaks,
            empty_clears: true,
            match_field: org.settings.match_key.field(),
            fields: &org.settings.fields,
            today: eligibility::today(&org.settings, self.now()),
            ask_again_days: org.settings.ask_again_days,
        };
        let waiting = set.waiting();
        let mut sorted = Sorted::default();
        let mut anew = Recorder::new(&org.keys);
        let mut digest = org.keys.digest();
        let mut chunks = self.chunks(org.row.id, set.id);
        while let Some(group) = chunks.next(20).await? {
            for (first, body) in &group {
                let lines = body.iter().enumerate().filter_map(|(i, line)| Some((first + i as u32, line?)));
                let lines: Vec<(u32, &[u8])> = lines.filter(|(o, _)| waiting.contains(*o)).collect();
                let changes = lines.iter().map(|(o, l)| Ok((*o, Change::read(l)?))).collect::<Result<Vec<_>>>()?;
                let members = self.members_of(org, &changes).await?;
                for ((ordinal, line), (_, change)) in lines.iter().zip(&changes) {
                    match rebase::rebase(members.get(ordinal), change, set.mode, &ctx) {
                        rebase::Standing::Holds => digest.add(line),
                        rebase::Standing::AlreadySo => sorted.already_so.insert(*ordinal),
                        rebase::Standing::Conflicts => sorted.conflicts.insert(*ordinal),
                        rebase::Standing::Revised(now) => {
                            sorted.revised.insert(*ordinal);
                            anew.push(&now);
                        }
                    }
                }
            }
        }
        sorted.chunks = anew.take_rest().into_iter().map(|(at, body)| (set.changes + at, body)).collect();
        sorted.chunks.iter().for_each(|(_, body)| digest.add_lines(&body.lines));
        sorted.digest = digest.finish();
        Ok(sorted)
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
}
