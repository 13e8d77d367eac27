//! `muster members export`: the roster as a file.

use clap::Args;
use muster_domain::{field::FieldId, member::Member};
use muster_engine::Organisation;
use serde_json::{Value, json};

use super::{When, person};
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    session::Session,
};

/// Write the roster to standard output
///
/// In CSV, a value that a spreadsheet would take for a formula (one that begins with =, +, -, @ or a tab and is not a
/// plain number) gets an apostrophe in front, which spreadsheets take away. A program that reads the file should ask for
/// --raw or for ndjson, where every value is as the roster has it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster members export --org acme > people.csv\n  \
    muster members export --org acme --format ndjson --at 2026-03-20T08:00:00Z")]
pub struct Export {
    #[command(flatten)]
    org: OfOrganisation,
    #[command(flatten)]
    when: When,
    /// The format
    #[arg(long, value_parser = ["csv", "xlsx", "ndjson"], default_value = "csv")]
    format: String,
    /// Put no apostrophe in front of what looks like a formula
    #[arg(long)]
    raw: bool,
}

/// Runs the command.
pub async fn run(export: Export, session: &mut Session<'_>) -> Result<Exit, Failure> {
    if export.format == "xlsx" {
        return Err(Failure::wrong(
            "Workbooks cannot be written yet; use --format csv, which every spreadsheet opens, or ndjson.",
        ));
    }
    let engine = session.engine().await?;
    let org = engine.organisation(&export.org.slug).await?;
    let mut members = engine.roster(&org, export.when.at()).await?;
    members.retain(Member::is_listed);
    if session.out.json {
        let members: Vec<Value> = members.iter().map(|m| person::document(m, &org)).collect();
        session.out.document(&json!({ "members": members }));
    } else if export.format == "ndjson" {
        for member in &members {
            session.out.document(&person::document(member, &org));
        }
    } else {
        csv(&members, &org, export.raw, session);
    }
    Ok(Exit::Done)
}

/// A column for each field that somebody has a value in, the match key always.
fn csv(members: &[Member], org: &Organisation, raw: bool, session: &mut Session<'_>) {
    let fields = &org.settings.fields;
    let key = org.settings.match_key.field();
    let used = |f: &FieldId| *f == key || members.iter().any(|m| m.values.get(*f).is_some());
    let columns: Vec<FieldId> = fields.all().filter(used).collect();
    let names: Vec<&str> = columns.iter().map(|f| fields.name(*f)).collect();
    session.out.text(&format!("{}\r\n", names.join(",")));
    for member in members {
        let cells: Vec<String> = columns.iter().map(|f| cell(member.values.get(*f).unwrap_or_default(), raw)).collect();
        session.out.text(&format!("{}\r\n", cells.join(",")));
    }
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
