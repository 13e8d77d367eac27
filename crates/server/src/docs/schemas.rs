//! Schemas of the OpenAPI document, in words.

use serde_json::Value;

use super::{
    markdown::{Heading, Rendered, anchor, escape, inline},
    reference::table,
};

const PLACE: &str = "#/components/schemas/";

/// Every schema that the document names.
pub fn section(document: &Value, page: &mut Rendered) {
    let id = "schemas".to_owned();
    page.html.push_str(&format!("<h2 id=\"{id}\">Schemas{}</h2>\n", anchor(&id)));
    page.html.push_str("<p>What is sent and answered. Answers may have more members tomorrow than today.</p>\n");
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    for (name, schema) in schemas.into_iter().flatten() {
        one(name, schema, &mut page.html);
    }
    page.headings.push(Heading { id, text: "Schemas".to_owned() });
}

fn one(name: &str, schema: &Value, html: &mut String) {
    let (name, id) = (escape(name), format!("schema-{}", escape(name)));
    html.push_str(&format!("<section class=\"schema\">\n<h3 id=\"{id}\"><code>{name}</code>{}</h3>\n", anchor(&id)));
    if let Some(description) = schema["description"].as_str() {
        html.push_str(&format!("<div>{}</div>\n", inline(description)));
    }
    let members = schema["properties"].as_object();
    match members {
        Some(members) => {
            let needed: Vec<&str> = words(&schema["required"]);
            let row = |(name, is): (&String, &Value)| member(name, is, needed.contains(&name.as_str()));
            let rows: String = members.iter().map(row).collect();
            html.push_str(&table("", ["member", "type", ""], &rows));
        }
        None => html.push_str(&format!("<p>{}</p>\n{}", shape(schema), choices(schema))),
    }
    html.push_str("</section>\n");
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn member(name: &str, is: &Value, needed: bool) -> String {
    let needed = if needed { "" } else { " <span class=\"maybe\">may be missing</span>" };
    let about = is["description"].as_str().map(inline).unwrap_or_default();
    let example = match &is["example"] {
        Value::Null => String::new(),
        Value::String(text) => format!(" For example <code>{}</code>.", escape(text)),
        other => format!(" For example <code>{}</code>.", escape(&other.to_string())),
    };
    format!("<tr><td><code>{}</code></td><td>{}{needed}</td><td>{about}{example}</td></tr>\n", escape(name), shape(is))
}

/// The choices of a schema that has several, each with what it is.
fn choices(schema: &Value) -> String {
    let described = |one: &Value| {
        let about = one["description"].as_str()?;
        Some(format!("<li>{}: {}</li>\n", shape(one), inline(about)))
    };
    let all = schema["oneOf"].as_array().into_iter().flatten();
    let items: String = all.filter_map(described).collect();
    if items.is_empty() { items } else { format!("<ul>\n{items}</ul>\n") }
}

/// The type of a value in words, with links to the schemas that it names.
pub fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix(PLACE)) {
        let name = escape(name);
        return format!("<a href=\"#schema-{name}\"><code>{name}</code></a>");
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            return any_of(all.iter().map(shape).collect());
        }
    }
    let values = words(&schema["enum"]);
    if !values.is_empty() {
        return any_of(values.iter().map(|v| format!("<code>{}</code>", escape(v))).collect());
    }
    match &schema["type"] {
        Value::String(kind) => plain(kind, schema),
        Value::Array(kinds) => any_of(kinds.iter().filter_map(Value::as_str).map(|k| plain(k, schema)).collect()),
        _ => "anything".to_owned(),
    }
}

fn any_of(mut all: Vec<String>) -> String {
    // Nothing comes last.
    all.sort_by_key(|one| one == "null");
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => all.concat(),
    }
}

fn plain(kind: &str, schema: &Value) -> String {
    let format = schema["format"].as_str().unwrap_or("");
    match (kind, format) {
        ("string", "date-time") => "time (RFC 3339)".to_owned(),
        ("string", "date") => "day (YYYY-MM-DD)".to_owned(),
        ("string", "uuid") => "UUID".to_owned(),
        ("string", _) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        ("number", _) => "number".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("array", _) => format!("list of {}", shape(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("object of {}", shape(&schema["additionalProperties"]))
        }
        (other, _) => escape(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_is_said_in_words() {
        for (schema, said) in [
            (json!({ "type": ["null", "string"], "format": "date" }), "day (YYYY-MM-DD) or null"),
            (json!({ "type": "array", "items": { "type": "integer" } }), "list of whole number"),
            (json!({ "type": "string", "enum": ["a", "b", "c"] }), "<code>a</code>, <code>b</code> or <code>c</code>"),
            (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "object of text"),
            (
                json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/X" }] }),
                "<a href=\"#schema-X\"><code>X</code></a> or null",
            ),
            (json!({}), "anything"),
        ] {
            assert_eq!(shape(&schema), said);
        }
    }
}
