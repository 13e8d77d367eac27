//! The packed form of a member in storage, and pages of many members.
//!
//! All numbers are LEB128. A page is the members of one run of numbers, each with its length before it;
//! a length of zero is a number that nobody has.

use uuid::Uuid;

use crate::{
    field::{FieldId, STANDARD},
    ids::{Day, FeedNo, MemberNo},
    member::{Member, Reason, Spell, Word},
};

/// What is stored is not a member: the store is damaged or newer than this program.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("stored member {no} cannot be read")]
pub struct Damaged {
    /// The member's number.
    pub no: MemberNo,
}

/// Appends the packed form of a member.
pub fn encode(member: &Member, out: &mut Vec<u8>) {
    out.extend_from_slice(member.uuid.as_bytes());
    put_text(out, &member.key);
    put(out, member.values.len() as u64);
    for (field, value) in member.values.iter() {
        out.push(field.0);
        put_text(out, value);
    }
    put(out, member.spells.len() as u64);
    for spell in &member.spells {
        put(out, spell.feed.0.into());
        put_day(out, spell.from);
        put_optional_day(out, spell.to);
    }
    put(out, member.aliases.len() as u64);
    member.aliases.iter().for_each(|a| put_text(out, a));
    put(out, member.words.len() as u64);
    for word in &member.words {
        put(out, word.feed.0.into());
        out.push(word.field.0);
        out.push(word.value.is_some().into());
        put_text(out, word.value.as_deref().unwrap_or_default());
        out.push(word.reason as u8);
        put_day(out, word.since);
    }
}

/// Reads the packed form of a member.
///
/// # Errors
/// [`Damaged`] if the bytes are not one whole member.
pub fn decode(no: MemberNo, bytes: &[u8]) -> Result<Member, Damaged> {
    let mut reader = Reader { bytes };
    let member = reader.member(no).ok_or(Damaged { no })?;
    if reader.bytes.is_empty() { Ok(member) } else { Err(Damaged { no }) }
}

/// Puts the packed members of one page behind each other; `None` is a number that nobody has.
pub fn put_in_page(packed: Option<&[u8]>, page: &mut Vec<u8>) {
    let packed = packed.unwrap_or_default();
    put(page, packed.len() as u64);
    page.extend_from_slice(packed);
}

/// The packed members of a page with their numbers, `first` being the number of the page's first.
/// Ends early at bytes that are not a page; [`decode`] tells what is damaged inside one.
pub fn page(first: MemberNo, bytes: &[u8]) -> impl Iterator<Item = (MemberNo, &[u8])> {
    let mut reader = Reader { bytes };
    let packed = std::iter::from_fn(move || {
        let len = reader.number()? as usize;
        reader.take(len)
    });
    packed.enumerate().filter(|(_, m)| !m.is_empty()).map(move |(i, m)| (first + i as u32, m))
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Zigzag, so that days before 1970 stay short too.
fn put_day(out: &mut Vec<u8>, day: Day) {
    put(out, ((day << 1) ^ (day >> 31)) as u32 as u64);
}

fn put_optional_day(out: &mut Vec<u8>, day: Option<Day>) {
    out.push(day.is_some().into());
    if let Some(day) = day {
        put_day(out, day);
    }
}

/// What [`scan`] tells of a member besides the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned<'a> {
    /// The match key as it is written now.
    pub key: &'a str,
    /// Whether the feed's claim runs.
    pub is_claimed: bool,
    /// Whether any word of the feed is kept.
    pub has_words: bool,
}

/// Reads a packed member without making one: the bytes of its values in order, and what concerns one feed.
///
/// # Errors
/// [`Damaged`] if the bytes are not one whole member.
pub fn scan<'a>(
    no: MemberNo,
    bytes: &'a [u8],
    feed: FeedNo,
    value: impl FnMut(FieldId, &'a [u8]),
) -> Result<Scanned<'a>, Damaged> {
    let mut reader = Reader { bytes };
    let scanned = reader.scan(feed, value).ok_or(Damaged { no })?;
    if reader.bytes.is_empty() { Ok(scanned) } else { Err(Damaged { no }) }
}

