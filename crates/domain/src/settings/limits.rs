//! How large a payload may be (what is larger is refused before it costs memory or disk), and how long it is kept.

use serde::{Deserialize, Serialize};

/// The limits on one payload. Each has a key of its own, `limits.…`, under which it can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Size as received, in MiB.
    pub payload_mb: u32,
    /// Size of what is packed in it, in MiB.
    pub unpacked_mb: u32,
    /// Size of a workbook of before 2007, in MiB: its stream and its texts are held in memory.
    pub xls_mb: u32,
    /// How many times larger it may become when it is unpacked.
    pub ratio: u32,
    /// Rows, without the header row.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Length of one cell, in characters.
    pub cell_chars: u32,
    /// How deeply objects and lists of a JSON document may lie in one another.
    pub depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            payload_mb: 4096,
            unpacked_mb: 8192,
            // With 65,536 rows, more than which no sheet has, it takes some tens.
            xls_mb: 128,
            ratio: 250,
            rows: 10_000_000,
            columns: 1000,
            cell_chars: 10_000,
            depth: 16,
        }
    }
}

/// For how long originals are kept: payloads as they came. What they said is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Originals {
    /// Days after which `muster retention run` destroys one; `None` keeps them for ever.
    pub keep_days: Option<u32>,
}

impl Default for Originals {
    /// A quarter of a year: long enough to look something up in the file itself.
    fn default() -> Self {
        Originals { keep_days: Some(90) }
    }
}
