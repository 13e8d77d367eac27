//! One raw cell into its canonical value: text in NFC, e-mails in lower case, dates as `YYYY-MM-DD`.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::field::FieldKind;

mod dates;

/// Counts changes to the rules of this file. It is part of every fingerprint, so that a row is
/// compared again once the rules under which it was read have changed.
pub const NORMALISER_VERSION: u32 = 3;

/// The longest value, in characters.
pub const MAX_VALUE_CHARS: usize = 10_000;

/// How a date such as `03/04/2021` is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// Not at all, unless only one reading is a real date.
    #[default]
    Iso,
    /// 3 April 2021.
    DayFirst,
    /// 4 March 2021.
    MonthFirst,
}

/// Why a cell is no value of its field's type: a sentence that says what was expected and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Longer than [`MAX_VALUE_CHARS`].
    TooLong,
    /// A NUL, an escape or another character that cannot be shown.
    ControlCharacter,
    /// No e-mail address.
    NotAnEmail,
    /// No calendar day in any form that is understood.
    NotADate,
    /// The form of a date, but no such day in the calendar.
    NoSuchDay,
    /// Day and month could be either way round.
    AmbiguousDate,
    /// The year has two digits.
    ShortYear,
    /// The year lies outside 1900 to 2200.
    YearOutOfRange,
    /// No decimal number.
    NotANumber,
    /// Neither yes nor no.
    NotABoolean,
    /// What a spreadsheet shows in place of a value that it cannot work out.
    SpreadsheetError,
    /// An id of which a spreadsheet has made a number and rounded it.
    RoundedId,
    /// What systems write in place of an id that is not there.
    NoId,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::TooLong => "Expected at most 10,000 characters; shorten the value or leave the column out.",
            Refusal::ControlCharacter => {
                "Expected text without control characters; remove the invisible characters at the source."
            }
            Refusal::NotAnEmail => "Expected one e-mail address such as ann@example.com; correct it at the source.",
            Refusal::NotADate => "Expected a date; write it as YYYY-MM-DD.",
            Refusal::NoSuchDay => {
                "Expected a day that is in the calendar; write it as YYYY-MM-DD, or check the setting dates=day_first|month_first."
            }
            Refusal::AmbiguousDate => {
                "Day and month could be either way round; write the date as YYYY-MM-DD, or set dates=day_first or dates=month_first."
            }
            Refusal::ShortYear => "Expected a year of four digits; write the date as YYYY-MM-DD.",
            Refusal::YearOutOfRange => "Expected a year from 1900 to 2200; correct the date or leave it blank.",
            Refusal::NotANumber => {
                "Expected a number; write it with digits and a decimal point only, such as 1234.5."
            }
            Refusal::SpreadsheetError => {
                "Expected a value and found a spreadsheet's error; correct the formula or leave the cell blank."
            }
            Refusal::RoundedId => {
                "Expected an id and found a number that a spreadsheet has rounded; format the column as text and export it again."
            }
            Refusal::NoId => "Expected an id and found a word that stands for none; fill it in or take the row out.",
            Refusal::NotABoolean => "Expected yes or no; write true, false, yes, no, y, n, 1 or 0.",
        })
    }
}

impl std::error::Error for Refusal {}

/// The canonical value of a cell. A blank cell gives the empty text; whoever calls decides what
/// blank means. Borrows from `raw` wherever that is canonical already.
#[inline]
pub fn value<'a>(kind: FieldKind, raw: &'a str, dates: DateOrder) -> Result<Cow<'a, str>, Refusal> {
    let mut trimmed = trim(raw);
    match trimmed.as_bytes() {
        [b'#', ..] if is_spreadsheet_error(trimmed) => return Err(Refusal::SpreadsheetError),
        [b'\'', ..] => trimmed = without_apostrophe(trimmed),
        _ => {}
    }
    // Most cells are short plain text or blank, and are what they should be.
    if trimmed.is_empty()
        || (kind == FieldKind::Text && trimmed.len() <= MAX_VALUE_CHARS && is_plain(trimmed.as_bytes()))
    {
        return Ok(Cow::Borrowed(trimmed));
    }
    canonical(kind, trimmed, dates)
}

#[inline(never)]
fn canonical(kind: FieldKind, trimmed: &str, dates: DateOrder) -> Result<Cow<'_, str>, Refusal> {
    // A text of n bytes has at most n characters: nearly every cell is settled by its length in bytes.
    if trimmed.len() > MAX_VALUE_CHARS && trimmed.chars().count() > MAX_VALUE_CHARS {
        return Err(Refusal::TooLong);
    }
    match kind {
        FieldKind::Text => text(trimmed),
        FieldKind::Email => email(trimmed),
        FieldKind::Date => dates::date(trimmed, dates),
        FieldKind::Number => number(trimmed),
        FieldKind::Boolean => boolean(trimmed).map(Cow::Borrowed),
    }
}

