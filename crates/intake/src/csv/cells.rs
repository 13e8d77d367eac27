//! Splits a record into cells as lenient RFC 4180 readers do.

use memchr::memchr;

use crate::row::RowProblem;

/// Memory for one record's cells, used again for the next.
#[derive(Debug, Default)]
pub struct CellBuffer {
    /// Text of cells whose quotation marks had to be resolved.
    unescaped: String,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
    /// Whether the cell lies in `unescaped`; otherwise in the record itself.
    is_unescaped: bool,
}

/// The cells of one record.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'b> {
    record: &'b str,
    unescaped: &'b str,
    spans: &'b [Span],
}

impl CellBuffer {
    /// Splits a record. It is unreadable if it is not UTF-8 or if a quotation mark is never closed.
    pub fn split<'b>(&'b mut self, record: &'b [u8], delimiter: u8) -> Result<Cells<'b>, RowProblem> {
        self.split_first(record, delimiter, usize::MAX)
    }

    /// Splits off at least the first `limit` cells and may leave the rest of the record unread.
    fn split_first<'b>(&'b mut self, record: &'b [u8], delimiter: u8, limit: usize) -> Result<Cells<'b>, RowProblem> {
        self.spans.clear();
        self.unescaped.clear();
        let record = std::str::from_utf8(record).map_err(|_| RowProblem::NotUtf8)?;
        if memchr(b'"', record.as_bytes()).is_none() {
            self.split_plain(record, delimiter, limit);
        } else {
            self.split_quoted(record, delimiter, limit)?;
        }
        Ok(Cells { record, unescaped: &self.unescaped, spans: &self.spans })
    }

    /// The text of two cells, without looking at those behind them; `None` for one that is not there.
    pub(crate) fn pick<'b>(
        &'b mut self,
        record: &'b [u8],
        delimiter: u8,
        columns: [usize; 2],
    ) -> Result<[Option<&'b str>; 2], RowProblem> {
        let last = columns[0].max(columns[1]);
        let mut found: [Option<&[u8]>; 2] = [None; 2];
        let (mut column, mut start) = (0, 0);
        while column <= last {
            let stop = record[start..].iter().position(|b| *b == delimiter || *b == b'"').map(|i| start + i);
            if stop.is_some_and(|at| record[at] == b'"') {
                let cells = self.split_first(record, delimiter, last + 1)?;
                return Ok(columns.map(|wanted| cells.get(wanted)));
            }
            let cell = &record[start..stop.unwrap_or(record.len())];
            for (wanted, found) in columns.iter().zip(&mut found) {
                if *wanted == column {
                    *found = Some(cell);
                }
            }
            let Some(at) = stop else { break };
            (column, start) = (column + 1, at + 1);
        }
        let text = |cell: Option<&'b [u8]>| cell.map(std::str::from_utf8).transpose().map_err(|_| RowProblem::NotUtf8);
        Ok([text(found[0])?, text(found[1])?])
    }

    /// Eight bytes at a time: cells are too short for a search that starts anew in each.
    fn split_plain(&mut self, record: &str, delimiter: u8, limit: usize) {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const LOW: u64 = 0x7F * EACH;
        let bytes = record.as_bytes();
        let (eights, rest) = bytes.as_chunks::<8>();
        let mut start = 0;
        for (i, eight) in eights.iter().enumerate() {
            let differs = u64::from_le_bytes(*eight) ^ (u64::from(delimiter) * EACH);
            // The high bit of each byte that is zero, which is one that was the delimiter.
            let mut hits = !(((differs & LOW) + LOW) | differs | LOW);
            while hits != 0 {
                let at = i * 8 + hits.trailing_zeros() as usize / 8;
                self.push(start, at);
                start = at + 1;
                hits &= hits - 1;
            }
            if self.spans.len() >= limit {
                return;
            }
        }
        let first = bytes.len() - rest.len();
        for (i, _) in rest.iter().enumerate().filter(|(_, b)| **b == delimiter) {
            self.push(start, first + i);
            start = first + i + 1;
        }
        self.push(start, bytes.len());
    }

    fn split_quoted(&mut self, record: &str, delimiter: u8, limit: usize) -> Result<(), RowProblem> {
        let bytes = record.as_bytes();
        let mut start = 0;
        while self.spans.len() < limit {
            let end = if bytes.get(start) == Some(&b'"') {
                self.quoted_cell(record, start + 1, delimiter)?
            } else {
                let end = memchr(delimiter, &bytes[start..]).map_or(bytes.len(), |i| start + i);
                self.push(start, end);
                end
            };
            if end == bytes.len() {
                break;
            }
            start = end + 1;
        }
        Ok(())
    }

    /// Reads a cell whose opening quotation mark stands before `start`; gives where it ends.
    fn quoted_cell(&mut self, record: &str, start: usize, delimiter: u8) -> Result<usize, RowProblem> {
        let bytes = record.as_bytes();
        let from = self.unescaped.len();
        let mut at = start;
        loop {
            let close = at + memchr(b'"', &bytes[at..]).ok_or(RowProblem::UnclosedQuote)?;
            if bytes.get(close + 1) == Some(&b'"') {
                self.unescaped.push_str(&record[at..=close]);
                at = close + 2;
                continue;
            }
            // What follows the closing mark up to the delimiter belongs to the cell too: `"a"b` is `ab`.
            let end = memchr(delimiter, &bytes[close + 1..]).map_or(bytes.len(), |i| close + 1 + i);
            if self.unescaped.len() == from && end == close + 1 {
                self.push(at, close);
            } else {
                self.unescaped.push_str(&record[at..close]);
                self.unescaped.push_str(&record[close + 1..end]);
                let (start, end) = (from as u32, self.unescaped.len() as u32);
                self.spans.push(Span { start, end, is_unescaped: true });
            }
            return Ok(end);
        }
    }

    fn push(&mut self, start: usize, end: usize) {
        // A record is at most `MAX_RECORD` long, far below 4 GiB.
        self.spans.push(Span { start: start as u32, end: end as u32, is_unescaped: false });
    }
}

