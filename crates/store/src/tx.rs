//! A writing transaction of one organisation: everything in it happens, or nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_domain::event::{Hash, NewEvent};
use muster_domain::ids::{FeedNo, MemberNo, OrganisationId, UploadId};

use crate::body::EncodedBody;
use crate::connect::{Conn, Store, Writing};
use crate::document::{ChangeSetRow, FeedRow, UploadRow};
use crate::error::{Result, StoreError};
use crate::forgotten::BlockHash;
use crate::ident::Ident;
use crate::lease::Lease;
use crate::log::{Appended, Imported, KeyedAppend, Prepared, Who};
use crate::organisation::{Head, Secret};
use crate::{document, fingerprint, forgotten, ident, lease, log, organisation, roster};

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind; after a failed call it cannot be committed.
pub struct Tx {
    org: OrganisationId,
    lease: Option<Lease>,
    open: Option<Writing>,
}

impl Store {
    /// Begins a transaction of an organisation. With a lease, it commits only while the lease's token is the current one.
    pub async fn begin(&self, org: OrganisationId, lease: Option<&Lease>) -> Result<Tx> {
        if lease.is_some_and(|l| l.organisation != org) {
            return Err(StoreError::LeaseLost);
        }
        let mut tx = Tx { org, lease: lease.cloned(), open: Some(self.writing().await?) };
        if let Some(lease) = lease {
            // Looked at now, so that no work is done in vain, and held on commit.
            let current = lease::is_current(&mut tx.conn()?, lease).await?;
            if !current {
                return Err(StoreError::LeaseLost);
            }
        }
        Ok(tx)
    }

    /// Takes the lease on an organisation for `ttl`, unless another holds it. `holder` is only for people to read.
    pub async fn acquire_lease(&self, org: OrganisationId, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        let mut writing = self.writing().await?;
        let lease = lease::acquire(&mut writing.conn(), org, holder, ttl).await?;
        writing.commit().await?;
        Ok(lease)
    }

    /// Who holds the organisation's lease, if its time is not over.
    pub async fn lease_holder(&self, org: OrganisationId) -> Result<Option<String>> {
        lease::holder(&mut self.reading().await?.conn(), org).await
    }

    /// Ends the lease of a holder who is known to be dead, so that nobody has to wait for its time to be over.
    pub async fn bury_lease(&self, org: OrganisationId, holder: &str) -> Result<()> {
        let mut writing = self.writing().await?;
        lease::bury(&mut writing.conn(), org, holder).await?;
        writing.commit().await
    }

    /// Prolongs a lease; [`StoreError::LeaseLost`] if another has taken it.
    pub async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        let mut writing = self.writing().await?;
        lease::renew(&mut writing.conn(), lease, ttl).await?;
        writing.commit().await
    }

    /// Gives a lease back; nothing happens if another has taken it.
    pub async fn release_lease(&self, lease: &Lease) -> Result<()> {
        let mut writing = self.writing().await?;
        lease::release(&mut writing.conn(), lease).await?;
        writing.commit().await
    }
}

/// Declares writes: each is about the transaction's organisation.
macro_rules! writes {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty = $call:path;)*) => {
        impl Tx {
            $($(#[$doc])* pub async fn $name(&mut self, $($arg: $ty),*) -> Result<$out> {
                let org = self.org;
                let outcome = $call(&mut self.conn()?, org, $($arg),*).await;
                self.note(outcome)
            })*
        }
    };
}

