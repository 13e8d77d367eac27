//! Two moments of a roster held against each other: who joined, who left, and what changed of those who stayed.

use std::str::FromStr;

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, TimeZone, Utc};
use muster_domain::{
    member::Member,
    normalise,
    replay::{Checked, Replay},
    settings::Settings,
};
use serde::{Deserialize, Serialize};

use crate::{
    Engine, Organisation, Result,
    export::SLICE,
    members::{At, is_past, is_reached},
    roster::in_parallel,
    turns::Turn,
};

mod wanted;

pub use wanted::{Counted, Wanted};

/// A moment as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// One that needs nothing else to be known.
    At(At),
    /// A day in the organisation's time zone: from its beginning, or to its end.
    Day(NaiveDate),
}

impl FromStr for Named {
    type Err = String;

    /// Reads `now`, a time, a day, `event:N`, or a roster version.
    fn from_str(text: &str) -> Result<Named, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(Named::At(At::Now));
        }
        let event = text.strip_prefix("event:").and_then(|n| n.parse().ok()).map(At::Event);
        let version = || text.strip_prefix('v').unwrap_or(text).parse().ok().map(At::Version);
        let time = || DateTime::parse_from_rfc3339(text).ok().map(|t| At::Time(t.to_utc()));
        if let Some(at) = event.or_else(version).or_else(time) {
            return Ok(Named::At(at));
        }
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Named::Day).map_err(|_| {
            "write a time such as 2026-03-20T08:00:00Z, a day such as 2026-03-20, a roster version such as 12, an event \
             such as event:340, or now"
                .to_owned()
        })
    }
}

/// A moment of a log as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// The number of the last event before it; 0 if there is none.
    pub event: u64,
    /// When that was recorded.
    pub at: Option<DateTime<Utc>>,
    /// The roster version.
    pub roster_version: u64,
    /// How many were listed.
    pub members: u64,
}

impl Moment {
    fn of(replay: &Replay) -> Moment {
        let event = replay.last_seq();
        let at = (event > 0).then(|| replay.last_recorded_at());
        Moment { event, at, roster_version: replay.roster_version(), members: replay.listed() }
    }
}

/// A roster at two moments.
pub struct Moments {
    /// The first that was named.
    pub from: Moment,
    /// The second.
    pub to: Moment,
    replay: Replay,
    /// Whether the first that was named is the later one.
    backwards: bool,
    _turn: Turn,
}

/// What a person is to the second moment, seen from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Listed at the second alone.
    Joined,
    /// Listed at the first alone.
    Left,
    /// Listed at both, and something is different.
    Changed,
}

/// One person who is not the same at both moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// In which way.
    pub what: What,
    /// At the first moment; none for somebody who was not known then.
    pub from: Option<Member>,
    /// At the second.
    pub to: Option<Member>,
}

/// A field of a person, `unique_id` for the match key, with its values at both moments.
pub type Field<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

impl Difference {
    /// The person, as they are at the moment at which they were listed; at the second, if at both.
    pub fn member(&self) -> Option<&Member> {
        match self.what {
            What::Left => self.from.as_ref().or(self.to.as_ref()),
            _ => self.to.as_ref().or(self.from.as_ref()),
        }
    }

    /// The fields of somebody who stayed that have other values.
    pub fn fields<'a>(&'a self, org: &'a Organisation) -> Vec<Field<'a>> {
        let (What::Changed, Some(from), Some(to)) = (self.what, &self.from, &self.to) else { return Vec::new() };
        let fields = &org.settings.fields;
        let key = (from.key != to.key).then_some(("unique_id", Some(&*from.key), Some(&*to.key)));
        let values = fields.all().map(|f| (fields.name(f), from.values.get(f), to.values.get(f)));
        key.into_iter().chain(values.filter(|(_, from, to)| from != to)).collect()
    }

    /// Whether the person is or was known by this key at either moment.
    pub fn is_about(&self, key: &str) -> bool {
        let key = normalise::key(key);
        let is = |text: &String| normalise::key(text) == key;
        [&self.from, &self.to].into_iter().flatten().any(|m| is(&m.key) || m.aliases.iter().any(is))
    }
}

impl Moments {
    /// Calls a function with everybody who is not the same, in the order in which they first came. Who was listed at
    /// neither moment is left out, and so are claims and what feeds said beside the roster.
    ///
    /// # Errors
    /// If the function fails, or memory is damaged.
    pub fn each(&self, mut visit: impl FnMut(Difference) -> Result<()>) -> Result<()> {
        for pair in self.replay.watched() {
            let (then, now) = pair?;
            let (from, to) = if self.backwards { (now, then) } else { (then, now) };
            let listed = |m: &Option<Member>| m.as_ref().is_some_and(Member::is_listed);
            let what = match (listed(&from), listed(&to)) {
                (false, true) => What::Joined,
                (true, false) => What::Left,
                (true, true) if shown(&from) != shown(&to) => What::Changed,
                _ => continue,
            };
            visit(Difference { what, from, to })?;
        }
        Ok(())
    }
}

