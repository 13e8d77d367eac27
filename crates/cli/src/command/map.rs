//! `muster map`: what each column of a file seems to hold, and saving that to a feed.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use muster_domain::documents::Feed;
use muster_engine::{
    Engine,
    mapping::{Column, Confidence, Guessed, MapRequest, Unfed},
};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::{
    arguments::{OfOrganisation, by_key, pair},
    fail::{Exit, Failure},
    report::counted,
    session::{Session, quoted},
    table::{Table, one_line},
};

/// Show what each column of a file seems to hold, and save that as a feed's mapping
///
/// Each column is shown with some of what is in it, the field that it would be read as, how sure that is and why. On a
/// terminal it asks whether to save this to the feed; elsewhere only --save does. Every mapping that is saved is a version of
/// its own: `muster feeds show` lists them, and --restore brings one back as the next version. The exit code is 4 if the
/// file could not be read as it stands.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster map people.csv --org acme\n  \
    muster map staff.xlsx --org acme --feed contractors --map employee_id='Badge No' --save\n  \
    muster map --org acme --restore 2")]
pub struct Map {
    /// The file; - reads standard input
    #[arg(required_unless_present = "restore")]
    file: Option<PathBuf>,
    #[command(flatten)]
    org: OfOrganisation,
    /// The feed
    #[arg(long, value_name = "NAME", default_value = "main")]
    feed: String,
    /// Which column holds a field; with nothing after the = none does
    #[arg(long = "map", value_name = "FIELD=COLUMN", value_parser = pair)]
    mapping: Vec<(String, String)>,
    /// Save it to the feed without asking
    #[arg(long, alias = "yes")]
    save: bool,
    /// Save again what this version of the feed's mapping said; 0 goes back to names alone
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["file", "mapping", "save", "format", "sheet"])]
    restore: Option<u32>,
    /// The format, where it is not to be found out from the bytes
    #[arg(long, value_parser = ["csv", "tsv", "json", "ndjson", "xlsx", "xls", "ods"])]
    format: Option<String>,
    /// The sheet of a workbook [default: the one that looks like a list of people]
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
}

/// The document: what was found, and whether it was saved.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    guessed: &'a Guessed,
    /// The version as which it was saved, or as which it stood already.
    saved_version: Option<u32>,
}

/// Runs the command.
pub async fn run(map: Map, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let slug = map.org.slug.clone();
    if let Some(version) = map.restore {
        let feed = engine.restore_mapping(&slug, &map.feed, version).await?;
        restored(version, &feed, session);
        return Ok(Exit::Done);
    }
    let file = map.file.as_deref().unwrap_or(Path::new("-"));
    let (path, _kept) = readable(file)?;
    let request = MapRequest {
        feed: Some(map.feed.clone()),
        format: map.format.clone(),
        sheet: map.sheet.clone(),
        mapping: by_key(map.mapping.iter().cloned())?,
    };
    let guessed = engine.map(&slug, request, &path).await?;
    if !session.out.json {
        print(&guessed, session);
    }
    if !guessed.problems.is_empty() {
        return unsettled(&map, &guessed, session);
    }
    let saves = map.save || !session.out.json && file.as_os_str() != "-" && asked(&guessed, session)?;
    let saved = if saves { Some(save(&engine, &slug, &guessed).await?) } else { None };
    if session.out.json {
        session.out.document(&Document { guessed: &guessed, saved_version: saved.map(|f| f.settings.mapping_version) });
    } else {
        told(&map, &guessed, saved.as_ref(), session);
    }
    Ok(Exit::Done)
}

async fn save(engine: &Engine, slug: &str, guessed: &Guessed) -> Result<Feed, Failure> {
    Ok(engine.save_mapping(slug, &guessed.feed, guessed.mapping.clone()).await?)
}