writes! {
    /// Makes the organisation of this transaction.
    create_organisation(slug: &str, secret: &Secret, created_at: DateTime<Utc>) -> () = organisation::create;
    /// Appends events whose bodies are encoded already.
    append_prepared(events: Vec<Prepared>, who: &Who) -> Vec<Appended> = log::append;
    /// Appends once: the same key with the same content gets the first answer again, with other content
    /// [`StoreError::KeyConflict`].
    append_keyed(key: &str, content: &Hash, events: Vec<Prepared>, who: &Who) -> KeyedAppend = log::append_keyed;
    /// Takes over events of another log as they are; the head does not move.
    import_events(events: Vec<Imported>) -> () = log::import;
    /// Says where the log and the counters stand, after a log was taken over.
    set_head(head: &Head) -> () = organisation::set_head;
    /// Puts a body with erased lines in place of an event's; the root must be the same.
    replace_body(seq: u64, body: &EncodedBody) -> () = log::replace_body;
    /// Writes the settings document.
    put_settings(doc: &[u8]) -> () = document::put_settings;
    /// Writes a feed.
    put_feed(feed: &FeedRow) -> () = document::put_feed;
    /// Writes an upload; [`StoreError::KeyConflict`] if another has its idempotency key, which it keeps as it came.
    put_upload(upload: &UploadRow) -> () = document::put_upload;
    /// Takes an upload's idempotency key away from it, for another.
    free_upload_key(id: UploadId) -> () = document::free_upload_key;
    /// Writes a change set.
    put_change_set(change_set: &ChangeSetRow) -> () = document::put_change_set;
    /// Waits for whoever is appending, and lets nobody append until the transaction ends.
    take_head() -> () = log::take_head;
    /// The next upload's arrival number.
    next_arrival() -> u64 = organisation::next_arrival;
    /// Counts one more applied change set, and says the new roster version.
    bump_roster_version() -> u64 = organisation::bump_roster_version;
    /// Sets `n` member numbers aside, and says the first.
    reserve_members(n: u32) -> MemberNo = organisation::reserve_members;
    /// Writes newer rows of members.
    put_members(rows: Vec<(MemberNo, Vec<u8>)>) -> () = roster::put_members;
    /// Writes pages of the roster.
    put_roster_pages(pages: Vec<(u32, Vec<u8>)>) -> () = roster::put_roster_pages;
    /// Deletes all newer rows, after folding them into their pages.
    clear_member_delta() -> () = roster::clear_member_delta;
    /// Deletes pages and newer rows, before a rebuild.
    clear_roster() -> () = roster::clear_roster;
    /// Writes sorted identifiers as pages from `first_page` on, and says which page comes next.
    put_ident_pages(first_page: u32, sorted: &[Ident]) -> u32 = ident::put_ident_pages;
    /// Writes newer words on identifiers: hash, member, whether it holds.
    put_idents(words: &[(u64, MemberNo, bool)]) -> () = ident::put_idents;
    /// Deletes all identifiers, before a rebuild.
    clear_idents() -> () = ident::clear_idents;
    /// Begins a feed's fingerprints anew, without any.
    put_fingerprints(feed: FeedNo, layout: &[u8]) -> () = fingerprint::put_fingerprints;
    /// Adds pages of fingerprints from a page number on.
    add_fingerprint_pages(feed: FeedNo, first: u32, pages: Vec<Vec<u8>>) -> () = fingerprint::add_fingerprint_pages;
    /// Adds newer fingerprints, and says how often that was done since the pages were made; 0 if the feed has none to add to.
    add_fingerprint_delta(feed: FeedNo, body: Vec<u8>) -> u64 = fingerprint::add_fingerprint_delta;
    /// Puts newer fingerprints in place of all that were added.
    put_fingerprint_delta(feed: FeedNo, body: Vec<u8>) -> () = fingerprint::put_fingerprint_delta;
    /// Deletes a feed's fingerprints.
    drop_fingerprints(feed: FeedNo) -> () = fingerprint::drop_fingerprints;
    /// Blocks who would be known by these.
    put_blocked(blocks: &[BlockHash]) -> () = forgotten::put_blocked;
    /// Blocks them no longer.
    lift_blocked(blocks: &[BlockHash]) -> () = forgotten::lift_blocked;
    /// Deletes a member's newer row; their page is the caller's to rewrite.
    drop_member(no: MemberNo) -> () = forgotten::drop_member;
    /// Deletes everything by which a member is found, now or formerly.
    drop_idents(no: MemberNo) -> () = forgotten::drop_idents;
    /// Puts one page of what is stored of a feed's last payload, and leaves the others.
    put_feed_page(feed: FeedNo, page: u32, body: Vec<u8>) -> () = fingerprint::put_feed_page;
    /// Puts pages in place of all that is stored of a feed's last payload.
    put_feed_pages(feed: FeedNo, pages: Vec<Vec<u8>>) -> () = fingerprint::put_feed_pages;
    /// Adds pages behind those that are there, from a number on.
    add_feed_pages(feed: FeedNo, first: u32, pages: Vec<Vec<u8>>) -> () = fingerprint::add_feed_pages;
}

impl Tx {
    /// The organisation that it is about.
    pub fn organisation(&self) -> OrganisationId {
        self.org
    }

    /// Appends events; their bodies are hashed and packed here.
    pub async fn append(&mut self, events: Vec<NewEvent>, who: &Who) -> Result<Vec<Appended>> {
        let prepared = events.into_iter().map(Prepared::try_from).collect::<Result<Vec<_>>>();
        let prepared = self.note(prepared)?;
        self.append_prepared(prepared, who).await
    }

    /// Makes everything durable, if the lease still holds.
    pub async fn commit(mut self) -> Result<()> {
        if let Some(lease) = self.lease.clone() {
            lease::check(&mut self.conn()?, &lease).await?;
        }
        self.open.take().ok_or(StoreError::RolledBack)?.commit().await
    }

    /// Leaves nothing behind, and returns when that is done.
    pub async fn rollback(mut self) -> Result<()> {
        match self.open.take() {
            Some(open) => open.rollback().await,
            None => Ok(()),
        }
    }

    pub(crate) fn conn(&mut self) -> Result<Conn<'_>> {
        Ok(self.open.as_mut().ok_or(StoreError::RolledBack)?.conn())
    }

    /// After a failure that may have done half its work the transaction is given up.
    pub(crate) fn note<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if outcome.as_ref().is_err_and(|e| !matches!(e, StoreError::NotFound)) {
            self.open = None;
        }
        outcome
    }
}
