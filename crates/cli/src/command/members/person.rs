//! A member as people and programs read it.

use muster_domain::{
    field::FieldId,
    ids::date_of,
    member::{ABSENT, Member, NAMED},
};
use muster_engine::Organisation;
use serde_json::{Value, json};

use crate::{
    session::Session,
    table::{Table, one_line},
};

/// A member as JSON.
pub fn document(member: &Member, org: &Organisation) -> Value {
    let claims: Vec<Value> = (member.spells.iter())
        .map(|s| json!({ "feed": org.feed_name(s.feed), "from": date_of(s.from), "to": s.to.map(date_of) }))
        .collect();
    let words: Vec<Value> = (member.words.iter())
        .map(|w| {
            let field = word_field(w.field, org);
            json!({
                "feed": org.feed_name(w.feed), "field": field, "value": w.value, "reason": w.reason,
                "since": date_of(w.since),
            })
        })
        .collect();
    json!({
        "key": member.key,
        "id": member.uuid,
        "listed": member.is_listed(),
        "aliases": member.aliases,
        "fields": values(member, org),
        "claims": claims,
        "last_words": words,
    })
}

/// The values of a member by field, as JSON.
pub fn values(member: &Member, org: &Organisation) -> Value {
    let name = |field| org.settings.fields.name(field).to_owned();
    Value::Object(member.values.iter().map(|(field, value)| (name(field), json!(value))).collect())
}

/// Prints all that is known of a member.
pub fn print(member: &Member, org: &Organisation, session: &mut Session<'_>) {
    let title = session.out.paint("1", format_args!("{}  {}", one_line(&member.key), name(member)));
    let listed = if member.is_listed() { "on the roster" } else { "not on the roster" };
    session.out.line(format_args!("{title}  {listed}"));
    session.out.line(format_args!("{}", member.uuid));
    if !member.aliases.is_empty() {
        session.out.line(format_args!("formerly {}", one_line(member.aliases.join(", "))));
    }
    session.out.line("");
    let mut table = Table::new(&[]).indent(2);
    for (field, value) in member.values.iter() {
        table.row([org.settings.fields.name(field), value]);
    }
    table.print(session.out, false);
    session.out.line("\nClaims");
    let mut table = Table::new(&[]).indent(2);
    for spell in &member.spells {
        let to = spell.to.map_or("now".to_owned(), |to| format!("before {}", date_of(to)));
        table.row([org.feed_name(spell.feed).to_owned(), format!("from {} to {to}", date_of(spell.from))]);
    }
    table.print(session.out, false);
    if member.words.is_empty() {
        return;
    }
    session.out.line("\nWhat feeds last said where the roster says something else");
    let mut table = Table::new(&["feed", "field", "value", "why", "since"]).indent(2);
    for word in &member.words {
        let reason = json!(word.reason);
        let value = word.value.clone().unwrap_or_default();
        let (feed, field) = (org.feed_name(word.feed), word_field(word.field, org));
        table.row([feed, field, &value, reason.as_str().unwrap_or_default(), &date_of(word.since).to_string()]);
    }
    table.print(session.out, true);
}

/// First and last name, on one line.
pub fn name(member: &Member) -> String {
    let parts = [FieldId::FIRST_NAME, FieldId::LAST_NAME].into_iter().filter_map(|f| member.values.get(f));
    one_line(parts.collect::<Vec<_>>().join(" "))
}

fn word_field(field: FieldId, org: &Organisation) -> &str {
    match field {
        ABSENT => "absent",
        NAMED => "named",
        field => org.settings.fields.name(field),
    }
}
