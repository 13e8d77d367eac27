//! A payload of any format, opened: its header row is read, and its rows can be walked, all in one and the same way.
//!
//! CSV in UTF-8 is read as it lies. Everything else is first brought into plain text in a file that has no name and is gone
//! with the last handle on it: packed text is unpacked, other encodings become UTF-8, and JSON and workbooks become
//! [`rows`](crate::rows).

use std::{
    fs::File,
    io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write},
    path::Path,
};

use muster_domain::settings::Limits;

use crate::{
    csv::{self, Records},
    encoding::{self, Detected, Encoding},
    error::IntakeError,
    format::{self, Format, Packing},
    gzip,
    headers::Knows,
    json,
    original::{Kind, Original},
    workbook,
};

/// What is known of a payload beforehand.
#[derive(Clone, Copy)]
pub struct How<'a> {
    /// Its format, if the caller named it.
    pub format: Option<Format>,
    /// The sheet of a workbook, if the caller named it.
    pub sheet: Option<&'a str>,
    /// How large it may be.
    pub limits: Limits,
    /// Of how many names of a row the meaning is known: finds header rows, and the sheet that holds people.
    pub knows: Knows<'a>,
    /// Where the payload lies once all of it has been read: workbooks can only be read from a file.
    pub file: &'a Path,
    /// A directory for the plain text of other formats.
    pub scratch: &'a Path,
    /// Whether its text is known not to be UTF-8, though the first part of it looks so: see [`is_older_text`].
    pub older_text: bool,
}

/// A payload whose header row has been read.
pub struct Payload {
    /// The header row, trimmed, as written.
    pub header: Vec<String>,
    /// What stands between cells of a record.
    pub delimiter: u8,
    /// Whether cells may carry the marks of [`rows`](crate::rows).
    pub marked: bool,
    /// How the payload is written, as it goes into a layout's fingerprint.
    pub written: String,
    /// What was assumed in reading it: sentences for people, without anything of its rows.
    pub read_as: Vec<String>,
    /// The line or row of its header row, if it has one.
    pub header_line: Option<u64>,
    /// Which of its sheets it is, counted from 1, if it has sheets.
    pub sheet: Option<u32>,
    /// What it says of its own mode, if it says anything.
    pub mode: Option<String>,
    /// Why it is not all that there is, if it says so itself.
    pub unfinished: Option<String>,
    /// The data rows.
    pub records: Records<Source>,
    /// The plain text, if the payload itself is not that.
    pub plain: Option<Plain>,
    /// How it lies in its file.
    pub original: Original,
}

impl Payload {
    /// The name of its format.
    pub fn format(&self) -> &'static str {
        match self.original.kind {
            Kind::Delimited { .. } => "csv",
            Kind::Json { .. } => "json",
            Kind::Ndjson => "ndjson",
            Kind::Workbook { written, .. } => written,
        }
    }
}

/// The plain text of a payload that is written in another way.
#[derive(Debug)]
pub struct Plain {
    file: File,
    /// Whether it is in the form of [`rows`](crate::rows).
    counts_rows: bool,
}

impl Plain {
    /// Walks the records again from one that was given out before. Only one such walk goes on at a time.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn records_from(&self, offset: u64, line: u64, delimiter: u8) -> io::Result<Records<File>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Records::from(file, offset, line, delimiter).counting_rows(self.counts_rows))
    }
}

/// Where records are read from: the payload itself, or its plain text.
pub type Source = Box<dyn Read + Send>;

/// Rows that were brought into the plain form, and what there is to say of them.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) header: Vec<String>,
    /// The number of the first record.
    pub(crate) first: u64,
    pub(crate) written: &'static str,
    pub(crate) read_as: Vec<String>,
    pub(crate) mode: Option<String>,
    /// The row of the header row, if it has one.
    pub(crate) header_line: Option<u64>,
    /// Which of the sheets it is.
    pub(crate) sheet: Option<u32>,
    pub(crate) unfinished: Option<String>,
    /// Whether the last row ended without a line break.
    pub(crate) lacks_line_break: bool,
    /// Whether each row is a line of the original.
    pub(crate) is_lines: bool,
}

