//! Opening a payload: how it is written, which columns it has, and the census that is taken on the first way through it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read},
    path::Path,
};

use muster_domain::{
    documents::Feed,
    fact::Received,
    normalise,
    read_as::ReadAs,
    settings::{Mode, Settings},
};
use muster_intake::{
    How, IntakeError, Payload, Reader, RowProblem, csv, headers,
    payload::{Source, is_older_text},
};

use crate::{
    Error, Organisation, Result,
    census::{self, Census},
    compare::Input,
    known::{Known, Stored},
    mapping::leave_out_lacking,
};

/// A payload read once: how it is read, what was known, and who is in it.
pub(crate) struct Taken {
    pub(crate) input: Input,
    pub(crate) known: Known,
    pub(crate) census: Census,
}

/// The hashed match keys that a stored payload names.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn keys_named(org: &Organisation, feed: &Feed, received: &Received, file: &Path) -> Result<Vec<u64>> {
    let settings = org.settings.for_feed(&feed.settings);
    let opening = Opening::of(org, feed, &settings, received, file);
    Ok(opening.read(File::open(file)?)?.census.misses.keys)
}

/// Walks the rows of a stored payload without asking what its columns mean, and says what stands between their cells.
/// Letters in an older encoding may stand further down than the first look goes: then it is opened again, and said so.
///
/// # Errors
/// If nothing can be read from it.
pub(crate) fn rows(
    org: &Organisation,
    feed: &Feed,
    received: &Received,
    file: &Path,
    older_text: bool,
) -> Result<(u8, csv::Records<Source>), IntakeError> {
    let settings = org.settings.for_feed(&feed.settings);
    let opening = Opening::of(org, feed, &settings, received, file);
    let opened = opening.opened(File::open(file)?, &opening.mapping(), older_text)?;
    Ok((opened.delimiter, opened.records))
}

/// A payload that is to be opened, with all that says how.
pub(crate) struct Opening<'a> {
    pub(crate) org: &'a Organisation,
    pub(crate) feed: &'a Feed,
    pub(crate) settings: &'a Settings,
    pub(crate) received: &'a Received,
    /// Rows known of the feed, if it is held against them.
    pub(crate) stored: Option<Stored>,
    /// Where it lies once all of it has come in.
    pub(crate) file: &'a Path,
    /// Up to so many bytes of unknown rows are kept.
    pub(crate) kept_bytes: usize,
    /// With fewer bytes it is a small one.
    pub(crate) small_bytes: usize,
}

impl<'a> Opening<'a> {
    /// One of which nothing is known.
    fn of(
        org: &'a Organisation,
        feed: &'a Feed,
        settings: &'a Settings,
        received: &'a Received,
        file: &'a Path,
    ) -> Self {
        Opening { org, feed, settings, received, stored: None, file, kept_bytes: 0, small_bytes: 0 }
    }

