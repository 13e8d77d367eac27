//! What is said on the bus: doorbells for ourselves, messages for other systems.

use muster_domain::ids::OrganisationId;
use serde::{Deserialize, Serialize};

/// Who is to hear a doorbell. Each role has one queue, from which all its consumers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Works on uploads.
    Worker,
    /// Keeps projections in step with the log.
    Projector,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 2] = [Role::Worker, Role::Projector];

    /// Its name, which is the last part of its queue's.
    pub fn name(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Projector => "projector",
        }
    }
}

/// "This organisation has something for you, up to this number." It says nothing about any person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doorbell {
    /// The organisation.
    pub organisation: OrganisationId,
    /// The number in the organisation's log up to which there is something. It never goes back, so of two bells the higher counts.
    pub up_to: u64,
}

/// The version of the body below. A reader takes what it does not know for unreadable; the sweep rings again.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    organisation: OrganisationId,
    up_to: u64,
}

impl Doorbell {
    /// The body of the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = Body { v: VERSION, organisation: self.organisation, up_to: self.up_to };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The bell in a body, if it is one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Doorbell> {
        let body: Body = serde_json::from_slice(bytes).ok()?;
        (body.v == VERSION).then_some(Doorbell { organisation: body.organisation, up_to: body.up_to })
    }
}

/// Something for other systems, on the topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The routing key: words with dots between them, 255 bytes at most.
    pub key: String,
    /// What the body is, such as `application/cloudevents+json`.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_a_small_versioned_document() {
        let id = "018f2c3e-0000-7000-8000-000000000001".parse().unwrap();
        let bell = Doorbell { organisation: OrganisationId(id), up_to: 42 };
        let bytes = bell.encode();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            r#"{"v":1,"organisation":"018f2c3e-0000-7000-8000-000000000001","up_to":42}"#
        );
        assert_eq!(Doorbell::decode(&bytes), Some(bell));
    }

    #[test]
    fn what_is_no_bell_is_not_taken_for_one() {
        for bytes in [
            &b""[..],
            b"{}",
            b"\xff\xfe",
            br#"{"v":2,"organisation":"018f2c3e-0000-7000-8000-000000000001","up_to":1}"#,
        ] {
            assert_eq!(Doorbell::decode(bytes), None);
        }
    }
}
