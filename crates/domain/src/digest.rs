//! Keyed hashes: digests of change sets, identifiers, fingerprints. The key is a secret of the organisation.

use std::cell::RefCell;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_128_with_secret};

use crate::{
    access::{KeyText, SecretHash, hash_of},
    forgotten::Block,
    normalise,
};

/// Bytes of a sealed text that tell whether it was altered.
const TAG: usize = 16;

/// The secrets derived from the organisation's, one for each use.
#[derive(Clone)]
pub struct Keys {
    digest: [u8; 32],
    forgotten: [u8; 32],
    sealed: [u8; 32],
    api: [u8; 32],
    hash: Box<[u8; 192]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

/// The kinds of identifier by which a person can be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// The match key, or an alias.
    Key = 1,
    /// The e-mail address.
    Email = 2,
    /// The employee id.
    EmployeeId = 3,
    /// First name, last name and birth date together.
    Person = 4,
}

impl Keys {
    /// Derives the keys from the organisation's secret.
    pub fn derive(secret: &[u8]) -> Self {
        let mut hash = Box::new([0; 192]);
        blake3::Hasher::new_derive_key("muster 2026 fingerprints and identifiers")
            .update(secret)
            .finalize_xof()
            .fill(hash.as_mut_slice());
        let derived = |purpose| blake3::derive_key(purpose, secret);
        Keys {
            digest: derived("muster 2026 change set digest"),
            forgotten: derived("muster 2026 forgotten people"),
            sealed: derived("muster 2026 sealed cursors"),
            api: derived("muster 2026 api keys"),
            hash,
        }
    }

    /// By which somebody forgotten is known again. Unlike [`identifier`](Keys::identifier) it stands in the log, so
    /// nobody may find what gives it.
    pub fn block(&self, kind: Identifier, text: &str) -> Block {
        let hash = blake3::Hasher::new_keyed(&self.forgotten)
            .update(&[kind as u8])
            .update(normalise::key(text).as_bytes())
            .finalize();
        let mut block = [0; 16];
        block.copy_from_slice(&hash.as_bytes()[..16]);
        Block(block)
    }

    /// The hash under which the secret of an API key is stored.
    pub fn secret_of(&self, text: &KeyText) -> SecretHash {
        hash_of(&self.api, text)
    }

    /// A digest to which the lines of changes are added in order.
    pub fn digest(&self) -> Digest {
        Digest(blake3::Hasher::new_keyed(&self.digest))
    }

    /// The hash of an identifier, compared without case and outer space.
    pub fn identifier(&self, kind: Identifier, text: &str) -> u64 {
        self.hashed(kind, |out| normalise::key_into(text, out))
    }

    /// The hash of a member's identity.
    pub fn member(&self, id: uuid::Uuid) -> u64 {
        xxh3_64_with_secret(id.as_bytes(), &self.hash[..])
    }

    /// The hash of a name and birth date.
    pub fn person(&self, first: &str, last: &str, born: &str) -> u64 {
        self.hashed(Identifier::Person, |out| {
            for part in [first, last, born] {
                normalise::key_into(part, out);
                out.push('\0');
            }
        })
    }

    /// The fingerprint of a record's bytes under a layout.
    pub fn fingerprint(&self, layout: u64, record: &[u8]) -> u128 {
        xxh3_128_with_secret(record, &self.hash[..]) ^ (u128::from(layout) << 64 | u128::from(layout))
    }

    /// Bytes as a text that tells nothing of them, for cursors that hold a person's name: addresses end in logs.
    pub fn seal(&self, bytes: &[u8]) -> String {
        let tag = self.tag(bytes);
        let mut sealed = tag.to_vec();
        sealed.extend_from_slice(bytes);
        self.mask(&tag, &mut sealed[TAG..]);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The bytes that were sealed; none if that was not done here, or the text was altered.
    pub fn unseal(&self, text: &str) -> Option<Vec<u8>> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, bytes) = sealed.split_at_mut_checked(TAG)?;
        self.mask(tag, bytes);
        is_same(&self.tag(bytes), tag).then(|| bytes.to_vec())
    }

    /// What only these bytes have.
    fn tag(&self, bytes: &[u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        tag.copy_from_slice(
            &blake3::Hasher::new_keyed(&self.sealed).update(b"tag").update(bytes).finalize().as_bytes()[..TAG],
        );
        tag
    }

    /// Hides bytes, or shows them again.
    fn mask(&self, tag: &[u8], bytes: &mut [u8]) {
        let mut mask = vec![0; bytes.len()];
        blake3::Hasher::new_keyed(&self.sealed).update(b"mask").update(tag).finalize_xof().fill(&mut mask);
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }

    /// A 64-bit hash of anything, for caches.
    pub fn seeded(&self, seed: u64, bytes: &[u8]) -> u64 {
        xxh3_64_with_secret(bytes, &self.hash[..]) ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Hashes in one go what is written behind the kind: a hash that takes its input in parts costs many times as much.
    fn hashed(&self, kind: Identifier, write: impl FnOnce(&mut String)) -> u64 {
        thread_local! {
            static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.push(char::from(kind as u8));
            write(buffer);
            xxh3_64_with_secret(buffer.as_bytes(), &self.hash[..])
        })
    }
}

/// The digest of a change set's content.
pub struct Digest(blake3::Hasher);

impl Digest {
    /// Adds a change's line.
    pub fn add(&mut self, line: &[u8]) {
        self.0.update(line);
        self.0.update(b"\n");
    }

    /// Adds lines that each end in a line break, as they lie in an event's body.
    pub fn add_lines(&mut self, lines: &[u8]) {
        self.0.update(lines);
    }

    /// The digest in hexadecimal, 32 characters.
    pub fn finish(&self) -> String {
        self.0.finalize().to_hex()[..32].to_owned()
    }
}

/// Compares in a time that does not tell where the first difference stands.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_here_alone_and_as_it_was() {
        let (keys, others) = (Keys::derive(b"one"), Keys::derive(b"two"));
        let sealed = keys.seal(b"archer ann");
        assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(keys.unseal(&sealed).as_deref(), Some(&b"archer ann"[..]));
        assert_eq!(others.unseal(&sealed), None);
        for i in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[i] = if altered[i] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.unseal(&String::from_utf8(altered).unwrap()), None, "{i}");
        }
        assert_eq!((keys.unseal(""), keys.unseal("ä")), (None, None));
        assert_eq!(keys.unseal(&keys.seal(b"")).as_deref(), Some(&b""[..]));
    }
}
