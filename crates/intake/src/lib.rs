//! Bytes to rows: formats, encodings, header matching, column mapping. A bad row is data, never an error.

pub mod csv;
mod error;
pub mod headers;
pub mod row;

pub use error::IntakeError;
pub use headers::{Columns, MappingError};
pub use row::{KeyScratch, Reader, Row, RowIssue, RowProblem};
