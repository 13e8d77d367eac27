//! CSV and TSV: bytes to records to cells.

use std::io::Read;

use crate::{error::IntakeError, format::Format, headers};

mod cells;
mod dialect;
mod split;

pub use cells::{CellBuffer, Cells};
pub use dialect::Dialect;
pub(crate) use dialect::HEAD;
pub use split::{Ending, MAX_RECORD, Place, Raw, Records};

/// A payload whose header row has been read: what is left in `records` are its data rows.
pub struct Opened<R> {
    /// How the payload is written.
    pub dialect: Dialect,
    /// The header row, trimmed, as written.
    pub header: Vec<String>,
    /// The physical line of the header row.
    pub header_line: u64,
    /// How many rows stand above it.
    pub rows_above: usize,
    /// The data rows.
    pub records: Records<R>,
}

/// Reads as far as the header row, and finds out on the way how the payload is written. The first row is the header row.
pub fn open<R: Read>(reader: R, format: Option<Format>) -> Result<Opened<R>, IntakeError> {
    open_knowing(reader, format, &|_| 0)
}

/// [`open`], with the header row looked for among the first rows: `knows` says of how many names it knows the meaning.
pub fn open_knowing<R: Read>(
    reader: R,
    format: Option<Format>,
    knows: headers::Knows<'_>,
) -> Result<Opened<R>, IntakeError> {
    let mut records = Records::new(reader);
    let (head, is_all) = records.head()?;
    let dialect = Dialect::detect(head, is_all, format)?;
    let above = first_rows(&head[dialect.preamble.min(head.len())..], dialect.delimiter);
    let place = headers::find(&above, knows);
    records.speak(&dialect);
    for _ in 0..place.index {
        records.next()?;
    }
    let Some(first) = records.next()? else {
        return Err(IntakeError::Empty);
    };
    let header_line = first.line;
    let mut cells = CellBuffer::default();
    let cells = cells
        .split(first.bytes, dialect.delimiter)
        .map_err(|_| IntakeError::HeaderNotReadable { line: header_line })?;
    let as_written = || cells.iter().map(|name| muster_domain::normalise::trim(name).to_owned()).collect();
    let header = place.names.unwrap_or_else(as_written);
    for _ in 0..place.below {
        records.next()?;
    }
    Ok(Opened { dialect, header, header_line, rows_above: place.index, records })
}

/// The first rows, as far as they can be read, to find the header row among them.
fn first_rows(head: &[u8], delimiter: u8) -> Vec<Vec<String>> {
    let mut records = Records::from(head, 0, 1, delimiter);
    let (mut buffer, mut rows) = (CellBuffer::default(), Vec::new());
    while rows.len() < headers::LOOKED_AT
        && let Ok(Some(raw)) = records.next()
        && let Ok(cells) = buffer.split(raw.bytes, delimiter)
    {
        rows.push(cells.iter().map(|cell| muster_domain::normalise::trim(cell).to_owned()).collect());
    }
    rows
}
