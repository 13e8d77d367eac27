//! The keys of settings: what each is called, what it means, what it takes, and what it says when it is given something else.

use std::{fmt, str::FromStr};

use super::*;

/// A setting as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key, as [`Settings::set`] takes it.
    pub key: &'static str,
    /// Its value, as [`Settings::set`] takes it.
    pub value: String,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// The value that it has unless somebody sets it.
    pub default: String,
}

/// Why a setting was not taken; shows as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no setting of that key.
    #[error("There is no setting `{key}`; {}", near_sentence(near))]
    Unknown {
        /// The key given.
        key: String,
        /// Keys like it, the likeliest first; all of them if none is.
        near: Vec<&'static str>,
    },
    /// The value is none that the setting takes.
    #[error("`{given}` is no value for `{key}`; allowed is {allowed}.")]
    Invalid {
        /// The key.
        key: String,
        /// The value given.
        given: String,
        /// What the setting takes.
        allowed: String,
    },
    /// The setting is the organisation's alone.
    #[error(
        "`{key}` cannot be set for one feed; a feed can override guard.*, policy.*, invalid_rows, duplicates and dates."
    )]
    NotForFeeds {
        /// The key.
        key: String,
    },
    /// There is no field of that name to map a column to.
    #[error("There is no field `{name}` to map a column to; the fields are {}.", fields.join(", "))]
    UnknownField {
        /// The name given.
        name: String,
        /// The fields of the organisation.
        fields: Vec<String>,
    },
}

