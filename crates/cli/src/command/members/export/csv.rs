//! The roster as CSV, harmless in a spreadsheet.

use std::io::{self, Write};

use super::Listed;
use crate::fail::Failure;

/// Writes a head and a record for everybody listed.
pub async fn write(listed: &Listed<'_>, raw: bool, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let head: Vec<&str> = listed.heads().collect();
    write!(out, "{}\r\n", head.join(","))?;
    let mut written: io::Result<()> = Ok(());
    listed
        .roster
        .each(|member| {
            if member.is_listed() && written.is_ok() {
                let cell = |f: &muster_domain::field::FieldId| cell(member.values.get(*f).unwrap_or_default(), raw);
                let cells: Vec<String> = listed.columns.iter().map(cell).collect();
                written = write!(out, "{}\r\n", cells.join(","));
            }
        })
        .await?;
    Ok(written?)
}

/// A value as a cell: harmless in a spreadsheet, and in quotation marks where it must be.
fn cell(value: &str, raw: bool) -> String {
    let harmless = match !raw && looks_like_formula(value) {
        true => format!("'{value}"),
        false => value.to_owned(),
    };
    let quote = harmless.contains(['"', ',', '\r', '\n']) || harmless != harmless.trim();
    if quote { format!("\"{}\"", harmless.replace('"', "\"\"")) } else { harmless }
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
    fn numbers_and_names_stay_as_they_are() {
        for value in ["-5", "+44 20 7946 0000", "Mary-Ann", "O'Neil", "1042"] {
            assert_eq!(cell(value, false), value);
        }
        assert_eq!(cell("Boston, MA", false), "\"Boston, MA\"");
    }
}
