//! Looking for a person in the originals: row by row, so that memory does not grow with them.

use std::{collections::BTreeSet, path::Path};

use muster_domain::{
    documents::{Feed, Upload},
    ids::UploadId,
    normalise,
};
use muster_intake::{IntakeError, csv::CellBuffer, payload::is_older_text};

use super::person::Person;
use crate::{Engine, Error, Organisation, Result, opening};

/// Originals that go because of somebody.
#[derive(Debug, Default)]
pub(super) struct Originals {
    /// Which.
    pub uploads: Vec<UploadId>,
    /// Of which the person's rows stand on these lines.
    pub lines: std::collections::BTreeMap<UploadId, BTreeSet<u64>>,
    /// How many of them could not be looked into, and go for that.
    pub unreadable: u64,
}

/// What was found in one of them.
enum Found {
    /// Rows of the person, by line.
    Lines(BTreeSet<u64>),
    /// It is no list of people that can be read.
    Unreadable,
}

impl Engine {
    /// The originals in which the person stands.
    pub(super) async fn originals_with(&self, org: &Organisation, person: &Person) -> Result<Originals> {
        let mut found = Originals::default();
        for upload in self.originals(org).await? {
            let id = upload.received.upload;
            match tokio::task::block_in_place(|| self.look_into(org, &upload, person))? {
                Found::Lines(lines) if lines.is_empty() => {}
                Found::Lines(lines) => {
                    found.uploads.push(id);
                    found.lines.insert(id, lines);
                }
                Found::Unreadable => {
                    found.uploads.push(id);
                    found.unreadable += 1;
                }
            }
        }
        Ok(found)
    }

    fn look_into(&self, org: &Organisation, upload: &Upload, person: &Person) -> Result<Found> {
        let received = &upload.received;
        let Some(feed) = org.feeds.iter().find(|f| f.no == received.feed) else { return Ok(Found::Unreadable) };
        let file = self.payloads.path(org.row.id, received.upload);
        let read = |older| read(org, feed, upload, &file, person, older);
        let found = match read(false) {
            Ok((found, true)) if is_older_text(std::fs::File::open(&file)?)?.is_some() => {
                read(true).map(|(again, _)| again.into_iter().chain(found).collect())
            }
            found => found.map(|(found, _)| found),
        };
        match found {
            Ok(lines) => Ok(Found::Lines(lines)),
            Err(Error::Refused(_)) => Ok(Found::Unreadable),
            Err(e) => Err(e),
        }
    }
}

/// A disk that cannot be read says nothing of what is on it; anything else is a payload that is no list.
fn refused(error: IntakeError) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        IntakeError::Read(e) if ![InvalidData, InvalidInput, UnexpectedEof].contains(&e.kind()) => Error::Io(e),
        error => error.into(),
    }
}

/// The lines on which the person stands, and whether a row was no UTF-8.
fn read(
    org: &Organisation,
    feed: &Feed,
    upload: &Upload,
    file: &Path,
    person: &Person,
    older_text: bool,
) -> Result<(BTreeSet<u64>, bool)> {
    let prefix = normalise::key(feed.settings.key_prefix.as_deref().unwrap_or_default()).into_owned();
    let (delimiter, mut records) = opening::rows(org, feed, &upload.received, file, older_text).map_err(refused)?;
    let (mut lines, mut damaged) = (BTreeSet::new(), false);
    let mut cells = CellBuffer::default();
    while let Some(raw) = records.next().map_err(refused)? {
        let theirs = match cells.split(raw.bytes, delimiter) {
            Ok(cells) => person.is_in_cells(&prefix, &cells.iter().collect::<Vec<_>>()),
            // What is no row is looked at as a text.
            Err(_) => {
                damaged |= std::str::from_utf8(raw.bytes).is_err();
                person.is_named_in(&String::from_utf8_lossy(raw.bytes))
            }
        };
        if theirs {
            lines.insert(raw.line);
        }
    }
    Ok((lines, damaged))
}
