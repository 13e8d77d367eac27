use super::*;

/// The keys of the command line: a contract.
const CONTRACT: &[(&str, &str)] = &[
    ("policy.upload", "apply"),
    ("policy.api", "hold"),
    ("policy.schedule", "hold"),
    ("policy.hand", "hold"),
    ("guard.removals.max_percent", "12.5"),
    ("guard.removals.max_count", "100"),
    ("guard.updates.max_percent", "30"),
    ("guard.min_rows_percent", "off"),
    ("guard.blanked_field_percent", "0"),
    ("guard.key_changes.max_percent", "100"),
    ("guard.first_import", "off"),
    ("guard.on_trip", "hold_removals"),
    ("review.second_approver", "guarded"),
    ("review.second_approver_removals", "25"),
    ("ask_again_days", "7"),
    ("invalid_rows", "refuse"),
    ("duplicates", "last"),
    ("eligibility.from", "listed"),
    ("eligibility.excluded_statuses", "terminated,on leave"),
    ("eligibility.grace_days", "14"),
    ("dates", "month_first"),
    ("unknown_columns", "custom"),
];

fn value(settings: &Settings, key: &str) -> String {
    settings.list().into_iter().find(|s| s.key == key).unwrap().value
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = Settings::default();
    let shown: Vec<(&str, String)> = settings.list().into_iter().map(|s| (s.key, s.value)).collect();
    let expected = [
        ("policy.upload", "hold"),
        ("policy.api", "apply"),
        ("policy.schedule", "apply"),
        ("policy.hand", "apply"),
        ("guard.removals.max_percent", "10"),
        ("guard.removals.max_count", "off"),
        ("guard.updates.max_percent", "off"),
        ("guard.min_rows_percent", "80"),
        ("guard.blanked_field_percent", "50"),
        ("guard.key_changes.max_percent", "5"),
        ("guard.first_import", "on"),
        ("guard.on_trip", "hold_all"),
        ("review.second_approver", "off"),
        ("review.second_approver_removals", "off"),
        ("ask_again_days", "30"),
        ("invalid_rows", "auto"),
        ("duplicates", "invalid"),
        ("eligibility.from", "start_date"),
        ("eligibility.excluded_statuses", "terminated"),
        ("eligibility.grace_days", "0"),
        ("dates", "iso"),
        ("unknown_columns", "ignore"),
    ];
    for (key, value) in expected {
        assert!(shown.contains(&(key, value.to_owned())), "{key}");
    }
}

#[test]
fn every_key_of_the_contract_is_set_and_shown_as_it_was_set() {
    let settings = Settings::default().with(CONTRACT.iter().copied()).unwrap();
    for (key, given) in CONTRACT {
        assert_eq!(value(&settings, key), *given, "{key}");
        assert_ne!(value(&settings, key), value(&Settings::default(), key), "{key}");
    }
}

#[test]
fn what_is_listed_can_be_set_again() {
    for settings in [Settings::default(), Settings::default().with(CONTRACT.iter().copied()).unwrap()] {
        let mut copy = Settings { fields: settings.fields.clone(), version: settings.version, ..Settings::default() };
        for setting in settings.list().iter().filter(|s| s.key != "name") {
            copy.set(setting.key, &setting.value).unwrap();
            assert!(setting.meaning.ends_with('.'), "{}", setting.key);
        }
        assert_eq!(copy, settings);
    }
}

#[test]
fn settings_read_back_from_json_and_what_is_missing_stands_at_its_default() {
    let settings = Settings::default().with(CONTRACT.iter().copied()).unwrap();
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    let some = r#"{"guards":{"removals":{"max_percent":null}},"eligibility":{"grace_days":3},"later":1}"#;
    let some: Settings = serde_json::from_str(some).unwrap();
    assert_eq!(some.guards.removals, RemovalGuard { max_percent: None, max_count: None });
    assert_eq!((some.guards.min_rows_percent, some.eligibility.grace_days), (Some(80.0), 3));
    assert_eq!(some.eligibility.excluded_statuses, ["terminated"]);
    assert_eq!(serde_json::from_str::<FeedSettings>("{}").unwrap(), FeedSettings::default());
}

