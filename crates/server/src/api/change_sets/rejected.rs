//! What was rejected or undone and is remembered: it is not proposed again until its value changes.

use axum::Json;
use chrono::NaiveDate;
use muster_domain::{
    access::{Action, Resource},
    member::{ABSENT, Member, NAMED, Reason, Word},
};
use muster_engine::review::Remembered;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    api::{
        body::Query,
        caller::{About, Caller, Noted},
        page,
    },
    problem::{Problem, Result},
};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RejectedParameters {
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A rejection that is remembered.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedDocument {
    /// The member's identity.
    pub member: Uuid,
    /// The match key; none if the key does not see it.
    pub unique_id: Option<String>,
    /// Whose word was rejected.
    pub feed: String,
    /// The field; `named` for a person not taken onto the roster, `absent` for a removal.
    pub field: String,
    /// The rejected value.
    pub value: Option<String>,
    /// Since when.
    pub since: NaiveDate,
    /// `rejected`, or `undone`.
    #[schema(value_type = String)]
    pub reason: Reason,
}

/// A page of rejections, in the order in which the people came.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedPage {
    /// The rejections.
    pub rejected: Vec<RejectedDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
    /// The organisation's last event when this was begun.
    pub seq: u64,
}

/// Where a word stands among all: its member, its feed and its field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, u64, u64);

impl Place {
    fn of(member: &Member, word: &Word) -> Place {
        Place(member.no.into(), word.feed.0.into(), word.field.0.into())
    }

    fn read(cursor: &str) -> Result<Place, Problem> {
        let numbers: Result<Vec<u64>, _> = cursor.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([member, feed, field]) => Ok(Place(*member, *feed, *field)),
            _ => Err(page::bad_cursor()),
        }
    }
}

/// List what was rejected and is not proposed again
///
/// A key sees what is about the people, the fields and the feed that it sees. The whole roster is gone through for it.
#[utoipa::path(get, path = "/api/v1/change-sets/rejected", tag = "change sets", params(RejectedParameters),
    responses((status = 200, body = RejectedPage)))]
pub async fn list(
    caller: Caller,
    noted: Noted,
    Query(parameters): Query<RejectedParameters>,
) -> Result<Json<RejectedPage>> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let limit = page::limit(parameters.limit)?;
    let after = parameters.cursor.as_deref().map(Place::read).transpose()?;
    let org = &caller.organisation;
    let seq = caller.engine.store.head(org.row.id).await?.last_seq;
    let readable = caller.readable(Resource::ChangeSets);
    let reads = |field| readable.as_ref().is_none_or(|fields| fields.contains(field));
    let sees_key = reads(org.settings.match_key.field());
    let mut found = Vec::new();
    let visit = |member: &Member, word: &Word| {
        let place = Place::of(member, word);
        let is_seen = caller.sees(member)
            && caller.grant.key.feed.is_none_or(|feed| feed == word.feed)
            && (matches!(word.field, ABSENT | NAMED) || reads(word.field));
        // One more than the page has: it tells whether there is another page.
        if is_seen && after.is_none_or(|after| place > after) && found.len() <= limit {
            let Remembered { key, feed, field, value, since, reason } = Remembered::of(org, member, word);
            let unique_id = sees_key.then_some(key);
            found.push((place, RejectedDocument { member: member.uuid, unique_id, feed, field, value, since, reason }));
        }
    };
    caller.engine.each_rejected(org, visit).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next =
        found.last().filter(|_| has_more).map(|(Place(member, feed, field), _)| format!("{member}.{feed}.{field}"));
    let rejected: Vec<RejectedDocument> = found.into_iter().map(|(_, one)| one).collect();
    rejected.iter().for_each(|one| noted.keep(About::member(one.member)));
    Ok(Json(RejectedPage { rejected, next, seq }))
}
