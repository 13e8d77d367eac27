//! Rows put aside until they are written: in memory as long as they are few, on disk beyond.

use std::{
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use muster_domain::{codec, ids::MemberNo};
use muster_store::{MEMBERS_PER_PAGE, Tx};

use crate::{
    Result,
    payload::scratch_in,
    roster::{compress, in_parallel},
};

/// So many bytes of rows are written together.
const TOGETHER: usize = 1 << 20;

/// Members by number, packed.
pub(crate) type Packed = Vec<(MemberNo, Vec<u8>)>;

/// Packed rows on their way into the store: whole new pages as pages, everything else as newer rows.
#[derive(Default)]
pub(crate) struct Rows {
    /// Pages by number.
    pub pages: Vec<(u32, Vec<u8>)>,
    /// Single rows by the number of the member.
    pub single: Packed,
}

impl Rows {
    /// Packs members of whom those with numbers from `first_new` up to `end` are new.
    ///
    /// # Errors
    /// If a page cannot be compressed.
    pub fn pack(rows: Packed, first_new: MemberNo, end: MemberNo) -> Result<Rows> {
        let first_page = first_new.div_ceil(MEMBERS_PER_PAGE);
        let end_page = end / MEMBERS_PER_PAGE;
        let whole = first_page * MEMBERS_PER_PAGE..end_page * MEMBERS_PER_PAGE;
        let (mut paged, single): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(no, _)| whole.contains(no));
        paged.sort_unstable_by_key(|(no, _)| *no);
        let pages: Vec<_> = paged.chunk_by(|a, b| a.0 / MEMBERS_PER_PAGE == b.0 / MEMBERS_PER_PAGE).collect();
        let pages = in_parallel(&pages, |page| {
            let mut bytes = Vec::new();
            page.iter().for_each(|(_, row)| codec::put_in_page(Some(row), &mut bytes));
            Ok((page[0].0 / MEMBERS_PER_PAGE, compress(&bytes)?))
        })?;
        Ok(Rows { pages, single })
    }

    fn bytes(&self) -> usize {
        self.pages.iter().chain(&self.single).map(|(_, row)| row.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.single.is_empty()
    }

    /// Writes them into the roster.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn write(self, tx: &mut Tx) -> Result<()> {
        if !self.pages.is_empty() {
            tx.put_roster_pages(self.pages).await?;
        }
        if !self.single.is_empty() {
            tx.put_members(self.single).await?;
        }
        Ok(())
    }
}

/// Rows put aside until they are written.
#[derive(Default)]
pub(crate) struct Aside {
    here: Vec<Rows>,
    bytes: usize,
    most: usize,
    /// Where there is room for a temporary file; it has no name and is gone with the process.
    scratch: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Aside {
    /// Nothing yet. Up to so many bytes stay in memory.
    pub fn new(scratch: &Path, most: usize) -> Aside {
        Aside { most, scratch: scratch.to_owned(), ..Aside::default() }
    }

    /// Adds some.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn add(&mut self, rows: Rows) -> Result<()> {
        self.bytes += rows.bytes();
        if !rows.is_empty() {
            self.here.push(rows);
        }
        if self.bytes > self.most { self.put_on_disk() } else { Ok(()) }
    }

    fn put_on_disk(&mut self) -> Result<()> {
        if self.file.is_none() {
            self.file = Some(BufWriter::with_capacity(256 << 10, scratch_in(&self.scratch)?));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        for rows in self.here.drain(..) {
            for (is_page, rows) in [(1, rows.pages), (0, rows.single)] {
                for (no, row) in rows {
                    file.write_all(&[is_page])?;
                    file.write_all(&no.to_le_bytes())?;
                    file.write_all(&(row.len() as u32).to_le_bytes())?;
                    file.write_all(&row)?;
                }
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// Ends the gathering: all of them, in order.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn left(self) -> Result<Left> {
        let file = match self.file {
            Some(file) => {
                let mut file = file.into_inner().map_err(|e| e.into_error())?;
                file.rewind()?;
                Some(BufReader::with_capacity(256 << 10, file))
            }
            None => None,
        };
        Ok(Left { file, here: self.here.into_iter() })
    }
}

/// Rows that were put aside, in order.
pub(crate) struct Left {
    file: Option<BufReader<File>>,
    here: std::vec::IntoIter<Rows>,
}

impl Left {
    /// Some more; `None` behind the last.
    ///
    /// # Errors
    /// If what was put aside cannot be read back.
    pub fn next(&mut self) -> Result<Option<Rows>> {
        if let Some(file) = &mut self.file {
            let mut rows = Rows::default();
            let mut bytes = 0;
            while bytes < TOGETHER {
                let Some((is_page, no, row)) = read(file)? else { break };
                bytes += row.len();
                if is_page { rows.pages.push((no, row)) } else { rows.single.push((no, row)) }
            }
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
            self.file = None;
        }
        Ok(self.here.next())
    }
}

/// One row: whether it is a page, its number, and its bytes.
fn read(file: &mut impl Read) -> Result<Option<(bool, u32, Vec<u8>)>> {
    let mut is_page = [0];
    match file.read_exact(&mut is_page) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (mut no, mut len) = ([0; 4], [0; 4]);
    file.read_exact(&mut no)?;
    file.read_exact(&mut len)?;
    let mut row = vec![0; u32::from_le_bytes(len) as usize];
    file.read_exact(&mut row)?;
    Ok(Some((is_page == [1], u32::from_le_bytes(no), row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_whether_few_or_many() {
        let dir = tempfile::tempdir().unwrap();
        let row = |no: u32| (no, no.to_string().repeat(1 + no as usize % 7).into_bytes());
        for most in [0, 40, 3_000, 1 << 20] {
            let mut aside = Aside::new(&dir.path().join("later"), most);
            for n in 0..60 {
                let rows = Rows { pages: (n * 5..n * 5 + n % 3).map(row).collect(), single: vec![row(n + 1_000)] };
                aside.add(rows).unwrap();
            }
            let mut left = aside.left().unwrap();
            let (mut pages, mut single) = (Vec::new(), Vec::new());
            while let Some(mut rows) = left.next().unwrap() {
                pages.append(&mut rows.pages);
                single.append(&mut rows.single);
            }
            assert!(
                pages.into_iter().eq((0..60).flat_map(|n| n * 5..n * 5 + n % 3).map(row)),
                "up to {most} in memory"
            );
            assert!(single.into_iter().eq((1_000..1_060).map(row)), "up to {most} in memory");
        }
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        let whole = [&[1][..], &7u32.to_le_bytes(), &3u32.to_le_bytes(), b"abc"].concat();
        assert_eq!(read(&mut &whole[..]).unwrap(), Some((true, 7, b"abc".to_vec())));
        for cut in 1..whole.len() {
            assert!(read(&mut &whole[..cut]).is_err());
        }
    }
}
