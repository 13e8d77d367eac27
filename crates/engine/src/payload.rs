//! Payloads: the bytes as received, durable before anything is said of them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
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

const BUFFER: usize = 1 << 18;
/// How much is written before the disk is asked to begin.
const SYNC_EVERY: u64 = 16 << 20;

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
        let stored = self.create(&path).and_then(|file| self.write(&path, file, source, sha256, &Growth::default()));
        if stored.is_err() {
            let _ = fs::remove_file(&path);
        }
        stored
    }

    /// [`store`](Self::store), while another thread reads the payload as it grows. What that makes of it is given back
    /// with the rest; it must not wait for anything but the bytes.
    ///
    /// # Errors
    /// What reading or writing says; nothing is left behind then.
    pub fn store_while<T: Send>(
        &self,
        organisation: OrganisationId,
        upload: UploadId,
        source: &mut dyn Read,
        sha256: bool,
        follow: impl FnOnce(Follower) -> T + Send,
    ) -> io::Result<(Stored, T)> {
        let path = self.path(organisation, upload);
        let growth = Arc::new(Growth::default());
        let outcome = thread::scope(|s| {
            let ends = Ends(&growth);
            let file = self.create(&path)?;
            let follower = Follower { file: File::open(&path)?, growth: growth.clone(), at: 0 };
            let following = s.spawn(move || follow(follower));
            let stored = self.write(&path, file, source, sha256, &growth)?;
            drop(ends);
            let followed = following.join().map_err(|_| io::Error::other("reading the payload was broken off"))?;
            Ok((stored, followed))
        });
        if outcome.is_err() {
            let _ = fs::remove_file(&path);
        }
        outcome
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

    fn create(&self, path: &Path) -> io::Result<File> {
        make_durable_dir(path.parent().unwrap_or(&self.dir))?;
        File::create(path)
    }

    fn write(
        &self,
        path: &Path,
        mut file: File,
        source: &mut dyn Read,
        sha256: bool,
        growth: &Growth,
    ) -> io::Result<Stored> {
        let (mut blake3, mut sha) = (blake3::Hasher::new(), sha256.then(Sha256::new));
        let (mut size, mut synced) = (0, 0);
        let mut buffer = vec![0; BUFFER];
        let syncing = file.try_clone()?;
        thread::scope(|s| {
            let (tick, ticks) = mpsc::sync_channel::<()>(1);
            // The disk begins before all is there, so that little is left to wait for at the end.
            // An error shows but once, so it must not be lost here.
            let early = s.spawn(move || ticks.iter().try_for_each(|()| syncing.sync_data()));
            loop {
                let n = match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                };
                let bytes = &buffer[..n];
                size += n as u64;
                file.write_all(bytes)?;
                growth.reach(size);
                blake3.update(bytes);
                if let Some(sha) = &mut sha {
                    sha.update(bytes);
                }
                if size - synced >= SYNC_EVERY && tick.try_send(()).is_ok() {
                    synced = size;
                }
            }
            drop(tick);
            early.join().unwrap_or_else(|_| Err(io::Error::other("syncing was broken off")))
        })?;
        growth.end(true);
        file.sync_all()?;
        sync_dir(path.parent().unwrap_or(&self.dir))?;
        Ok(Stored { size, blake3: blake3.finalize().to_hex().to_string(), sha256: sha.map(|s| hex(&s.finalize())) })
    }
}

/// How much of a payload lies in its file.
#[derive(Default)]
struct Growth {
    now: Mutex<Grown>,
    more: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Grown {
    bytes: u64,
    /// Whether that is all, and whether it is whole.
    ended: Option<bool>,
}

impl Growth {
    fn reach(&self, bytes: u64) {
        self.lock().bytes = bytes;
        self.more.notify_one();
    }

    fn end(&self, whole: bool) {
        self.lock().ended.get_or_insert(whole);
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Grown> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever happens to the writer, nobody waits for more.
struct Ends<'a>(&'a Growth);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

/// Reads a payload while it is written.
pub struct Follower {
    file: File,
    growth: Arc<Growth>,
    at: u64,
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut grown = self.growth.lock();
        while grown.bytes == self.at && grown.ended.is_none() {
            grown = self.growth.more.wait(grown).unwrap_or_else(PoisonError::into_inner);
        }
        let Grown { bytes, ended } = *grown;
        drop(grown);
        if bytes == self.at {
            return if ended == Some(true) { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let most = usize::try_from(bytes - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read(&mut buffer[..most])?;
        self.at += n as u64;
        Ok(n)
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