/// What [`glance`] tells of a member: everything but identity, custom values and last words. It keeps its memory.
#[derive(Default)]
pub struct Glance<'a> {
    /// The match key.
    pub key: &'a str,
    /// Match keys of before.
    pub aliases: Vec<&'a str>,
    /// Claims, ended and running.
    pub spells: Vec<Spell>,
    values: [&'a [u8]; STANDARD.len()],
}

impl<'a> Glance<'a> {
    /// The value of a standard field; empty if it is blank.
    pub fn value(&self, field: FieldId) -> &'a str {
        let bytes = self.values.get(usize::from(field.0)).copied().unwrap_or_default();
        // Looked at here, because most values of most members are never asked for.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Reads a packed member without making one.
///
/// # Errors
/// [`Damaged`] if the bytes are not a member.
pub fn glance<'a>(no: MemberNo, bytes: &'a [u8], into: &mut Glance<'a>) -> Result<(), Damaged> {
    Reader { bytes }.glance(into).ok_or(Damaged { no })
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn member(&mut self, no: MemberNo) -> Option<Member> {
        let uuid = Uuid::from_slice(self.take(16)?).ok()?;
        let mut member = Member {
            no,
            uuid,
            key: self.text()?.to_owned(),
            aliases: Vec::new(),
            values: Default::default(),
            spells: Vec::new(),
            words: Vec::new(),
        };
        let fields = self.number()?;
        // More than there are bytes left cannot be there.
        member.values.reserve((fields as usize).min(self.bytes.len()), self.bytes.len());
        for _ in 0..fields {
            let field = FieldId(self.byte()?);
            member.values.set(field, Some(self.text()?));
        }
        for _ in 0..self.number()? {
            let (feed, from) = (FeedNo(self.number()? as u16), self.day()?);
            let to = if self.byte()? == 1 { Some(self.day()?) } else { None };
            member.spells.push(Spell { feed, from, to });
        }
        for _ in 0..self.number()? {
            member.aliases.push(self.text()?.to_owned());
        }
        for _ in 0..self.number()? {
            member.words.push(self.word()?);
        }
        Some(member)
    }

    fn glance(&mut self, into: &mut Glance<'a>) -> Option<()> {
        into.values.fill(b"");
        into.spells.clear();
        into.aliases.clear();
        self.take(16)?;
        into.key = self.text()?;
        for _ in 0..self.number()? {
            let (field, value) = (self.byte()?, self.text_bytes()?);
            if let Some(place) = into.values.get_mut(usize::from(field)) {
                *place = value;
            }
        }
        for _ in 0..self.number()? {
            let (feed, from) = (FeedNo(self.number()? as u16), self.day()?);
            let to = if self.byte()? == 1 { Some(self.day()?) } else { None };
            into.spells.push(Spell { feed, from, to });
        }
        for _ in 0..self.number()? {
            into.aliases.push(self.text()?);
        }
        Some(())
    }

