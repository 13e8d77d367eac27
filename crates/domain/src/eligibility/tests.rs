use chrono::TimeZone;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    change::{Change, Kind},
    diff,
    field::{FieldSet, Fields},
    fold,
    ids::{ChangeSetId, date_of},
    member::Reason,
    values::Values,
};

/// A day of 2026.
mod any;

fn d(month: u32, day: u32) -> Day {
    day_of(NaiveDate::from_ymd_opt(2026, month, day).unwrap())
}

fn member(spells: &[(FeedNo, Day, Option<Day>)], values: &[(FieldId, &str)]) -> Member {
    Member {
        no: 0,
        uuid: Uuid::nil(),
        key: "E1".into(),
        aliases: Vec::new(),
        values: values.iter().copied().collect(),
        spells: spells.iter().map(|&(feed, from, to)| Spell { feed, from, to }).collect(),
        words: Vec::new(),
    }
}

/// Claimed by the main feed since 1 January.
fn listed(values: &[(FieldId, &str)]) -> Member {
    member(&[(FeedNo::MAIN, d(1, 1), None)], values)
}

/// Claimed by the main feed from 1 January until it no longer named them on 10 March.
fn absent(values: &[(FieldId, &str)]) -> Member {
    member(&[(FeedNo::MAIN, d(1, 1), Some(d(3, 10)))], values)
}

fn with(key: &str, value: &str) -> Settings {
    Settings::default().with([(key, value)]).unwrap()
}

fn on(member: &Member, day: Day) -> Answer {
    eligible(member, &Settings::default(), day)
}

fn yes(reason: ReasonCode, since: Day, until: Option<Day>) -> Answer {
    Answer { eligible: true, reason, since: Some(since), until }
}

fn no(reason: ReasonCode, since: Option<Day>, until: Option<Day>) -> Answer {
    Answer { eligible: false, reason, since, until }
}

use ReasonCode::*;

#[test]
fn whoever_is_claimed_and_has_no_dates_is_eligible() {
    assert_eq!(on(&listed(&[]), d(3, 20)), yes(Eligible, d(1, 1), None));
}

#[test]
fn whoever_was_never_claimed_is_not() {
    assert_eq!(on(&member(&[], &[]), d(3, 20)), no(NeverListed, None, None));
}

#[test]
fn nobody_is_eligible_before_their_first_claim() {
    assert_eq!(on(&listed(&[]), d(1, 1) - 1), no(NotYetListed, None, Some(d(1, 1) - 1)));
}

#[test]
fn a_claim_holds_on_its_first_day_and_no_longer_on_the_day_it_ended() {
    let member = absent(&[]);
    assert_eq!(on(&member, d(1, 1)), yes(Eligible, d(1, 1), Some(d(3, 9))));
    assert_eq!(on(&member, d(3, 9)), yes(Eligible, d(1, 1), Some(d(3, 9))));
    assert_eq!(on(&member, d(3, 10)), no(NotListed, Some(d(3, 10)), None));
}

#[test]
fn was_eligible_on_20_march_is_right_for_someone_removed_on_the_10th_and_reinstated_in_april() {
    for values in [&[][..], &[(FieldId::END_DATE, "2026-12-31")]] {
        let spells = [(FeedNo::MAIN, d(1, 1), Some(d(3, 10))), (FeedNo::MAIN, d(4, 7), None)];
        let member = member(&spells, values);
        assert!(on(&member, d(3, 9)).eligible);
        assert_eq!(on(&member, d(3, 20)), no(NotListed, Some(d(3, 10)), Some(d(4, 6))));
        assert!(on(&member, d(4, 7)).eligible);
    }
}

#[test]
fn claims_of_several_feeds_make_one_stretch() {
    let feed = FeedNo(2);
    let member = member(&[(FeedNo::MAIN, d(1, 1), Some(d(3, 10))), (feed, d(3, 10), Some(d(5, 1)))], &[]);
    assert_eq!(on(&member, d(3, 10)), yes(Eligible, d(1, 1), Some(d(4, 30))));
}

#[test]
fn the_start_date_must_be_reached() {
    let member = listed(&[(FieldId::START_DATE, "2026-04-01")]);
    assert_eq!(on(&member, d(3, 31)), no(NotStarted, None, Some(d(3, 31))));
    assert_eq!(on(&member, d(4, 1)), yes(Eligible, d(4, 1), None));
}