fn near_sentence(near: &[&'static str]) -> String {
    let quoted: Vec<String> = near.iter().map(|k| format!("`{k}`")).collect();
    match quoted.as_slice() {
        [only] => format!("did you mean {only}?"),
        list if list.len() <= MOST_NEAR => format!("did you mean one of {}?", list.join(", ")),
        list => format!("the settings are {}.", list.join(", ")),
    }
}

/// How many like keys a mistaken one is answered with.
const MOST_NEAR: usize = 3;

/// What a setting takes, as a part of a sentence; the error of everything below.
type Allowed = String;

struct Key {
    key: &'static str,
    meaning: &'static str,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), Allowed>,
}

macro_rules! keys {
    ($($key:literal, $meaning:literal, $show:path, $read:expr, $($field:ident).+;)*) => {
        const KEYS: &[Key] = &[$(Key {
            key: $key,
            meaning: $meaning,
            get: |s| $show(&s.$($field).+),
            set: |s, v| { s.$($field).+ = $read(v)?; Ok(()) },
        },)*];
    };
}

keys! {
    "name", "The organisation's name.", String::clone, name, name;
    "match_key", "The field that tells one member from another.",
        shown, |v| word(v, MatchKey::ALL), match_key;
    "timezone", "The time zone in which the organisation's days begin.", String::clone, timezone, timezone;
    "policy.upload", "What happens to a person's file that no guard stops: held for review, or applied.",
        shown, |v| word(v, Policy::ALL), policy.upload;
    "policy.api", "What happens to a program's push that no guard stops.", shown, |v| word(v, Policy::ALL), policy.api;
    "policy.schedule", "What happens to a connector's run that no guard stops.", shown, |v| word(v, Policy::ALL), policy.schedule;
    "policy.hand", "What happens to an edit by hand that no guard stops.", shown, |v| word(v, Policy::ALL), policy.hand;
    "guard.removals.max_percent", "Hold if more than this percentage of the feed's people would lose eligibility.",
        or_off, percent, guards.removals.max_percent;
    "guard.removals.max_count", "Hold if more than this number of people would lose eligibility.",
        or_off, count_or_off, guards.removals.max_count;
    "guard.updates.max_percent", "Hold if more than this percentage of the feed's people would be updated.",
        or_off, percent, guards.updates.max_percent;
    "guard.min_rows_percent", "Hold if a full payload has fewer rows than this percentage of last time's.",
        or_off, percent, guards.min_rows_percent;
    "guard.blanked_field_percent", "Hold if more than this percentage of a field's values would become blank.",
        or_off, percent, guards.blanked_field_percent;
    "guard.key_changes.max_percent", "Hold if the match keys of more than this percentage of people would change.",
        or_off, percent, guards.key_changes.max_percent;
    "guard.first_import", "Hold the first payload of a feed.", on_off, switch, guards.first_import;
    "guard.on_trip", "When a guard holds: everything waits, or only what makes people ineligible.",
        shown, |v| word(v, OnTrip::ALL), guards.on_trip;
    "review.second_approver", "Which change sets two people must approve: none, those that a guard held, or every one that waits.",
        shown, |v| word(v, SecondApprover::ALL), review.second_approver;
    "review.second_approver_removals", "Two people must approve what would make at least this number of people ineligible, or off.",
        or_off, least_or_off, review.second_approver_removals;
    "ask_again_days", "Days after which a removal that was not accepted is proposed again.",
        shown, |v| whole(v, 0, MOST_DAYS), ask_again_days;
    "invalid_rows", "What a row with an error does: hold the change set, be skipped, or have the payload refused; \
        auto holds for uploads and skips for other channels.", invalid_rows_shown, invalid_rows, invalid_rows;
    "duplicates", "Which of two contradicting rows of one person counts: none (both are invalid), the first or the last.",
        shown, |v| word(v, Duplicates::ALL), duplicates;
    "eligibility.from", "People are eligible from their start date, or from the day on which they are listed.",
        shown, |v| word(v, EligibleFrom::ALL), eligibility.from;
    "eligibility.excluded_statuses", "Employment statuses with which nobody is eligible, separated by commas.",
        statuses_shown, statuses, eligibility.excluded_statuses;
    "eligibility.grace_days", "Days for which people stay eligible after their end date or after leaving the roster.",
        shown, |v| whole(v, 0, MOST_DAYS), eligibility.grace_days;
    "dates", "How a date such as 03/04/2021 is read: not at all, day first, or month first.",
        dates_shown, dates, dates;
    "unknown_columns", "A column that is no field is ignored, or becomes a custom field.",
        shown, |v| word(v, UnknownColumns::ALL), unknown_columns;
    "limits.payload_mb", "The largest payload that is taken, in MiB.", shown, |v| whole(v, 1, MOST_MB), limits.payload_mb;
    "limits.unpacked_mb", "The most that a packed payload (gzip, workbook) may unpack to, in MiB.",
        shown, |v| whole(v, 1, MOST_MB), limits.unpacked_mb;
    "limits.xls_mb", "The largest workbook in the format of before 2007 (.xls), in MiB: it is held in memory.",
        shown, |v| whole(v, 1, 2048), limits.xls_mb;
    "limits.ratio", "How many times larger a packed payload may become when it is unpacked.",
        shown, |v| whole(v, 2, 2000), limits.ratio;
    "limits.rows", "The most rows that a payload may have.", shown, |v| whole(v, 1, u32::MAX), limits.rows;
    "limits.columns", "The most columns that a payload may have.", shown, |v| whole(v, 1, 20_000), limits.columns;
    "limits.cell_chars", "The longest cell that is taken, in characters; the value of a longer one is refused.",
        shown, |v| whole(v, 1, 10_000), limits.cell_chars;
    "limits.depth", "How deeply objects and lists of a JSON payload may lie in one another.",
        shown, |v| whole(v, 2, 100), limits.depth;
    "payloads.keep_days", "Days after which `muster retention run` destroys a payload's original; off keeps them for ever.",
        or_off, days_or_off, payloads.keep_days;
    "events.values", "Whether what other systems are told of applied changes has match keys and values in it, before and after.",
        on_off, switch, events.values;
    "api_access", "Whether API keys are let in: an add-on, which only the operator's command line turns on and off.",
        on_off, switch, api.access;
    "api.rate.requests", "Requests a minute that each API key may make, but for uploads and eligibility checks.",
        shown, |v| whole(v, 1, MOST_A_MINUTE), api.rate.requests;
    "api.rate.uploads", "Uploads a minute that each API key may make.",
        shown, |v| whole(v, 1, MOST_A_MINUTE), api.rate.uploads;
    "api.rate.eligibility", "Eligibility checks a minute that each API key may make.",
        shown, |v| whole(v, 1, MOST_A_MINUTE), api.rate.eligibility;
    "api.key_max_days", "The longest life of an API key that is made or changed from now on, in days, or off.",
        or_off, days_or_off, api.key_max_days;
}

/// Whether only the operator's command line changes a setting: it lets an organisation in, or keeps it from taking more of
/// the installation than its share. Nobody sets it over HTTP, whatever their rights.
pub fn is_operators_own(key: &str) -> bool {
    let key = key.trim();
    key == "api_access" || key.starts_with("api.rate.") || key.starts_with("limits.")
}

/// The most that a rate may be set to: a million a second.
pub const MOST_A_MINUTE: u32 = 60_000_000;

/// One TiB: the most that a size may be set to.
const MOST_MB: u32 = 1 << 20;

/// Ten years: the longest that a number of days may be.
const MOST_DAYS: u32 = 3650;

impl Settings {
    /// Sets one setting from text. The version stays: see [`Settings::with`].
    ///
    /// # Errors
    /// If there is no such key, or the value is none that it takes; the settings are then as before.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let key = key.trim();
        let found = KEYS.iter().find(|k| k.key == key).ok_or_else(|| unknown(key))?;
        (found.set)(self, value.trim()).map_err(|allowed| SettingError::Invalid {
            key: key.to_owned(),
            given: value.trim().to_owned(),
            allowed,
        })
    }

    /// These settings with several set, all or none; of the next version if anything is different now.
    ///
    /// # Errors
    /// The first that cannot be set.
    pub fn with<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Settings, SettingError> {
        let mut settings = self.clone();
        for (key, value) in pairs {
            settings.set(key, value)?;
        }
        if settings != *self {
            settings.version += 1;
        }
        Ok(settings)
    }

    /// Every setting by key, in the order in which people read them.
    pub fn list(&self) -> Vec<Setting> {
        let default = Settings::default();
        KEYS.iter()
            .map(|k| Setting { key: k.key, value: (k.get)(self), meaning: k.meaning, default: (k.get)(&default) })
            .collect()
    }
}