    fn scan(&mut self, feed: FeedNo, mut value: impl FnMut(FieldId, &'a [u8])) -> Option<Scanned<'a>> {
        self.take(16)?;
        let mut scanned = Scanned { key: self.text()?, is_claimed: false, has_words: false };
        for _ in 0..self.number()? {
            let field = FieldId(self.byte()?);
            value(field, self.text_bytes()?);
        }
        for _ in 0..self.number()? {
            let claims = FeedNo(self.number()? as u16) == feed;
            self.day()?;
            match self.byte()? {
                1 => drop(self.day()?),
                _ => scanned.is_claimed |= claims,
            }
        }
        for _ in 0..self.number()? {
            self.text_bytes()?;
        }
        for _ in 0..self.number()? {
            scanned.has_words |= FeedNo(self.number()? as u16) == feed;
            self.take(2)?;
            self.text_bytes()?;
            self.byte()?;
            self.day()?;
        }
        Some(scanned)
    }

    fn word(&mut self) -> Option<Word> {
        let feed = FeedNo(self.number()? as u16);
        let field = FieldId(self.byte()?);
        let known = self.byte()? == 1;
        let value = self.text()?.to_owned();
        let reason = match self.byte()? {
            0 => Reason::Pinned,
            1 => Reason::Rejected,
            2 => Reason::Undone,
            3 => Reason::AnotherFeed,
            4 => Reason::Api,
            _ => return None,
        };
        Some(Word { feed, field, value: known.then_some(value), reason, since: self.day()? })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn day(&mut self) -> Option<Day> {
        let zigzag = self.number()? as u32;
        Some((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text_bytes()?).ok()
    }

    fn text_bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.number()? as usize;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Member {
        Member {
            no: 9,
            uuid: Uuid::from_u128(42),
            key: "E-9".into(),
            aliases: vec!["old".into()],
            values: [(FieldId::EMAIL, "a@x"), (FieldId(40), "ü")].into_iter().collect(),
            spells: vec![
                Spell { feed: FeedNo::MAIN, from: -3, to: Some(20_000) },
                Spell { feed: FeedNo(300), from: 20_100, to: None },
            ],
            words: vec![Word {
                feed: FeedNo::MAIN,
                field: FieldId::LAST_NAME,
                value: None,
                reason: Reason::Pinned,
                since: 5,
            }],
        }
    }

    #[test]
    fn a_member_reads_back_as_it_was_packed() {
        let mut bytes = Vec::new();
        encode(&member(), &mut bytes);
        assert_eq!(decode(9, &bytes), Ok(member()));
    }

    #[test]
    fn a_scan_tells_what_decoding_tells() {
        let (member, mut bytes) = (member(), Vec::new());
        encode(&member, &mut bytes);
        for feed in [FeedNo::MAIN, FeedNo(300), FeedNo(9)] {
            let mut values = crate::values::Values::default();
            let scanned = scan(9, &bytes, feed, |f, v| values.set(f, std::str::from_utf8(v).ok())).unwrap();
            let has_words = member.words.iter().any(|w| w.feed == feed);
            assert_eq!(scanned, Scanned { key: "E-9", is_claimed: member.is_claimed_by(feed), has_words });
            assert_eq!(values, member.values);
        }
        for cut in 0..bytes.len() {
            assert_eq!(scan(9, &bytes[..cut], FeedNo::MAIN, |_, _| ()), Err(Damaged { no: 9 }));
        }
    }

    #[test]
    fn a_glance_tells_what_decoding_tells() {
        let (member, mut bytes) = (member(), Vec::new());
        encode(&member, &mut bytes);
        let mut glanced = Glance::default();
        for _again in 0..2 {
            glance(9, &bytes, &mut glanced).unwrap();
            assert_eq!((glanced.key, &*glanced.aliases, &glanced.spells), ("E-9", &["old"][..], &member.spells));
            for (field, ..) in STANDARD {
                assert_eq!(glanced.value(*field), member.values.get(*field).unwrap_or_default());
            }
            assert_eq!(glanced.value(FieldId(40)), "");
        }
        for cut in 0..8 {
            assert_eq!(glance(9, &bytes[..cut], &mut glanced), Err(Damaged { no: 9 }));
        }
    }

    #[test]
    fn cut_or_lengthened_bytes_are_damage() {
        let mut bytes = Vec::new();
        encode(&member(), &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(decode(9, &bytes[..cut]), Err(Damaged { no: 9 }));
        }
        bytes.push(0);
        assert_eq!(decode(9, &bytes), Err(Damaged { no: 9 }));
    }

    #[test]
    fn a_page_keeps_numbers_through_gaps() {
        let mut bytes = Vec::new();
        put_in_page(Some(b"a"), &mut bytes);
        put_in_page(None, &mut bytes);
        put_in_page(Some(b"cc"), &mut bytes);
        assert_eq!(page(256, &bytes).collect::<Vec<_>>(), [(256, &b"a"[..]), (258, &b"cc"[..])]);
    }
}
