//! The quick way to read a change's line: for the plain form that most lines have, and only for that.
//!
//! It knows the order in which fields are written and no escapes. Whatever else a line may be is left to the JSON
//! reader, which says the same of every line that is read here.

use std::borrow::Cow;

use uuid::Uuid;

use super::{Change, Kind, Named};
use crate::ids::MemberNo;

/// The change, if its line is plain.
pub(super) fn read(line: &[u8]) -> Option<Change<'_>> {
    let mut plain = Plain { text: std::str::from_utf8(line).ok()?, at: 0 };
    let (kind, no) = plain.beginning()?;
    let member = Uuid::try_parse(plain.string()?).ok()?;
    plain.eat(",\"key\":")?;
    let mut change = Change::new(kind, no, member, plain.string()?);
    if plain.eat(",\"line\":").is_some() {
        change.line = Some(plain.number()?);
    }
    if plain.eat(",\"from\":").is_some() {
        change.from = plain.named()?;
    }
    if plain.eat(",\"to\":").is_some() {
        change.to = plain.named()?;
    }
    plain.eat("}")?;
    (plain.at == line.len()).then_some(change)
}

/// The member's number or that there is none, if the line begins plainly. More than its beginning is not looked at.
pub(super) fn number(line: &[u8]) -> Option<Option<MemberNo>> {
    let text = std::str::from_utf8(&line[..line.len().min(LONGEST_BEGINNING)]).ok()?;
    Plain { text, at: 0 }.beginning().map(|(_, no)| no)
}

/// Nothing that stands before the member's identity is longer; and nothing in it is not plain.
const LONGEST_BEGINNING: usize = 48;

struct Plain<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Plain<'a> {
    /// What stands before the member's identity.
    fn beginning(&mut self) -> Option<(Kind, Option<MemberNo>)> {
        self.eat("{\"kind\":")?;
        let word = self.string()?;
        let kind = Kind::ALL.into_iter().find(|k| k.word() == word)?;
        let no = match self.eat(",\"no\":") {
            Some(()) => Some(self.number()?.try_into().ok()?),
            None => None,
        };
        self.eat(",\"member\":")?;
        Some((kind, no))
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        rest.starts_with(token.as_bytes()).then(|| self.at += token.len())
    }

    /// A text without escapes, in its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.eat("\"")?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let len = plain_len(rest)?;
        if rest[len] != b'"' {
            return None;
        }
        let text = self.text.get(self.at..self.at + len);
        self.at += len + 1;
        text
    }

    /// A number of few enough digits not to overflow.
    fn number(&mut self) -> Option<u64> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=18).contains(&len) || (len > 1 && rest[0] == b'0') {
            return None;
        }
        self.at += len;
        Some(rest[..len].iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
    }

    fn named(&mut self) -> Option<Named<'a>> {
        self.eat("{")?;
        let mut list = Vec::with_capacity(12);
        while self.eat("}").is_none() {
            if !list.is_empty() {
                self.eat(",")?;
            }
            let name = self.string()?;
            self.eat(":")?;
            let value = match self.eat("null") {
                Some(()) => None,
                None => Some(Cow::Borrowed(self.string()?)),
            };
            list.push((Cow::Borrowed(name), value));
        }
        Some(list)
    }
}

/// How many bytes stand in front of the first quote, backslash or control character.
fn plain_len(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let ends = ends(u64::from_le_bytes(*word));
        if ends != 0 {
            return Some(i * 8 + ends.trailing_zeros() as usize / 8);
        }
    }
    let from = words.len() * 8;
    Some(from + bytes[from..].iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20))?)
}

/// Eight bytes at a time: the lowest bit that is set belongs to the first byte that ends a plain text. (Those above it may be
/// wrong, since a byte borrows from the next one.)
fn ends(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    const HIGH: u64 = EACH * 0x80;
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word;
    let control = word.wrapping_sub(EACH * 0x20) & !word;
    (zeros(word ^ (EACH * u64::from(b'"'))) | zeros(word ^ (EACH * u64::from(b'\\'))) | control) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_json(line: &[u8]) -> Option<Change<'_>> {
        serde_json::from_slice(line).ok()
    }

    fn change() -> impl Strategy<Value = Change<'static>> {
        let list = || {
            let pair = ("[a-z]{1,4}", proptest::option::of(r#"[a-zä"\\\t ]{0,4}"#));
            proptest::collection::vec(pair, 0..4)
                .prop_map(|l| l.into_iter().map(|(n, v)| (Cow::Owned(n), v.map(Cow::Owned))).collect::<Named>())
        };
        let (no, line) = (any::<Option<u32>>(), proptest::option::of(0..1u64 << 40));
        (0..7usize, no, "[ -~ä]{0,6}", line, list(), list(), list(), any::<bool>()).prop_map(
            |(kind, no, key, line, from, to, said, ends)| {
                let change = Change::new(Kind::ALL[kind], no, Uuid::from_u128(42), key);
                Change { line, from, to, said, ends, ..change }
            },
        )
    }

    proptest! {
        #[test]
        fn a_text_ends_at_the_first_byte_that_is_not_plain(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), b' '..=b'#', b'['..=b']'], 0..40),
        ) {
            let first = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20));
            prop_assert_eq!(plain_len(&bytes), first);
        }

        #[test]
        fn what_is_plain_says_what_json_says(change in change(), cut in 0..200usize, byte in any::<u8>()) {
            let mut line = Vec::new();
            change.write(&mut line);
            if let Some(read) = read(&line) {
                prop_assert_eq!(Some(read), by_json(&line));
            }
            prop_assert_eq!(number(&line), Some(change.no), "every line that was written begins plainly");
            // Nor does it take what JSON does not.
            let at = cut % line.len();
            line[at] = byte;
            if let Some(read) = read(&line) {
                prop_assert_eq!(Some(read), by_json(&line));
            }
            prop_assert_eq!(read(&line[..at]), None);
        }
    }

    #[test]
    fn a_usual_line_is_plain() {
        let line = br#"{"kind":"add","member":"00000000-0000-0000-0000-000000000000","key":"E1","line":7,"to":{"email":"a@x","department":null}}"#;
        assert_eq!(read(line), by_json(line));
        assert!(read(line).is_some());
    }
}