#[test]
fn with_from_listed_the_start_date_does_not_matter() {
    let member = listed(&[(FieldId::START_DATE, "2026-04-01")]);
    assert_eq!(eligible(&member, &with("eligibility.from", "listed"), d(3, 1)), yes(Eligible, d(1, 1), None));
}

#[test]
fn the_end_date_counts_with_its_own_day() {
    let member = listed(&[(FieldId::END_DATE, "2026-03-31")]);
    assert_eq!(on(&member, d(3, 31)), yes(Eligible, d(1, 1), Some(d(3, 31))));
    assert_eq!(on(&member, d(4, 1)), no(Ended, Some(d(4, 1)), None));
}

#[test]
fn an_end_before_the_start_leaves_no_day() {
    let member = listed(&[(FieldId::START_DATE, "2026-04-01"), (FieldId::END_DATE, "2026-03-01")]);
    assert_eq!(on(&member, d(3, 15)), no(NotStarted, None, None));
    assert_eq!(on(&member, d(4, 15)), no(Ended, None, None));
}

#[test]
fn an_excluded_status_excludes_without_regard_to_case() {
    for status in ["terminated", "Terminated", "TERMINATED"] {
        let member = listed(&[(FieldId::EMPLOYMENT_STATUS, status)]);
        assert_eq!(on(&member, d(3, 20)), no(ExcludedStatus, None, None));
        assert!(eligible(&member, &with("eligibility.excluded_statuses", "none"), d(3, 20)).eligible);
    }
    let member = listed(&[(FieldId::EMPLOYMENT_STATUS, "BEURLAUBT Ä")]);
    assert!(on(&member, d(3, 20)).eligible);
    assert!(!eligible(&member, &with("eligibility.excluded_statuses", "Beurlaubt ä"), d(3, 20)).eligible);
}

#[test]
fn grace_days_are_added_to_the_end_date() {
    let grace = with("eligibility.grace_days", "5");
    let member = listed(&[(FieldId::END_DATE, "2026-03-31")]);
    assert_eq!(eligible(&member, &grace, d(3, 31)).reason, Eligible);
    assert_eq!(eligible(&member, &grace, d(4, 5)), yes(Grace, d(1, 1), Some(d(4, 5))));
    assert_eq!(eligible(&member, &grace, d(4, 6)), no(Ended, Some(d(4, 6)), None));
}

#[test]
fn grace_days_are_added_to_the_last_day_of_a_claim_but_not_past_the_end_dates() {
    let grace = with("eligibility.grace_days", "5");
    assert_eq!(eligible(&absent(&[]), &grace, d(3, 14)), yes(Grace, d(1, 1), Some(d(3, 14))));
    assert_eq!(eligible(&absent(&[]), &grace, d(3, 15)), no(NotListed, Some(d(3, 15)), None));
    let left_before = absent(&[(FieldId::END_DATE, "2026-03-06")]);
    assert_eq!(eligible(&left_before, &grace, d(3, 11)), yes(Grace, d(1, 1), Some(d(3, 11))));
    assert_eq!(eligible(&left_before, &grace, d(3, 12)), no(Ended, Some(d(3, 12)), None));
}

#[test]
fn grace_days_close_a_short_gap_between_claims() {
    let spells = [(FeedNo::MAIN, d(1, 1), Some(d(3, 10))), (FeedNo::MAIN, d(3, 12), None)];
    let answer = eligible(&member(&spells, &[]), &with("eligibility.grace_days", "5"), d(3, 11));
    assert_eq!(answer, yes(Grace, d(1, 1), None));
}

#[test]
fn an_excluded_status_gives_no_grace() {
    let member = listed(&[(FieldId::END_DATE, "2026-03-31"), (FieldId::EMPLOYMENT_STATUS, "terminated")]);
    assert_eq!(eligible(&member, &with("eligibility.grace_days", "5"), d(4, 2)), no(ExcludedStatus, None, None));
}

/// How a claim may end.
#[derive(Clone, Copy)]
enum Gone {
    /// A full payload no longer names the person.
    Absent,
    /// A list of leavers names them.
    InLeavers,
    /// An administrator takes them off.
    ByHand,
}

