//! CSV and TSV: bytes to records to cells.

use std::io::Read;

use crate::error::IntakeError;

mod cells;
mod dialect;
mod split;

pub use cells::{CellBuffer, Cells};
pub use dialect::{Dialect, Encoding, Format};
pub use split::{Ending, MAX_RECORD, Place, Raw, Records};

/// A payload whose header row has been read: what is left in `records` are its data rows.
pub struct Opened<R> {
    /// How the payload is written.
    pub dialect: Dialect,
    /// The header row, trimmed, as written.
    pub header: Vec<String>,
    /// The physical line of the header row.
    pub header_line: u64,
    /// The data rows.
    pub records: Records<R>,
}

/// Reads as far as the header row, and finds out on the way how the payload is written.
pub fn open<R: Read>(reader: R, format: Option<Format>) -> Result<Opened<R>, IntakeError> {
    let mut records = Records::new(reader);
    let (head, is_all) = records.head()?;
    let dialect = Dialect::detect(head, is_all, format)?;
    records.speak(&dialect);
    let mut cells = CellBuffer::default();
    let Some(first) = records.next()? else {
        return Err(IntakeError::Empty);
    };
    let header_line = first.line;
    let cells = cells
        .split(first.bytes, dialect.delimiter)
        .map_err(|_| IntakeError::HeaderNotReadable { line: header_line })?;
    let header = cells.iter().map(|name| muster_domain::normalise::trim(name).to_owned()).collect();
    Ok(Opened { dialect, header, header_line, records })
}
