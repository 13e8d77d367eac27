//! Whether somebody is eligible: the hot path, from the roster itself and not from a projection.

use axum::{
    Json, Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, NaiveDate, Utc};
use muster_domain::{
    access::{Action, Resource},
    ids::date_of,
};
use muster_engine::members::By;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api,
    body::{Several, small},
    caller::{About, Caller, Noted},
    members::check_looked_for,
};
use crate::problem::{INVALID, Problem, ProblemDocument, Result};

/// The most that are asked about at once.
const MOST: usize = 1000;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new().route("/eligibility", post(check))
}

/// Who is asked about: exactly one of `unique_id`, `email` and `id`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The match key, of now or before.
    pub unique_id: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The member's identity.
    pub id: Option<Uuid>,
    /// The day that is asked about. Today in the organisation's time zone, if it is not given.
    pub on: Option<NaiveDate>,
    /// By what was known at that time. Now, if it is not given.
    pub at: Option<DateTime<Utc>>,
}

/// Yes or no, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Eligibility {
    /// Yes or no.
    pub eligible: bool,
    /// Why: `eligible`, `until_end_date` and `grace` are a yes; `never_listed`, `not_yet_listed`, `not_listed`, `not_started`,
    /// `ended` and `excluded_status` are a no.
    #[schema(example = "eligible")]
    pub reason: String,
    /// The first day of the stretch of days with this answer.
    pub since: Option<NaiveDate>,
    /// The last day of it.
    pub until: Option<NaiveDate>,
    /// The day that was asked about.
    pub on: NaiveDate,
    /// The member's identity; none if nobody is known by what was asked.
    pub id: Option<Uuid>,
    /// The roster version that this was read from.
    pub roster_version: u64,
}

/// One question or several.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
#[schema(as = EligibilityRequest)]
#[serde(untagged)]
pub enum Questions {
    /// One.
    One(Question),
    /// Several, at most 1,000.
    Several(Vec<Question>),
}

/// One answer or several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Answers {
    /// One.
    One(Eligibility),
    /// Several, in the order of the questions.
    Several(Vec<Eligibility>),
}

/// Ask whether somebody is eligible
///
/// A person of whom nothing is known, or whom the key does not see, is not eligible: `never_listed`. Every "no" is kept for 90
/// days, so that it can be explained later. Nobody is looked for by a field that the key does not see; `since` and `until` are
/// part of the answer to whoever may ask, whichever fields they see.
#[utoipa::path(post, path = "/api/v1/eligibility", tag = "eligibility", request_body = Questions,
    responses(
        (status = 200, body = Answers),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn check(caller: Caller, noted: Noted, request: Request) -> Result<Response> {
    caller.needs(Resource::Eligibility, Action::Read)?;
    let bytes = small(request, &["application/json"]).await?;
    let Several { items: questions, is_list } = Several::<Question>::read(&bytes)?;
    if let ([question], false) = (&questions[..], is_list) {
        return Ok(Json(Answers::One(one(&caller, &noted, question, "").await?)).into_response());
    }
    if questions.len() > MOST {
        return Err(Problem::new(&INVALID, format!("At most {MOST} people are asked about at once.")));
    }
    let mut answers = Vec::with_capacity(questions.len());
    for (no, question) in questions.iter().enumerate() {
        answers.push(one(&caller, &noted, question, &format!("/{no}")).await?);
    }
    Ok(Json(Answers::Several(answers)).into_response())
}

/// Who is asked about, if the caller may look for them so.
fn whom<'q>(caller: &Caller, question: &'q Question, place: &str) -> Result<By<'q>> {
    let (by, name) = match (&question.unique_id, &question.email, question.id) {
        (Some(key), None, None) => (By::Key(key), "unique_id"),
        (None, Some(email), None) => (By::Email(email), "email"),
        (None, None, Some(id)) => return Ok(By::Id(id)),
        _ => {
            let why = "Give exactly one of unique_id, email and id.";
            return Err(Problem::new(&INVALID, why).at(place, why));
        }
    };
    let unseen = |problem: Problem| problem.at(format!("{place}/{name}"), "The key does not see this field.");
    check_looked_for(caller, Resource::Eligibility, name).map_err(unseen)?;
    Ok(by)
}

async fn one(caller: &Caller, noted: &Noted, question: &Question, place: &str) -> Result<Eligibility> {
    let by = whom(caller, question, place)?;
    let (engine, org) = (&caller.engine, &caller.organisation);
    let roster_version = caller.roster_version;
    let found = engine.check_from(org, roster_version, by, question.on, question.at, |m| caller.sees(m)).await?;
    let answer = found.answer;
    if !answer.eligible {
        noted.keep(About {
            member: found.member,
            eligible: Some(false),
            reason: Some(answer.reason.word().to_owned()),
            roster_version: Some(found.roster_version),
            ..About::default()
        });
    }
    Ok(Eligibility {
        eligible: answer.eligible,
        reason: answer.reason.word().to_owned(),
        since: answer.since.map(date_of),
        until: answer.until.map(date_of),
        on: date_of(found.on),
        id: found.member,
        roster_version: found.roster_version,
    })
}