#[test]
fn percentages_are_off_or_from_0_to_100() {
    let mut settings = Settings::default();
    for (given, expected) in
        [("off", None), ("0", Some(0.0)), ("-0", Some(0.0)), ("2.5 %", Some(2.5)), ("100%", Some(100.0))]
    {
        settings.set("guard.updates.max_percent", given).unwrap();
        assert_eq!(settings.guards.updates.max_percent, expected, "{given}");
        assert!(!value(&settings, "guard.updates.max_percent").starts_with('-'));
    }
    for bad in ["", "-1", "100.1", "NaN", "inf", "ten", "10 % or so"] {
        assert!(settings.set("guard.updates.max_percent", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_second_approver_is_asked_for_from_so_many_removals_on_and_none_is_off() {
    let mut settings = Settings::default();
    for (given, expected) in [("1", Some(1)), ("off", None), ("25", Some(25)), ("0", None)] {
        settings.set("review.second_approver_removals", given).unwrap();
        assert_eq!(settings.review.second_approver_removals, expected, "{given}");
    }
    let error = settings.set("review.second_approver_removals", "-1").unwrap_err().to_string();
    assert!(error.ends_with("allowed is a whole number from 1 to 4294967295, or off."), "{error}");
    let error = settings.set("review.second_approver", "sometimes").unwrap_err().to_string();
    assert!(error.ends_with("allowed is off, guarded or always."), "{error}");
    // Nobody who may only set up a feed takes the rule away from it.
    assert!(FeedSettings::default().set_override("review.second_approver", "off").is_err());
}

#[test]
fn a_wrong_value_is_answered_with_what_was_given_where_and_what_is_allowed() {
    let mut settings = Settings::default();
    let mut says = |key, value| settings.set(key, value).unwrap_err().to_string();
    assert_eq!(
        says("guard.removals.max_percent", "110"),
        "`110` is no value for `guard.removals.max_percent`; allowed is a percentage from 0 to 100, or off."
    );
    assert_eq!(says("policy.upload", "maybe"), "`maybe` is no value for `policy.upload`; allowed is hold or apply.");
    assert_eq!(says("dates", "us"), "`us` is no value for `dates`; allowed is iso, day_first or month_first.");
    assert!(says("timezone", "Mars/Olympus").contains("such as Europe/Berlin"));
    assert!(says("ask_again_days", "-1").contains("from 0 to 3650"));
    assert_eq!(settings, Settings::default());
}

#[test]
fn an_unknown_key_is_answered_with_those_like_it() {
    let mut settings = Settings::default();
    let mut says = |key| settings.set(key, "1").unwrap_err().to_string();
    assert_eq!(says("policy.uplaod"), "There is no setting `policy.uplaod`; did you mean `policy.upload`?");
    assert!(says("removals.max_percent").contains("did you mean one of `guard.removals.max_percent`, "));
    assert!(says("grace-days").contains("`eligibility.grace_days`"));
    assert!(says("colour").contains("the settings are `name`"));
}

#[test]
fn changes_are_made_all_or_none_and_count_one_version() {
    let settings = Settings::default();
    let next = settings.with([("duplicates", "first"), ("dates", "day_first")]).unwrap();
    assert_eq!(next.version, 1);
    assert_eq!(next.with([("duplicates", "first")]).unwrap().version, 1);
    assert!(settings.with([("duplicates", "first"), ("dates", "?")]).is_err());
}

#[test]
fn invalid_rows_hold_a_persons_file_and_are_skipped_elsewhere_unless_set() {
    let mut settings = Settings::default();
    assert_eq!(settings.invalid_rows(Channel::Upload), InvalidRows::Hold);
    for channel in [Channel::Api, Channel::Schedule, Channel::Hand] {
        assert_eq!(settings.invalid_rows(channel), InvalidRows::Skip);
    }
    settings.set("invalid_rows", "refuse").unwrap();
    assert_eq!(settings.invalid_rows(Channel::Upload), InvalidRows::Refuse);
}

#[test]
fn a_feed_overrides_policy_and_guards_and_leaves_the_rest() {
    let settings = Settings::default().with([("guard.updates.max_percent", "20")]).unwrap();
    let mut feed = FeedSettings { policy: Some(Policy::Hold), ..FeedSettings::default() };
    feed.set_override("guard.removals.max_percent", "off").unwrap();
    feed.set_override("policy.api", "apply").unwrap();
    feed.set_override("dates", "day_first").unwrap();
    let ours = settings.for_feed(&feed);
    assert_eq!((ours.policy(Channel::Schedule), ours.policy(Channel::Api)), (Policy::Hold, Policy::Apply));
    assert_eq!((ours.guards.removals.max_percent, ours.guards.updates.max_percent), (None, Some(20.0)));
    assert_eq!(ours.dates, DateOrder::DayFirst);
    feed.set_override("dates", "").unwrap();
    assert_eq!(settings.for_feed(&feed).dates, DateOrder::Iso);
}

#[test]
fn a_feed_overrides_nothing_that_is_the_organisations_alone() {
    let mut feed = FeedSettings::default();
    let error = feed.set_override("eligibility.grace_days", "3").unwrap_err();
    assert!(error.to_string().starts_with("`eligibility.grace_days` cannot be set for one feed"));
    assert!(matches!(feed.set_override("guard.x", "1"), Err(SettingError::Unknown { .. })));
    assert!(matches!(feed.set_override("guard.first_import", "1"), Err(SettingError::Invalid { .. })));
    feed.overrides.insert("eligibility.grace_days".into(), "3".into());
    assert_eq!(Settings::default().for_feed(&feed), Settings::default());
}

#[test]
fn a_mapping_counts_its_changes() {
    let (settings, mut feed) = (Settings::default(), FeedSettings::default());
    feed.map("unique_id", "Personnel No.", &settings).unwrap();
    feed.map("employee_id", "Personnel No.", &settings).unwrap();
    assert_eq!((feed.mapping["employee_id"].as_str(), feed.mapping_version), ("Personnel No.", 1));
    assert!(feed.map("badge", "Badge", &settings).unwrap_err().to_string().contains("employee_id, email"));
    feed.map("employee_id", "", &settings).unwrap();
    assert_eq!((feed.mapping.len(), feed.mapping_version), (0, 2));
}

#[test]
fn only_changes_of_who_is_eligible_are_guarded_as_such() {
    let settings = Settings::default();
    let changed = |key, value| changes_who_is_eligible(&settings, &settings.with([(key, value)]).unwrap());
    for (key, value) in [
        ("eligibility.excluded_statuses", "terminated,retired"),
        ("eligibility.grace_days", "1"),
        ("eligibility.from", "listed"),
        ("timezone", "europe/berlin"),
        ("match_key", "email"),
    ] {
        assert!(changed(key, value), "{key}");
    }
    for (key, value) in [("eligibility.excluded_statuses", "Terminated"), ("policy.upload", "apply"), ("name", "N")] {
        assert!(!changed(key, value), "{key}");
    }
}

#[test]
fn a_word_is_the_same_in_json_and_on_the_command_line() {
    for mode in Mode::ALL {
        assert_eq!(serde_json::to_string(mode).unwrap(), format!("\"{mode}\""));
        assert_eq!(Mode::from_word(mode.word()), Some(*mode));
    }
}

#[test]
fn what_keeps_an_organisation_from_taking_more_than_its_share_is_the_operators() {
    let all = Settings::default().list();
    let own: Vec<&str> = all.iter().map(|s| s.key).filter(|key| is_operators_own(key)).collect();
    let expected = |key: &&str| *key == "api_access" || key.starts_with("api.rate.") || key.starts_with("limits.");
    assert!(own.len() > 8 && own.iter().all(expected), "{own:?}");
    assert!(!is_operators_own("api.key_max_days") && !is_operators_own("guard.min_rows_percent"));
    // As a setting is found, so is it kept.
    assert!(is_operators_own(" api_access "));
}
