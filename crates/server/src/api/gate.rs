//! The gate before every address of the API: who asks, may they ask now, and what was answered.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ipnet::IpNet;
use muster_domain::access::{Denied, KeyText};
use muster_engine::access::{AccessEntry, Refusal};
use uuid::Uuid;

use super::{
    Api,
    caller::{About, Caller, Known, Noted},
    idempotency,
    rate::{Class, Standing},
};
use crate::{
    connections::{Place, until_sent},
    problem::{self, Kind, Problem},
};

/// For how long a request waits for whoever else works on its organisation.
const PATIENCE: Duration = Duration::from_secs(10);

/// By which an answer is found again in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Lets a request through to its handler, with its caller.
pub async fn pass(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS {
        // Which methods there are is no secret; the router says it, and asks nobody who they are.
        let mut response = next.run(request).await;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            *response.status_mut() = StatusCode::NO_CONTENT;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        return response;
    }
    let from = address(&request, &api.state.trusted);
    let (caller, key) = match identify(&api, request.headers(), from).await {
        Ok(identified) => identified,
        Err(problem) => return *problem,
    };
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned()).unwrap_or_default();
    let method = request.method().clone();
    let class = class_of(&method, &route);
    let per_minute = caller.per_minute(class);
    let (standing, mut response) = match api.buckets.take(&caller.grant.key.id, class, per_minute) {
        Ok((standing, under_way)) => {
            // From here on the connection gives way to no other.
            let holding = request.extensions().get::<Arc<Place>>().map(Place::hold);
            // A request that is worked on after its caller has gone is under way all the same.
            let under_way = Arc::new((holding, under_way));
            let noted = Noted::default();
            request.extensions_mut().insert(noted.clone());
            request.extensions_mut().insert(caller.clone());
            request.extensions_mut().insert(Again { api: api.clone(), key, from });
            let response = match idempotency::is_ours(&method, &route, request.headers()) {
                true => idempotency::once(&caller, &route, request, next, under_way.clone()).await,
                false if idempotency::is_write(&method, &route) => {
                    to_its_end(next.run(request), under_way.clone()).await
                }
                false => next.run(request).await,
            };
            note(&api, &caller, from, &method, &route, response.status(), &noted);
            (standing, until_sent(response, under_way))
        }
        Err(standing) => (standing, standing.problem().into_response()),
    };
    Standing::put(standing, response.headers_mut());
    response
}

/// A task of its own: whoever hangs up leaves nothing half done, and no lease to run out. `until_done` is let go of at its end.
pub async fn to_its_end(
    working: impl Future<Output = Response> + Send + 'static,
    until_done: impl Send + 'static,
) -> Response {
    let working = tokio::spawn(async move {
        let response = working.await;
        drop(until_done);
        response
    });
    working.await.unwrap_or_else(|e| Problem::internal(&e).into_response())
}

/// Who asked, for an answer that goes on for long: they may not be let in any more before it ends.
#[derive(Clone)]
pub struct Again {
    api: Api,
    key: KeyText,
    from: IpAddr,
}

impl Again {
    /// Whoever asked, with what they may do now; nobody, if they are not let in any more, or that cannot be found out.
    pub async fn caller(&self) -> Option<Caller> {
        admit(&self.api, &self.key, self.from).await.ok()
    }
}

/// What kind of request is counted with which others.
fn class_of(method: &Method, route: &str) -> Class {
    match route {
        r if r.ends_with("/eligibility") => Class::Eligibility,
        "/api/v1/uploads" | "/api/v1/feeds/{name}/map" | "/api/public/upload" if method == Method::POST => {
            Class::Uploads
        }
        // It may read all payloads that are kept of a feed.
        "/api/v1/feeds/{name}/known" => Class::Uploads,
        _ => Class::Requests,
    }
}

async fn identify(api: &Api, headers: &HeaderMap, from: IpAddr) -> Result<(Caller, KeyText), Box<Response>> {
    let text = key_of(headers).map_err(|kind| {
        let detail = if kind == &problem::NO_KEY { "Send a key with the request." } else { kind.cause };
        Box::new(unauthorised(kind, detail).into_response())
    })?;
    Ok((admit(api, &text, from).await?, text))
}

