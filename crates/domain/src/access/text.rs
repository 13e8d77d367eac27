//! The text of a key: `mk_live_<key id>_<secret><checksum>`. The prefix and the checksum let scanners of source code tell a
//! leaked key from any other text without asking anybody.

use serde::{Deserialize, Serialize};

/// Random bytes of a secret: 256 bits.
pub const SECRET_BYTES: usize = 32;

/// Letters of a secret in base 62: 62 to the 43rd is more than 2 to the 256th.
const SECRET_LETTERS: usize = 43;
/// Letters of the checksum: a CRC-32 in base 62.
const CHECK_LETTERS: usize = 6;
/// Letters of a key's identity, of 36: 82 bits.
const ID_LETTERS: usize = 16;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Bytes of the hash under which a secret is stored.
pub const SECRET_HASH: usize = 32;

/// What is stored of a secret: a keyed hash.
pub type SecretHash = [u8; SECRET_HASH];

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Whatever its rights say.
    General,
    /// Uploads, and nothing else.
    Bulk,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [KeyKind; 2] = [KeyKind::General, KeyKind::Bulk];

    /// What keys of this kind begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            KeyKind::General => "mk_live_",
            KeyKind::Bulk => "ml_live_",
        }
    }
}

/// A key as its holder has it, taken apart. It is not known yet whether there is such a key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    /// What it says that it is for; none if only id and secret were given.
    pub kind: Option<KeyKind>,
    /// Its identity, which is no secret.
    pub id: String,
    secret: String,
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyText({}, secret)", self.id)
    }
}

impl KeyText {
    /// A new key, from random bytes.
    pub fn new(kind: KeyKind, id: String, random: &[u8; SECRET_BYTES]) -> KeyText {
        KeyText { kind: Some(kind), id, secret: base62(random) }
    }

    /// Takes a whole key apart; none if it is no key: another prefix, another length, or a checksum that is not its own.
    pub fn read(text: &str) -> Option<KeyText> {
        let kind = KeyKind::ALL.into_iter().find(|k| text.starts_with(k.prefix()))?;
        let (id, rest) = text.strip_prefix(kind.prefix())?.split_once('_')?;
        let key = KeyText { kind: Some(kind), ..KeyText::pair(id, rest)? };
        (key.show().as_deref() == Some(text)).then_some(key)
    }

    /// A key of which identity and secret were given apart. The secret may have its checksum behind it, as in the whole key;
    /// whether that is right shows when the hash is compared.
    pub fn pair(id: &str, secret: &str) -> Option<KeyText> {
        let is_id = id.len() == ID_LETTERS && id.bytes().all(|b| BASE36.contains(&b));
        let lengths = [SECRET_LETTERS, SECRET_LETTERS + CHECK_LETTERS];
        let is_secret = lengths.contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        (is_id && is_secret).then(|| KeyText {
            kind: None,
            id: id.to_owned(),
            secret: secret[..SECRET_LETTERS].to_owned(),
        })
    }

    /// The whole key. It is shown once, when it is made.
    pub fn show(&self) -> Option<String> {
        let body = format!("{}{}_{}", self.kind?.prefix(), self.id, self.secret);
        Some(format!("{body}{}", checksum(&body)))
    }

    /// What the holder gives as `secretKey` where identity and secret are given apart.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The last four letters of the whole key, by which people tell one key from another; of a pair, which has no whole text,
    /// the last four of the secret.
    pub fn last4(&self) -> String {
        let text = self.show().unwrap_or_else(|| self.secret.clone());
        text[text.len() - 4..].to_owned()
    }
}

/// The hash under which a secret is stored. `key` is derived from the organisation's secret, which lies elsewhere.
pub fn hash_of(key: &[u8; 32], text: &KeyText) -> SecretHash {
    #[cfg(test)]
    super::tests::HASHED.with(|count| count.set(count.get() + 1));
    *blake3::Hasher::new_keyed(key)
        .update(text.id.as_bytes())
        .update(b"_")
        .update(text.secret.as_bytes())
        .finalize()
        .as_bytes()
}

/// The identity of a new key, from random bytes.
pub fn key_id(random: &[u8; ID_LETTERS]) -> String {
    // 256 is no multiple of 36: some letters come a little more often, which an identity can bear.
    random.iter().map(|b| char::from(BASE36[usize::from(*b) % 36])).collect()
}

/// A number of 256 bits with all its digits in base 62.
fn base62(bytes: &[u8; SECRET_BYTES]) -> String {
    let mut number = *bytes;
    let mut letters = [0; SECRET_LETTERS];
    for letter in letters.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut number {
            let here = (rest << 8) | u32::from(*byte);
            *byte = (here / 62) as u8;
            rest = here % 62;
        }
        *letter = BASE62[rest as usize];
    }
    letters.iter().map(|b| char::from(*b)).collect()
}

fn checksum(text: &str) -> String {
    let mut sum = crc32fast::hash(text.as_bytes());
    let mut letters = [0; CHECK_LETTERS];
    for letter in letters.iter_mut().rev() {
        *letter = BASE62[(sum % 62) as usize];
        sum /= 62;
    }
    letters.iter().map(|b| char::from(*b)).collect()
}
