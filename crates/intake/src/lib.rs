//! Bytes to rows: formats, encodings, header matching, column mapping. A bad row is data, never an error.

pub mod aside;
pub mod csv;
mod encoding;
mod error;
mod format;
mod gzip;
pub mod headers;
mod json;
pub mod original;
pub mod payload;
pub mod row;
pub mod rows;
mod workbook;

pub use encoding::Encoding;
pub use error::IntakeError;
pub use format::{FORMATS, Format};
pub use headers::{Columns, MappingError};
pub use original::{Original, Picked, Picking};
pub use payload::{How, Payload};
pub use row::{KeyScratch, Reader, Row, RowIssue, RowProblem};
