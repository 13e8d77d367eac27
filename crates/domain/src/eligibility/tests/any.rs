//! What holds of any member, change and settings.

use super::*;

const SPAN: Day = 60;

prop_compose! {
    fn any_member()(
        spells in prop::collection::vec((0u16..3, 0..SPAN, prop::option::of(0..20)), 0..5),
        start in prop::option::of(0..SPAN),
        end in prop::option::of(0..SPAN),
        status in prop::option::weighted(0.2, prop::sample::select(&["Terminated", "active"][..])),
    ) -> Member {
        let spells: Vec<_> = spells.into_iter().map(|(f, from, n)| (FeedNo(f), from, n.map(|n| from + n))).collect();
        let (start, end) = (start.map(|s| date_of(s).to_string()), end.map(|e| date_of(e).to_string()));
        let fields = [(FieldId::START_DATE, start.as_deref()), (FieldId::END_DATE, end.as_deref()), (FieldId::EMPLOYMENT_STATUS, status)];
        let values: Vec<_> = fields.into_iter().filter_map(|(f, v)| Some((f, v?))).collect();
        member(&spells, &values)
    }
}

prop_compose! {
    fn any_settings()(grace in 0u32..6, listed: bool) -> Settings {
        let mut settings = Settings::default();
        settings.eligibility.grace_days = grace;
        settings.set("eligibility.from", if listed { "listed" } else { "start_date" }).unwrap();
        settings
    }
}

prop_compose! {
    fn any_change()(
        kind in prop::sample::select(&Kind::ALL[..]),
        ends: bool,
        spells in prop::option::weighted(0.2, prop::collection::vec((0u16..3, 0..SPAN, prop::option::of(0..20)), 0..3)),
        effective in prop::option::weighted(0.3, 0..SPAN),
        start in prop::option::weighted(0.3, prop::option::of(0..SPAN)),
        end in prop::option::weighted(0.3, prop::option::of(0..SPAN)),
        status in prop::option::weighted(0.3, prop::sample::select(&[None, Some("Terminated"), Some("active")][..])),
        team: bool,
    ) -> Change<'static> {
        let mut change = Change::new(kind, Some(0), Uuid::nil(), "E1");
        let date = |day: Option<Day>| day.map(|day| date_of(day).to_string().into());
        change.ends = ends;
        change.spells = spells.map(|s| s.into_iter().map(|(f, from, n)| (FeedNo(f), from, n.map(|n| from + n))).collect());
        change.effective_on = effective.map(|on| date_of(on).to_string().into());
        change.to.extend(start.map(|on| ("start_date".into(), date(on))));
        change.to.extend(end.map(|on| ("end_date".into(), date(on))));
        change.to.extend(status.map(|word| ("employment_status".into(), word.map(Into::into))));
        change.to.extend(team.then(|| ("department".into(), Some("Legal".into()))));
        change
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn whoever_is_not_asked_about_is_not_cut_short(
        mut before in any_member(), change in any_change(), settings in any_settings(), feed in 0u16..3, today in 0..SPAN,
    ) {
        before.spells.retain(|s| s.from <= today);
        let ctx = folding(FeedNo(feed), today);
        let after = fold::apply(Some(before.clone()), before.no, &change, &ctx);
        let cut_short = is_cut_short(&before, &after, &settings, today);
        prop_assert_eq!(cuts_short(&before, &change, &settings, &ctx), cut_short);
    }
}

proptest! {
    #[test]
    fn a_stretch_is_exactly_the_days_around_with_the_same_answer(
        member in any_member(), settings in any_settings(), on in -10..SPAN + 40,
    ) {
        let ask = |day| eligible(&member, &settings, day).eligible;
        let answer = eligible(&member, &settings, on);
        let (since, until) = (answer.since.unwrap_or(-20), answer.until.unwrap_or(SPAN + 60));
        prop_assert!(since <= on && on <= until);
        for day in since..=until {
            prop_assert_eq!(ask(day), answer.eligible, "day {}", day);
            let there = eligible(&member, &settings, day);
            prop_assert_eq!((there.since, there.until), (answer.since, answer.until));
        }
        prop_assert!(answer.since.is_none_or(|day| ask(day - 1) != answer.eligible));
        prop_assert!(answer.until.is_none_or(|day| ask(day + 1) != answer.eligible));
    }

    #[test]
    fn as_many_stretches_hold_a_day_as_the_person_is_eligible_on_it(
        member in any_member(), settings in any_settings(), day in -10..SPAN + 40,
    ) {
        let hold = |stretches: Vec<(Day, Option<Day>)>| {
            stretches.iter().filter(|(from, to)| *from <= day && to.is_none_or(|to| day < to)).count()
        };
        prop_assert_eq!(hold(stretches(&member, &settings)) == 1, eligible(&member, &settings, day).eligible);
        prop_assert!(hold(stretches(&member, &settings)) < 2 && hold(on_roster(&member)) < 2);
    }

    #[test]
    fn the_answer_is_the_sentence_of_the_design(member in any_member(), on in -10..SPAN + 40) {
        let settings = Settings::default();
        let date = date_of(on).to_string();
        let value = |field| member.values.get(field);
        let in_spell = member.spells.iter().any(|s| s.from <= on && s.to.is_none_or(|to| on < to));
        let expected = in_spell
            && value(FieldId::START_DATE).is_none_or(|start| *start <= *date)
            && value(FieldId::END_DATE).is_none_or(|end| *date <= *end)
            && value(FieldId::EMPLOYMENT_STATUS) != Some("Terminated");
        prop_assert_eq!(eligible(&member, &settings, on).eligible, expected);
    }

    #[test]
    fn the_reason_is_a_yes_exactly_if_the_answer_is(
        member in any_member(), settings in any_settings(), on in -10..SPAN + 40,
    ) {
        let answer = eligible(&member, &settings, on);
        prop_assert_eq!(matches!(answer.reason, Eligible | UntilEndDate | Grace), answer.eligible);
        prop_assert!(answer.reason != UntilEndDate || !member.is_listed());
    }

    #[test]
    fn more_grace_more_claims_or_no_dates_never_take_eligibility_away(
        member in any_member(), settings in any_settings(), on in -10..SPAN + 40, from in 0..SPAN,
    ) {
        if !eligible(&member, &settings, on).eligible {
            return Ok(());
        }
        let mut kinder = settings.clone();
        kinder.eligibility.grace_days += 1;
        prop_assert!(eligible(&member, &kinder, on).eligible);
        let mut freer = member.clone();
        freer.values.set(FieldId::START_DATE, None);
        prop_assert!(eligible(&freer, &settings, on).eligible);
        freer.values.set(FieldId::END_DATE, None);
        prop_assert!(eligible(&freer, &settings, on).eligible);
        freer.spells.push(Spell { feed: FeedNo::MAIN, from, to: None });
        prop_assert!(eligible(&freer, &settings, on).eligible);
    }

    #[test]
    fn nobody_loses_what_stays_the_same(member in any_member(), settings in any_settings(), today in -10..SPAN + 40) {
        prop_assert!(!loses_eligibility(&member, &member, &settings, today));
    }
}
