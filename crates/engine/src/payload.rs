//! Payloads: the bytes as received, durable before anything is said of them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    thread,
};

use muster_domain::ids::{OrganisationId, UploadId};
use sha2::{Digest, Sha256};

/// The directory of payloads: `<organisation>/<upload>`.
#[derive(Clone, Debug)]
pub struct Payloads {
    dir: PathBuf,
}

/// A payload that lies on the disk for good.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
    /// SHA-256, hexadecimal, if it was asked for.
    pub sha256: Option<String>,
}

const BUFFER: usize = 1 << 20;

impl Payloads {
    /// Payloads below the data directory.
    pub fn new(data_dir: &Path) -> Self {
        Payloads { dir: data_dir.join("payloads") }
    }

    /// Where a payload lies.
    pub fn path(&self, organisation: OrganisationId, upload: UploadId) -> PathBuf {
        self.dir.join(organisation.to_string()).join(upload.to_string())
    }

    /// Copies the payload in, hashes it on the way, and returns once file and directory are on the disk.
    ///
    /// # Errors
    /// What reading or writing says; nothing is left behind then.
    pub fn store(
        &self,
        organisation: OrganisationId,
        upload: UploadId,
        source: &mut dyn Read,
        sha256: bool,
    ) -> io::Result<Stored> {
        let path = self.path(organisation, upload);
        let stored = self.write(&path, source, sha256);
        if stored.is_err() {
            let _ = fs::remove_file(&path);
        }
        stored
    }

    /// Opens a stored payload.
    ///
    /// # Errors
    /// If it is gone or unreadable.
    pub fn open(&self, organisation: OrganisationId, upload: UploadId) -> io::Result<File> {
        File::open(self.path(organisation, upload))
    }

    /// Takes back a payload that was never accepted.
    pub fn discard(&self, organisation: OrganisationId, upload: UploadId) {
        let _ = fs::remove_file(self.path(organisation, upload));
    }

    fn write(&self, path: &Path, source: &mut dyn Read, sha256: bool) -> io::Result<Stored> {
        let folder = path.parent().unwrap_or(&self.dir);
        make_durable_dir(folder)?;
        let mut file = File::create(path)?;
        let (mut blake3, mut sha) = (blake3::Hasher::new(), sha256.then(Sha256::new));
        let mut size = 0;
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let bytes = &buffer[..n];
            size += n as u64;
            // Hashing and writing take about as long: two threads do both at once.
            thread::scope(|s| {
                let hashing = s.spawn(|| {
                    blake3.update(bytes);
                });
                let written = file.write_all(bytes);
                if let Some(sha) = &mut sha {
                    sha.update(bytes);
                }
                let _ = hashing.join();
                written
            })?;
        }
        file.sync_all()?;
        sync_dir(folder)?;
        Ok(Stored {
            size,
            blake3: blake3.finalize().to_hex().to_string(),
            sha256: sha.map(|s| hex(&s.finalize())),
        })
    }
}

/// Hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes a directory and what is missing above it, each entry synced in its parent.
fn make_durable_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_durable_dir(parent)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => return sync_dir(parent),
        }
    }
    fs::create_dir_all(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_stored_as_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::new(dir.path());
        let (org, upload) = (OrganisationId(uuid::Uuid::from_u128(1)), UploadId(uuid::Uuid::from_u128(2)));
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let stored = payloads.store(org, upload, &mut bytes.as_slice(), true).unwrap();
        assert_eq!(stored.size, 3_000_000);
        assert_eq!(stored.blake3, blake3::hash(&bytes).to_hex().to_string());
        assert_eq!(stored.sha256, Some(hex(&Sha256::digest(&bytes))));
        assert_eq!(fs::read(payloads.path(org, upload)).unwrap(), bytes);
    }
}
