//! New identifiers on their way into the index: in memory as long as they are few, on disk beyond.
//!
//! The index wants them in order, and a first import has several million: they are parted by their highest bits while they
//! come in, and sorted part by part.

use std::{
    fs::File,
    io::{BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use muster_domain::ids::MemberNo;

use crate::{Result, payload::scratch_in, roster::in_parallel};

/// An identifier's hash, and a member who has it.
pub(crate) type Ident = (u64, MemberNo);

/// Parts on disk.
const PARTS: usize = 32;
const BYTES: usize = 12;

/// Identifiers as they come in.
pub(crate) struct Idents {
    here: Vec<Ident>,
    most: usize,
    /// Where there is room for temporary files; they have no names and are gone with the process.
    scratch: PathBuf,
    parts: Vec<BufWriter<File>>,
}

impl Idents {
    /// Up to so many stay in memory.
    pub(crate) fn new(scratch: &Path, most: usize) -> Self {
        Idents { here: Vec::new(), most, scratch: scratch.to_owned(), parts: Vec::new() }
    }

    /// Adds some.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub(crate) fn add(&mut self, mut idents: Vec<Ident>) -> Result<()> {
        self.here.append(&mut idents);
        if self.here.len() > self.most {
            self.put_aside()?;
        }
        Ok(())
    }

    fn put_aside(&mut self) -> Result<()> {
        if self.parts.is_empty() {
            let part = || Ok(BufWriter::with_capacity(16 << 10, scratch_in(&self.scratch)?));
            self.parts = (0..PARTS).map(|_| part()).collect::<Result<_>>()?;
        }
        for (hash, no) in self.here.drain(..) {
            let part = &mut self.parts[(hash >> (64 - PARTS.ilog2())) as usize];
            part.write_all(&bytes(&(hash, no)))?;
        }
        Ok(())
    }

    /// Ends the gathering: all of them in order, in parts, each once. What is on disk is sorted there.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub(crate) fn sorted(mut self) -> Result<Sorted> {
        if !self.parts.is_empty() {
            self.put_aside()?;
        }
        let parts = self.parts.into_iter().map(|part| Ok(part.into_inner().map_err(|e| e.into_error())?));
        let parts = parts.collect::<Result<Vec<File>>>()?;
        in_parallel(&parts, |mut part| {
            let bytes: Vec<u8> = in_order(read(part)?).iter().flat_map(bytes).collect();
            part.rewind()?;
            part.set_len(0)?;
            Ok(part.write_all(&bytes)?)
        })?;
        Ok(Sorted { here: in_order(self.here), parts: parts.into_iter() })
    }
}

fn in_order(mut idents: Vec<Ident>) -> Vec<Ident> {
    idents.sort_unstable();
    idents.dedup();
    idents
}

/// Identifiers in order, part by part.
pub(crate) struct Sorted {
    here: Vec<Ident>,
    parts: std::vec::IntoIter<File>,
}

impl Sorted {
    /// The next part; `None` behind the last.
    ///
    /// # Errors
    /// If what was put aside cannot be read back.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Ident>>> {
        match self.parts.next() {
            Some(part) => Ok(Some(read(&part)?)),
            None if self.here.is_empty() => Ok(None),
            None => Ok(Some(std::mem::take(&mut self.here))),
        }
    }
}

fn read(mut part: &File) -> Result<Vec<Ident>> {
    let mut bytes = Vec::with_capacity(part.metadata()?.len() as usize);
    part.rewind()?;
    part.read_to_end(&mut bytes)?;
    Ok(bytes.as_chunks::<BYTES>().0.iter().map(ident).collect())
}

fn bytes((hash, no): &Ident) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..].copy_from_slice(&no.to_le_bytes());
    bytes
}

fn ident(bytes: &[u8; BYTES]) -> Ident {
    let [a, b, c, d, e, f, g, h, no @ ..] = *bytes;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes(no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_out_in_order_and_once_whether_few_or_many() {
        let dir = tempfile::tempdir().unwrap();
        for most in [0, 1, 500, 5000] {
            let mut idents = Idents::new(&dir.path().join("later"), most);
            let hash = |i: u32| u64::from(i % 900).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut all: Vec<Ident> = (0..1000).map(|i| (hash(i), i % 900)).collect();
            for some in all.chunks(70) {
                idents.add(some.to_vec()).unwrap();
            }
            let (mut sorted, mut found) = (idents.sorted().unwrap(), Vec::new());
            while let Some(mut part) = sorted.next().unwrap() {
                found.append(&mut part);
            }
            all.sort_unstable();
            all.dedup();
            assert_eq!(found, all, "up to {most} in memory");
        }
    }

    #[test]
    fn none_are_none() {
        assert!(Idents::new(Path::new("nowhere"), 7).sorted().unwrap().next().unwrap().is_none());
    }
}