    /// Reads a payload's head, then takes its census against the feed's fingerprints, if they are of this layout.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read<R: Read + Send + 'static>(self, mut payload: R) -> Result<Taken> {
        let mut head = Vec::new();
        if self.received.mode != Mode::Full {
            payload.by_ref().take(self.small_bytes as u64).read_to_end(&mut head).map_err(IntakeError::from)?;
        }
        let is_small = self.received.mode != Mode::Full && head.len() < self.small_bytes;
        let taken = self.take(Cursor::new(head).chain(payload), is_small, false)?;
        // Letters in an older encoding may stand further down than the first look goes.
        let damaged = RowProblem::NotUtf8.to_string();
        if taken.input.plain.is_none()
            && taken.census.unreadable.iter().any(|issue| issue.reason == damaged)
            && let Some(note) = is_older_text(File::open(self.file)?)?
        {
            let mut again = self.take(File::open(self.file)?, is_small, true)?;
            again.input.read_as.insert(0, note);
            return Ok(again);
        }
        Ok(taken)
    }

    fn take<R: Read + Send + 'static>(&self, payload: R, is_small: bool, older_text: bool) -> Result<Taken> {
        let (input, mut records) = self.open(payload, older_text)?;
        let mode = self.received.mode;
        let known = self.stored.as_ref().map(|stored| stored.known(input.layout, mode, is_small)).transpose()?;
        let mut known = known.unwrap_or_default();
        let how = census::Reading {
            delimiter: input.delimiter,
            reader: &input.reader,
            keys: &self.org.keys,
            layout: input.layout,
            match_key: self.settings.match_key,
            kept_bytes: self.kept_bytes,
        };
        let census = census::take(&mut records, &how, &mut known)?;
        Ok(Taken { input, known, census })
    }

    /// The columns that were said to hold a field: by the feed, and for this payload alone.
    fn mapping(&self) -> BTreeMap<String, String> {
        let mut mapping = self.feed.settings.mapping.clone();
        mapping.extend(self.received.mapping.clone());
        mapping
    }

    /// Finds out how the payload is written.
    fn opened<R: Read + Send + 'static>(
        &self,
        payload: R,
        mapping: &BTreeMap<String, String>,
        older_text: bool,
    ) -> Result<Payload, IntakeError> {
        let Opening { settings, received, file, .. } = self;
        let match_key = settings.match_key.field();
        let how = How {
            format: received.format.as_deref().map(str::parse).transpose()?,
            sheet: received.sheet.as_deref(),
            limits: settings.limits,
            knows: &|header| headers::known(header, &settings.fields, match_key, mapping),
            file,
            scratch: file.parent().unwrap_or(file),
            older_text,
        };
        muster_intake::payload::open(payload, &how)
    }

    /// Opens the payload and finds its columns.
    fn open<R: Read + Send + 'static>(&self, payload: R, older_text: bool) -> Result<(Input, csv::Records<Source>)> {
        let Opening { org, feed, settings, received, .. } = self;
        let mapping = self.mapping();
        let match_key = settings.match_key.field();
        let opened = self.opened(payload, &mapping, older_text)?;
        if let Some(said) = opened.mode.as_deref().filter(|said| !said.eq_ignore_ascii_case(received.mode.word())) {
            return Err(Error::Refused(format!(
                "The payload says of itself that its mode is \"{said}\", and it was sent as {}; correct one of the two.",
                received.mode.word()
            )));
        }
        let mut said = mapping.clone();
        let lacking = leave_out_lacking(&mut said, &opened.header, &received.mapping, settings);
        let columns = headers::resolve(&opened.header, &settings.fields, match_key, &said)?;
        let prefix = feed.settings.key_prefix.as_deref().unwrap_or_default();
        let mut layout = Vec::new();
        for part in [&opened.written, prefix, settings.match_key.word(), received.mode.word()] {
            layout.extend_from_slice(part.as_bytes());
            layout.push(0);
        }
        layout.extend_from_slice(&[opened.delimiter, settings.dates as u8]);
        layout.extend_from_slice(&normalise::NORMALISER_VERSION.to_le_bytes());
        for part in mapping.iter().flat_map(|(field, column)| [field, column]) {
            layout.extend_from_slice(part.as_bytes());
            layout.push(0);
        }
        for (name, field) in columns.header.iter().zip(&columns.by_index) {
            layout.extend_from_slice(name.as_bytes());
            layout.extend_from_slice(&[0, field.map_or(255, |f| f.0)]);
        }
        let layout = org.keys.seeded(1, &layout);
        let reader = Reader::new(columns, &settings.fields, prefix, settings.dates)
            .marked(opened.marked)
            .cells_up_to(settings.limits.cell_chars);
        let how = how_read(&opened, settings, feed);
        let input = Input {
            reader,
            delimiter: opened.delimiter,
            layout,
            how,
            read_as: opened.read_as.into_iter().chain(lacking).collect(),
            unfinished: opened.unfinished,
            plain: opened.plain,
            original: opened.original,
        };
        Ok((input, opened.records))
    }
}

/// How a payload is read, for the log.
fn how_read(opened: &Payload, settings: &Settings, feed: &Feed) -> ReadAs {
    let is_text = !opened.original.is_workbook();
    ReadAs {
        format: opened.format().to_owned(),
        packed: opened.original.packed,
        encoding: is_text.then(|| opened.original.encoding.name().to_owned()),
        delimiter: (!opened.marked).then_some(char::from(opened.delimiter)),
        sheet: opened.sheet,
        header_line: opened.header_line,
        dates: settings.dates,
        mapping_version: feed.settings.mapping_version,
    }
}
