//! `muster sync --issues` and `--refused`: what could not be taken, as files.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use muster_domain::{fact::State, spreadsheet::cell};
use muster_engine::{
    pipeline::Report,
    refused::{Original, Picked, RowIssue, Witness},
};
use serde_json::{Value, json};

use super::book::Book;
use crate::{fail::Failure, report::counted, session::Session, table::one_line, whole::Whole};

/// Where what could not be taken is written.
#[derive(Debug, Default, Args)]
pub struct Wanted {
    /// Write every row issue to this file: line, column, value, reason and what to do, as CSV
    #[arg(long, value_name = "FILE")]
    issues: Option<PathBuf>,
    /// Write the rows of which something was lost to this file, in the shape in which they came, to be corrected and sent again
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
}

impl Wanted {
    /// Whether any file is wanted.
    pub fn any(&self) -> bool {
        self.issues.is_some() || self.refused.is_some()
    }

    /// Refuses, before anything is done, what could not be written later or would overwrite the payload.
    pub fn check(&self, payload: &Path) -> Result<(), Failure> {
        let mut taken: Vec<PathBuf> = payload.canonicalize().into_iter().collect();
        for path in [&self.issues, &self.refused].into_iter().flatten() {
            let place = place(Whole::begin(path)?.path());
            if taken.contains(&place) {
                let path = path.display();
                return Err(Failure::wrong(format!("The file {path} is named twice; name another file to write to.")));
            }
            taken.push(place);
        }
        Ok(())
    }
}

/// A path by which the same file is known, whether it is there or not.
fn place(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside = |parent: PathBuf| parent.join(path.file_name().unwrap_or_default());
    path.canonicalize().unwrap_or_else(|_| parent.canonicalize().map_or(path.to_owned(), inside))
}

/// The files while the payload is worked on.
pub struct Files {
    wanted: Wanted,
    issues: Option<(Whole, usize)>,
    refused: Option<(Rows, usize)>,
    /// What went wrong first.
    failure: Option<Failure>,
    /// The payload was read, so that there is something to tell of its rows.
    is_told: bool,
}

/// The file of refused rows.
enum Rows {
    Bytes(Whole),
    Csv(Whole),
    Book(Box<Book>),
}

impl Files {
    /// None yet.
    pub fn new(wanted: Wanted) -> Files {
        Files { wanted, issues: None, refused: None, failure: None, is_told: false }
    }

    fn try_to<T>(&mut self, what: impl FnOnce(&mut Files) -> Result<T, Failure>) -> Option<T> {
        let done = what(self);
        done.map_err(|failure| self.failure.get_or_insert(failure)).ok()
    }

    fn write_issues<'a>(&mut self, issues: impl Iterator<Item = Told<'a>> + Clone) -> Result<(), Failure> {
        let Some(path) = &self.wanted.issues else { return Ok(()) };
        let mut file = Whole::begin(path)?;
        let write = |file: &mut Whole| -> io::Result<usize> {
            // Without the mark a spreadsheet takes letters of UTF-8 for others.
            if issues.clone().any(|i| !i.column.is_ascii() || !i.value.is_ascii() || !i.why.is_ascii()) {
                file.write_all("\u{feff}".as_bytes())?;
            }
            file.write_all(b"line,column,value,reason,what_to_do\r\n")?;
            let mut n = 0;
            for Told { line, column, value, why, advice } in issues {
                let line = if line > 0 { line.to_string() } else { String::new() };
                let cells = [column, value, why, advice].map(|text| cell(text, false));
                write!(file, "{line},{}\r\n", cells.join(","))?;
                n += 1;
            }
            Ok(n)
        };
        let n = write(&mut file).map_err(|e| crate::whole::cannot_write(path, &e))?;
        self.issues = Some((file, n));
        Ok(())
    }

    /// Puts the files in their places once the command is done with the payload.
    pub fn finish(mut self, report: Option<&Report>) -> Written {
        if let (false, Some(report)) = (self.is_told, report.filter(|r| r.state == State::Refused)) {
            let all = report.issues.iter().map(|i| Told::new(i.line, &i.column, &i.value, (&i.reason, "")));
            self.try_to(|files| files.write_issues(all));
        }
        let issues = self.issues.take().and_then(|(file, n)| {
            let path = file.path().to_owned();
            self.try_to(|_| file.finish()).map(|()| (path, n))
        });
        let refused = self.refused.take().and_then(|(rows, n)| {
            let path = self.wanted.refused.clone()?;
            self.try_to(|_| rows.finish()).map(|()| (path, n))
        });
        let missing = self.wanted.refused.take().filter(|_| refused.is_none() && self.failure.is_none());
        Written { issues, refused, missing, failure: self.failure }
    }
}

/// A row issue, as it is written.
#[derive(Clone, Copy)]
struct Told<'a> {
    line: u64,
    column: &'a str,
    value: &'a str,
    why: &'a str,
    advice: &'a str,
}

