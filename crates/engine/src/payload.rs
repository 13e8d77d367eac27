//! Payloads: the bytes as received, durable before anything is said of them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use muster_domain::ids::{OrganisationId, UploadId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

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

/// How the name of a scratch file begins, for the moment in which it has one.
const SCRATCH: &str = ".tmp";
/// Behind the name of a payload that is still coming.
const COMING: &str = ".coming";
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
        self.dir(organisation).join(upload.to_string())
    }

    /// Where an organisation's payloads lie, and temporary files that have no names.
    pub fn dir(&self, organisation: OrganisationId) -> PathBuf {
        self.dir.join(organisation.to_string())
    }

    /// A file for what is only looked at and never kept. It has no name, nobody else can read it, and it is gone with the
    /// process.
    ///
    /// # Errors
    /// What the disk says.
    pub fn scratch(&self, organisation: OrganisationId) -> io::Result<File> {
        scratch_in(&self.dir(organisation))
    }

    /// A payload that is only looked at, put down under a name of its own: a workbook can only be read from a file that has
    /// one. It goes with what is given back.
    ///
    /// # Errors
    /// What reading or writing says; nothing is left behind then.
    pub(crate) fn looked_at(
        &self,
        organisation: OrganisationId,
        source: &mut (dyn Read + Send),
    ) -> io::Result<tempfile::NamedTempFile> {
        let mut kept = tempfile::Builder::new().prefix(SCRATCH).tempfile_in(self.directory(organisation)?)?;
        io::copy(source, &mut kept)?;
        Ok(kept)
    }

    /// Makes it durable that payloads are gone.
    ///
    /// # Errors
    /// What the disk says.
    pub fn settle(&self, organisation: OrganisationId) -> io::Result<()> {
        sync_dir(&self.dir(organisation))
    }

    /// The directory of an organisation's payloads, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn directory(&self, organisation: OrganisationId) -> io::Result<PathBuf> {
        let directory = self.dir.join(organisation.to_string());
        make_durable_dir(&directory)?;
        Ok(directory)
    }

    /// Copies the payload in, hashes it on the way, and returns once file and directory are on the disk, while another
    /// thread reads the payload as it grows. What that makes of it is given back
    /// with the rest; it must not wait for anything but the bytes.
    ///
    /// # Errors
    /// What reading or writing says; nothing is left behind then.
    pub fn store_while<T: Send>(
        &self,
        organisation: OrganisationId,
        upload: UploadId,
        source: &mut (dyn Read + Send),
        sha256: bool,
        follow: impl FnOnce(Follower) -> T + Send,
    ) -> io::Result<(Stored, T)> {
        let path = self.path(organisation, upload);
        let outcome = thread::scope(|s| {
            let file = self.create(&path)?;
            let (feeding, follower) = feeding();
            let following = s.spawn(move || follow(follower));
            let stored = self.write(&path, file, source, sha256, feeding)?;
            let followed = following.join().map_err(|_| io::Error::other("reading the payload was broken off"))?;
            Ok((stored, followed))
        });
        if outcome.is_err() {
            let _ = fs::remove_file(&path);
        }
        outcome
    }

    /// The same without anybody reading along, under a name that says that it is only coming: [`Payloads::arrive`] gives it
    /// its own, and until then nobody takes it for one that was left behind.
    ///
    /// # Errors
    /// What reading or writing says; nothing is left behind then.
    pub fn store_coming(
        &self,
        organisation: OrganisationId,
        upload: UploadId,
        source: &mut (dyn Read + Send),
        sha256: bool,
    ) -> io::Result<Stored> {
        let path = self.coming(organisation, upload);
        let (feeding, nobody) = feeding();
        drop(nobody);
        let stored = self.create(&path).and_then(|file| self.write(&path, file, source, sha256, feeding));
        if stored.is_err() {
            let _ = fs::remove_file(&path);
        }
        stored
    }

    /// A payload that was coming is there, for good.
    ///
    /// # Errors
    /// What the disk says.
    pub fn arrive(&self, organisation: OrganisationId, upload: UploadId) -> io::Result<()> {
        fs::rename(self.coming(organisation, upload), self.path(organisation, upload))?;
        self.settle(organisation)
    }

    fn coming(&self, organisation: OrganisationId, upload: UploadId) -> PathBuf {
        self.dir(organisation).join(format!("{upload}{COMING}"))
    }

    /// Removes what was coming and never arrived, and scratch files of a process that was killed where the file system
    /// cannot make one without a name: nobody has written to them for so long. Says how many there were.
    ///
    /// # Errors
    /// If the directory cannot be read, or a file not removed.
    pub fn remove_abandoned(&self, organisation: OrganisationId, older_than: Duration) -> io::Result<u64> {
        let mut removed = 0;
        for entry in entries(&self.dir(organisation))? {
            let entry = entry?;
            let is_coming =
                entry.file_name().to_str().is_some_and(|name| name.ends_with(COMING) || name.starts_with(SCRATCH));
            // It may have arrived meanwhile.
            let age = entry.metadata().and_then(|m| m.modified()).map(|at| at.elapsed().unwrap_or_default());
            if is_coming && age.is_ok_and(|age| age > older_than) {
                removed += u64::from(gone(fs::remove_file(entry.path()))?);
            }
        }
        Ok(removed)
    }

    /// Takes back a payload that was never accepted.
    pub fn discard(&self, organisation: OrganisationId, upload: UploadId) {
        for path in [self.path(organisation, upload), self.coming(organisation, upload)] {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes a payload for good, and says whether it was there.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn remove(&self, organisation: OrganisationId, upload: UploadId) -> io::Result<bool> {
        gone(fs::remove_file(self.path(organisation, upload)))
    }

    /// Every payload of an organisation that lies there, whether an upload speaks of it or not.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn all(&self, organisation: OrganisationId) -> io::Result<Vec<UploadId>> {
        let mut all = Vec::new();
        for entry in entries(&self.dir(organisation))? {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|n| Uuid::parse_str(n).ok()).map(UploadId));
        }
        Ok(all)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        make_durable_dir(path.parent().unwrap_or(&self.dir))?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)
    }

    fn write(
        &self,
        path: &Path,
        mut file: File,
        source: &mut (dyn Read + Send),
        sha256: bool,
        mut feeding: Feeding,
    ) -> io::Result<Stored> {
        let (mut blake3, mut sha) = (blake3::Hasher::new(), sha256.then(Sha256::new));
        let (mut size, mut synced) = (0, 0);
        let syncing = file.try_clone()?;
        thread::scope(|s| {
            let (tick, ticks) = mpsc::sync_channel::<()>(1);
            // The disk begins before all is there, so that little is left to wait for at the end.
            // An error shows but once, so it must not be lost here.
            let early = s.spawn(move || ticks.iter().try_for_each(|()| syncing.sync_data()));
            loop {
                let mut buffer = feeding.buffer();
                let n = match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                };
                let bytes = &buffer[..n];
                size += n as u64;
                file.write_all(bytes)?;
                blake3.update(bytes);
                if let Some(sha) = &mut sha {
                    sha.update(bytes);
                }
                if size - synced >= SYNC_EVERY && tick.try_send(()).is_ok() {
                    synced = size;
                }
                feeding.pass_on(Piece { buffer, used: n });
            }
            drop(tick);
            early.join().unwrap_or_else(|_| Err(io::Error::other("syncing was broken off")))
        })?;
        feeding.end();
        file.sync_all()?;
        sync_dir(path.parent().unwrap_or(&self.dir))?;
        Ok(Stored { size, blake3: blake3.finalize().to_hex().to_string(), sha256: sha.map(|s| hex(&s.finalize())) })
    }
}