fn shown(member: &Option<Member>) -> Option<(&str, &muster_domain::values::Values)> {
    member.as_ref().map(|m| (&*m.key, &m.values))
}

impl Engine {
    /// The roster at two moments. The log is folded once, to the later one: what is held in memory is the roster, packed,
    /// and, packed too, those who changed between the two.
    ///
    /// # Errors
    /// If the log does not reach either, or cannot be read.
    pub async fn moments(&self, org: &Organisation, from: Named, to: Named) -> Result<Moments> {
        let (from, to) = ats(from, to, &org.settings);
        let turn = self.turn_to_fold().await?;
        let mut folding = Folding { from, to, replay: Replay::new(), first: None, backwards: false };
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            if tokio::task::block_in_place(|| folding.take(&slice))? {
                return Ok(folding.end(turn));
            }
        }
        let (version, seq) = (folding.replay.roster_version(), folding.replay.last_seq());
        is_reached(org, from, version, seq)?;
        is_reached(org, to, version, seq)?;
        Ok(folding.end(turn))
    }
}

/// The log on its way past both moments.
struct Folding {
    from: At,
    to: At,
    replay: Replay,
    /// The earlier moment, once it has been reached.
    first: Option<Moment>,
    backwards: bool,
}

impl Folding {
    /// Folds events; says whether the later moment lies behind.
    fn take(&mut self, slice: &[muster_store::RawEvent]) -> Result<bool> {
        for event in in_parallel(slice, |raw| Ok(Checked::new(raw.clone().open()?)?))? {
            let past = (is_past(event.event(), self.from)?, is_past(event.event(), self.to)?);
            if past.0 && past.1 {
                return Ok(true);
            }
            if self.first.is_none() && (past.0 || past.1) {
                self.first = Some(Moment::of(&self.replay));
                self.backwards = past.1;
                self.replay.watch();
            }
            self.replay.take(event)?;
        }
        Ok(false)
    }

    fn end(self, turn: Turn) -> Moments {
        let last = Moment::of(&self.replay);
        let first = self.first.unwrap_or_else(|| last.clone());
        let (from, to) = if self.backwards { (last, first) } else { (first, last) };
        Moments { from, to, replay: self.replay, backwards: self.backwards, _turn: turn }
    }
}

/// A day is meant as a whole: from its beginning where it is the first, to its end where it is the second; two days in
/// the other order the other way round.
fn ats(from: Named, to: Named, settings: &Settings) -> (At, At) {
    let backwards = matches!((from, to), (Named::Day(from), Named::Day(to)) if from > to);
    let at = |named, ends: bool| match named {
        Named::At(at) => at,
        Named::Day(day) => At::Time(before(if ends { day.succ_opt().unwrap_or(day) } else { day }, settings)),
    };
    (at(from, backwards), at(to, !backwards))
}

/// The last moment before a day begins in the organisation's time zone.
fn before(day: NaiveDate, settings: &Settings) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    // Where clocks are put forward at midnight the day begins an hour later.
    let begins = [midnight, midnight + Duration::hours(1)]
        .into_iter()
        .find_map(|time| settings.zone().from_local_datetime(&time).earliest())
        .map_or(midnight.and_utc(), |time| time.to_utc());
    // Before the first day that there is, there is none.
    begins.checked_sub_signed(Duration::microseconds(1)).unwrap_or(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_by_its_form() {
        let moment = |text: &str| text.parse::<Named>();
        assert_eq!(moment("12"), Ok(Named::At(At::Version(12))));
        assert_eq!(moment("v12"), Ok(Named::At(At::Version(12))));
        assert_eq!(moment("event:3"), Ok(Named::At(At::Event(3))));
        assert_eq!(moment("now"), Ok(Named::At(At::Now)));
        assert!(matches!(moment("2026-03-20T08:00:00+01:00"), Ok(Named::At(At::Time(_)))));
        assert!(matches!(moment("2026-03-20"), Ok(Named::Day(_))));
        assert!(moment("20.03.2026").is_err() && moment("event:x").is_err() && moment("").is_err());
    }

    #[test]
    fn the_first_and_the_last_day_that_there_are_can_be_named() {
        for (day, zone) in [("-262143-01-01", "UTC"), ("+262142-12-31", "UTC"), ("-262143-01-01", "Asia/Tokyo")] {
            let mut settings = Settings::default();
            settings.set("timezone", zone).unwrap();
            let day: Named = day.parse().unwrap();
            assert!(matches!(ats(day, day, &settings), (At::Time(_), At::Time(_))), "{day:?} {zone}");
        }
    }
}
