//! Activity: each event as who did what, in one sentence without personal data, with what a page needs beside it.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    documents::{ChangeSet, Upload},
    event::Meta,
    fact::{Applied, Computed, Counts, EligibilityChange, Fact, FeedOverdue, Received, Refusal, Rejected, State},
    forgotten::{Forgotten, PayloadsDestroyed, Why},
    ids::{ChangeSetId, FeedNo, UploadId},
    schedule::Minutes,
    second::ApprovalGiven,
    selection::Selection,
    settings::{Channel, Mode},
};

/// One line of an organisation's activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Position of the event in the organisation's log.
    pub seq: u64,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// The type of the event.
    pub kind: String,
    /// What happened, in one sentence.
    pub sentence: String,
    /// What it is about, to link to.
    #[serde(flatten)]
    pub about: About,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The feed.
    pub feed: Option<FeedNo>,
    /// The upload.
    pub upload: Option<UploadId>,
    /// The change set.
    pub change_set: Option<ChangeSetId>,
}

/// What is known of what an event is about; the more there is, the more the sentence says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Names of feeds.
    pub feeds: Option<&'a BTreeMap<FeedNo, String>>,
    /// The document of the upload, if the event is about one.
    pub upload: Option<&'a Upload>,
    /// The document of the change set, if the event is about one.
    pub change_set: Option<&'a ChangeSet>,
}

/// What an event is about, by itself: whoever has the documents of these gives them to [`tell`].
pub fn about(fact: &Fact) -> About {
    let nothing = About::default();
    match fact {
        Fact::OrganisationCreated { .. }
        | Fact::SettingsChanged { .. }
        | Fact::Forgotten(_)
        | Fact::BlockLifted { .. }
        | Fact::PayloadsDestroyed(_) => nothing,
        Fact::FeedCreated { no, .. } | Fact::FeedChanged { no, .. } | Fact::FeedOverdue(FeedOverdue { no, .. }) => {
            About { feed: Some(*no), ..nothing }
        }
        Fact::FeedRecovered { no, upload, .. } => About { feed: Some(*no), upload: *upload, ..nothing },
        Fact::UploadReceived(r) => About { feed: Some(r.feed), upload: Some(r.upload), ..nothing },
        Fact::UploadDecided { upload, .. } => About { upload: Some(*upload), ..nothing },
        Fact::Computed(c) => About { feed: Some(c.feed), upload: Some(c.upload), change_set: Some(c.change_set) },
        Fact::Applied(a) => About { feed: Some(a.feed), change_set: Some(a.change_set), ..nothing },
        Fact::Rejected(r) => About { feed: Some(r.feed), change_set: Some(r.change_set), ..nothing },
        Fact::Superseded { change_set, by } => About { change_set: Some(*change_set), upload: Some(*by), ..nothing },
        Fact::ApprovalGiven(given) => About { change_set: Some(given.change_set), ..nothing },
        Fact::Chunk { change_set, .. } | Fact::Rebased { change_set, .. } => {
            About { change_set: Some(*change_set), ..nothing }
        }
    }
}

/// An event in words; none for what is only a part of something that another event tells (chunks).
pub fn tell(meta: &Meta, fact: &Fact, known: &Known) -> Option<Activity> {
    let mut about = about(fact);
    about.feed = about.feed.or(known.change_set.map(|s| s.feed)).or(known.upload.map(|u| u.received.feed));
    about.upload = about.upload.or(known.change_set.map(|s| s.upload));
    Some(Activity {
        seq: meta.seq,
        at: meta.recorded_at,
        actor: meta.actor.clone(),
        kind: meta.kind.clone(),
        sentence: sentence(&meta.actor, fact, known)?,
        about,
    })
}

fn sentence(actor: &str, fact: &Fact, known: &Known) -> Option<String> {
    Some(match fact {
        Fact::OrganisationCreated { slug, .. } => format!("{actor} created the organisation {slug}"),
        Fact::SettingsChanged { changed, eligibility, .. } => settings_changed(actor, changed, *eligibility),
        Fact::FeedCreated { settings, .. } => format!("{actor} created the feed {}", settings.name),
        Fact::FeedChanged { settings, .. } => format!("{actor} changed the settings of the feed {}", settings.name),
        Fact::FeedOverdue(overdue) => is_overdue(overdue, known),
        Fact::FeedRecovered { no, missed, upload } => match upload {
            Some(_) => {
                format!("{} sent a payload again, after the run of {} was missed", known.the_feed(*no), time(*missed))
            }
            None => format!(
                "{} is expected at other times now or not at all, so it is overdue no longer",
                known.the_feed(*no)
            ),
        },
        Fact::UploadReceived(received) => arrived(actor, received, known),
        Fact::UploadDecided { upload, reason: Some(Refusal::GivenUp), .. } => {
            format!("{actor} gave up {}, and nothing was taken from it", known.the_upload(*upload))
        }
        Fact::UploadDecided { upload, state, counts, .. } => decided(*upload, *state, counts, known),
        Fact::Chunk { .. } => return None,
        Fact::Computed(computed) => was_computed(computed, known),
        Fact::ApprovalGiven(given) => was_approved_first(actor, given, known),
        Fact::Applied(applied) => was_applied(actor, applied, known),
        Fact::Rejected(rejected) => was_rejected(actor, rejected, known),
        Fact::Superseded { change_set, .. } => {
            format!("{} gave way to a newer payload", known.the_change_set(*change_set))
        }
        Fact::Rebased { change_set, already_so, conflicts, revised, .. } => {
            rebased(*change_set, [already_so, conflicts, revised], known)
        }
        Fact::Forgotten(forgotten) => was_forgotten(actor, forgotten),
        Fact::BlockLifted { .. } => format!("{actor} let somebody who was forgotten come back"),
        Fact::PayloadsDestroyed(destroyed) => were_destroyed(actor, destroyed),
    })
}