static FIELDS: Fields = Fields { custom: Vec::new() };

fn folding(feed: FeedNo, day: Day) -> fold::Context<'static> {
    let displaced = if feed == FeedNo::HAND { Reason::Pinned } else { Reason::AnotherFeed };
    fold::Context { change_set: ChangeSetId(Uuid::nil()), feed, day, displaced, fields: &FIELDS }
}

fn comparing(feed: FeedNo, today: Day) -> diff::Context<'static> {
    let match_field = FieldId::EMPLOYEE_ID;
    diff::Context {
        feed,
        priorities: &[],
        speaks: &[],
        empty_clears: true,
        match_field,
        fields: &FIELDS,
        today,
        ask_again_days: 30,
    }
}

/// The claim of a feed ends as the engine ends it: compared on one day, applied on the same or a later one.
fn leaves(member: Member, feed: FeedNo, how: Gone, compared: Day, applied: Day) -> Member {
    let before = member.clone();
    if matches!(how, Gone::ByHand) {
        let mut change = Change::new(Kind::Remove, Some(0), member.uuid, "E1");
        change.ends = true;
        return fold::apply(Some(before), 0, &change, &folding(FeedNo::HAND, applied));
    }
    let diff::Absence::Change { mut change, .. } = diff::absent(&member, &comparing(feed, compared)) else {
        panic!("not claimed")
    };
    if matches!(how, Gone::InLeavers) {
        change.effective_on = None;
    }
    fold::apply(Some(before), 0, &change, &folding(feed, applied))
}

/// Gone on a day, by the main feed or by hand.
fn gone(member: Member, how: Gone, day: Day) -> Member {
    leaves(member, FeedNo::MAIN, how, day, day)
}

/// A feed's full payload names the person with these values, on a day.
fn named(member: Member, feed: FeedNo, values: &[(FieldId, &str)], day: Day) -> Member {
    let (values, raw): (Values, _) = (values.iter().copied().collect(), Values::default());
    let blank = Some(FieldId::END_DATE).filter(|f| values.get(*f).is_none());
    let (empty, null) = (blank.into_iter().collect(), FieldSet::default());
    let row = diff::Row { line: 2, key: "E1", values: &values, empty, null, raw: &raw };
    let before = member.clone();
    match diff::named(&member, row, None, &comparing(feed, day)) {
        diff::Outcome::Change { change, .. } => fold::apply(Some(before), 0, &change, &folding(feed, day)),
        _ => before,
    }
}

const LATER_END: &[(FieldId, &str)] = &[(FieldId::END_DATE, "2026-03-31")];

#[test]
fn absence_never_shortens_a_known_later_end_date() {
    let member = gone(listed(LATER_END), Gone::Absent, d(3, 10));
    assert!(!member.is_listed());
    for day in [d(3, 10), d(3, 20), d(3, 31)] {
        assert_eq!(on(&member, day), yes(UntilEndDate, d(1, 1), Some(d(3, 31))));
    }
    assert_eq!(on(&member, d(4, 1)), no(NotListed, Some(d(4, 1)), None));
    let on_the_last_day = gone(listed(LATER_END), Gone::Absent, d(3, 31));
    assert_eq!(on(&on_the_last_day, d(3, 31)), yes(UntilEndDate, d(1, 1), Some(d(3, 31))));
    assert!(!on(&on_the_last_day, d(4, 1)).eligible);
}

#[test]
fn an_absence_does_not_lengthen_either() {
    let member = gone(listed(&[(FieldId::END_DATE, "2026-02-28")]), Gone::Absent, d(3, 10));
    assert_eq!(on(&member, d(3, 5)), no(Ended, Some(d(3, 1)), None));
    assert_eq!(on(&member, d(3, 20)).reason, NotListed);
    let member = gone(listed(&[]), Gone::Absent, d(3, 10));
    assert_eq!(on(&member, d(3, 10)), no(NotListed, Some(d(3, 10)), None));
}