/// A file that can be read more than once; standard input is put into one that goes with the command.
fn readable(file: &Path) -> Result<(PathBuf, Option<NamedTempFile>), Failure> {
    if file.as_os_str() == "-" {
        let mut kept = NamedTempFile::new()?;
        io::copy(&mut io::stdin().lock(), &mut kept)?;
        return Ok((kept.path().to_owned(), Some(kept)));
    }
    super::sync::open(file).map(|_| (file.to_owned(), None))
}

/// Nothing is saved that could not be read by.
fn unsettled(map: &Map, guessed: &Guessed, session: &mut Session<'_>) -> Result<Exit, Failure> {
    if session.out.json {
        session.out.document(&Document { guessed, saved_version: None });
        return Ok(Exit::Refused);
    }
    session.out.line("\nTo be settled first");
    for problem in &guessed.problems {
        session.out.line(format_args!("  {}", one_line(problem)));
    }
    if map.save {
        session.out.line("Nothing was saved.");
    }
    Ok(Exit::Refused)
}

/// Asks, if somebody is there to answer.
fn asked(guessed: &Guessed, session: &mut Session<'_>) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(false);
    }
    session.out.flush();
    let mut err = io::stderr();
    write!(err, "\nSave this as the mapping of the feed {}? [y/N] ", guessed.feed)?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn print(guessed: &Guessed, session: &mut Session<'_>) {
    for note in &guessed.read_as {
        session.out.line(one_line(note));
    }
    let mut table = Table::new(&["column", "field", "sure", "why", "samples"]);
    for column in &guessed.columns {
        let field = column.field.as_deref().unwrap_or("- ignored");
        table.row([&column.column, field, sure(column), &column.why, &column.samples.join(" | ")]);
    }
    table.print(session.out, true);
    let unfed: Vec<String> = guessed.without_column.iter().map(described).collect();
    if !unfed.is_empty() {
        session.out.line(format_args!("\nFields without a column: {}", one_line(unfed.join(", "))));
    }
    let n = guessed.rows_looked_at;
    session.out.line(format_args!("Looked at {}.", counted(n, "row")));
}

fn described(unfed: &Unfed) -> String {
    match unfed.fed_by.as_slice() {
        [] => unfed.field.clone(),
        feeds => format!("{} (fed by {})", unfed.field, feeds.join(", ")),
    }
}

fn sure(column: &Column) -> &'static str {
    match column.confidence {
        Some(Confidence::Said) => "said",
        Some(Confidence::High) => "high",
        Some(Confidence::Medium) => "medium",
        Some(Confidence::Low) => "low",
        None => "",
    }
}

fn told(map: &Map, guessed: &Guessed, saved: Option<&Feed>, session: &mut Session<'_>) {
    let Some(feed) = saved else {
        let file = map.file.as_ref().map(|f| quoted(&f.display().to_string())).unwrap_or_default();
        let maps = map.mapping.iter().map(|(f, c)| format!(" --map {}", quoted(&format!("{f}={c}"))));
        let rest = format!("map {file} --org {} --feed {}{} --save", map.org.slug, map.feed, maps.collect::<String>());
        let line = session.suggestion(&rest);
        return session.out.line(format_args!("\nNothing was saved. To save it\n  {line}"));
    };
    let (name, version) = (&feed.settings.name, feed.settings.mapping_version);
    session.out.line(match version == guessed.mapping_version {
        true => format!("\nThe feed {name} has this mapping already, as version {version}."),
        false => format!("\nSaved as version {version} of the mapping of the feed {name}."),
    });
}

fn restored(from: u32, feed: &Feed, session: &mut Session<'_>) {
    let (name, version) = (&feed.settings.name, feed.settings.mapping_version);
    if session.out.json {
        let mapping = &feed.settings.mapping;
        session.out.document(
            &serde_json::json!({ "feed": name, "restored": from, "saved_version": version, "mapping": mapping }),
        );
    } else {
        session.out.line(format_args!(
            "The mapping of the feed {name} is as in version {from} again; this is version {version}."
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y", "Y\n", " yes\r\n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "yeah", "save"].into_iter().any(is_yes));
    }
}
