//! A whole JSON document: the list itself, or the object in which systems wrap it, with what that says besides.

use std::io::Read;

use serde_json::Value;

use super::{Scan, Several};
use crate::{error::IntakeError, payload::Brought};

/// Members under which a list that is not people is kept.
const NOT_PEOPLE: [&str; 8] = ["fields", "columns", "errors", "warnings", "messages", "links", "filters", "schema"];

/// Members that hold the wrapper itself once more.
const ONCE_MORE: [&str; 4] = ["d", "data", "response", "result"];

/// Members that lead to the next page of a list that comes in several.
const NEXT: [&str; 9] = [
    "@odata.nextLink", "odata.nextLink", "__next", "nextLink", "next", "next_page", "nextPageToken", "next_cursor",
    "nextPage",
];

const MORE: [&str; 3] = ["hasMore", "has_more", "hasNextPage"];

/// Members that hold what leads to the next page.
const PAGING: [&str; 6] = ["meta", "links", "_links", "paging", "pagination", "page_info"];

/// What is done with the bytes of each value of the list.
type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), IntakeError>;

/// Gives every value of the list in the document, to the document's end.
pub(super) fn bring(take: Take<'_>, document: impl Read, depth: usize) -> Result<Brought, IntakeError> {
    let mut scan = Scan::new(document, depth);
    scan.pass_mark()?;
    let mut found = Found::default();
    match scan.peek()? {
        Some(b'[') => {
            values(take, &mut scan)?;
            found.list = Some(String::new());
        }
        Some(b'{') if super::several_objects(scan.ahead(), depth) == Some(Several::Spread) => {
            return objects(take, &mut scan);
        }
        Some(b'{') => object(take, &mut scan, &mut found, 0)?,
        None => return Err(IntakeError::Empty),
        Some(_) => return Err(no_list()),
    }
    if scan.peek()?.is_some() {
        return Err(scan.malformed());
    }
    let Some(list) = found.list else { return Err(no_list()) };
    let mut read_as = Vec::new();
    if !matches!(list.as_str(), "" | "rows") {
        read_as.push(format!("The people were read from the list \"{list}\"."));
    }
    Ok(Brought { written: " json", read_as, mode: found.mode, unfinished: found.unfinished, ..Brought::default() })
}

/// Gives every object of a document that is nothing but objects, each over several lines.
fn objects<R: Read>(take: Take<'_>, scan: &mut Scan<R>) -> Result<Brought, IntakeError> {
    while scan.peek()?.is_some() {
        take(scan.value()?)?;
        scan.rows += 1;
    }
    let read_as = vec!["Each object is a row, though it goes over several lines.".to_owned()];
    Ok(Brought { written: " json", read_as, lacks_line_break: !scan.ended_with_line_break(), ..Brought::default() })
}

/// Whether an object holds a list or a mode, and so is more than a row.
pub(super) fn holds_list(json: &[u8]) -> bool {
    match serde_json::from_slice::<serde_json::Map<String, Value>>(json) {
        // One person of our own export has lists of claims and words.
        Ok(members) if members.contains_key("key") && members.get("fields").is_some_and(Value::is_object) => false,
        Ok(members) => members.iter().any(|(name, value)| match value {
            Value::Array(list) => name == "rows" || list.first().is_some_and(Value::is_object),
            Value::Object(inner) => {
                ONCE_MORE.contains(&name.as_str()) && inner.values().any(|v| v.as_array().is_some())
            }
            _ => false,
        }),
        // The parser of the document will say what is wrong.
        Err(_) => true,
    }
}

#[derive(Default)]
struct Found {
    list: Option<String>,
    mode: Option<String>,
    unfinished: Option<String>,
}

fn object<R: Read>(take: Take<'_>, scan: &mut Scan<R>, found: &mut Found, depth: usize) -> Result<(), IntakeError> {
    scan.expect(b'{')?;
    if scan.take_if(b'}')? {
        return Ok(());
    }
    loop {
        let name = match serde_json::from_slice::<String>(scan.value()?) {
            Ok(name) => name,
            Err(_) => return Err(scan.malformed()),
        };
        scan.expect(b':')?;
        match scan.peek()? {
            Some(b'[') if NOT_PEOPLE.contains(&name.as_str()) => pass_list(scan)?,
            Some(b'[') => list(take, scan, found, name)?,
            Some(b'{') if depth < 2 && ONCE_MORE.contains(&name.as_str()) => object(take, scan, found, depth + 1)?,
            _ => member(&name, scan, found)?,
        }
        if scan.take_if(b'}')? {
            return Ok(());
        }
        scan.expect(b',')?;
    }
}

fn list<R: Read>(take: Take<'_>, scan: &mut Scan<R>, found: &mut Found, name: String) -> Result<(), IntakeError> {
    if let Some(first) = &found.list {
        return Err(IntakeError::damaged(format!(
            "The JSON document holds several lists (\"{}\" and \"{}\"), and which of them are the people is not clear; send the \
             people alone, under \"rows\".",
            shown(first),
            shown(&name),
        )));
    }
    found.list = Some(shown(&name));
    values(take, scan)
}

/// The values of a list, up to its end, which it proves.
fn values<R: Read>(take: Take<'_>, scan: &mut Scan<R>) -> Result<(), IntakeError> {
    scan.expect(b'[')?;
    if scan.take_if(b']')? {
        return Ok(());
    }
    loop {
        take(scan.value()?)?;
        scan.rows += 1;
        if scan.take_if(b']')? {
            return Ok(());
        }
        scan.expect(b',')?;
    }
}

fn pass_list<R: Read>(scan: &mut Scan<R>) -> Result<(), IntakeError> {
    scan.expect(b'[')?;
    if scan.take_if(b']')? {
        return Ok(());
    }
    loop {
        scan.value()?;
        if scan.take_if(b']')? {
            return Ok(());
        }
        scan.expect(b',')?;
    }
}

/// What else the wrapper says: a mode, and whether there are more pages.
fn member<R: Read>(name: &str, scan: &mut Scan<R>, found: &mut Found) -> Result<(), IntakeError> {
    let value: Value = match serde_json::from_slice(scan.value()?) {
        Ok(value) => value,
        Err(_) => return Err(scan.malformed()),
    };
    if name == "mode" {
        found.mode = value.as_str().map(shown);
    }
    let inner = value.as_object().filter(|_| PAGING.contains(&name));
    let goes_on = leads_on(name, &value)
        || inner.is_some_and(|members| members.iter().any(|(name, value)| leads_on(name, value)));
    if goes_on {
        found.unfinished = Some(format!("says that more pages follow (\"{}\")", shown(name)));
    }
    Ok(())
}

fn leads_on(name: &str, value: &Value) -> bool {
    let says_something = match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    (NEXT.contains(&name) && says_something) || (MORE.contains(&name) && *value == Value::Bool(true))
}

fn no_list() -> IntakeError {
    IntakeError::damaged(
        "The JSON document holds no list of people; send a list of objects, or an object with the list under \"rows\".",
    )
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}