#[test]
fn an_absence_accepted_after_the_end_date_ends_on_the_day_of_application() {
    let member = leaves(listed(LATER_END), FeedNo::MAIN, Gone::Absent, d(3, 10), d(4, 9));
    assert_eq!(member.spells[0].to, Some(d(4, 9)));
    assert_eq!(on(&member, d(3, 31)), yes(Eligible, d(1, 1), Some(d(3, 31))));
    assert!(!on(&member, d(4, 1)).eligible);
}

#[test]
fn leavers_and_the_hand_end_it_at_once_whatever_the_end_date() {
    for how in [Gone::InLeavers, Gone::ByHand] {
        let member = gone(listed(LATER_END), how, d(3, 10));
        assert_eq!(on(&member, d(3, 9)), yes(Eligible, d(1, 1), Some(d(3, 9))));
        assert_eq!(on(&member, d(3, 10)), no(NotListed, Some(d(3, 10)), None));
    }
}

#[test]
fn only_the_last_claim_to_end_lasts_until_the_end_date() {
    let (payroll, both) = (FeedNo(2), named(listed(LATER_END), FeedNo(2), LATER_END, d(2, 1)));
    let released = gone(both, Gone::Absent, d(3, 1));
    assert_eq!((released.is_listed(), released.spells[0].to), (true, Some(d(3, 1))));
    let member = leaves(released, payroll, Gone::Absent, d(3, 10), d(3, 10));
    assert_eq!(on(&member, d(1, 15)), yes(Eligible, d(1, 1), Some(d(3, 31))), "the first claim was over before");
    assert_eq!(on(&member, d(3, 31)), yes(UntilEndDate, d(1, 1), Some(d(3, 31))));
}

#[test]
fn a_claim_that_began_while_the_absence_waited_has_its_own_end() {
    let both = named(listed(LATER_END), FeedNo(2), LATER_END, d(3, 12));
    let before = listed(LATER_END);
    let diff::Absence::Change { change, .. } = diff::absent(&before, &comparing(FeedNo::MAIN, d(3, 10))) else {
        panic!("not claimed")
    };
    let released = fold::apply(Some(both), 0, &change, &folding(FeedNo::MAIN, d(3, 14)));
    assert_eq!(released.spells[0].to, Some(d(3, 14)));
    let member = leaves(released, FeedNo(2), Gone::InLeavers, d(3, 20), d(3, 20));
    assert_eq!(on(&member, d(3, 20)), no(NotListed, Some(d(3, 20)), None));
}

#[test]
fn reinstated_before_that_end_date_gives_no_gap() {
    let absent = gone(listed(LATER_END), Gone::Absent, d(3, 10));
    let back = named(absent, FeedNo::MAIN, &[], d(3, 20));
    assert_eq!(back.values.get(FieldId::END_DATE), None);
    for day in [d(3, 9), d(3, 15), d(3, 20), d(5, 1)] {
        assert_eq!(on(&back, day), yes(Eligible, d(1, 1), None));
    }
}

#[test]
fn once_reinstated_the_next_end_counts() {
    let back = || {
        let absent = gone(listed(LATER_END), Gone::Absent, d(3, 10));
        named(absent, FeedNo(2), &[], d(3, 20))
    };
    for how in [Gone::Absent, Gone::InLeavers, Gone::ByHand] {
        let member = leaves(back(), FeedNo(2), how, d(3, 25), d(3, 25));
        assert_eq!(on(&member, d(3, 24)), yes(Eligible, d(1, 1), Some(d(3, 24))));
        assert_eq!(on(&member, d(3, 25)), no(NotListed, Some(d(3, 25)), None));
    }
}

#[test]
fn today_is_the_day_in_the_organisations_time_zone() {
    let now = Utc.with_ymd_and_hms(2026, 3, 31, 23, 30, 0).unwrap();
    assert_eq!(today(&Settings::default(), now), d(3, 31));
    assert_eq!(today(&with("timezone", "Europe/Berlin"), now), d(4, 1));
    assert_eq!(today(&with("timezone", "America/Los_Angeles"), now), d(3, 31));
    let spring = Utc.with_ymd_and_hms(2026, 3, 29, 22, 0, 0).unwrap();
    assert_eq!(today(&with("timezone", "Europe/Berlin"), spring), d(3, 30), "the day has 23 hours");
}