/// The form in which match keys are compared: without outer space, in NFC, in lower case.
pub fn key(raw: &str) -> Cow<'_, str> {
    let trimmed = trim(raw);
    if trimmed.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(trimmed);
    }
    let mut folded = String::with_capacity(trimmed.len());
    key_into(trimmed, &mut folded);
    Cow::Owned(folded)
}

/// [`key`], added to the end of the caller's text: no allocation once that has grown.
pub fn key_into(raw: &str, out: &mut String) {
    let trimmed = trim(raw);
    if trimmed.is_ascii() {
        let start = out.len();
        out.push_str(trimmed);
        out[start..].make_ascii_lowercase();
        return;
    }
    // Character by character: `str::to_lowercase` looks at the neighbours of a sigma, and a key must not.
    let folded = trimmed.nfc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c });
    // Lower case can decompose; trimming again keeps the result a fixed point.
    let folded: String = folded.nfc().collect();
    out.push_str(trim(&folded));
}

/// A text without the apostrophe by which spreadsheets, and our own export, keep what follows from being a formula.
fn without_apostrophe(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(kept) if kept.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) => trim(kept),
        _ => text,
    }
}

/// An id as it was before a spreadsheet took it for a number: `1001.0` is 1001. Of `1.23E+05` nobody knows the digits.
/// `="00123"` and `'00123` are 00123, written so that a spreadsheet keeps the zeros.
pub fn id(raw: &str) -> Result<&str, Refusal> {
    let bytes = raw.as_bytes();
    match bytes {
        [b'=', b'"', .., b'"'] if bytes.len() > 3 => id_within(&raw[2..raw.len() - 1]),
        [b'\'', b'0'..=b'9', ..] => Ok(&raw[1..]),
        [whole @ .., b'.', b'0'] if !whole.is_empty() && whole.iter().all(u8::is_ascii_digit) => {
            Ok(&raw[..whole.len()])
        }
        [.., b'+', a, b] | [.., b'+', a, b, _] if a.is_ascii_digit() && b.is_ascii_digit() && is_rounded(raw) => {
            Err(Refusal::RoundedId)
        }
        _ => Ok(raw),
    }
}

/// What a formula that is nothing but a text gives; another formula stays what it is.
fn id_within(text: &str) -> Result<&str, Refusal> {
    if text.contains('"') { Err(Refusal::SpreadsheetError) } else { Ok(trim(text)) }
}

/// Whether that is a word by which systems say that there is no id, and so nobody's.
pub fn is_no_id(id: &str) -> bool {
    const WORDS: [&str; 9] = ["n/a", "n.a.", "true", "false", "null", "none", "undefined", "-", "--"];
    id.len() <= 9
        && !id.ends_with(|c: char| c.is_ascii_digit())
        && WORDS.iter().any(|word| id.eq_ignore_ascii_case(word))
}

/// Whether letters of two alphabets that look alike stand in one word: a Cyrillic А among Latin letters, say.
pub fn mixes_alphabets(text: &str) -> bool {
    let is_latin = |c: char| c.is_ascii_alphabetic() || matches!(c, '\u{C0}'..='\u{24F}');
    let is_alike = |c: char| matches!(c, '\u{370}'..='\u{3FF}' | '\u{400}'..='\u{52F}');
    let mixed = |word: &str| word.contains(is_latin) && word.contains(is_alike);
    !text.is_ascii() && text.split(|c: char| !c.is_alphanumeric()).any(mixed)
}

/// A number as spreadsheets write large ones: `1.23E+05`, in some countries `1,23E+05`.
fn is_rounded(text: &str) -> bool {
    let Some((number, power)) = text.split_once(['E', 'e']) else { return false };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let (whole, decimals) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    whole.len() == 1 && digits(whole) && digits(decimals) && power.strip_prefix('+').is_some_and(digits)
}

fn is_spreadsheet_error(text: &str) -> bool {
    const ERRORS: [&str; 9] = ["#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"];
    ERRORS.iter().any(|error| error.eq_ignore_ascii_case(text))
}

