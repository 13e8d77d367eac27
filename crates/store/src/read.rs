//! Every read, on the store and inside a transaction alike.

use chrono::{DateTime, Utc};
use muster_domain::event::{Hash, StoredEvent};
use muster_domain::ids::{ChangeSetId, FeedNo, MemberNo, OrganisationId, UploadId};

use crate::connect::Store;
use crate::document::{ChangeSetRow, FeedRow, Filter, UploadRow};
use crate::error::Result;
use crate::fingerprint::Fingerprints;
use crate::forgotten::BlockHash;
use crate::ident::Ident;
use crate::log::RawEvent;
use crate::organisation::{Head, OrganisationRow};
use crate::roster::Stored;
use crate::tx::Tx;
use crate::{document, fingerprint, forgotten, ident, log, organisation, roster};

/// Declares reads once: on [`Store`] they take the organisation, on [`Tx`] they are about its own.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty = $call:path;)*) => {
        impl Store {
            $($(#[$doc])* pub async fn $name(&self, org: OrganisationId, $($arg: $ty),*) -> Result<$out> {
                let mut reading = self.reading().await?;
                $call(&mut reading.conn(), org, $($arg),*).await
            })*
        }
        impl Tx {
            $($(#[$doc])* pub async fn $name(&mut self, $($arg: $ty),*) -> Result<$out> {
                let org = self.organisation();
                let outcome = $call(&mut self.conn()?, org, $($arg),*).await;
                self.note(outcome)
            })*
        }
    };
}

reads! {
    /// Where the log and the counters stand.
    head() -> Head = organisation::head;
    /// The settings document; none before it was first written.
    settings() -> Option<Vec<u8>> = document::settings;
    /// All feeds by number.
    feeds() -> Vec<FeedRow> = document::feeds;
    /// One feed.
    feed(no: FeedNo) -> FeedRow = document::feed;
    /// One upload.
    upload(id: UploadId) -> UploadRow = document::upload;
    /// The upload that came with this idempotency key.
    upload_by_key(key: &str) -> Option<UploadRow> = document::upload_by_key;
    /// Uploads, newest first.
    uploads(filter: &Filter) -> Vec<UploadRow> = document::uploads;
    /// Uploads in a state, in order of arrival.
    uploads_in_state(state: &str) -> Vec<UploadRow> = document::uploads_in_state;
    /// One change set.
    change_set(id: ChangeSetId) -> ChangeSetRow = document::change_set;
    /// Change sets, newest first.
    change_sets(filter: &Filter) -> Vec<ChangeSetRow> = document::change_sets;
    /// The sum of what the change sets since a moment add up to, of two feeds or of all.
    added_up(since: DateTime<Utc>, feeds: Option<[FeedNo; 2]>) -> u64 = document::added_up;
    /// Change sets of which one person alone approved something since a moment that counts for the second approver.
    change_sets_approved_alone(since: DateTime<Utc>) -> Vec<ChangeSetRow> = document::change_sets_approved_alone;
    /// Change sets in a state, oldest first.
    change_sets_in_state(state: &str) -> Vec<ChangeSetRow> = document::change_sets_in_state;
    /// The change sets of an upload, oldest first.
    change_sets_of_upload(upload: UploadId) -> Vec<ChangeSetRow> = document::change_sets_of_upload;
    /// Events after a sequence number, in order.
    events(after_seq: u64, limit: u32) -> Vec<StoredEvent> = log::events;
    /// The same, unopened: bodies are unpacked where and when [`RawEvent::open`] is called.
    raw_events(after_seq: u64, limit: u32) -> Vec<RawEvent> = log::raw_events;
    /// The same without their bodies.
    bare_events(after_seq: u64, limit: u32) -> Vec<RawEvent> = log::bare_events;
    /// The hash of an event in the chain, and when it was recorded; none if there is no such event.
    mark(seq: u64) -> Option<(Hash, DateTime<Utc>)> = log::mark;
    /// One event.
    event(seq: u64) -> StoredEvent = log::event;
    /// All events of a stream.
    stream_events(stream: &str) -> Vec<StoredEvent> = log::stream_events;
    /// Events of a stream from a sequence number on.
    stream_events_from(stream: &str, seq: u64) -> Vec<StoredEvent> = log::stream_events_from;
    /// Events of a stream after a version, unopened.
    raw_stream_events(stream: &str, after_version: u64, limit: u32) -> Vec<RawEvent> = log::raw_stream_events;
    /// The version of a stream; 0 if it does not exist.
    stream_version(stream: &str) -> u64 = log::stream_version;
    /// Up to `count` page numbers' worth of the roster from `from_page` on.
    roster_pages(from_page: u32, count: u32) -> Vec<(u32, Vec<u8>)> = roster::roster_pages;
    /// Newer rows of members from a number up to and without another.
    member_deltas(from_no: MemberNo, to_no: MemberNo) -> Vec<(MemberNo, Vec<u8>)> = roster::member_deltas;
    /// How many members have a newer row than their page.
    delta_count() -> u64 = roster::delta_count;
    /// The members that have these identifiers, sorted; a hash may belong to several.
    idents(hashes: &[u64]) -> Vec<Ident> = ident::idents;
    /// Pages of identifiers, for reading them all; [`Store::ident_deltas`] wins over them.
    ident_pages(from_page: u32, count: u32) -> Vec<(u32, Vec<Ident>)> = ident::ident_pages;
    /// Newer words on identifiers: hash, member, whether it holds.
    ident_deltas() -> Vec<(u64, MemberNo, bool)> = ident::ident_deltas;
    /// A feed's fingerprints, if there are any; their pages are given by [`Store::each_fingerprint_page`].
    fingerprints(feed: FeedNo) -> Option<Fingerprints> = fingerprint::fingerprints;
    /// With which layout a feed's fingerprints were made, if there are any.
    fingerprint_layout(feed: FeedNo) -> Option<Vec<u8>> = fingerprint::fingerprint_layout;
    /// What has been added to a feed's fingerprints, oldest first.
    fingerprint_deltas(feed: FeedNo) -> Vec<Vec<u8>> = fingerprint::fingerprint_deltas;
    /// By what people who were forgotten would be known again.
    blocked() -> Vec<BlockHash> = forgotten::blocked;
    /// The stored page of the roster on which a member is or would be.
    page_of(no: MemberNo) -> Option<Vec<u8>> = forgotten::page_of;
    /// One page of what was put of a feed's last payload.
    feed_page(feed: FeedNo, page: u32) -> Option<Vec<u8>> = fingerprint::feed_page;
    /// How many such pages there are.
    feed_pages(feed: FeedNo) -> u32 = fingerprint::feed_pages;
}

