//! What was assumed in reading a payload, as it is recorded with the upload: nothing of its rows, no name of a file or sheet.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::normalise::DateOrder;

/// How a payload was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadAs {
    /// `csv`, `json`, `ndjson`, `xlsx`, `xls` or `ods`.
    pub format: String,
    /// Whether it was packed with gzip.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// The encoding of its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// What stands between its cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Which of its sheets, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<u32>,
    /// The line or row of its header row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_line: Option<u64>,
    /// How a date such as `03/04/2021` was read.
    pub dates: DateOrder,
    /// The version of the feed's saved mapping.
    pub mapping_version: u32,
}

impl fmt::Display for ReadAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format)?;
        if self.packed {
            f.write_str(" in gzip")?;
        }
        if let Some(encoding) = &self.encoding {
            write!(f, ", encoding {encoding}")?;
        }
        match self.delimiter {
            Some('\t') => f.write_str(", tabs between cells")?,
            Some(delimiter) => write!(f, ", \"{delimiter}\" between cells")?,
            None => {}
        }
        if let Some(sheet) = self.sheet {
            write!(f, ", sheet {sheet}")?;
        }
        if let Some(line) = self.header_line {
            write!(f, ", header in line {line}")?;
        }
        f.write_str(match self.dates {
            DateOrder::Iso => ", dates iso",
            DateOrder::DayFirst => ", dates day_first",
            DateOrder::MonthFirst => ", dates month_first",
        })?;
        match self.mapping_version {
            0 => Ok(()),
            version => write!(f, ", mapping version {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_a_line_and_leaves_out_what_is_not_there() {
        let sheet = ReadAs { format: "xlsx".into(), sheet: Some(2), header_line: Some(5), ..ReadAs::default() };
        assert_eq!(sheet.to_string(), "xlsx, sheet 2, header in line 5, dates iso");
        assert_eq!(
            serde_json::to_string(&sheet).unwrap(),
            r#"{"format":"xlsx","sheet":2,"header_line":5,"dates":"iso","mapping_version":0}"#
        );
        let text = ReadAs {
            format: "csv".into(),
            packed: true,
            encoding: Some("utf-8".into()),
            delimiter: Some(';'),
            header_line: Some(1),
            mapping_version: 3,
            ..ReadAs::default()
        };
        assert_eq!(
            text.to_string(),
            "csv in gzip, encoding utf-8, \";\" between cells, header in line 1, dates iso, mapping version 3"
        );
        assert_eq!(serde_json::from_str::<ReadAs>("{}").unwrap(), ReadAs::default());
    }
}
