//! The rows of a sheet out of its XML, one cell after the other.

use std::{io::Read, ops::ControlFlow};

use super::{
    phrase::{Phrase, written},
    scan::{Scan, Tag, Token},
    shared::{Named, Shared},
};
use crate::{
    error::IntakeError,
    workbook::{
        archive::broken,
        cell::Value,
        sheets::{Line, Take},
        style::Style,
        too_long,
    },
};

/// What cells lean on.
pub(super) struct Meaning<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) styles: &'a [Style],
    pub(super) is_1904: bool,
}

/// Rows in the making.
pub(super) struct Rows<'a, R> {
    scan: Scan<R>,
    meaning: Meaning<'a>,
    line: Line,
    phrase: Phrase,
    /// Where a cell stands that does not say it.
    next: Place,
}

/// A row from 1 on and a column from 0 on.
#[derive(Clone, Copy)]
struct Place {
    row: u64,
    column: usize,
}

/// How the value of a cell is written.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// A number, or else text: nothing was said.
    #[default]
    Unsaid,
    Number,
    Shared,
    Truth,
    /// What a formula came to, if that is text.
    Formula,
    Error,
    /// A day that is written out.
    Day,
    /// In an element of its own, beside which a value says nothing.
    Inline,
}

/// What a cell says of itself.
struct Head {
    place: Place,
    style: Style,
    kind: Kind,
}

impl<'a, R: Read> Rows<'a, R> {
    pub(super) fn new(scan: Scan<R>, meaning: Meaning<'a>, line: Line) -> Self {
        Rows { scan, meaning, line, phrase: Phrase::default(), next: Place { row: 1, column: 0 } }
    }

    /// Walks the rows in which anything is.
    pub(super) fn walk(mut self, take: Take<'_>) -> Result<(), IntakeError> {
        loop {
            match self.scan.next()? {
                Token::Open(tag) if tag.name == b"sheetData" => break,
                Token::End => return Err(broken()),
                _ => {}
            }
        }
        loop {
            match self.scan.next()? {
                Token::Open(tag) => match tag.name {
                    b"c" => {
                        let head = head(&tag, self.next, self.meaning.styles)?;
                        if self.go_to(head.place, take)?.is_break() {
                            return Ok(());
                        }
                        self.cell(&head)?;
                    }
                    b"row" => {
                        for attribute in tag.attributes() {
                            if let (b"r", number) = attribute? {
                                self.next.row = place(number)?.row;
                            }
                        }
                    }
                    _ => {}
                },
                Token::Close(b"row") => self.next = Place { row: self.next.row + 1, column: 0 },
                Token::Close(b"sheetData") => return self.line.give(take).map(|_| ()),
                Token::End => return Err(broken()),
                _ => {}
            }
        }
    }

    /// Begins a row, if the cell is in another than the last one.
    fn go_to(&mut self, place: Place, take: Take<'_>) -> Result<ControlFlow<()>, IntakeError> {
        self.next.column = place.column + 1;
        if place.row == self.line.number() {
            return Ok(ControlFlow::Continue(()));
        }
        if place.row < self.line.number() {
            return Err(broken());
        }
        let given = self.line.give(take)?;
        self.line.begin(place.row);
        Ok(given)
    }

    /// Reads a cell to its end.
    fn cell(&mut self, head: &Head) -> Result<(), IntakeError> {
        // What nearly all cells are.
        if head.kind == Kind::Inline {
            if let Some(raw) = self.scan.between(b"<is><t>", b"</t></is></c>") {
                self.phrase.take(raw)?;
                return self.put_text(head.place);
            }
        } else if let Some(raw) = self.scan.between(b"<v>", b"</v></c>") {
            if let (Kind::Shared, Some(number)) = (head.kind, index(raw)) {
                return self.shared(head.place, number);
            }
            self.phrase.take_value(raw)?;
            return self.value(head);
        }
        loop {
            match self.scan.next()? {
                Token::Open(tag) => match tag.name {
                    b"v" if head.kind != Kind::Inline => {
                        self.phrase.read_value(&mut self.scan)?;
                        self.value(head)?;
                    }
                    b"is" => {
                        self.phrase.read(&mut self.scan, b"is")?;
                        self.put_text(head.place)?;
                    }
                    // How a value was worked out says nothing, nor does what later versions add.
                    b"v" | b"f" | b"extLst" => self.scan.pass_element()?,
                    _ => return Err(broken()),
                },
                Token::Close(b"c") => return Ok(()),
                Token::End => return Err(broken()),
                _ => {}
            }
        }
    }