impl Store {
    /// Calls a function with what is stored of these members, in any order, while the rest is still being read:
    /// newer rows first, then the pages of those who have none.
    pub async fn visit_members(
        &self,
        org: OrganisationId,
        numbers: &[MemberNo],
        visit: impl FnMut(Stored<'_>),
    ) -> Result<()> {
        roster::visit_members(&mut self.reading().await?.conn(), org, numbers, visit).await
    }

    /// Calls a function with each page of a feed's fingerprints, in order, while the next ones are still being read.
    pub async fn each_fingerprint_page(
        &self,
        org: OrganisationId,
        feed: FeedNo,
        visit: impl FnMut(&[u8]),
    ) -> Result<()> {
        fingerprint::each_page(&mut self.reading().await?.conn(), org, feed, visit).await
    }

    /// The organisation of that name.
    pub async fn organisation(&self, slug: &str) -> Result<OrganisationRow> {
        organisation::organisation(&mut self.reading().await?.conn(), slug).await
    }

    /// The organisation of that identity.
    pub async fn organisation_of(&self, org: OrganisationId) -> Result<OrganisationRow> {
        organisation::organisation_of(&mut self.reading().await?.conn(), org).await
    }

    /// All organisations by name.
    pub async fn organisations(&self) -> Result<Vec<OrganisationRow>> {
        organisation::organisations(&mut self.reading().await?.conn()).await
    }

    /// Where the log of every organisation ends, for whoever looks for work.
    pub async fn ends(&self) -> Result<Vec<(OrganisationId, u64)>> {
        organisation::ends(&mut self.reading().await?.conn()).await
    }

    /// Reads the log from after a sequence number to its end, slice by slice.
    pub fn event_slices(&self, org: OrganisationId, after_seq: u64, slice: u32) -> EventSlices {
        EventSlices { store: self.clone(), org, after_seq, slice: slice.max(1) }
    }
}

/// The log in slices, so that memory does not grow with it.
pub struct EventSlices {
    store: Store,
    org: OrganisationId,
    after_seq: u64,
    slice: u32,
}

impl EventSlices {
    /// The next slice, unopened; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<RawEvent>>> {
        let events = self.store.raw_events(self.org, self.after_seq, self.slice).await?;
        let Some(last) = events.last() else { return Ok(None) };
        self.after_seq = last.seq;
        Ok(Some(events))
    }
}
