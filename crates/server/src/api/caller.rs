//! Who asks, and what they may do: every handler begins by asking that.

use std::{
    convert::Infallible,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use muster_domain::{
    access::{Action, Grant, Resource},
    documents::Feed,
    field::{FieldId, FieldSet},
    guard::Hold,
    ids::{ChangeSetId, FeedNo, UploadId},
    member::Member,
};
use muster_engine::{Engine, Organisation};
use uuid::Uuid;

use super::rate::Class;
use crate::problem::{MISSING_RIGHT, NOT_FOUND, Problem, Result, WRONG_FEED};

/// What is told of values that become blank to whoever sees some people or fields only.
const BLANKED: &str = "Many values of a field would become blank.";

/// The caller of a request; cheap to clone.
#[derive(Clone)]
pub struct Caller(Arc<Known>);

/// What is known of the caller of a request.
pub struct Known {
    /// The engine, acting for the caller.
    pub engine: Engine,
    /// The caller's organisation.
    pub organisation: Arc<Organisation>,
    /// The version of its roster when the request came.
    pub roster_version: u64,
    /// What the caller may do.
    pub grant: Grant,
}

impl From<Known> for Caller {
    fn from(known: Known) -> Caller {
        Caller(Arc::new(known))
    }
}

impl Deref for Caller {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
            // Only a route outside the gate can lack it.
            Problem::new(&crate::problem::NO_KEY, "Send a key with the request.")
        })
    }
}

/// What a read was about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Who.
    pub member: Option<Uuid>,
    /// Which upload.
    pub upload: Option<UploadId>,
    /// Which change set.
    pub change_set: Option<ChangeSetId>,
    /// Which feed, by its name.
    pub feed: Option<String>,
    /// Whether they are eligible.
    pub eligible: Option<bool>,
    /// Why, as a code.
    pub reason: Option<String>,
    /// Of which version of the roster that was said.
    pub roster_version: Option<u64>,
}

impl About {
    /// A read about a member.
    pub fn member(id: Uuid) -> About {
        About { member: Some(id), ..About::default() }
    }

    /// A read about an upload.
    pub fn upload(id: UploadId) -> About {
        About { upload: Some(id), ..About::default() }
    }

    /// A read about a change set.
    pub fn change_set(id: ChangeSetId) -> About {
        About { change_set: Some(id), ..About::default() }
    }

    /// A read about a feed.
    pub fn feed(name: &str) -> About {
        About { feed: Some(name.to_owned()), ..About::default() }
    }
}

/// What is worth keeping of a read, put down by its handler.
#[derive(Clone, Default)]
pub struct Noted(Arc<Mutex<Vec<About>>>);

impl Noted {
    /// Keeps something.
    pub fn keep(&self, about: About) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(about);
    }

    /// All that was kept.
    pub fn take(&self) -> Vec<About> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Noted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Noted, Infallible> {
        Ok(parts.extensions.get::<Noted>().cloned().unwrap_or_default())
    }
}

impl Caller {
    /// The organisation's name in addresses and commands.
    pub fn slug(&self) -> &str {
        &self.organisation.row.slug
    }

    /// Refuses unless the caller has a right.
    ///
    /// # Errors
    /// If they have not.
    pub fn needs(&self, resource: Resource, action: Action) -> Result<()> {
        if self.grant.may(resource, action) {
            return Ok(());
        }
        let scope = format!("{}:{}", resource.scope(), action.word());
        let whose = if self.grant.key.rights.has(resource, action) {
            format!("The user on whose behalf the key acts is {} now, and may not do that.", self.grant.role.word())
        } else {
            format!("The key lacks the right {scope}.")
        };
        Err(Problem::new(&MISSING_RIGHT, whose).with("scope", scope))
    }

    /// Refuses a key that is for some people, some fields or one feed only.
    ///
    /// # Errors
    /// If it is; the sentence says what that has to do with it.
    pub fn is_for_everything(&self, why: &str) -> Result<()> {
        if self.grant.is_limited() { Err(Problem::new(&MISSING_RIGHT, why)) } else { Ok(()) }
    }

    /// How many requests of a class a minute are allowed.
    pub fn per_minute(&self, class: Class) -> u32 {
        let rates = self.organisation.settings.api.rate.with(self.grant.key.rates);
        match class {
            Class::Requests => rates.requests,
            Class::Uploads => rates.uploads,
            Class::Eligibility => rates.eligibility,
        }
    }

    /// The feed that is spoken for.
    ///
    /// # Errors
    /// If there is none of that name, or the key is bound to another.
    pub fn feed(&self, name: Option<&str>) -> Result<&Feed> {
        let asked = match name {
            Some(name) => Some(self.organisation.feed(name).map_err(|_| no_feed(self, name))?.no),
            None => None,
        };
        let no = self.grant.feed(asked).map_err(|bound| {
            let bound = self.organisation.feed_name(bound);
            Problem::new(&WRONG_FEED, format!("The key speaks for the feed {bound} alone."))
        })?;
        self.feed_of(no)
    }

    /// A feed by number.
    ///
    /// # Errors
    /// If it is gone.
    pub fn feed_of(&self, no: FeedNo) -> Result<&Feed> {
        let found = self.organisation.feeds.iter().find(|f| f.no == no);
        found.ok_or_else(|| Problem::new(&NOT_FOUND, "The feed that the key is bound to is gone."))
    }

    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<FieldId> {
        self.organisation.settings.field(name)
    }

    /// The fields that may be read in what is shown of a resource; none for all.
    pub fn readable(&self, resource: Resource) -> Option<FieldSet> {
        self.grant.readable(resource, |name| self.field(name))
    }

    /// Whether these fields, or all, have one of that name.
    pub fn is_among(&self, fields: Option<&FieldSet>, name: &str) -> bool {
        fields.is_none_or(|fields| self.field(name).is_some_and(|field| fields.contains(field)))
    }

    /// Guards that tripped, as they are told through a resource: whoever sees some people or fields only is not told of which field
    /// how many values become blank.
    pub fn holds(&self, resource: Resource, mut holds: Vec<Hold>) -> Vec<Hold> {
        if !self.grant.key.rows.is_empty() || self.readable(resource).is_some() {
            let blanked = holds.iter_mut().filter(|hold| hold.guard == "blanked_field");
            blanked.for_each(|hold| hold.detail = BLANKED.to_owned());
        }
        holds
    }

    /// The fields that may be written through a resource; none for all.
    pub fn writable(&self, resource: Resource) -> Option<FieldSet> {
        self.grant.writable(resource, |name| self.field(name))
    }

    /// Refuses a key that sees only some people, or only some fields of them.
    ///
    /// # Errors
    /// If it does, with the reason why that is too little here.
    pub fn shows_everybody(&self, why: &str) -> Result<()> {
        match !self.grant.key.rows.is_empty() || self.readable(Resource::Members).is_some() {
            true => Err(Problem::new(&MISSING_RIGHT, why)),
            false => Ok(()),
        }
    }

    /// Whether a member is one whom the caller sees.
    pub fn sees(&self, member: &Member) -> bool {
        self.grant.key.rows.has(member)
    }
}

fn no_feed(caller: &Caller, name: &str) -> Problem {
    let names: Vec<&str> = match caller.grant.key.feed {
        Some(bound) => vec![caller.organisation.feed_name(bound)],
        None => caller.organisation.feeds.iter().map(|f| f.settings.name.as_str()).collect(),
    };
    let shown: String = name.chars().take(60).collect();
    Problem::new(&crate::problem::INVALID, format!("There is no feed {shown:?}; there are: {}.", names.join(", ")))
}
