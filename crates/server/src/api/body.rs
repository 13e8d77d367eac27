//! Reading what came: small JSON bodies, strictly; parameters of the address; and conditions.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, Uri, header, request::Parts},
};
use http_body_util::LengthLimitError;
use muster_domain::guard::Asked;
use serde::de::DeserializeOwned;

use super::{SMALL, object::Object};
use crate::problem::{INVALID, MEDIA_TYPE, NOT_FOUND, Problem, Result, TIMEOUT, TOO_LARGE, UNREADABLE};

/// How long a small body may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A JSON body, whole and read strictly.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>> {
        let bytes = small(request, &["application/json"]).await?;
        read::<Object<T>>(&bytes).map(|object| Json(object.0))
    }
}

/// A small body of one of these types.
///
/// # Errors
/// If it is of another type, too large, or does not come in time.
pub async fn small(request: Request, types: &[&str]) -> Result<Bytes> {
    expect_type(request.headers(), types)?;
    if request.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Problem::new(&MEDIA_TYPE, "Only uploads may be packed (Content-Encoding)."));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| n > SMALL as u64) {
        return Err(too_large());
    }
    collect(request.into_body()).await
}

/// The JSON object that a request has, or the default if it has no body. A body whose type is not said is refused: what it says
/// would be passed over.
///
/// # Errors
/// As [`small`] and [`read`].
pub async fn optional<T: DeserializeOwned + Default>(request: Request) -> Result<T> {
    let (parts, body) = request.into_parts();
    let bytes = collect(body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    let bytes = small(Request::from_parts(parts, Body::from(bytes)), &["application/json"]).await?;
    read::<Object<T>>(&bytes).map(|object| object.0)
}

/// A small body, whole.
///
/// # Errors
/// If it is too large, is cut off, or does not come in time.
pub async fn collect(body: Body) -> Result<Bytes> {
    match tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, SMALL)).await {
        Err(_) => Err(Problem::new(&TIMEOUT, "The body did not come within 20 seconds.")),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(e)) => Err(match e.into_inner().is::<LengthLimitError>() {
            true => too_large(),
            false => Problem::new(&UNREADABLE, "The body was cut off on its way."),
        }),
    }
}

fn too_large() -> Problem {
    Problem::new(&TOO_LARGE, format!("At most {} MiB are taken here.", SMALL >> 20))
}

/// One thing, or a list of them.
pub struct Several<T> {
    /// The things.
    pub items: Vec<T>,
    /// Whether it was a list.
    pub is_list: bool,
}

impl<T: DeserializeOwned> Several<T> {
    /// Reads JSON that is an object or a list of objects.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(bytes: &[u8]) -> Result<Several<T>> {
        let is_list = bytes.trim_ascii_start().first() == Some(&b'[');
        let items: Vec<Object<T>> = if is_list { read(bytes)? } else { vec![read(bytes)?] };
        Ok(Several { items: items.into_iter().map(|item| item.0).collect(), is_list })
    }
}

/// Where an item stands in a body that is one, or a list of them: a JSON pointer.
pub fn place(is_list: bool) -> impl Fn(usize) -> String {
    move |no| if is_list { format!("/{no}") } else { String::new() }
}

/// What a sender wants to become of their changes, whatever the organisation's policy.
///
/// # Errors
/// If both are wanted.
pub fn asked(apply: bool, hold: bool) -> Result<Option<Asked>> {
    match (apply, hold) {
        (true, true) => Err(Problem::new(&INVALID, "`apply` and `hold` cannot both be true.")),
        (true, false) => Ok(Some(Asked::Apply)),
        (false, true) => Ok(Some(Asked::Hold)),
        (false, false) => Ok(None),
    }
}

/// The media type of a body, in lower case and without parameters.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

fn expect_type(headers: &HeaderMap, types: &[&str]) -> Result<()> {
    let found = media_type(headers);
    if types.contains(&found.as_str()) {
        return Ok(());
    }
    Err(Problem::new(&MEDIA_TYPE, format!("Content-Type must be {}.", types.join(" or "))))
}

/// Reads JSON; what is wrong is pointed to, and nothing of it is quoted.
///
/// # Errors
/// If it is no JSON, or says something that cannot be taken.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    read_at(bytes, "The body", "")
}

/// The same of what is only a part of what was sent: what that is called, and where it stands.
///
/// # Errors
/// As [`read`].
pub fn read_at<T: DeserializeOwned>(bytes: &[u8], what: &str, place: &str) -> Result<T> {
    taken(serde_json::Deserializer::from_slice(bytes), what, place)
}

