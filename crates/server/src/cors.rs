//! Who may ask the API from a page of another origin (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>): nobody, unless the
//! operator names origins.

use std::{str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use crate::api::REQUEST_ID;

/// For how long a browser may remember what it was told.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The origin of web pages: a scheme, a host and, where it is not the scheme's own, a port (RFC 6454, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = String;

    /// # Errors
    /// If it is no single origin: a page's whole address, say, or `*`.
    fn from_str(text: &str) -> Result<Origin, String> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let is_plain =
            |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err("an origin is like https://portal.example.com, in small letters and without a path".to_owned());
        }
        HeaderValue::from_str(text).map(Origin).map_err(|e| e.to_string())
    }
}

/// Answers browsers that ask for pages of these origins. Keys are sent in headers; there are no cookies to be sent along.
pub fn layer(origins: &[Origin]) -> CorsLayer {
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origins.iter().map(|origin| origin.0.clone()).collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::ACCEPT,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            name("accesskey"),
            name("secretkey"),
            name("prefer"),
            name("idempotency-key"),
            name("content-digest"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            name("ratelimit"),
            name("ratelimit-policy"),
            name("idempotency-replayed"),
            name("x-next-cursor"),
            REQUEST_ID,
        ])
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn an_origin_is_no_address_of_a_page_and_not_everybody() {
        for right in ["https://portal.example.com", "http://localhost:5173", "http://[::1]:8080"] {
            assert!(right.parse::<Origin>().is_ok(), "{right}");
        }
        for wrong in [
            "*", "", "null", "portal.example.com", "https://", "https://a.example/", "https://A.example", "https://a b",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