/// Opens a payload and reads as far as its header row.
///
/// # Errors
/// One sentence, if nothing can be taken from it.
pub fn open<R: Read + Send + 'static>(mut payload: R, how: &How<'_>) -> Result<Payload, IntakeError> {
    let (head, is_all) = head(&mut payload)?;
    let mut payload = Cursor::new(head.clone()).chain(payload);
    match format::packing(&head)? {
        Packing::Text => text(payload, &head, is_all, how),
        Packing::Gzip => {
            let (unpacked, ()) = scratch(how, |out| gzip::unpack(payload, how.limits, out))?;
            let mut opened = open_unpacked(unpacked, how)?;
            opened.written.insert_str(0, "gzip ");
            opened.original.packed = true;
            Ok(opened)
        }
        packing => {
            io::copy(&mut payload, &mut io::sink())?;
            workbook(File::open(how.file)?, packing, how)
        }
    }
}

/// Opens what came out of an archive; another archive within is refused.
fn open_unpacked(mut file: File, how: &How<'_>) -> Result<Payload, IntakeError> {
    let (head, is_all) = head_of(&mut file)?;
    match format::packing(&head)? {
        Packing::Text => {
            let mut opened = text(file.try_clone()?, &head, is_all, how)?;
            opened.plain.get_or_insert(Plain { file, counts_rows: false });
            Ok(opened)
        }
        Packing::Gzip => {
            Err(IntakeError::damaged("The file is packed with gzip twice; unpack it and send the file that is inside."))
        }
        packing => workbook(file, packing, how),
    }
}

fn workbook<R: Read + Seek>(file: R, packing: Packing, how: &How<'_>) -> Result<Payload, IntakeError> {
    let (file, brought) = scratch(how, |out| workbook::bring(file, packing, how, out))?;
    let kind = Kind::Workbook { first_row: brought.first, written: brought.written };
    rows(file, brought, kind, how)
}

/// Text: in UTF-8 it is read as it lies, in other encodings it is brought into UTF-8 first.
fn text<R: Read + Send + 'static>(
    payload: R,
    head: &[u8],
    is_all: bool,
    how: &How<'_>,
) -> Result<Payload, IntakeError> {
    let Detected { encoding, note } = match how.older_text {
        true => Detected { encoding: Encoding::Windows1252, note: None },
        false => encoding::detect(head, is_all)?,
    };
    let mut opened = if encoding == Encoding::Utf8 {
        utf8(payload, head, how)?
    } else {
        let (mut file, ()) = scratch(how, |out| encoding::to_utf8(payload, encoding, out))?;
        let (head, _) = head_of(&mut file)?;
        let mut opened = utf8(file.try_clone()?, &head, how)?;
        opened.plain.get_or_insert(Plain { file, counts_rows: false });
        opened
    };
    opened.written.insert_str(0, encoding.name());
    opened.original.encoding = encoding;
    opened.read_as.splice(0..0, note);
    Ok(opened)
}

fn utf8<R: Read + Send + 'static>(payload: R, head: &[u8], how: &How<'_>) -> Result<Payload, IntakeError> {
    if how.sheet.is_some() {
        return Err(IntakeError::damaged("Text has no sheets; leave --sheet out, or send the workbook."));
    }
    let is_json = match how.format {
        None => format::looks_like_json(head)?,
        Some(Format::Csv | Format::Tsv) => false,
        Some(Format::Json | Format::Ndjson) => true,
        Some(_) => {
            return Err(IntakeError::damaged(
                "The file is text and no workbook; leave the format out, or send the right file.",
            ));
        }
    };
    if !is_json {
        return delimited(payload, how);
    }
    let (file, brought) = scratch(how, |out| json::bring(payload, head, how.format, how.limits, out))?;
    let depth = how.limits.depth as usize;
    let kind = if brought.is_lines { Kind::Ndjson } else { Kind::Json { depth } };
    rows(file, brought, kind, how)
}

/// Rows in the plain form.
fn rows(file: File, brought: Brought, kind: Kind, how: &How<'_>) -> Result<Payload, IntakeError> {
    check_columns(&brought.header, how.limits)?;
    let source: Source = Box::new(file.try_clone()?);
    let mut records = Records::rows(source, brought.first);
    records.at_most(how.limits.rows.into());
    Ok(Payload {
        header: brought.header,
        delimiter: b',',
        marked: true,
        written: brought.written.to_owned(),
        read_as: brought.read_as,
        header_line: brought.header_line,
        sheet: brought.sheet,
        mode: brought.mode,
        unfinished: brought.unfinished,
        records,
        plain: Some(Plain { file, counts_rows: true }),
        original: Original { packed: false, encoding: Encoding::Utf8, kind },
    })
}