impl<'a> Told<'a> {
    fn new(line: u64, column: &'a str, value: &'a str, (why, advice): (&'a str, &'a str)) -> Told<'a> {
        Told { line, column, value, why, advice }
    }
}

impl Witness for Files {
    fn issues(&mut self, issues: &[RowIssue]) {
        self.is_told = true;
        let all = issues.iter().map(|i| Told::new(i.line, &i.column, &i.value, i.why_and_advice()));
        self.try_to(|files| files.write_issues(all));
    }

    fn rows(&mut self, rows: usize, original: &Original) -> Option<&mut dyn Picked> {
        let path = self.wanted.refused.clone()?;
        let begun = self.try_to(|_| Rows::begin(&path, original))?;
        self.refused = Some((begun, rows));
        Some(self)
    }
}

impl Picked for Files {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.each(|rows| rows.bytes(bytes))
    }

    fn cells(&mut self, cells: &[&str]) -> io::Result<()> {
        self.each(|rows| rows.cells(cells))
    }
}

impl Files {
    /// What cannot be written is no reason to give up the payload, so it is kept for the end.
    fn each(&mut self, write: impl FnOnce(&mut Rows) -> Result<(), Failure>) -> io::Result<()> {
        if let Some((rows, _)) = &mut self.refused
            && let Err(failure) = write(rows)
        {
            self.failure.get_or_insert(failure);
            self.refused = None;
        }
        Ok(())
    }
}

impl Rows {
    fn begin(path: &Path, original: &Original) -> Result<Rows, Failure> {
        let file = Whole::begin(path)?;
        let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        Ok(match (original.is_workbook(), is_csv) {
            (false, _) => Rows::Bytes(file),
            (true, true) => Rows::Csv(file),
            (true, false) => Rows::Book(Box::new(Book::begin(file)?)),
        })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Rows::Bytes(file) | Rows::Csv(file) => {
                file.write_all(bytes).map_err(|e| crate::whole::cannot_write(file.path(), &e))
            }
            Rows::Book(_) => Ok(()),
        }
    }

    fn cells(&mut self, cells: &[&str]) -> Result<(), Failure> {
        match self {
            // They are to be sent back as they came, so nothing stands in front of them.
            Rows::Bytes(_) | Rows::Csv(_) => {
                let cells: Vec<String> = cells.iter().map(|text| cell(text, true)).collect();
                self.bytes(format!("{}\r\n", cells.join(",")).as_bytes())
            }
            Rows::Book(book) => book.row(cells),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Rows::Bytes(file) | Rows::Csv(file) => file.finish(),
            Rows::Book(book) => book.finish(),
        }
    }
}

/// What was written.
pub struct Written {
    issues: Option<(PathBuf, usize)>,
    refused: Option<(PathBuf, usize)>,
    /// The file of refused rows that was wanted and not written, because the payload as a whole was refused.
    missing: Option<PathBuf>,
    /// What went wrong.
    pub failure: Option<Failure>,
}

impl Written {
    /// As members of the report.
    pub fn members(&self) -> Value {
        let issues = self.issues.as_ref().map(|(path, n)| json!({ "path": path, "issues": n }));
        let refused = self.refused.as_ref().map(|(path, n)| json!({ "path": path, "rows": n }));
        let mut members = json!({ "issues_file": issues, "refused_file": refused });
        if let Some(failure) = &self.failure {
            members["error"] = json!(failure);
        }
        members
    }

    /// As lines; `again` is the command that sends the refused rows once they are corrected, if they can be sent alone.
    pub fn print(&self, again: Option<String>, session: &mut Session<'_>) {
        if self.issues.is_some() || self.refused.is_some() || self.missing.is_some() {
            session.out.line("");
        }
        if let Some((path, n)) = &self.issues {
            let n = counted(*n, "issue");
            session.out.line(one_line(format!("Wrote {n} to {}.", path.display())));
        }
        match &self.refused {
            Some((path, 0)) => {
                session.out.line(one_line(format!("No row needs to be sent again; {} holds none.", path.display())))
            }
            Some((path, n)) => {
                let n = counted(*n, "row");
                session
                    .out
                    .line(one_line(format!("Wrote {n} to {}, as they came; correct them there.", path.display())));
                if let Some(again) = again {
                    session.out.line(format_args!("Then send them\n  {}", one_line(again)));
                }
            }
            None => {}
        }
        if let Some(path) = &self.missing {
            let path = path.display();
            session.out.line(one_line(format!(
                "{path} was not written: the payload was refused before its rows were looked at."
            )));
        }
    }

    /// The file of refused rows, if it holds any.
    pub fn refused(&self) -> Option<&Path> {
        self.refused.as_ref().filter(|(_, n)| *n > 0).map(|(path, _)| path.as_path())
    }
}