impl<'b> Cells<'b> {
    /// How many cells there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a record has at least one cell")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The text of a cell as the feed wrote it, without its quotation marks.
    pub fn get(&self, index: usize) -> Option<&'b str> {
        let span = self.spans.get(index)?;
        let text = if span.is_unescaped { self.unescaped } else { self.record };
        text.get(span.start as usize..span.end as usize)
    }

    /// Every cell, from the left.
    pub fn iter(&self) -> impl Iterator<Item = &'b str> + Clone + '_ {
        (0..self.spans.len()).filter_map(|i| self.get(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(record: &str) -> Vec<String> {
        CellBuffer::default().split(record.as_bytes(), b',').unwrap().iter().map(str::to_owned).collect()
    }

    #[test]
    fn cells_lie_between_delimiters() {
        assert_eq!(cells("a,,c"), ["a", "", "c"]);
        assert_eq!(cells("a,"), ["a", ""]);
        assert_eq!(cells(""), [""]);
    }

    #[test]
    fn quotation_marks_are_resolved() {
        assert_eq!(cells(r#""a,b","say ""hi""",c"#), ["a,b", "say \"hi\"", "c"]);
        assert_eq!(cells("\"x\ny\",\"\""), ["x\ny", ""]);
        assert_eq!(cells(r#""""""#), ["\""]);
        assert_eq!(cells(r#""é""ü",ß"#), ["é\"ü", "ß"]);
    }

    #[test]
    fn stray_quotation_marks_are_text() {
        assert_eq!(cells(r#"5" pipe, "b""#), ["5\" pipe", " \"b\""]);
        assert_eq!(cells(r#""a"b"c,d"#), ["ab\"c", "d"]);
    }

    #[test]
    fn an_unreadable_record_says_why() {
        let mut buffer = CellBuffer::default();
        assert!(matches!(buffer.split(b"a,\"b", b','), Err(RowProblem::UnclosedQuote)));
        assert!(matches!(buffer.split(b"a,\xe9", b','), Err(RowProblem::NotUtf8)));
    }

    #[test]
    fn the_first_cells_are_those_of_the_whole_record() {
        let mut buffer = CellBuffer::default();
        let first = buffer.split_first(b"a,\"b\"\"\",c", b',', 2).unwrap();
        assert_eq!(first.iter().collect::<Vec<_>>(), ["a", "b\""]);
    }

    #[test]
    fn delimiters_are_found_wherever_they_stand() {
        for delimiter in [b',', b'\t', b'|'] {
            for length in 0..40 {
                let text: String = (0..length).map(|i| if i * i % 7 < 3 { delimiter as char } else { 'é' }).collect();
                let mut buffer = CellBuffer::default();
                let cells = buffer.split(text.as_bytes(), delimiter).unwrap();
                assert!(cells.iter().eq(text.split(delimiter as char)), "{text:?}");
            }
        }
    }
}
