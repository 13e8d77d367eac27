//! One change as people and programs read it: fields before → after, word by word in colour.

use std::fmt::Write;

use muster_domain::change::{Change, Kind};
use muster_engine::review::Standing;
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use super::show::word;
use crate::{output::Output, table::one_line};

/// A field's name, its value before, and its value after.
pub type FieldChange<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// The fields that a change is about.
pub fn fields<'a>(change: &'a Change<'_>) -> impl Iterator<Item = FieldChange<'a>> {
    change.to.iter().map(|(field, after)| {
        let before = change.from.iter().find(|(f, _)| f == field).and_then(|(_, v)| v.as_deref());
        (field.as_ref(), before, after.as_deref())
    })
}

/// A change as JSON; one of a person who was forgotten has nothing but its place.
pub fn document(ordinal: u32, change: Option<&Change>, standing: Standing) -> Value {
    let Some(change) = change else {
        return json!({ "ordinal": ordinal, "standing": standing });
    };
    let named = |list: &muster_domain::change::Named| -> Map<String, Value> {
        list.iter().map(|(field, value)| (field.to_string(), json!(value))).collect()
    };
    let fields: Vec<Value> =
        fields(change).map(|(field, before, after)| json!({ "field": field, "before": before, "after": after })).collect();
    let mut document = json!({
        "ordinal": ordinal,
        "standing": standing,
        "kind": change.kind,
        "key": change.key,
        "member": change.member,
        "fields": fields,
    });
    let mut put = |name: &str, value: Value| document[name] = value;
    change.old_key.iter().for_each(|k| put("old_key", json!(k)));
    change.line.iter().for_each(|l| put("line", json!(l)));
    change.evidence.iter().for_each(|e| put("evidence", json!(e)));
    change.effective_on.iter().for_each(|d| put("effective_on", json!(d)));
    if !change.said.is_empty() {
        put("said", named(&change.said).into());
    }
    if !change.raw.is_empty() {
        put("raw", named(&change.raw).into());
    }
    if change.unproven {
        put("unproven", true.into());
    }
    document
}

/// A change for people: a line for the member, one for each field.
pub fn change(change: Option<&Change>, standing: Standing, hidden: &[String], out: &Output) -> String {
    let Some(change) = change else { return "\n  (forgotten)\n".to_owned() };
    let (colour, sign) = sign(change.kind);
    let mut text = String::new();
    let name = name(change).map(|n| format!("  {n}")).unwrap_or_default();
    let head = out.paint(colour, format_args!("{sign} {}{name}", one_line(&change.key)));
    // Writing to memory cannot fail.
    let _ = writeln!(text, "\n{head}  {}{}", change.kind.word(), notes(change, standing));
    let fields: Vec<FieldChange> = fields(change).filter(|(f, _, _)| !hidden.iter().any(|h| h == f)).collect();
    let width = fields.iter().map(|f| f.0.len()).max().unwrap_or(0);
    for (field, before, after) in fields {
        let value = match change.kind {
            Kind::Add => shown(after, out),
            _ => compared(before, after, out),
        };
        let _ = writeln!(text, "    {field:width$}  {value}");
    }
    for (field, value) in &change.said {
        let value = shown(value.as_deref(), out);
        let _ = writeln!(text, "    {field}: the feed says {value}; the roster follows another word");
    }
    text
}

fn sign(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Add | Kind::Reinstate => ("32", "+"),
        Kind::Remove => ("31", "-"),
        Kind::Update | Kind::Rekey => ("33", "~"),
        Kind::Say | Kind::Release => ("2", "·"),
    }
}

/// First and last name, as far as the change knows them.
fn name(change: &Change) -> Option<String> {
    let value = |field: &str| {
        let of = |list: &muster_domain::change::Named| list.iter().find(|(f, _)| f == field)?.1.as_deref().map(str::to_owned);
        of(&change.to).or_else(|| of(&change.from))
    };
    let parts: Vec<String> = ["first_name", "last_name"].into_iter().filter_map(value).collect();
    (!parts.is_empty()).then(|| one_line(parts.join(" ")))
}

fn notes(change: &Change, standing: Standing) -> String {
    let mut notes = Vec::new();
    notes.extend(change.old_key.as_ref().map(|old| format!("was {}", one_line(old))));
    notes.extend(change.evidence.as_ref().map(|e| format!("known by {e}")));
    notes.extend(change.line.map(|line| format!("line {line}")));
    notes.extend(change.effective_on.as_ref().map(|day| format!("from {day}")));
    if change.unproven {
        notes.push("not proven".to_owned());
    }
    if standing != Standing::Waiting {
        notes.push(word(standing).to_owned());
    }
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}

fn shown(value: Option<&str>, out: &Output) -> String {
    value.map_or_else(|| out.paint("2", "(blank)"), one_line)
}

/// Before → after; in colour, the words that differ stand out.
fn compared(before: Option<&str>, after: Option<&str>, out: &Output) -> String {
    let (Some(old), Some(new), true) = (before, after, out.colour) else {
        return format!("{} → {}", shown(before, out), shown(after, out));
    };
    let (old, new) = (one_line(old), one_line(new));
    let (mut left, mut right) = (String::new(), String::new());
    for part in TextDiff::from_words(&old, &new).iter_all_changes() {
        match part.tag() {
            ChangeTag::Equal => [&mut left, &mut right].into_iter().for_each(|side| side.push_str(part.value())),
            ChangeTag::Delete => left.push_str(&out.paint("31", part.value())),
            ChangeTag::Insert => right.push_str(&out.paint("32", part.value())),
        }
    }
    format!("{left} → {right}")
}
