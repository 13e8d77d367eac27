//! Limits of a key: which fields, whose rows, from where, how often. What is not limited is free.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::rights::Resource;
use crate::{
    field::{FieldId, FieldSet},
    ids::FeedNo,
    member::Member,
};

/// Names of fields that may be read or written; none says nothing of them, so that all may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// Those that may be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<BTreeSet<String>>,
    /// Those that may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<BTreeSet<String>>,
}

/// Limits on fields, by resource. What is said of members holds wherever members are shown: in histories, events, change sets,
/// issues and originals. What is said of another resource narrows that further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldLimits(pub BTreeMap<Resource, Fields>);

fn narrower(a: Option<&BTreeSet<String>>, b: Option<&BTreeSet<String>>) -> Option<BTreeSet<String>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a & b),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

fn within(inner: Option<&BTreeSet<String>>, outer: Option<&BTreeSet<String>>) -> bool {
    match (inner, outer) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(inner), Some(outer)) => inner.is_subset(outer),
    }
}

impl FieldLimits {
    /// The fields that may be read in what is shown of a resource; none for all.
    pub fn readable(&self, resource: Resource) -> Option<BTreeSet<String>> {
        let of = |r| self.0.get(&r).and_then(|f| f.read.as_ref());
        narrower(of(Resource::Members), of(resource))
    }

    /// The fields that may be written through a resource; none for all.
    pub fn writable(&self, resource: Resource) -> Option<BTreeSet<String>> {
        let of = |r| self.0.get(&r).and_then(|f| f.write.as_ref());
        narrower(of(Resource::Members), of(resource))
    }

    /// Whether nothing that these allow is forbidden by others.
    pub fn is_within(&self, other: &FieldLimits) -> bool {
        Resource::ALL.into_iter().all(|r| {
            within(self.readable(r).as_ref(), other.readable(r).as_ref())
                && within(self.writable(r).as_ref(), other.writable(r).as_ref())
        })
    }
}

/// Whose rows: only members of these feeds, departments and subcompanies. An empty list says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowLimits {
    /// Feeds of which one must claim the member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<FeedNo>,
    /// Departments, compared without case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub departments: Vec<String>,
    /// Subcompanies, compared without case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subcompanies: Vec<String>,
}

impl RowLimits {
    /// Whether everybody is meant.
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.departments.is_empty() && self.subcompanies.is_empty()
    }

    /// Whether a member is among them.
    pub fn has(&self, member: &Member) -> bool {
        self.take(|feed| member.is_claimed_by(feed), |field| member.values.get(field).unwrap_or(""))
    }

    /// The same, of whomever these tell: whether a feed claims them, and the value of a field.
    pub fn take<'a>(&self, is_claimed_by: impl Fn(FeedNo) -> bool, value: impl Fn(FieldId) -> &'a str) -> bool {
        let among = |all: &[String], field| all.is_empty() || all.iter().any(|one| is_same(one, value(field)));
        let fed = self.feeds.is_empty() || self.feeds.iter().any(|feed| is_claimed_by(*feed));
        fed && among(&self.departments, FieldId::DEPARTMENT) && among(&self.subcompanies, FieldId::SUBCOMPANY)
    }

    /// Whether everybody whom these mean is meant by others.
    pub fn is_within(&self, other: &RowLimits) -> bool {
        let texts = |a: &[String], b: &[String]| {
            b.is_empty() || (!a.is_empty() && a.iter().all(|x| b.iter().any(|y| is_same(x, y))))
        };
        let feeds =
            other.feeds.is_empty() || (!self.feeds.is_empty() && self.feeds.iter().all(|f| other.feeds.contains(f)));
        feeds && texts(&self.departments, &other.departments) && texts(&self.subcompanies, &other.subcompanies)
    }
}

fn is_same(a: &str, b: &str) -> bool {
    crate::normalise::key(a) == crate::normalise::key(b)
}

/// Requests a minute; none for what the organisation has set, or the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Reads and small writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Uploads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<u32>,
    /// Eligibility checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<u32>,
}

/// Reads a network, such as `10.0.0.0/8`, or a single address.
///
/// # Errors
/// A sentence that says how it is written.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let alone = || text.parse::<core::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .or_else(|_| alone())
        .map_err(|_| format!("`{text}` is no network; write it as 10.0.0.0/8, 2001:db8::/32, or as one address."))
}

/// Whether every network of one list lies in one of another; an empty list means everywhere.
pub(super) fn networks_within(inner: &[IpNet], outer: &[IpNet]) -> bool {
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(|i| outer.iter().any(|o| o.contains(i))))
}

/// The fields of these names, by number.
pub(super) fn by_number(names: &BTreeSet<String>, number: impl Fn(&str) -> Option<FieldId>) -> FieldSet {
    names.iter().filter_map(|name| number(name)).collect()
}
