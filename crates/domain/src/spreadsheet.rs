//! Cells that a spreadsheet takes for what they are: text from a payload never becomes a formula.

/// A value as a cell of CSV: with an apostrophe in front of what looks like a formula unless it is to stay as it is, and in
/// quotation marks where it must be.
pub fn cell(value: &str, raw: bool) -> String {
    let harmless = match !raw && looks_like_formula(value) {
        true => format!("'{value}"),
        false => value.to_owned(),
    };
    let quote = harmless.contains(['"', ',', '\r', '\n']) || harmless != harmless.trim();
    if quote { format!("\"{}\"", harmless.replace('"', "\"\"")) } else { harmless }
}

/// A record of CSV, with its line's end.
pub fn record<'a>(values: impl Iterator<Item = &'a str>, raw: bool) -> String {
    let cells: Vec<String> = values.map(|value| cell(value, raw)).collect();
    cells.join(",") + "\r\n"
}

/// A number with a sign is no formula that could do anything, and stays as it is.
fn looks_like_formula(value: &str) -> bool {
    let number = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '.' | ',' | '(' | ')');
    let signed = value.strip_prefix(['+', '-']).is_some_and(|rest| !rest.is_empty() && rest.chars().all(number));
    value.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) && !signed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_made_text() {
        assert_eq!(cell("=HYPERLINK(\"x\")", false), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell("-2+3+cmd|' /C calc'!A0", false), "'-2+3+cmd|' /C calc'!A0");
        assert_eq!(cell("@SUM(A1)", false), "'@SUM(A1)");
        assert_eq!(cell("=1", true), "=1");
    }

    #[test]
    fn a_record_has_a_cell_for_every_value_and_ends_its_line() {
        assert_eq!(record(["1042", "", "=1", "Boston, MA"].into_iter(), false), "1042,,'=1,\"Boston, MA\"\r\n");
    }

    #[test]
    fn numbers_and_names_stay_as_they_are() {
        for value in ["-5", "+44 20 7946 0000", "Mary-Ann", "O'Neil", "1042"] {
            assert_eq!(cell(value, false), value);
        }
        assert_eq!(cell("Boston, MA", false), "\"Boston, MA\"");
    }
}
