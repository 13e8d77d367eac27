//! The parts of a workbook, found by their paths, and what each says of how it relates to others.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufReader, Read, Seek},
};

use zip::{ZipArchive, read::ZipFile};

use super::{
    MOST_ENTRIES,
    scan::{Scan, Token},
};
use crate::{error::IntakeError, workbook::archive::broken};

/// The archive, with its parts by path.
pub(super) struct Parts<R: Read + Seek> {
    archive: ZipArchive<BufReader<R>>,
    /// Paths as some programs write them, in capitals or with backslashes, to what the archive calls them.
    names: HashMap<String, String>,
}

/// A part that is being read.
pub(super) type Part<'a, R> = Scan<ZipFile<'a, BufReader<R>>>;

/// What a part relates to.
pub(super) struct Relation {
    /// The last word of its kind, which is the same in the strict and the usual form of workbooks.
    pub(super) kind: String,
    pub(super) path: String,
}

impl<R: Read + Seek> Parts<R> {
    pub(super) fn open(file: R) -> Result<Self, IntakeError> {
        let archive = ZipArchive::new(BufReader::with_capacity(1 << 16, file)).map_err(|_| broken())?;
        let names = archive.file_names().map(|name| name.map(|n| (plain(&n), n.to_string())));
        let names = names.collect::<Result<_, _>>().map_err(|_| broken())?;
        Ok(Parts { archive, names })
    }

    /// Opens a part, if it is there.
    pub(super) fn part(&mut self, path: &str) -> Result<Option<Part<'_, R>>, IntakeError> {
        let Some(name) = self.names.get(&plain(path)) else { return Ok(None) };
        self.archive.by_name(name).map(|part| Some(Scan::new(part))).map_err(|_| broken())
    }

    /// The path of the part that is the workbook.
    pub(super) fn workbook(&mut self) -> Result<String, IntakeError> {
        let relations = self.relations("")?;
        relations.into_values().find(|r| r.kind == "officeDocument").map(|r| r.path).ok_or_else(broken)
    }

    /// What a part relates to, by the names that it has for that; of the package itself if it is named by nothing.
    pub(super) fn relations(&mut self, of: &str) -> Result<BTreeMap<String, Relation>, IntakeError> {
        let (folder, name) = of.rsplit_once('/').map_or(("", of), |(folder, name)| (folder, name));
        let mut scan = self.part(&format!("{folder}/_rels/{name}.rels"))?.ok_or_else(broken)?;
        let mut relations = BTreeMap::new();
        loop {
            match scan.next()? {
                Token::Open(tag) if tag.name == b"Relationship" => {
                    let said = |name: &[u8]| tag.attribute(name).map(Option::unwrap_or_default);
                    let (id, kind, target) = (said(b"Id")?, said(b"Type")?, said(b"Target")?);
                    if said(b"TargetMode")? != "External" {
                        let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                        relations.insert(id, Relation { kind, path: resolve(of, &target) });
                    }
                    if relations.len() > MOST_ENTRIES {
                        return Err(broken());
                    }
                }
                Token::Close(b"Relationships") => return Ok(relations),
                Token::End => return Err(broken()),
                _ => {}
            }
        }
    }
}

/// The path to which a part at `of` points: from the root of the archive, or from where the part itself lies.
pub(super) fn resolve(of: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let mut path: Vec<&str> = if target.starts_with('/') { Vec::new() } else { of.split('/').collect() };
    path.pop();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.join("/")
}

/// A path as all of them are compared.
fn plain(path: &str) -> String {
    path.replace('\\', "/").trim_start_matches('/').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_lie_beside_their_part_or_begin_at_the_root() {
        for (of, target, path) in [
            ("", "xl/workbook.xml", "xl/workbook.xml"),
            ("", "/xl/workbook.xml", "xl/workbook.xml"),
            ("xl/workbook.xml", "worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl/workbook.xml", "/xl/worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl/workbook.xml", "./worksheets\\sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl/workbook.xml", "../sheet1.xml", "sheet1.xml"),
            ("workbook.xml", "../../sheet1.xml", "sheet1.xml"),
        ] {
            assert_eq!(resolve(of, target), path, "{of} {target}");
        }
    }
}
