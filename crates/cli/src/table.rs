//! A table for a terminal: columns as wide as what stands in them, no lines drawn.

use crate::output::Output;

/// Rows under a head.
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
    indent: usize,
}

impl Table {
    /// A table with these words at its head; without any it has none.
    pub fn new(head: &[&str]) -> Table {
        let rows = if head.is_empty() { Vec::new() } else { vec![head.iter().map(|h| (*h).to_owned()).collect()] };
        Table { rows, right: Vec::new(), indent: 0 }
    }

    /// With these columns, counted from 0, flush right.
    pub fn right(mut self, columns: &[usize]) -> Table {
        self.right = columns.to_vec();
        self
    }

    /// So many spaces from the left.
    pub fn indent(mut self, spaces: usize) -> Table {
        self.indent = spaces;
        self
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|c| one_line(c.into())).collect());
    }

    /// Prints it; the head in bold.
    pub fn print(&self, out: &mut Output, head: bool) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| self.rows.iter().filter_map(|r| r.get(column)).map(|cell| width(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
        for (i, row) in self.rows.iter().enumerate() {
            let line = self.line(row, &widths);
            let line = if head && i == 0 { out.paint("1", &line) } else { line };
            out.line(line);
        }
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = " ".repeat(self.indent);
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i].saturating_sub(width(cell)));
            match (self.right.contains(&i), i + 1 == row.len()) {
                (true, _) => line.extend([pad.as_str(), cell]),
                (false, true) => line.push_str(cell),
                (false, false) => line.extend([cell.as_str(), &pad]),
            }
            if i + 1 < row.len() {
                line.push_str("  ");
            }
        }
        line
    }
}

/// How many columns of a terminal a text takes, near enough for names: wide signs of East Asia count twice, marks that
/// stand on other letters not at all.
fn width(text: &str) -> usize {
    let of = |c: char| match c as u32 {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    };
    text.chars().map(of).sum()
}

/// Text from a payload on one line, with nothing in it that a terminal would obey.
pub fn one_line(text: impl AsRef<str>) -> String {
    text.as_ref().chars().map(|c| if c.is_control() { '␣' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_a_payload_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\x1b[31m\nb"), "a␣[31m␣b");
    }

    #[test]
    fn columns_line_up_whatever_the_letters() {
        let mut table = Table::new(&["name", "n"]).right(&[1]);
        table.row(["Zoë", "1"]);
        table.row(["李雷", "100"]);
        let widths = [4, 3];
        let lines: Vec<String> = table.rows.iter().map(|r| table.line(r, &widths)).collect();
        assert_eq!(lines, ["name    n", "Zoë     1", "李雷  100"]);
    }
}
