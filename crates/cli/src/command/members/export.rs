//! `muster members export`: the roster as a file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use muster_domain::member::Member;
use muster_engine::{
    Engine, Organisation,
    members::{Filled, Roster, Table},
};
use serde_json::{Map, json};

use super::{When, person};
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    output::Listing,
    report::grouped,
    session::Session,
};

/// Write the roster to standard output, or to a file
///
/// In CSV, a value that a spreadsheet would take for a formula (one that begins with =, +, -, @ or a tab and is not a
/// plain number) gets an apostrophe in front, which spreadsheets take away. A program that reads the file should ask for
/// --raw or for ndjson, where every value is as the roster has it. In a workbook (xlsx) dates are dates and all else is
/// text, whatever it begins with.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster members export --org acme > people.csv\n  \
    muster members export --org acme --format xlsx --output people.xlsx\n  \
    muster members export --org acme --format ndjson --at 2026-03-20T08:00:00Z")]
pub struct Export {
    #[command(flatten)]
    org: OfOrganisation,
    #[command(flatten)]
    when: When,
    /// The format [default: as the file's name ends, else csv]
    #[arg(long, value_parser = ["csv", "xlsx", "ndjson"])]
    format: Option<String>,
    /// Put no apostrophe in front of what looks like a formula
    #[arg(long)]
    raw: bool,
    /// The file, which is replaced if it is there [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What is exported: everybody listed, with a column for each field that somebody has a value in.
struct Listed<'a> {
    engine: &'a Engine,
    roster: Roster,
    org: &'a Organisation,
    table: Table,
}

/// Runs the command.
pub async fn run(export: Export, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let output = export.output.as_deref().filter(|o| o.as_os_str() != "-");
    let format = export.format.as_deref().or_else(|| ending(output)).unwrap_or("csv");
    if format == "xlsx" && output.is_none() && (session.out.json || io::stdout().is_terminal()) {
        return Err(Failure::wrong("A workbook is not for reading on a terminal; say --output FILE.xlsx."));
    }
    let engine = session.engine().await?;
    let org = engine.organisation(&export.org.slug).await?;
    let roster = engine.roster_at(&org, export.when.at()).await?;
    if let (None, true) = (output, session.out.json) {
        return one_document(&roster, &org, session).await;
    }
    let listed = Listed::new(&engine, roster, &org).await?;
    let Some(path) = output else {
        let written = listed.write(format, export.raw, session.out).await;
        // A reader who has seen enough is no failure.
        return if session.out.is_closed() { Ok(Exit::Done) } else { written.map(|()| Exit::Done) };
    };
    let partial = partial(path);
    let written = to_file(&listed, format, export.raw, &partial).await;
    let written = written.and_then(|()| fs::rename(&partial, path).map_err(|e| cannot_write(path, &e)));
    if let Err(why) = written {
        let _ = fs::remove_file(&partial);
        return Err(why);
    }
    if session.out.json {
        session.out.document(&json!({ "file": path, "format": format, "members": listed.table.people() }));
    } else {
        session.out.line(format_args!("Wrote {} people to {}.", grouped(listed.table.people()), path.display()));
    }
    Ok(Exit::Done)
}

async fn one_document(roster: &Roster, org: &Organisation, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let mut listing = Listing::begin(session.out, &Map::new(), "members");
    let read = roster.each(|member| {
        if member.is_listed() && !listing.is_closed() {
            listing.item(&person::document(&member, org));
        }
    });
    if let Err(e) = read.await {
        return Ok(listing.fail(&e.into()));
    }
    listing.end(&Map::new());
    Ok(Exit::Done)
}

async fn to_file(listed: &Listed<'_>, format: &str, raw: bool, path: &Path) -> Result<(), Failure> {
    let file = File::create(path).map_err(|e| cannot_write(path, &e))?;
    let mut out = BufWriter::new(file);
    listed.write(format, raw, &mut out).await?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(|e| cannot_write(path, &e))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new("io", Exit::Failed, format!("The file {} cannot be written: {error}", path.display()))
}

/// A file beside the one that is wanted, so that nobody finds half of it there.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn ending(path: Option<&Path>) -> Option<&str> {
    let ending = path?.extension()?.to_str()?;
    ["csv", "xlsx", "ndjson"].into_iter().find(|f| ending.eq_ignore_ascii_case(f))
}

impl<'a> Listed<'a> {
    async fn new(engine: &'a Engine, roster: Roster, org: &'a Organisation) -> Result<Listed<'a>, Failure> {
        let mut filled = Filled::new(&org.settings);
        roster
            .each(|member| {
                if member.is_listed() {
                    filled.take(&member);
                }
            })
            .await?;
        let table = filled.table(&org.settings, None);
        Ok(Listed { engine, roster, org, table })
    }

    async fn write(&self, format: &str, raw: bool, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
        match format {
            "xlsx" => self.workbook(out).await,
            "ndjson" => self.each(|member| writeln!(out, "{}", person::document(member, self.org))).await,
            _ => {
                out.write_all(self.table.head().as_bytes())?;
                self.each(|member| out.write_all(self.table.record(member, raw).as_bytes())).await
            }
        }
    }

    /// All of it lies on the disk before the first byte goes out.
    async fn workbook(&self, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
        let mut book = self.engine.workbook(self.org, self.table.clone())?;
        self.each(|member| book.add(member)).await?;
        io::copy(&mut book.finish()?, out)?;
        Ok(())
    }

    /// Calls a function with everybody listed, until it fails.
    async fn each<E>(&self, mut write: impl FnMut(&Member) -> Result<(), E>) -> Result<(), Failure>
    where
        Failure: From<E>,
    {
        let mut written = Ok(());
        self.roster
            .each(|member| {
                if member.is_listed() && written.is_ok() {
                    written = write(&member);
                }
            })
            .await?;
        Ok(written?)
    }
}