/// What a directory holds; nothing, if there is none.
fn entries(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        entries => Ok(Some(entries?).into_iter().flatten()),
    }
}

/// Whether there was anything to be removed.
fn gone(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Pieces of a payload on their way to whoever reads it while it is stored.
const PIECES: usize = 8;

/// Some bytes of a payload; none are its end.
struct Piece {
    buffer: Vec<u8>,
    used: usize,
}

/// The writer's end: pieces go to the follower, and come back to be filled again.
struct Feeding {
    pieces: mpsc::SyncSender<Piece>,
    used_up: mpsc::Receiver<Vec<u8>>,
    spare: Option<Vec<u8>>,
}

/// Reads a payload while it is stored.
pub struct Follower {
    pieces: mpsc::Receiver<Piece>,
    used_up: mpsc::Sender<Vec<u8>>,
    now: Piece,
    at: usize,
    ended: bool,
}

fn feeding() -> (Feeding, Follower) {
    let (send, pieces) = mpsc::sync_channel(PIECES);
    let (give_back, used_up) = mpsc::channel();
    let now = Piece { buffer: Vec::new(), used: 0 };
    (Feeding { pieces: send, used_up, spare: None }, Follower { pieces, used_up: give_back, now, at: 0, ended: false })
}

impl Feeding {
    fn buffer(&mut self) -> Vec<u8> {
        self.spare.take().or_else(|| self.used_up.try_recv().ok()).unwrap_or_else(|| vec![0; BUFFER])
    }

    /// Waits for the follower if it lags far behind. One that stopped reading is let go.
    fn pass_on(&mut self, piece: Piece) {
        if let Err(mpsc::SendError(piece)) = self.pieces.send(piece) {
            self.spare = Some(piece.buffer);
        }
    }

    /// Says that this was all, and that it is whole. Without it the follower takes the payload as broken off.
    fn end(self) {
        let _ = self.pieces.send(Piece { buffer: Vec::new(), used: 0 });
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.now.used && !self.ended {
            let next = self.pieces.recv().map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let old = std::mem::replace(&mut self.now, next);
            (self.at, self.ended) = (0, self.now.used == 0);
            if !old.buffer.is_empty() {
                let _ = self.used_up.send(old.buffer);
            }
        }
        let n = (self.now.used - self.at).min(buffer.len());
        buffer[..n].copy_from_slice(&self.now.buffer[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes a directory and what is missing above it, each entry synced in its parent.
/// A file without a name in a directory that is made if it is not there, for its owner alone.
///
/// # Errors
/// What the disk says.
pub(crate) fn scratch_in(dir: &Path) -> io::Result<File> {
    make_durable_dir(dir)?;
    let file = tempfile::tempfile_in(dir)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

pub(crate) fn make_durable_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_durable_dir(parent)?;
        let mut builder = fs::DirBuilder::new();
        // What is in it is about people.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => return sync_dir(parent),
        }
    }
    fs::create_dir_all(dir)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn scratch_files_have_no_name_and_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (payloads, org) = (Payloads::new(dir.path()), OrganisationId(Uuid::nil()));
        let mut file = payloads.scratch(org).unwrap();
        file.write_all(b"who").unwrap();
        let mode = |metadata: fs::Metadata| metadata.permissions().mode() & 0o777;
        assert_eq!(mode(file.metadata().unwrap()), 0o600);
        assert_eq!(mode(fs::metadata(payloads.dir(org)).unwrap()), 0o700);
        assert_eq!(fs::read_dir(payloads.dir(org)).unwrap().count(), 0);
        // Where a file cannot be made without a name, a process may be killed before it takes the name away.
        fs::write(payloads.dir(org).join(".tmpA1b2C3"), b"who").unwrap();
        assert_eq!(payloads.remove_abandoned(org, Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(payloads.remove_abandoned(org, Duration::ZERO).unwrap(), 1);
    }

    #[test]
    fn a_payload_is_stored_as_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::new(dir.path());
        let (org, upload) = (OrganisationId(uuid::Uuid::from_u128(1)), UploadId(uuid::Uuid::from_u128(2)));
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let (stored, ()) = payloads.store_while(org, upload, &mut bytes.as_slice(), true, |_| ()).unwrap();
        assert_eq!(stored.size, 3_000_000);
        assert_eq!(stored.blake3, blake3::hash(&bytes).to_hex().to_string());
        assert_eq!(stored.sha256, Some(hex(&Sha256::digest(&bytes))));
        assert_eq!(fs::read(payloads.path(org, upload)).unwrap(), bytes);
    }

    #[test]
    fn whoever_follows_reads_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::new(dir.path());
        let (org, upload) = (OrganisationId(uuid::Uuid::from_u128(1)), UploadId(uuid::Uuid::from_u128(2)));
        let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
        let read = |mut follower: Follower| {
            let mut read = Vec::new();
            follower.read_to_end(&mut read).map(|_| read)
        };
        let (stored, followed) = payloads.store_while(org, upload, &mut bytes.as_slice(), false, read).unwrap();
        assert_eq!((stored.size, followed.unwrap()), (5_000_000, bytes.clone()));
        let (stored, ()) = payloads.store_while(org, upload, &mut bytes.as_slice(), false, |_| ()).unwrap();
        assert_eq!(stored.size, 5_000_000, "whoever stops reading holds nothing up");
    }

    #[test]
    fn a_source_that_breaks_off_is_no_whole_payload() {
        struct Breaks(usize);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 3 { Err(io::Error::other("gone")) } else { Ok(buffer.len()) }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let payloads = Payloads::new(dir.path());
        let (org, upload) = (OrganisationId(uuid::Uuid::from_u128(1)), UploadId(uuid::Uuid::from_u128(2)));
        let mut ended = None;
        let outcome = payloads.store_while(org, upload, &mut Breaks(0), false, |mut follower| {
            ended = Some(follower.read_to_end(&mut Vec::new()));
        });
        assert!(outcome.is_err() && ended.unwrap().is_err());
        assert!(!payloads.path(org, upload).exists());
    }
}