async fn admit(api: &Api, key: &KeyText, from: IpAddr) -> Result<Caller, Box<Response>> {
    let refuse = |problem: Problem| Box::new(problem.into_response());
    match api.state.engine.authenticate(key, from).await {
        Ok(admitted) => Ok(Caller::from(Known {
            engine: api.state.engine.acting_as(admitted.grant.actor()).patient_for(PATIENCE),
            organisation: admitted.organisation,
            roster_version: admitted.roster_version,
            grant: admitted.grant,
        })),
        Err(Refusal::Failed(e)) => Err(refuse(e.into())),
        Err(Refusal::AddOnOff) => Err(refuse(Problem::new(&problem::API_ACCESS_OFF, problem::API_ACCESS_OFF.cause))),
        Err(Refusal::Denied(denied, _)) => {
            let kind = kind_of(denied);
            Err(refuse(if kind.status == 401 {
                unauthorised(kind, kind.cause)
            } else {
                Problem::new(kind, kind.cause)
            }))
        }
    }
}

fn kind_of(denied: Denied) -> &'static Kind {
    match denied {
        Denied::Unknown => &problem::UNKNOWN_KEY,
        Denied::Revoked => &problem::REVOKED_KEY,
        Denied::Expired => &problem::EXPIRED_KEY,
        Denied::RotatedOut => &problem::ROTATED_KEY,
        Denied::Network => &problem::NETWORK,
        Denied::UserDisabled => &problem::USER_DISABLED,
        Denied::NoRole => &problem::NO_ROLE,
    }
}

/// RFC 9110, section 11.6.1: whoever is not let in is told how to ask.
fn unauthorised(kind: &'static Kind, detail: &str) -> Problem {
    Problem::new(kind, detail).header(header::WWW_AUTHENTICATE, "Bearer realm=\"muster\"")
}

/// The key of a request, from any of the three places.
fn key_of(headers: &HeaderMap) -> Result<KeyText, &'static Kind> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().map(str::trim).unwrap_or(""));
    match (text("authorization"), text("accesskey"), text("secretkey")) {
        (Some(given), _, _) => {
            let bare = match given.split_once(' ') {
                Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
                _ => given,
            };
            KeyText::read(bare).ok_or(&problem::BAD_KEY)
        }
        (None, Some(id), Some(secret)) => KeyText::pair(id, secret).ok_or(&problem::BAD_KEY),
        (None, None, None) => Err(&problem::NO_KEY),
        _ => Err(&problem::BAD_KEY),
    }
}

/// From where a request comes: what a trusted proxy says of it, as far as the chain of them goes.
fn address(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip().to_canonical());
    let mut from = peer.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|line| line.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        if !is_trusted(from) {
            break;
        }
        let Ok(before) = hop.parse::<IpAddr>() else { break };
        from = before.to_canonical();
    }
    from
}

/// Puts what was read into the access log. Writes are events, which name their key themselves.
fn note(api: &Api, caller: &Caller, from: IpAddr, method: &Method, route: &str, status: StatusCode, noted: &Noted) {
    let class = class_of(method, route);
    let abouts = noted.take();
    // What finds nobody is a read too. Of eligibility only what is worth keeping is kept: every "no".
    let is_read = matches!(*method, Method::GET | Method::HEAD)
        || (idempotency::only_reads(route) && class != Class::Eligibility);
    let plain = (is_read && abouts.is_empty()).then(About::default);
    for about in abouts.into_iter().chain(plain) {
        let entry = AccessEntry {
            at: api.state.engine.now(),
            key: caller.grant.key.id.clone(),
            user: caller.grant.user.id,
            from: Some(from),
            method: method.to_string(),
            route: route.to_owned(),
            status: status.as_u16(),
            member: about.member,
            upload: about.upload,
            change_set: about.change_set,
            feed: about.feed,
            eligible: about.eligible,
            reason: about.reason,
            roster_version: about.roster_version,
        };
        api.state.engine.note_access(caller.organisation.row.id, entry);
    }
}

/// Gives every request an identity, and says it in the answer. One that the caller gives is taken over if it is a UUID.
pub async fn identified(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<Uuid>().ok());
    let id = given.unwrap_or_else(Uuid::now_v7);
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned());
    let method = request.method().clone();
    let began = std::time::Instant::now();
    let mut response = next.run(request).await;
    // The route and not the path: what stands in a path may be about a person.
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    tracing::debug!(correlation = %id, %method, route = route.as_deref().unwrap_or("none"), status, ms, "answered");
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