/// CSV or TSV.
fn delimited<R: Read + Send + 'static>(payload: R, how: &How<'_>) -> Result<Payload, IntakeError> {
    let source: Source = Box::new(payload);
    let opened = csv::open_knowing(source, how.format, how.knows)?;
    let mut records = opened.records;
    records.at_most(how.limits.rows.into());
    let kind = Kind::Delimited { delimiter: opened.dialect.delimiter, first_line: records.line() };
    check_columns(&opened.header, how.limits)?;
    let mut read_as = Vec::new();
    if opened.rows_above > 0 {
        let line = opened.header_line;
        read_as.push(format!("The header row was found on line {line}; what stands above it was passed over."));
    }
    Ok(Payload {
        header: opened.header,
        delimiter: opened.dialect.delimiter,
        marked: false,
        written: String::new(),
        read_as,
        header_line: Some(opened.header_line),
        sheet: None,
        mode: None,
        unfinished: None,
        records,
        plain: None,
        original: Original { packed: false, encoding: Encoding::Utf8, kind },
    })
}

fn check_columns(header: &[String], limits: Limits) -> Result<(), IntakeError> {
    let most = limits.columns as usize;
    if header.len() <= most {
        return Ok(());
    }
    let what = format!("has {} columns", header.len());
    Err(IntakeError::Limit { what, key: "limits.columns", most: most as u64 })
}

/// Whether a text in which a row turned out not to be UTF-8 is, taken as a whole, in an older encoding. Asked only if its
/// first part was nothing but ASCII, and then answered with what to tell people.
///
/// # Errors
/// If it cannot be read.
pub fn is_older_text(text: impl Read) -> io::Result<Option<String>> {
    Ok(encoding::judge_all(text)?.and_then(|detected| detected.note))
}

/// The first bytes, and whether that is all there is.
fn head(payload: &mut impl Read) -> Result<(Vec<u8>, bool), IntakeError> {
    let mut head = Vec::with_capacity(csv::HEAD + 1);
    payload.take(csv::HEAD as u64 + 1).read_to_end(&mut head)?;
    let is_all = head.len() <= csv::HEAD;
    Ok((head, is_all))
}

/// The first bytes of a file that then stands at its beginning again.
fn head_of(file: &mut File) -> Result<(Vec<u8>, bool), IntakeError> {
    let head = head(file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head)
}

/// A payload as it comes in, refused as soon as it is larger than it may be.
pub struct UpTo<'a> {
    payload: &'a mut (dyn Read + Send),
    left: u64,
    most_mb: u32,
}

impl<'a> UpTo<'a> {
    /// Reads the payload within the limit on its size.
    pub fn new(payload: &'a mut (dyn Read + Send), limits: Limits) -> Self {
        UpTo { payload, left: u64::from(limits.payload_mb) << 20, most_mb: limits.payload_mb }
    }
}

impl Read for UpTo<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.payload.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                let what = format!("is larger than {} MiB", self.most_mb);
                let refused = IntakeError::Limit { what, key: "limits.payload_mb", most: self.most_mb.into() };
                return Err(io::Error::other(refused));
            }
        }
        Ok(n)
    }
}

/// Writes a file that has no name, and gives it back at its beginning.
fn scratch<T>(
    how: &How<'_>,
    write: impl FnOnce(&mut BufWriter<Bounded>) -> Result<T, IntakeError>,
) -> Result<(File, T), IntakeError> {
    let most_mb = how.limits.unpacked_mb;
    let file = Bounded { file: tempfile::tempfile_in(how.scratch)?, left: u64::from(most_mb) << 20, most_mb };
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let written = write(&mut out)?;
    let mut file = out.into_inner().map_err(|e| IntakeError::from(e.into_error()))?.file;
    file.seek(SeekFrom::Start(0))?;
    Ok((file, written))
}

/// A file that takes no more than packed payloads may unpack to.
struct Bounded {
    file: File,
    left: u64,
    most_mb: u32,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            let what = "becomes too much as plain text".to_owned();
            io::Error::other(IntakeError::Limit { what, key: "limits.unpacked_mb", most: self.most_mb.into() })
        })?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