impl FeedSettings {
    /// Puts a setting in place of the organisation's for this feed; an empty value takes it away again.
    ///
    /// # Errors
    /// If the key is none that a feed can override, or the value none that it takes.
    pub fn set_override(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let (key, value) = (key.trim(), value.trim());
        if KEYS.iter().all(|k| k.key != key) {
            return Err(unknown(key));
        }
        if !is_for_feeds(key) {
            return Err(SettingError::NotForFeeds { key: key.to_owned() });
        }
        if value.is_empty() {
            self.overrides.remove(key);
            return Ok(());
        }
        Settings::default().set(key, value)?;
        self.overrides.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Says which column holds a field (`unique_id` is another name for the match key's); an empty column takes it
    /// away again. The mapping's version goes up if it is different now.
    ///
    /// # Errors
    /// If the organisation has no such field.
    pub fn map(&mut self, field: &str, column: &str, settings: &Settings) -> Result<(), SettingError> {
        let (name, column) = (field.trim(), column.trim());
        let Some(id) = settings.field(name) else {
            let fields = settings.fields.all().map(|f| settings.fields.name(f).to_owned()).collect();
            return Err(SettingError::UnknownField { name: name.to_owned(), fields });
        };
        let name = settings.fields.name(id);
        let before = match column {
            "" => self.mapping.remove(name),
            _ => self.mapping.insert(name.to_owned(), column.to_owned()),
        };
        if before.as_deref().unwrap_or("") != column {
            self.mapping_version += 1;
        }
        Ok(())
    }
}

/// Whether a feed can have a setting of its own in place of the organisation's.
pub(super) fn is_for_feeds(key: &str) -> bool {
    key.starts_with("guard.") || key.starts_with("policy.") || matches!(key, "invalid_rows" | "duplicates" | "dates")
}

fn unknown(key: &str) -> SettingError {
    let mut near: Vec<(usize, &'static str)> =
        KEYS.iter().filter_map(|k| Some((likeness(key, k.key)?, k.key))).collect();
    near.sort();
    let mut near: Vec<&'static str> = near.into_iter().map(|(_, k)| k).take(MOST_NEAR).collect();
    if near.is_empty() {
        near = KEYS.iter().map(|k| k.key).collect();
    }
    SettingError::Unknown { key: key.to_owned(), near }
}

/// How far a key is from the one given; `None` if they are not alike.
fn likeness(given: &str, key: &str) -> Option<usize> {
    let given = given.to_lowercase().replace('-', "_");
    let part = given.len() >= 3
        && (key.contains(&given) || key.rsplit('.').any(|last| last.len() > 3 && given.ends_with(last)));
    let distance = edits(&given, key);
    (part || distance <= 1 + key.len() / 6).then_some(distance)
}

/// The least number of letters to put in, take out or replace.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(100).enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn shown(value: &impl fmt::Display) -> String {
    value.to_string()
}

fn or_off(value: &Option<impl fmt::Display>) -> String {
    value.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string)
}

fn on_off(value: &bool) -> String {
    if *value { "on" } else { "off" }.to_owned()
}

fn invalid_rows_shown(value: &Option<InvalidRows>) -> String {
    value.map_or("auto", InvalidRows::word).to_owned()
}

fn statuses_shown(value: &[String]) -> String {
    if value.is_empty() { "none".to_owned() } else { value.join(",") }
}

fn dates_shown(value: &DateOrder) -> String {
    DATES.iter().find(|(_, d)| d == value).map_or("iso", |(w, _)| w).to_owned()
}

const DATES: [(&str, DateOrder); 3] =
    [("iso", DateOrder::Iso), ("day_first", DateOrder::DayFirst), ("month_first", DateOrder::MonthFirst)];

fn name(value: &str) -> Result<String, Allowed> {
    let fits = !value.is_empty() && value.chars().count() <= 200 && !value.chars().any(char::is_control);
    fits.then(|| value.to_owned()).ok_or_else(|| "1 to 200 characters on one line".to_owned())
}

fn timezone(value: &str) -> Result<String, Allowed> {
    let zone = chrono_tz::TZ_VARIANTS.iter().find(|z| z.name().eq_ignore_ascii_case(value));
    zone.map(|z| z.name().to_owned()).ok_or_else(|| "the IANA name of a time zone, such as Europe/Berlin".to_owned())
}

fn word<T: Copy + fmt::Display>(value: &str, all: &[T]) -> Result<T, Allowed> {
    let found = all.iter().find(|w| w.to_string().eq_ignore_ascii_case(value));
    found.copied().ok_or_else(|| either(all.iter().map(ToString::to_string)))
}

fn either(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn dates(value: &str) -> Result<DateOrder, Allowed> {
    let found = DATES.iter().find(|(w, _)| w.eq_ignore_ascii_case(value));
    found.map(|(_, d)| *d).ok_or_else(|| either(DATES.iter().map(|(w, _)| (*w).to_owned())))
}

fn invalid_rows(value: &str) -> Result<Option<InvalidRows>, Allowed> {
    if value.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    word(value, InvalidRows::ALL).map(Some).map_err(|_| "hold, skip, refuse or auto".to_owned())
}

fn switch(value: &str) -> Result<bool, Allowed> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

/// A percentage, or off. A per cent sign may follow.
fn percent(value: &str) -> Result<Option<f64>, Allowed> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let number = value.strip_suffix('%').unwrap_or(value).trim_end();
    let percent = f64::from_str(number).ok().filter(|p| (0.0..=100.0).contains(p));
    // Adding nothing makes zero of minus zero.
    percent.map(|p| Some(p + 0.0)).ok_or_else(|| "a percentage from 0 to 100, or off".to_owned())
}

fn count_or_off(value: &str) -> Result<Option<u32>, Allowed> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| format!("a whole number from 0 to {}, or off", u32::MAX))
}

