//! Blame: for every value that a member has, the event that set it, with file, line and who let it pass.

use std::collections::HashMap;

use muster_domain::{field::FieldId, member::Member};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Organisation, Result,
    history::{History, HistoryEntry},
    members::At,
    projections::reading::Wait,
};

/// What is known of a member, and where each part of it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Blame {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// The match key.
    pub key: String,
    /// Who.
    #[serde(rename = "id")]
    pub member: Uuid,
    /// Whether the member is on the roster.
    pub listed: bool,
    /// The last coming or going.
    pub since: Option<HistoryEntry>,
    /// The match key, as `unique_id`, and every field that ever had a value, each with what set it last.
    pub fields: Vec<HistoryEntry>,
}

impl Engine {
    /// Where every value came from that a member has, or had at another time. A field that was cleared is told too.
    ///
    /// # Errors
    /// If nobody has that key, the log does not reach that time or cannot be read, or its index does not reflect what it must.
    pub async fn blame(&self, org: &Organisation, key: &str, at: At, wait: Wait) -> Result<Option<Blame>> {
        let found = self.history(org, key, at, wait).await?;
        Ok(found.blame(org).map(|(_, blame)| blame))
    }
}

impl History {
    /// Where every value came from that the member had at the end of what is told, and the member as they were then; none if
    /// they had not come by then.
    pub fn blame(self, org: &Organisation) -> Option<(Member, Blame)> {
        let member = self.member?;
        let fields = &org.settings.fields;
        // A key that never changed came with the person.
        let named = |e: HistoryEntry| HistoryEntry {
            field: Some("unique_id".to_owned()),
            value: Some(member.key.clone()),
            ..e
        };
        let first = self.first.map(named);
        let mut last: HashMap<&str, &HistoryEntry> = first.iter().map(|e| ("unique_id", e)).collect();
        for entry in &self.entries {
            last.extend(entry.field.as_deref().map(|field| (field, entry)));
        }
        let names = std::iter::once("unique_id").chain(fields.all().map(|f: FieldId| fields.name(f)));
        let fields = names.filter_map(|name| last.get(name).map(|e| (*e).clone())).collect();
        let blame = Blame {
            seq: self.seq,
            key: member.key.clone(),
            member: member.uuid,
            listed: member.is_listed(),
            since: self.turn,
            fields,
        };
        Some((member, blame))
    }
}
