//! Problems: what a caller is told when a request is not done, as RFC 9457 has it. Each kind has a stable `type`, which is also
//! the address of its page in the documentation.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_engine::{
    Error,
    review::{Losing, Unconfirmed},
};
use muster_store::StoreError;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

mod catalogue;

pub(crate) use catalogue::*;
pub use catalogue::{KINDS, Kind};

/// Where the page of a kind is.
pub const PAGES: &str = "/api-docs/problems/";

/// What is wrong with one part of the request's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901).
    #[schema(example = "/0/start_date")]
    pub pointer: String,
    /// What is wrong and what to do.
    pub detail: String,
}

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    errors: Vec<FieldError>,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A problem as it is sent: for the documentation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// Which kind of problem: stable, and the address of its page.
    #[schema(example = "/api-docs/problems/missing-right")]
    pub r#type: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    #[schema(example = 403)]
    pub status: u16,
    /// What happened here, and what to do.
    pub detail: String,
    /// Parts of the body that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// The answers of handlers.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    /// A problem of this kind; the sentence says what happened here. It must hold nothing of a person and no secret.
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), errors: Vec::new(), more: Map::new(), headers: Vec::new() }
    }

    /// Says which part of the body is wrong.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Says more than every problem of the kind does.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Problem {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// Something failed that is no fault of the caller's: the log says what, the caller is told nothing of it.
    pub fn internal(why: &(dyn std::error::Error + 'static)) -> Problem {
        tracing::error!(error = %why, "a request failed");
        Problem::new(&INTERNAL, "Nothing of the request was done; the same request may succeed later.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let document = ProblemDocument {
            r#type: format!("{PAGES}{}", self.kind.slug),
            title: self.kind.title.to_owned(),
            status: self.kind.status,
            detail: self.detail,
            errors: self.errors,
        };
        let mut document = serde_json::to_value(document).unwrap_or_default();
        if let Value::Object(document) = &mut document {
            document.extend(self.more);
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Refused(why) => Problem::new(&REFUSED, why),
            Error::Wrong(why) => Problem::new(&INVALID, why),
            Error::Unknown(_) => Problem::new(&NOT_FOUND, "There is no such thing in your organisation."),
            Error::Busy(why) => Problem::new(&BUSY, why).header(header::RETRY_AFTER, "5"),
            Error::Reused(why) => Problem::new(&IDEMPOTENCY_MISMATCH, why),
            Error::Stale(why) => Problem::new(&STALE, why),
            Error::Guarded(why) => Problem::new(&CONFIRMATION, why),
            Error::Unconfirmed(unconfirmed) => unconfirmed.into(),
            Error::Behind(_) => Problem::new(&BEHIND, "What is read does not reflect what was asked for yet.")
                .header(header::RETRY_AFTER, "1"),
            Error::Store(e) => e.into(),
            e => Problem::internal(&e),
        }
    }
}

impl From<Unconfirmed> for Problem {
    fn from(unconfirmed: Unconfirmed) -> Problem {
        let Losing { removals, taken_off } = unconfirmed.losing;
        let why = unconfirmed.why();
        let why = format!("{why} If that is right, send it as confirm_removals; if not, leave some of them out.");
        Problem::new(&CONFIRMATION, why).with("removals", removals).with("taken_off", taken_off)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::NotFound => Problem::new(&NOT_FOUND, "There is no such thing in your organisation."),
            StoreError::Busy | StoreError::LeaseLost => busy(),
            StoreError::Unavailable(_) | StoreError::Full => {
                tracing::error!(error = %error, "the database cannot be used");
                Problem::new(&UNAVAILABLE, format!("The database cannot be reached{NOTHING_DONE}."))
                    .header(header::RETRY_AFTER, "10")
            }
            StoreError::KeyConflict => Problem::new(
                &IDEMPOTENCY_MISMATCH,
                "This Idempotency-Key came with another request before; use a new key for a new request.",
            ),
            e => Problem::internal(&e),
        }
    }
}

/// What is said where a request that fails has changed nothing.
const NOTHING_DONE: &str = "; nothing of the request was done";

impl Problem {
    /// The sentence, for a request of which a part was done before it failed.
    pub fn why_it_stopped(self) -> String {
        if self.kind.slug == INTERNAL.slug {
            return "Something failed within the server; asked again, the rest may succeed.".to_owned();
        }
        self.detail.replace(NOTHING_DONE, "")
    }
}

/// Somebody else is working on the organisation for longer than a request should wait.
pub fn busy() -> Problem {
    Problem::new(&BUSY, format!("The organisation's roster is being worked on{NOTHING_DONE}."))
        .header(header::RETRY_AFTER, "5")
}