fn settings_changed(actor: &str, changed: &[String], eligibility: Option<EligibilityChange>) -> String {
    let mut said = format!("{actor} set {}", listed(changed.iter().map(|key| Cow::from(key.as_str()))));
    if let Some(EligibilityChange { stop, start, .. }) = eligibility.filter(|e| e.stop + e.start > 0) {
        said.push_str(&format!(": {} stopped being eligible, {} became so", people(stop), people(start)));
    }
    said
}

fn is_overdue(overdue: &FeedOverdue, known: &Known) -> String {
    let (feed, missed) = (known.the_feed(overdue.no), time(overdue.overdue.missed));
    let late = Minutes(overdue.grace_minutes);
    format!("{feed} is overdue: the payload of {missed} had not come {late} later")
}

fn arrived(actor: &str, received: &Received, known: &Known) -> String {
    let no = received.arrival;
    if let Some(feeds) = received.hands_over {
        return format!(
            "{actor} began to hand the claims of {} over to {}",
            known.the_feed(feeds.from),
            known.the_feed(feeds.to)
        );
    }
    let feed = known.the_feed(received.feed);
    let what = match received.mode {
        Mode::Full => "a full payload",
        Mode::Partial => "a partial payload",
        Mode::Leavers => "a list of leavers",
    };
    match (received.channel, received.undoes.len()) {
        (_, 1) => format!("{actor} asked to undo change set {}", received.undoes[0]),
        (_, n) if n > 1 => format!("{actor} asked to undo {n} change sets"),
        (Channel::Hand, _) => format!("{actor} began an edit by hand (no. {no})"),
        (Channel::Upload, _) => format!("{actor} uploaded {what} to {feed} (no. {no})"),
        (Channel::Api, _) => format!("{actor} pushed {what} to {feed} (no. {no})"),
        (Channel::Schedule, _) => format!("{actor} sent {what} to {feed} on schedule (no. {no})"),
    }
}

fn decided(upload: UploadId, state: State, counts: &Counts, known: &Known) -> String {
    let what = known.the_upload(upload);
    match state {
        State::Refused => format!("{what} was refused, and nothing was taken from it"),
        _ => format!("{what} changed nothing ({})", counted(counts.rows, "row", "rows")),
    }
}

fn was_computed(computed: &Computed, known: &Known) -> String {
    let (set, what) = (computed.change_set, known.the_upload(computed.upload));
    match computed.state {
        State::NoChanges => {
            format!("{what} changed nothing that people see ({})", counted(computed.counts.rows, "row", "rows"))
        }
        State::Held | State::PartlyApplied => {
            let guards = listed(computed.holds.iter().map(|hold| Cow::from(hold.guard.as_str())));
            let why = if guards.is_empty() { String::new() } else { format!(" because of {guards}") };
            let all = if computed.state == State::Held { "" } else { "part of " };
            format!("{all}change set {set} of {what} waits for review{why}: {}", told(&computed.counts))
        }
        _ => format!("change set {set} was worked out from {what}: {}", told(&computed.counts)),
    }
}

fn was_approved_first(actor: &str, given: &ApprovalGiven, known: &Known) -> String {
    let (what, counts) = part_of(given.change_set, &given.approved.selection, known);
    let of = known.change_set.map(|set| known.of_feed(set.feed)).unwrap_or_default();
    let except = without(&given.approved.except_fields);
    format!("{actor} approved {what}{of} as the first of two{counts}{except}; somebody else must approve the same")
}

fn without(fields: &[String]) -> String {
    match fields {
        [] => String::new(),
        fields => format!(", without {}", listed(fields.iter().map(|f| Cow::from(f.as_str())))),
    }
}