/// The same of a body that is not in memory.
///
/// # Errors
/// As [`read`].
pub fn read_from<T: DeserializeOwned>(source: impl io::Read) -> Result<T> {
    taken(serde_json::Deserializer::from_reader(source), "The body", "")
}

fn taken<'de, R: serde_json::de::Read<'de>, T: DeserializeOwned>(
    mut reader: serde_json::Deserializer<R>,
    what: &str,
    place: &str,
) -> Result<T> {
    let read = serde_path_to_error::deserialize(&mut reader);
    let value = read.map_err(|e| {
        let (pointer, inner) = (pointer(e.path()), e.inner());
        match inner.classify() {
            serde_json::error::Category::Data => {
                let why = format!("{what} says something that cannot be taken.");
                Problem::new(&INVALID, why).at(format!("{place}{pointer}"), said(inner))
            }
            _ => unreadable(inner, what),
        }
    })?;
    reader.end().map_err(|e| unreadable(&e, what))?;
    Ok(value)
}

fn unreadable(e: &serde_json::Error, what: &str) -> Problem {
    let why = if e.is_eof() { "it ends too soon" } else { "it is no JSON" };
    Problem::new(
        &UNREADABLE,
        format!("{what} cannot be read as JSON, line {}, column {}: {why}.", e.line(), e.column()),
    )
}

/// What serde says, without the values that it quotes: they may be about a person.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match text.split_once(", expected ") {
        Some((_, expected)) if text.starts_with("invalid ") => format!("This must be {expected}."),
        _ if text.starts_with("unknown field")
            || text.starts_with("missing field")
            || text.starts_with("unknown variant") =>
        {
            format!("{text}.")
        }
        _ => "This cannot be taken.".to_owned(),
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => format!("/{}", escaped(key)),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// A name inside a JSON pointer (RFC 6901, section 3).
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What stands in the path of an address. What cannot be read there is the name of nothing.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Path(path.0))
            .map_err(|_| Problem::new(&NOT_FOUND, "There is nothing of that name in your organisation."))
    }
}

/// Parameters of the address, read strictly: one that there is none of is an error.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>> {
        parameters(&parts.uri).map(Query)
    }
}

/// Reads the parameters of an address.
///
/// # Errors
/// If one is unknown or has no such value. Values are not quoted.
pub fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T> {
    axum::extract::Query::<T>::try_from_uri(uri).map(|q| q.0).map_err(|e| {
        let text = e.body_text();
        let said = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, said)| said);
        let name =
            said.split(':').next().filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        Problem::new(
            &UNREADABLE,
            match name {
                Some(name) => format!("The parameter {name} has a value that cannot be taken."),
                None if said.starts_with("unknown field") || said.starts_with("missing field") => {
                    format!("Parameters: {said}.")
                }
                None => "A parameter of the address cannot be read.".to_owned(),
            },
        )
    })
}

/// The entity tags of `If-Match`, without quotes; none if it was not given.
pub fn if_match(headers: &HeaderMap) -> Option<Vec<String>> {
    tags(headers, header::IF_MATCH)
}

/// The entity tags of `If-None-Match`.
pub fn if_none_match(headers: &HeaderMap) -> Option<Vec<String>> {
    tags(headers, header::IF_NONE_MATCH)
}

fn tags(headers: &HeaderMap, name: header::HeaderName) -> Option<Vec<String>> {
    let text = headers.get(name)?.to_str().unwrap_or("");
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    Some(text.split(',').map(bare).filter(|t| !t.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[allow(dead_code)]
        count: u8,
    }

    #[test]
    fn what_is_wrong_is_pointed_to_and_not_quoted() {
        let at = |text: &str| {
            let problem = read::<Vec<Item>>(text.as_bytes()).unwrap_err();
            serde_json::to_string(&format!("{problem:?}")).unwrap()
        };
        for text in
            [r#"[{"count":1},{"count":"Planted"}]"#, r#"[{"count":1},{"count":300}]"#, r#"[{"count":1},{"counts":1}]"#]
        {
            let said = at(text);
            assert!(said.contains("/1"), "{said}");
            assert!(!said.contains("Planted") && !said.contains("300"), "{said}");
        }
        let deep = "[".repeat(5000);
        for text in ["", "[", "Planted", "[{}] x", deep.as_str()] {
            let said = at(text);
            assert!(!said.contains("Planted"), "{said}");
        }
    }
}
