//! One person through the days, as the engine compares and folds them.

use super::*;
use crate::{
    diff::{self, Absence, Outcome},
    field::FieldSet,
    values::Values,
};

mod any_story;
mod claims;
mod keys;
mod last_words;
mod several_feeds;
mod undone;

const MAIN: FeedNo = FeedNo::MAIN;
const PAYROLL: FeedNo = FeedNo(2);
const SALES: (FieldId, &str) = (FieldId::DEPARTMENT, "Sales");
const LEGAL: (FieldId, &str) = (FieldId::DEPARTMENT, "Legal");
const R_AND_D: (FieldId, &str) = (FieldId::DEPARTMENT, "R&D");
const BONN: (FieldId, &str) = (FieldId::LOCATION, "Bonn");

static FIELDS: Fields = Fields { custom: Vec::new() };

/// One person through the days: payloads, reviews and edits, each compared and folded as the engine does.
#[derive(Clone, Default)]
struct Story {
    member: Option<Member>,
    day: Day,
    priorities: Vec<(FeedNo, i32)>,
    speaks: Vec<(FeedNo, FieldSet)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Nothing,
    Suppressed,
    Change(Box<Change<'static>>),
}

impl Heard {
    fn kind(&self) -> Option<Kind> {
        match self {
            Heard::Change(change) => Some(change.kind),
            _ => None,
        }
    }
}

/// Through its line, as the log keeps it.
fn recorded(change: &Change) -> Heard {
    let mut line = Vec::new();
    change.write(&mut line);
    Heard::Change(Box::new(Change::read(line.leak()).unwrap()))
}

impl Story {
    /// A person whom `main` brought on day 0.
    fn of_main(cells: &[(FieldId, &str)]) -> Story {
        let mut story = Story::default();
        story.says(MAIN, "E1", cells);
        story
    }

    fn later(&mut self, days: Day) -> &mut Story {
        self.day += days;
        self
    }

    fn member(&self) -> &Member {
        self.member.as_ref().unwrap()
    }

    fn get(&self, field: FieldId) -> Option<&str> {
        self.member().values.get(field)
    }

    fn context(&self, feed: FeedNo) -> diff::Context<'_> {
        diff::Context {
            feed,
            priorities: &self.priorities,
            speaks: &self.speaks,
            empty_clears: feed != FeedNo::HAND,
            match_field: FieldId::EMPLOYEE_ID,
            fields: &FIELDS,
            today: self.day,
            ask_again_days: 30,
        }
    }

    fn folding(&self, feed: FeedNo) -> Context<'static> {
        let displaced = if feed == FeedNo::HAND { Reason::Pinned } else { Reason::AnotherFeed };
        Context { change_set: ChangeSetId(Uuid::from_u128(1)), feed, day: self.day, displaced, fields: &FIELDS }
    }

    /// What a full payload's row (or, from the hand, an edit) would do. `""` is an empty cell.
    fn proposes(&self, feed: FeedNo, key: &str, cells: &[(FieldId, &str)]) -> Heard {
        let values: Values = cells.iter().copied().collect();
        let empty: FieldSet = cells.iter().filter(|c| c.1.is_empty()).map(|c| c.0).collect();
        let null = if feed == FeedNo::HAND { empty } else { FieldSet::default() };
        let row = diff::Row { line: 2, key, values: &values, empty, null, raw: &Values::default() };
        let ctx = self.context(feed);
        let outcome = match &self.member {
            None => return recorded(&diff::unknown(row, Uuid::from_u128(9), &ctx)),
            Some(member) => diff::named(member, row, None, &ctx),
        };
        match outcome {
            Outcome::Unchanged => Heard::Nothing,
            Outcome::Suppressed => Heard::Suppressed,
            Outcome::Change { change, .. } => recorded(&change),
        }
    }

    /// What the person's absence from a full payload would do.
    fn misses(&self, feed: FeedNo) -> Heard {
        match diff::absent(self.member(), &self.context(feed)) {
            Absence::Nothing => Heard::Nothing,
            Absence::Suppressed => Heard::Suppressed,
            Absence::Change { change, .. } => recorded(&change),
        }
    }

    fn take(&mut self, feed: FeedNo, heard: &Heard) {
        if let Heard::Change(change) = heard {
            self.member = Some(apply(self.member.take(), 0, change, &self.folding(feed)));
        }
    }

    fn reject(&mut self, feed: FeedNo, heard: &Heard) {
        if let Heard::Change(change) = heard {
            self.member = Some(reject(self.member.take(), 0, change, true, &self.folding(feed)));
        }
    }

    fn says(&mut self, feed: FeedNo, key: &str, cells: &[(FieldId, &str)]) -> Heard {
        let heard = self.proposes(feed, key, cells);
        self.take(feed, &heard);
        heard
    }

    fn leaves(&mut self, feed: FeedNo) -> Heard {
        let heard = self.misses(feed);
        self.take(feed, &heard);
        heard
    }

    /// An administrator takes the person off the roster.
    fn taken_off_by_hand(&mut self) {
        let mut change = Change::new(Kind::Remove, Some(0), self.member().uuid, self.member().key.clone());
        change.ends = true;
        self.take(FeedNo::HAND, &recorded(&change));
    }
}

fn spells(story: &Story) -> Vec<(FeedNo, Day, Option<Day>)> {
    story.member().spells.iter().map(|s| (s.feed, s.from, s.to)).collect()
}
