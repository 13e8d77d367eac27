//! One change as people and programs read it: fields before → after, word by word in colour.

use std::collections::HashMap;

use muster_domain::{
    change::{Change, Kind},
    field::FieldId,
    ids::MemberNo,
    member::Member,
};
use muster_engine::review::Standing;
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use super::show::word;
use crate::{fail::Failure, output::Output, table::one_line};

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
    let fields: Vec<Value> = fields(change)
        .map(|(field, before, after)| json!({ "field": field, "before": before, "after": after }))
        .collect();
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

/// A change that is to be shown, kept until the page is made.
pub struct Entry {
    /// The member, unless new.
    pub no: Option<MemberNo>,
    line: Option<Vec<u8>>,
    standing: Standing,
    approved_by_one: bool,
}

impl Entry {
    /// Keeps a change; none of a person who was forgotten. `approved_by_one` says that it, and not all that waits, was approved
    /// by the first of two people.
    pub fn new(change: Option<&Change>, standing: Standing, approved_by_one: bool) -> Entry {
        let line = change.map(|c| {
            let mut line = Vec::new();
            c.write(&mut line);
            line
        });
        Entry { no: change.and_then(|c| c.no), line, standing, approved_by_one }
    }
}

/// A page of changes for people.
pub struct Page<'a> {
    /// The members that the changes are about.
    pub members: &'a HashMap<MemberNo, Member>,
    /// Fields that are not to be shown.
    pub hidden: &'a [String],
    /// Where it goes: with colours or without.
    pub out: &'a Output,
}

impl Page<'_> {
    /// The page: a line for each member, and one for each field.
    ///
    /// # Errors
    /// If a kept line cannot be read again.
    pub fn text(&self, entries: &[Entry]) -> Result<String, Failure> {
        let (mut text, mut apart) = (String::new(), true);
        for entry in entries {
            let one = match &entry.line {
                Some(line) => self.change(&Change::read(line)?, entry),
                None => "· (forgotten)\n".to_owned(),
            };
            let tall = one.lines().count() > 1;
            if tall || apart {
                text.push('\n');
            }
            text.push_str(&one);
            apart = tall;
        }
        Ok(text)
    }

    fn change(&self, change: &Change, entry: &Entry) -> String {
        let (colour, sign) = sign(change.kind);
        let who = self.who(change).map(|who| format!("  {who}")).unwrap_or_default();
        let head = self.out.paint(colour, format_args!("{sign} {}{who}", one_line(&change.key)));
        let mut text = format!("{head}  {}{}\n", change.kind.word(), notes(change, entry));
        let fields: Vec<FieldChange> = fields(change).filter(|(f, _, _)| !self.hidden.iter().any(|h| h == f)).collect();
        let width = fields.iter().map(|f| f.0.len()).max().unwrap_or(0);
        for (field, before, after) in fields {
            let value = match change.kind {
                Kind::Add => shown(after, self.out),
                _ => compared(before, after, self.out),
            };
            text.push_str(&format!("    {field:width$}  {value}\n"));
        }
        for (field, value) in &change.said {
            let value = shown(value.as_deref(), self.out);
            text.push_str(&format!("    {field}: the feed says {value}; the roster follows another word\n"));
        }
        text
    }

    /// The person's name as the roster has it; of those who leave, also what they do.
    fn who(&self, change: &Change) -> Option<String> {
        let member = change.no.and_then(|no| self.members.get(&no));
        let value = |field: FieldId, name: &str| match member {
            Some(member) => member.values.get(field).map(str::to_owned),
            None => change.to.iter().find(|(f, _)| f == name)?.1.as_deref().map(str::to_owned),
        };
        let words =
            |parts: [Option<String>; 2], between: &str| parts.into_iter().flatten().collect::<Vec<_>>().join(between);
        let name = words([value(FieldId::FIRST_NAME, "first_name"), value(FieldId::LAST_NAME, "last_name")], " ");
        let mut parts = vec![name];
        if change.kind == Kind::Remove {
            parts.push(words([value(FieldId::JOB_TITLE, "job_title"), value(FieldId::DEPARTMENT, "department")], ", "));
        }
        parts.retain(|p| !p.is_empty());
        (!parts.is_empty()).then(|| one_line(parts.join("  ")))
    }
}

fn sign(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Add | Kind::Reinstate => ("32", "+"),
        Kind::Remove => ("31", "-"),
        Kind::Update | Kind::Rekey => ("33", "~"),
        Kind::Say | Kind::Release => ("2", "·"),
    }
}

fn notes(change: &Change, entry: &Entry) -> String {
    let mut notes = Vec::new();
    notes.extend(change.old_key.as_ref().map(|old| format!("was {}", one_line(old))));
    notes.extend(change.evidence.as_ref().map(|e| format!("known by {e}")));
    notes.extend(change.line.map(|line| format!("line {line}")));
    notes.extend(change.effective_on.as_ref().map(|day| format!("from {day}")));
    if change.unproven {
        notes.push("not proven".to_owned());
    }
    if entry.standing != Standing::Waiting {
        notes.push(word(entry.standing).to_owned());
    } else if entry.approved_by_one {
        notes.push("approved by 1 of 2".to_owned());
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
