//! Files that are written whole or not at all, and that only their owner reads: they hold personal data.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

use crate::fail::{Exit, Failure};

/// A file in the making. It stands beside the one that is wanted and takes its place once all of it is on the disk; given
/// up, it is gone.
pub struct Whole {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
}

impl Whole {
    /// Begins a file, which will replace one of that name.
    ///
    /// # Errors
    /// If it could not be put there.
    pub fn begin(path: &Path) -> Result<Whole, Failure> {
        if path.as_os_str() == "-" {
            let message =
                "The name - stands for standard output, which this is not written to; name a file (./- is one).";
            return Err(Failure::wrong(message));
        }
        if path.exists() && !path.is_file() {
            return Err(Failure::wrong(format!("The path {} is no file; name a file.", path.display())));
        }
        let Some(name) = path.file_name() else {
            return Err(Failure::wrong(format!("The path {} has no file's name; name a file.", path.display())));
        };
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut prefix = name.to_owned();
        prefix.push(".");
        // Nobody but the owner may read it, from the first byte on.
        let file = Builder::new().prefix(&prefix).suffix(".partial").tempfile_in(directory);
        let out = BufWriter::new(file.map_err(|e| cannot_write(path, &e))?);
        Ok(Whole { path: path.to_owned(), out })
    }

    /// Where it will stand.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself, for whoever must go back and forth in it.
    pub fn file(&mut self) -> &mut File {
        self.out.get_mut().as_file_mut()
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// If it cannot be written to its end, or not be put there.
    pub fn finish(self) -> Result<(), Failure> {
        let Whole { path, out } = self;
        let finish = || {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)
        };
        finish().map(drop).map_err(|e| cannot_write(&path, &e))
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The failure to write a file.
pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    // The name of what stood beside it says nothing to anybody.
    let why = match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.to_string(),
    };
    Failure::new("io", Exit::Failed, format!("The file {} cannot be written: {why}", path.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("people.csv");
        std::fs::write(&path, "old").unwrap();
        let mut given_up = Whole::begin(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        let mut whole = Whole::begin(&path).unwrap();
        whole.write_all(b"new").unwrap();
        whole.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for (path, why) in [
            (directory.path(), "is no file"),
            (Path::new("/dev/null"), "is no file"),
            (&directory.path().join("no/such.csv"), "cannot be written: No such file"),
        ] {
            let failure = Whole::begin(path).err().unwrap();
            assert!(failure.message.contains(why), "{}", failure.message);
        }
    }
}