/// Whether the cell names the day by which systems say "never": the last of the year 9999 (of 4712 with Oracle) in any form
/// of a date, 2958465, which is what spreadsheets count it as, or a date of nothing but zeros. For an end date that is the same as none.
pub fn is_never(raw: &str) -> bool {
    let trimmed = trim(raw);
    let is_zero = |text: &str| text.len() >= 8 && text.bytes().all(|b| matches!(b, b'0' | b'-' | b'.' | b'/'));
    trimmed.len() >= 7
        && (is_zero(trimmed)
            || trimmed == "2958465"
            || ((trimmed.contains("9999") || trimmed.contains("4712")) && dates::is_last_day(trimmed)))
}

/// Whether nothing can be seen in the cell.
pub fn is_blank(raw: &str) -> bool {
    trim(raw).is_empty()
}

/// Without outer space of any kind: Unicode white space, no-break spaces, and the invisible marks
/// that come along when text is copied out of a web page or a mail program.
#[inline]
pub fn trim(raw: &str) -> &str {
    if raw.is_empty() {
        return raw;
    }
    let ends_plainly = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_graphic());
    let bytes = raw.as_bytes();
    if ends_plainly(bytes.first()) && ends_plainly(bytes.last()) {
        return raw;
    }
    trim_all(raw)
}

#[inline(never)]
fn trim_all(raw: &str) -> &str {
    raw.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// Zero-width space, direction marks, word joiner and byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

fn text(trimmed: &str) -> Result<Cow<'_, str>, Refusal> {
    // Tabs and line breaks inside an address or a job title are real; other control characters are damage,
    // PostgreSQL cannot store a NUL, and a terminal would obey an escape.
    if trimmed.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(Refusal::ControlCharacter);
    }
    Ok(if is_nfc(trimmed) { Cow::Borrowed(trimmed) } else { Cow::Owned(trimmed.nfc().collect()) })
}

/// Whether there is nothing but ASCII from space to tilde: eight bytes at a time, as this is asked
/// of nearly every cell.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let (eights, rest) = bytes.as_chunks::<8>();
    // The high bit shows itself, a byte from 0x7F on (by adding 1) and a byte below 0x20 (by adding 0x60).
    let odd = eights.iter().fold(0, |odd, eight| {
        let eight = u64::from_ne_bytes(*eight);
        let low = eight & !HIGH;
        odd | eight | (low + EACH) | !(low + 0x60 * EACH)
    });
    odd & HIGH == 0 && rest.iter().all(|b| (b' '..=b'~').contains(b))
}

fn email(trimmed: &str) -> Result<Cow<'_, str>, Refusal> {
    // An address in lower-case ASCII, as nearly all are, is settled in one pass over its bytes.
    let (mut ats, mut is_ordinary) = (0, true);
    for b in trimmed.bytes() {
        ats += u32::from(b == b'@');
        is_ordinary &= matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'@' | b'.' | b'-' | b'_' | b'+' | b'\'');
    }
    if is_ordinary && ats == 1 && !trimmed.starts_with('@') && !trimmed.ends_with('@') {
        return Ok(Cow::Borrowed(trimmed));
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '<' | '>' | '"');
    match trimmed.split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !domain.contains('@') => {}
        _ => return Err(Refusal::NotAnEmail),
    }
    if trimmed.contains(odd) {
        return Err(Refusal::NotAnEmail);
    }
    Ok(key(trimmed))
}

/// Plain decimal notation: no plus sign, no needless zeros. A comma could divide thousands or
/// begin the decimals, so it is refused rather than guessed.
fn number(trimmed: &str) -> Result<Cow<'_, str>, Refusal> {
    let unsigned = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + decimals.len() == 0 || !all_digits(whole) || !all_digits(decimals) {
        return Err(Refusal::NotANumber);
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let decimals = decimals.trim_end_matches('0');
    let sign = if trimmed.starts_with('-') && (whole, decimals) != ("0", "") { "-" } else { "" };
    let point = if decimals.is_empty() { "" } else { "." };
    if sign.len() + whole.len() + point.len() + decimals.len() == trimmed.len() && !trimmed.starts_with(['.', '+']) {
        return Ok(Cow::Borrowed(trimmed));
    }
    Ok(Cow::Owned([sign, whole, point, decimals].concat()))
}

fn boolean(trimmed: &str) -> Result<&'static str, Refusal> {
    let is_one_of = |words: &[&str]| words.iter().any(|w| trimmed.eq_ignore_ascii_case(w));
    if is_one_of(&["true", "yes", "y", "1"]) {
        Ok("true")
    } else if is_one_of(&["false", "no", "n", "0"]) {
        Ok("false")
    } else {
        Err(Refusal::NotABoolean)
    }
}

#[cfg(test)]
mod tests;