fn was_applied(actor: &str, applied: &Applied, known: &Known) -> String {
    let (what, counts) = part_of(applied.change_set, &applied.selection, known);
    let except = without(&applied.except_fields);
    let second = if applied.first_approver.is_some() { " as the second of two" } else { "" };
    let set = known.change_set;
    if let Some(feeds) = set.and_then(|s| s.hands_over) {
        return format!(
            "{actor} handed the claims of {} over to {}",
            known.the_feed(feeds.from),
            known.the_feed(feeds.to)
        );
    }
    let undone = set.map_or(&[] as &[ChangeSetId], |s| &s.undoes);
    let of = known.of_feed(applied.feed);
    let by_hand = set.is_some_and(|s| s.channel == Channel::Hand);
    match (undone, applied.reviewed, by_hand) {
        ([], true, _) => format!("{actor} approved {what}{of}{second}{counts}{except}"),
        ([], false, true) => format!("{actor} edited by hand ({what}){counts}"),
        ([], false, false) => format!("{what}{of} was applied{counts}"),
        ([one], ..) => format!("{actor} undid change set {one} ({what}){second}{counts}{except}"),
        (several, ..) => format!("{actor} undid {} change sets ({what}){second}{counts}{except}", several.len()),
    }
}

fn was_rejected(actor: &str, rejected: &Rejected, known: &Known) -> String {
    let (what, counts) = part_of(rejected.change_set, &rejected.selection, known);
    let wrong = if rejected.remembered { "" } else { " as wrong" };
    format!("{actor} rejected {what}{}{wrong}{counts}", known.of_feed(rejected.feed))
}

fn rebased(set: ChangeSetId, dropped: [&Selection; 3], known: &Known) -> String {
    let [already, conflicts, revised] = dropped.map(Selection::len);
    let parts = [(already, "already so"), (conflicts, "in conflict"), (revised, "worked out anew")];
    let said = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| Cow::from(format!("{n} {what}")));
    let said = listed(said);
    let said = if said.is_empty() { "nothing was different".to_owned() } else { said };
    format!("{} was compared with the roster as it is now: {said}", known.the_change_set(set))
}

fn was_forgotten(actor: &str, forgotten: &Forgotten) -> String {
    let who = match forgotten.members.len() as u64 {
        0 => "somebody who was only proposed".to_owned(),
        n => people(n),
    };
    let (lines, events) = (counted(forgotten.lines, "line", "lines"), counted(forgotten.events, "event", "events"));
    format!("{actor} had {who} forgotten: {lines} of {events} erased")
}

fn were_destroyed(actor: &str, destroyed: &PayloadsDestroyed) -> String {
    let what = match destroyed.uploads.len() {
        1 => "the original of 1 payload".to_owned(),
        n => format!("the originals of {n} payloads"),
    };
    match destroyed.why {
        Why::Forgotten => format!("{actor} had {what} destroyed, because somebody in them was forgotten"),
        Why::Retention => format!("{actor} had {what} destroyed, which had been kept for long enough"),
    }
}

impl Known<'_> {
    fn the_feed(&self, no: FeedNo) -> String {
        let name = self.feeds.and_then(|feeds| feeds.get(&no)).cloned();
        match (no, name) {
            (FeedNo::HAND, _) => "the administrators' hand".to_owned(),
            (_, Some(name)) => format!("the feed {name}"),
            (FeedNo(no), None) => format!("feed no. {no}"),
        }
    }

    /// ` of the feed …`, or nothing where it is the hand.
    fn of_feed(&self, no: FeedNo) -> String {
        if no == FeedNo::HAND { String::new() } else { format!(" of {}", self.the_feed(no)) }
    }

    fn the_upload(&self, id: UploadId) -> String {
        match self.upload.filter(|u| u.received.upload == id) {
            Some(u) if u.received.feed == FeedNo::HAND => format!("the edit by hand no. {}", u.received.arrival),
            Some(u) => format!("the payload no. {}{}", u.received.arrival, self.of_feed(u.received.feed)),
            None => "a payload".to_owned(),
        }
    }

    fn the_change_set(&self, id: ChangeSetId) -> String {
        let of = self.change_set.map(|s| self.of_feed(s.feed)).unwrap_or_default();
        format!("change set {id}{of}")
    }
}

/// `change set …` with what it does, or `3 of 7 changes of change set …`.
fn part_of(id: ChangeSetId, selection: &Selection, known: &Known) -> (String, String) {
    let name = format!("change set {id}");
    match known.change_set.filter(|s| s.id == id) {
        Some(set) if selection.len() < set.changes => {
            (format!("{} of {} changes of {name}", selection.len(), set.changes), String::new())
        }
        Some(set) => (name, format!(": {}", told(&set.counts))),
        None => (name, format!(": {}", counted(selection.len().into(), "change", "changes"))),
    }
}

/// What a change set does to people.
fn told(counts: &Counts) -> String {
    let Counts { added, updated, removed, reinstated, rekeyed, .. } = *counts;
    let parts = [
        (added, "added"),
        (updated, "updated"),
        (removed, "removed"),
        (reinstated, "reinstated"),
        (rekeyed, "re-keyed"),
    ];
    let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if said.is_empty() { "nothing that people see".to_owned() } else { said.join(", ") }
}

fn people(n: u64) -> String {
    counted(n, "person", "people")
}

fn counted(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn listed<'a>(words: impl Iterator<Item = Cow<'a, str>>) -> String {
    let words: Vec<Cow<str>> = words.collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.to_string(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests;
