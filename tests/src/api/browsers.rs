//! Pages of other origins: nobody's, unless the operator names them.

use super::{Api, On, Said};
use crate::served::Served;

const PORTAL: &str = "https://portal.example.com";

/// What a browser asks before it sends what a page wants sent.
fn preflight(api: &Api, origin: &str) -> crate::served::Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "authorization,idempotency-key"),
    ];
    api.said("OPTIONS", "/api/v1/members", &Said { headers: &headers, ..Said::default() })
}

#[test]
fn a_browser_may_ask_for_pages_of_named_origins_alone() {
    let mut api = Api::start(On::Sqlite);
    let allowed = "access-control-allow-origin";
    assert_eq!(preflight(&api, PORTAL).header(allowed), None, "off by default");
    let asked = |api: &Api, origin: &str| api.send("GET", "/api/v1/organisation", &[("Origin", origin)], b"");
    assert_eq!(asked(&api, PORTAL).header(allowed), None);

    api.served = Served::start(&api.muster, &["--cors-origin", PORTAL]);
    let answer = preflight(&api, PORTAL);
    assert_eq!((answer.status, answer.header(allowed)), (200, Some(PORTAL)));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("put"));
    let headers = answer.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization") && headers.contains("idempotency-key"), "{headers}");
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let answer = asked(&api, PORTAL);
    assert_eq!((answer.status, answer.header(allowed)), (200, Some(PORTAL)));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("ratelimit"));
    // What is refused is read by a page too, or it could not say why.
    let refused = api.said("GET", "/api/v1/feeds", &Said { headers: &[("Origin", PORTAL)], ..Said::default() });
    assert_eq!((refused.status, refused.header(allowed)), (401, Some(PORTAL)));
    for answer in [preflight(&api, "https://evil.example"), asked(&api, "https://evil.example")] {
        assert_eq!(answer.header(allowed), None);
    }
}
