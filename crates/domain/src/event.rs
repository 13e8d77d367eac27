//! Events: the envelope, its body of salted lines, and the hash chain over both.
//!
//! `leaf = SHA-256(salt ‖ line)`, `root = SHA-256(tag ‖ count ‖ leaves)`,
//! `hash = SHA-256(tag ‖ previous hash ‖ length of meta ‖ meta ‖ root)`. All of them cover bytes as they are
//! stored. A line that is erased leaves its leaf behind, so the chain still verifies.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::OrganisationId;

/// A SHA-256.
pub type Hash = [u8; 32];

/// The secret part of a leaf: with it gone, nobody can guess the line from its leaf.
pub type Salt = [u8; 16];

/// The hash before the first event of an organisation.
pub const GENESIS: Hash = [0; 32];

const BODY_TAG: &[u8] = b"muster.body.1\0";
const EVENT_TAG: &[u8] = b"muster.event.1\0";

/// What an event says about itself: everything but its body. The stored bytes of its JSON are hashed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    /// Identity of the event.
    pub id: Uuid,
    /// The tenant.
    pub organisation: OrganisationId,
    /// Position in the organisation: from 1, without gaps, in commit order.
    pub seq: u64,
    /// The stream: `organisation`, `feed:<number>`, `upload:<id>`, `change_set:<id>`.
    pub stream: String,
    /// Position in the stream, from 1.
    pub version: u64,
    /// What happened, as `noun.verb`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of the form of `data` and of the body's lines.
    pub schema: u32,
    /// Who did it.
    pub actor: String,
    /// Shared by everything that one command or upload set off.
    pub correlation: Uuid,
    /// The event or command that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<Uuid>,
    /// When it was recorded; never before the previous event's; microseconds.
    pub recorded_at: DateTime<Utc>,
    /// What is to be said without personal data, by type (see [`crate::fact`]).
    pub data: Box<RawValue>,
}

/// The lines of an event that may hold personal data, each with its salt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// One salt a line; the erased ones' are gone.
    pub salts: Vec<Salt>,
    /// Lines one after the other, each ended by a line break; an erased one is empty.
    pub lines: Vec<u8>,
    /// Erased lines by index, in order, with what stays of them.
    pub erased: Vec<(u32, Hash)>,
}

impl Body {
    /// Adds a line.
    pub fn push(&mut self, salt: Salt, line: &[u8]) {
        self.salts.push(salt);
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
    }

    /// How many lines there are, erased ones included.
    pub fn len(&self) -> usize {
        self.salts.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.salts.is_empty()
    }

    /// The lines in order, without their line breaks; `None` for an erased one.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut erased = self.erased.iter().map(|(i, _)| *i).peekable();
        let mut from = 0;
        let lines = memchr::memchr_iter(b'\n', &self.lines).map(move |end| {
            let line = &self.lines[from..end];
            from = end + 1;
            line
        });
        lines.enumerate().map(move |(i, line)| match erased.next_if_eq(&(i as u32)) {
            Some(_) => None,
            None => Some(line),
        })
    }

    /// The root of the leaves.
    pub fn root(&self) -> Hash {
        let mut root = Sha256::new();
        root.update(BODY_TAG);
        root.update((self.len() as u64).to_be_bytes());
        let mut erased = self.erased.iter().peekable();
        for (i, line) in self.iter().enumerate() {
            match (line, erased.next_if(|(at, _)| *at as usize == i)) {
                (Some(line), _) => root.update(leaf(&self.salts[i], line)),
                (None, Some((_, leaf))) => root.update(leaf),
                (None, None) => {}
            }
        }
        root.finalize().into()
    }
}

/// The leaf of a line.
pub fn leaf(salt: &Salt, line: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(line);
    hash.finalize().into()
}

/// The hash of an event in the chain. `root` is that of its body, zeros if it has none.
pub fn chain(previous: &Hash, meta: &[u8], root: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(EVENT_TAG);
    hash.update(previous);
    hash.update((meta.len() as u64).to_be_bytes());
    hash.update(meta);
    hash.update(root);
    hash.finalize().into()
}

/// An event before it has its place in the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Identity of the event.
    pub id: Uuid,
    /// The stream it belongs to.
    pub stream: String,
    /// Refuse unless the stream is at this version (0: the stream is new); `None` for no check.
    pub expected_version: Option<u64>,
    /// Type, as `noun.verb`.
    pub kind: String,
    /// Version of the form of `data`.
    pub schema: u32,
    /// JSON without personal data.
    pub data: Box<RawValue>,
    /// Lines that may hold personal data.
    pub body: Option<Body>,
}

/// An event as it is read from the log.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The bytes of the metadata, as hashed.
    pub meta_bytes: Vec<u8>,
    /// The metadata.
    pub meta: Meta,
    /// The lines, if the event has any.
    pub body: Option<Body>,
    /// The recorded root of the body, zeros without one.
    pub root: Hash,
    /// The recorded hash in the chain.
    pub hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        let mut body = Body::default();
        body.push([1; 16], b"{\"a\":1}");
        body.push([2; 16], b"{\"b\":2}");
        body.push([3; 16], b"");
        body
    }

    #[test]
    fn the_root_stays_when_a_line_is_erased() {
        let whole = body();
        let mut erased = Body::default();
        erased.push([1; 16], b"{\"a\":1}");
        erased.push([0; 16], b"");
        erased.push([3; 16], b"");
        erased.erased.push((1, leaf(&[2; 16], b"{\"b\":2}")));
        assert_eq!(whole.root(), erased.root());
        assert_eq!(erased.iter().collect::<Vec<_>>(), [Some(&b"{\"a\":1}"[..]), None, Some(&b""[..])]);
    }

    #[test]
    fn the_root_tells_any_change_of_line_salt_or_order() {
        let root = body().root();
        let mut other = body();
        other.lines[2] = b'x';
        assert_ne!(root, other.root());
        let mut other = body();
        other.salts.swap(0, 1);
        assert_ne!(root, other.root());
    }

    #[test]
    fn the_chain_tells_any_change_before_it() {
        let one = chain(&GENESIS, b"{}", &[0; 32]);
        assert_ne!(chain(&one, b"{}", &[0; 32]), chain(&GENESIS, b"{}", &[0; 32]));
        assert_ne!(one, chain(&GENESIS, b"{ }", &[0; 32]));
    }
}
