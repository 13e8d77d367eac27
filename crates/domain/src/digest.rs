//! Keyed hashes: digests of change sets, identifiers, fingerprints. The key is a secret of the organisation.

use xxhash_rust::xxh3::{Xxh3Builder, Xxh3};

use crate::normalise;

/// The secrets derived from the organisation's, one for each use.
#[derive(Clone)]
pub struct Keys {
    digest: [u8; 32],
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
        blake3::Hasher::new_derive_key("muster 2026 fingerprints and identifiers").update(secret).finalize_xof().fill(hash.as_mut_slice());
        Keys { digest: blake3::derive_key("muster 2026 change set digest", secret), hash }
    }

    /// A digest to which the lines of changes are added in order.
    pub fn digest(&self) -> Digest {
        Digest(blake3::Hasher::new_keyed(&self.digest))
    }

    /// The hash of an identifier, compared without case and outer space.
    pub fn identifier(&self, kind: Identifier, text: &str) -> u64 {
        let folded = normalise::key(text);
        let mut hash = self.hasher(kind as u64);
        hash.update(folded.as_bytes());
        hash.digest()
    }

    /// The hash of a name and birth date.
    pub fn person(&self, first: &str, last: &str, born: &str) -> u64 {
        let mut hash = self.hasher(Identifier::Person as u64);
        for part in [first, last, born] {
            hash.update(normalise::key(part).as_bytes());
            hash.update(b"\0");
        }
        hash.digest()
    }

    /// The fingerprint of a record's bytes under a layout.
    pub fn fingerprint(&self, layout: u64, record: &[u8]) -> u128 {
        xxhash_rust::xxh3::xxh3_128_with_secret(record, &self.hash[..]) ^ (u128::from(layout) << 64 | u128::from(layout))
    }

    /// A 64-bit hash of anything, for caches.
    pub fn seeded(&self, seed: u64, bytes: &[u8]) -> u64 {
        let mut hash = self.hasher(seed);
        hash.update(bytes);
        hash.digest()
    }

    fn hasher(&self, seed: u64) -> Xxh3 {
        let mut hash = Xxh3Builder::new().with_secret(*self.hash).build();
        hash.update(&seed.to_le_bytes());
        hash
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