    /// Puts a value that was read where it belongs.
    fn value(&mut self, head: &Head) -> Result<(), IntakeError> {
        let Place { row, column } = head.place;
        let text = self.phrase.text().ok_or_else(|| too_long(row))?;
        let value = match head.kind {
            Kind::Shared if text.is_empty() => Value::Empty,
            Kind::Shared => {
                let number = index(text.as_bytes()).ok_or_else(broken)?;
                return self.shared(head.place, number);
            }
            Kind::Number | Kind::Unsaid => self.number(text, head)?,
            Kind::Truth => match text.trim() {
                "" => Value::Empty,
                "0" => Value::Truth(false),
                "1" => Value::Truth(true),
                said if said.eq_ignore_ascii_case("false") => Value::Truth(false),
                said if said.eq_ignore_ascii_case("true") => Value::Truth(true),
                _ => return Err(broken()),
            },
            Kind::Formula => Value::Text(written(text)),
            Kind::Error => error(text),
            Kind::Day | Kind::Inline => Value::text(text),
        };
        self.line.put(column, &value)
    }

    fn put_text(&mut self, place: Place) -> Result<(), IntakeError> {
        let text = self.phrase.text().ok_or_else(|| too_long(place.row))?;
        self.line.put(place.column, &Value::text(text))
    }

    fn shared(&mut self, place: Place, number: usize) -> Result<(), IntakeError> {
        match self.meaning.shared.named(number)? {
            Named::Text(text) => self.line.put(place.column, &Value::text(text)),
            Named::TooLong => Err(too_long(place.row)),
            Named::Nothing => Err(broken()),
        }
    }

    fn number<'t>(&self, text: &'t str, head: &Head) -> Result<Value<'t>, IntakeError> {
        if text.is_empty() {
            return Ok(Value::Empty);
        }
        // A short whole number is written as it stands.
        let is_whole = text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if is_whole && head.style == Style::Plain {
            return Ok(Value::text(text));
        }
        match text.parse() {
            Ok(number) => Ok(Value::number(number, head.style, self.meaning.is_1904)),
            Err(_) if head.kind == Kind::Unsaid => Ok(Value::text(text)),
            Err(_) => Err(broken()),
        }
    }
}

/// An error, which is no value whatever it is called: later versions have more of them than those that are known as such.
fn error(text: &str) -> Value<'_> {
    match text {
        "" => Value::Empty,
        "#DIV/0!" | "#N/A" | "#NAME?" | "#NULL!" | "#NUM!" | "#REF!" | "#VALUE!" => Value::text(text),
        _ => Value::text("#VALUE!"),
    }
}

/// The number of a shared text.
fn index(digits: &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|d| *d <= 9)?;
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!digits.is_empty()).then_some(number)
}

/// What a cell says of itself in its attributes.
fn head(tag: &Tag<'_>, next: Place, styles: &[Style]) -> Result<Head, IntakeError> {
    let mut head = Head { place: next, style: Style::Plain, kind: Kind::Unsaid };
    for attribute in tag.attributes() {
        match attribute? {
            (b"r", at) => {
                head.place = place(at)?;
                head.place.column = head.place.column.checked_sub(1).ok_or_else(broken)?;
            }
            (b"s", number) => {
                let number = std::str::from_utf8(number).ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
                head.style = styles.get(number).copied().unwrap_or_default();
            }
            (b"t", kind) => {
                head.kind = match kind {
                    b"s" => Kind::Shared,
                    b"n" => Kind::Number,
                    b"str" => Kind::Formula,
                    b"b" => Kind::Truth,
                    b"d" => Kind::Day,
                    b"e" => Kind::Error,
                    b"inlineStr" | b"is" => Kind::Inline,
                    _ => return Err(broken()),
                }
            }
            _ => {}
        }
    }
    Ok(head)
}

/// A place such as `B7`, with the column counted from 1, or 0 if there is none.
fn place(name: &[u8]) -> Result<Place, IntakeError> {
    let (mut column, mut row) = (0_usize, 0_u64);
    let letters = name.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    for letter in &name[..letters] {
        let letter = usize::from(letter.to_ascii_uppercase() - b'A') + 1;
        column = column.checked_mul(26).and_then(|c| c.checked_add(letter)).ok_or_else(broken)?;
    }
    for digit in &name[letters..] {
        let digit = digit.checked_sub(b'0').filter(|d| *d <= 9).ok_or_else(broken)?;
        row = row * 10 + u64::from(digit);
        if row > u64::from(u32::MAX) {
            return Err(broken());
        }
    }
    if row == 0 { Err(broken()) } else { Ok(Place { row, column }) }
}
