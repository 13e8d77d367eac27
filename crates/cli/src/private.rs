//! Files that only this user may read: secrets and backups.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use crate::fail::{Exit, Failure};

/// Opens a new file for writing; one that is there already is left alone.
///
/// # Errors
/// If it is there, or cannot be made.
pub fn new_file(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Failure::wrong(format!(
            "There is a file {} already; it was left alone. Choose another name.",
            path.display()
        )),
        _ => cannot_write(path, &e),
    })
}

/// Writes a small file, durably.
///
/// # Errors
/// As [`new_file`].
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = new_file(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| cannot_write(path, &e))
}

/// A file cannot be written.
pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new("io", Exit::Failed, format!("The file {} cannot be written: {error}", path.display()))
}
