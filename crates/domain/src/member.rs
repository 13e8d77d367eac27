//! A member: field values, match key and aliases, claim spells, and the last words of feeds that differ from the roster.

use uuid::Uuid;

use crate::{
    field::FieldId,
    ids::{Day, FeedNo, MemberNo},
    values::Values,
};

/// One person on an organisation's list, now or formerly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Number inside the organisation.
    pub no: MemberNo,
    /// Identity: never changes.
    pub uuid: Uuid,
    /// The match key as it is written now.
    pub key: String,
    /// Match keys that named this person before.
    pub aliases: Vec<String>,
    /// The roster's values.
    pub values: Values,
    /// Claims, ended and running, in the order in which they began.
    pub spells: Vec<Spell>,
    /// What feeds last said where that is not the roster's value; sorted by feed and field.
    pub words: Vec<Word>,
}

/// A claim of a feed (or of the administrator's hand) on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Who claims.
    pub feed: FeedNo,
    /// First day, in the organisation's time zone.
    pub from: Day,
    /// The day on which it ended and on which it no longer held; `None` while it runs.
    pub to: Option<Day>,
}

/// What a feed last said of one field of a member, where that is not the roster's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Whose word.
    pub feed: FeedNo,
    /// Of which field; [`ABSENT`] and [`NAMED`] for the person as a whole.
    pub field: FieldId,
    /// The canonical value; `None` is blank.
    pub value: Option<String>,
    /// Why it is not the roster's value.
    pub reason: Reason,
    /// Since which day.
    pub since: Day,
}

/// Stands in [`Word::field`] for an absence that was not accepted: the claim goes on although the feed no longer names the person.
pub const ABSENT: FieldId = FieldId(255);

/// Stands in [`Word::field`] for a person whom the feed names and who was not taken onto the roster.
pub const NAMED: FieldId = FieldId(254);

/// Why a feed's last word is not the roster's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An administrator set the field by hand.
    Pinned,
    /// A reviewer rejected the change.
    Rejected,
    /// The change was undone.
    Undone,
    /// Another feed's word counts for more.
    AnotherFeed,
    /// A write through the API came after it.
    Api,
}

impl Member {
    /// Whether any claim runs: the person is on the roster.
    pub fn is_listed(&self) -> bool {
        self.spells.iter().any(|s| s.to.is_none())
    }

    /// Whether this feed's claim runs.
    pub fn is_claimed_by(&self, feed: FeedNo) -> bool {
        self.spells.iter().any(|s| s.feed == feed && s.to.is_none())
    }

    /// The feeds whose claims run, in the order in which they began.
    pub fn claimants(&self) -> impl Iterator<Item = FeedNo> + '_ {
        self.spells.iter().filter(|s| s.to.is_none()).map(|s| s.feed)
    }

    /// What the feed last said of a field: its own word where one is kept, else the roster's value.
    pub fn last_said(&self, feed: FeedNo, field: FieldId) -> Option<&str> {
        match self.word(feed, field) {
            Some(word) => word.value.as_deref(),
            None => self.values.get(field),
        }
    }

    /// The word kept for a feed and field, if any.
    pub fn word(&self, feed: FeedNo, field: FieldId) -> Option<&Word> {
        self.words.binary_search_by_key(&(feed, field), |w| (w.feed, w.field)).ok().map(|i| &self.words[i])
    }

    /// Keeps a word, in place of the one kept for the same feed and field.
    pub fn keep_word(&mut self, word: Word) {
        match self.words.binary_search_by_key(&(word.feed, word.field), |w| (w.feed, w.field)) {
            Ok(i) => self.words[i] = word,
            Err(i) => self.words.insert(i, word),
        }
    }

    /// Drops the word kept for a feed and field: what the feed last said is the roster's value again.
    pub fn drop_word(&mut self, feed: FeedNo, field: FieldId) {
        if let Ok(i) = self.words.binary_search_by_key(&(feed, field), |w| (w.feed, w.field)) {
            self.words.remove(i);
        }
    }
}