#[test]
fn removed_an_excluded_status_or_an_end_date_brought_forward_takes_eligibility_away() {
    let settings = with("eligibility.grace_days", "30");
    let loses = |before: &Member, after: &Member| loses_eligibility(before, after, &settings, d(3, 10));
    let end = |date| listed(&[(FieldId::END_DATE, date)]);
    assert!(loses(&listed(&[]), &absent(&[])));
    assert!(loses(&listed(&[]), &listed(&[(FieldId::EMPLOYMENT_STATUS, "Terminated")])));
    assert!(loses(&listed(&[]), &listed(&[(FieldId::START_DATE, "2026-05-01")])));
    assert!(loses(&end("2026-12-31"), &end("2026-03-10")));
    assert!(loses(&listed(&[]), &end("2026-03-09")));
    assert!(!loses(&end("2026-12-31"), &end("2026-03-11")), "still to come");
    assert!(loses(&end("2026-03-10"), &end("2026-03-09")), "today was the last day");
    assert!(!loses(&end("2026-03-01"), &absent(&[(FieldId::END_DATE, "2026-03-01")])), "had lost it before");
    let gone = |how| gone(end("2026-12-31"), how, d(3, 10));
    assert!(!loses(&end("2026-12-31"), &gone(Gone::Absent)), "stays until the end date");
    assert!(loses(&end("2026-12-31"), &gone(Gone::InLeavers)));
    assert!(loses(&end("2026-12-31"), &gone(Gone::ByHand)));
}

#[test]
fn whoever_has_not_started_yet_can_lose_it_too() {
    let starter = |member: fn(&[(FieldId, &str)]) -> Member| member(&[(FieldId::START_DATE, "2026-05-01")]);
    assert!(loses_eligibility(&starter(listed), &starter(absent), &Settings::default(), d(3, 10)));
    assert!(!loses_eligibility(&starter(listed), &starter(listed), &Settings::default(), d(3, 10)));
}

#[test]
fn a_change_cuts_short_whom_the_guard_counts_and_a_field_left_out_of_it_does_not() {
    let settings = Settings::default();
    let ctx = folding(FeedNo::MAIN, d(3, 10));
    let setting = |field: &'static str, value: &'static str| {
        let mut change = Change::new(Kind::Update, Some(0), Uuid::nil(), "E1");
        change.from = vec![(field.into(), None)];
        change.to = vec![(field.into(), Some(value.into()))];
        change
    };
    let cuts = |before: &Member, change: &Change| cuts_short(before, change, &settings, &ctx);
    let excluded = setting("employment_status", "Terminated");
    assert!(cuts(&listed(&[]), &excluded));
    assert!(!cuts(&listed(&[]), &excluded.clone().without(&["employment_status".into()])));
    assert!(!cuts(&listed(&[(FieldId::END_DATE, "2026-01-31")]), &excluded), "had lost it before");
    assert!(!cuts(&listed(&[]), &setting("employment_status", "leave")));
    assert!(cuts(&listed(&[]), &setting("end_date", "2026-03-01")));
    assert!(cuts(&listed(&[]), &setting("end_date", "2026-12-31")), "an end to come is an end");
    assert!(cuts(&listed(&[]), &setting("start_date", "2026-12-31")));
    assert!(!cuts(&listed(&[]), &setting("department", "Terminated")));
    let mut removal = Change::new(Kind::Remove, Some(0), Uuid::nil(), "E1");
    removal.ends = true;
    assert!(cuts(&listed(&[]), &removal));
    assert!(!cuts(&absent(&[]), &removal));
}

#[test]
fn every_code_reads_the_same_in_json() {
    for code in [Eligible, UntilEndDate, Grace, NeverListed, NotYetListed, NotListed, NotStarted, Ended, ExcludedStatus]
    {
        assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.word()));
    }
}

#[test]
fn days_at_the_ends_of_time_are_answered() {
    let member = listed(&[(FieldId::END_DATE, "9999-12-31")]);
    let settings = Settings {
        eligibility: crate::settings::Eligibility { grace_days: u32::MAX, ..Default::default() },
        ..Settings::default()
    };
    for day in [Day::MIN, 0, Day::MAX - 1, Day::MAX] {
        let _ = (eligible(&member, &settings, day), loses_eligibility(&member, &member, &settings, day));
    }
}