/// A number from which on something holds; none is off.
fn least_or_off(value: &str) -> Result<Option<u32>, Allowed> {
    let least = count_or_off(value).map_err(|_| format!("a whole number from 1 to {}, or off", u32::MAX))?;
    Ok(least.filter(|least| *least > 0))
}

/// A number of days; none is off.
fn days_or_off(value: &str) -> Result<Option<u32>, Allowed> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let days = whole(value, 0, MOST_DAYS).map_err(|_| format!("a whole number from 1 to {MOST_DAYS}, or off"))?;
    Ok(Some(days).filter(|days| *days > 0))
}

fn whole(value: &str, least: u32, most: u32) -> Result<u32, Allowed> {
    let number = value.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

/// Statuses separated by commas, without regard to case; `none` or nothing for none.
fn statuses(value: &str) -> Result<Vec<String>, Allowed> {
    let mut list: Vec<String> = Vec::new();
    if value.eq_ignore_ascii_case("none") {
        return Ok(list);
    }
    for status in value.split(',').map(|s| s.trim().to_lowercase()).filter(|s| !s.is_empty()) {
        if status.chars().any(char::is_control) || status.chars().count() > 100 {
            return Err("statuses of up to 100 characters, separated by commas, or none".to_owned());
        }
        if !list.contains(&status) {
            list.push(status);
        }
    }
    Ok(list)
}
