//! Restore: a backup becomes the embedded database, once all of it was found to be what was written; a new epoch begins.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::Utc;
use muster_store::{SCHEMA_VERSION, Store, StoreError, access, file, read_model};

use crate::{
    Error, Result,
    backup::{
        ACCESS, DATABASE, FORM, MANIFEST, Manifest, SEAL,
        archive::{Part, Reader},
        beside, private_file,
    },
    crash,
    payload::{make_durable_dir, sync_dir},
};

/// A manifest that is longer is none.
const LONGEST: u64 = 1 << 30;

/// What a restore came to.
pub struct Restored {
    /// What was in the backup.
    pub manifest: Manifest,
    /// Where the database is that was there before.
    pub kept: Option<PathBuf>,
}

/// Puts a backup in place. All of it is unpacked beside what is there and checked before anything is touched; then the
/// payloads are moved in, and at last the database, in one step. A process that dies leaves the old one as it was.
///
/// # Errors
/// If the backup is not what was written, or a database is there and is not to be replaced, or is in use.
pub async fn restore(from: &Path, database: &Path, data_dir: &Path, replace: bool) -> Result<Restored> {
    let (mut archive, manifest) = tokio::task::block_in_place(|| open(from))?;
    let there = database.exists();
    if there {
        if !replace {
            return Err(Error::Wrong(format!(
                "There is a database {0} already, and it was left alone. --replace puts the backup in its place and keeps \
                 the old one beside it; --data-dir restores to elsewhere.",
                database.display()
            )));
        }
        gather(database).await?;
    }
    let users_and_keys = access::path(database);
    if users_and_keys.exists() {
        gather(&users_and_keys).await?;
    }
    let staged = Staged::new(database, data_dir);
    staged.clear()?;
    tokio::task::block_in_place(|| staged.unpack(&mut archive, &manifest))?;
    let store = Store::open(&format!("sqlite:{}", staged.database.display())).await?;
    store.new_epoch().await?;
    store.close().await;
    file::gather(&staged.database).await?;
    File::open(&staged.database)?.sync_all()?;
    staged.move_payloads()?;
    crash::point("restore_payloads");
    let kept = if there { Some(set_aside(database).await?) } else { None };
    // A write-ahead log without its database would be taken for the new one's.
    for ending in ["-wal", "-shm"] {
        gone(fs::remove_file(beside(database, ending)))?;
    }
    // What was made of the old log is made anew of this one.
    read_model::remove(database)?;
    crash::point("restore");
    fs::rename(&staged.database, database)?;
    sync_dir(parent(database))?;
    crash::point("restore_access");
    staged.move_access(&users_and_keys).await?;
    staged.clear()?;
    Ok(Restored { manifest, kept })
}

async fn gather(database: &Path) -> Result<()> {
    file::gather(database).await.map_err(|e| match e {
        StoreError::Busy => Error::Wrong(format!(
            "The database {} is in use by another process; stop that, and restore again. Nothing was changed.",
            database.display()
        )),
        e => e.into(),
    })
}

/// Gives the old database a second name, under which it stays.
async fn set_aside(database: &Path) -> Result<PathBuf> {
    // Somebody may have come while the backup was unpacked.
    gather(database).await?;
    let kept = beside(database, &format!(".replaced-{}", Utc::now().format("%Y%m%dT%H%M%S%3fZ")));
    fs::hard_link(database, &kept)?;
    Ok(kept)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refused(from: &Path, why: &str) -> Error {
    Error::Refused(format!("The file {} is no whole backup: {why}. Nothing was restored.", from.display()))
}

/// Reads what a backup says is in it.
fn open(from: &Path) -> Result<(Reader, Manifest)> {
    let file = File::open(from).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::Unknown(format!("There is no file {}.", from.display())),
        _ => Error::File(format!("The file {} cannot be read: {e}", from.display())),
    })?;
    let none = || refused(from, "it was cut, or is another kind of file");
    let mut archive = Reader::open(file)?.ok_or_else(none)?;
    let mut read = |name: &str| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        archive.part(name)?.ok_or_else(none)?.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let (text, seal) = (read(MANIFEST)?, read(SEAL)?);
    if blake3::hash(&text).to_hex().as_bytes() != seal {
        return Err(refused(from, "what it says is in it was altered"));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| none())?;
    if manifest.form > FORM || manifest.schema > SCHEMA_VERSION {
        let newer = format!("it was made by the newer muster {}; restore it with that", manifest.muster);
        return Err(refused(from, &newer));
    }
    let told = manifest.parts.iter().map(|p| p.name.as_str()).chain([MANIFEST, SEAL]);
    if !archive.names().eq(told) || manifest.parts.first().is_none_or(|p| p.name != DATABASE) {
        return Err(refused(from, "its parts are not those that it names"));
    }
    Ok((archive, manifest))
}

/// What is unpacked beside its place.
struct Staged {
    database: PathBuf,
    access: PathBuf,
    payloads: PathBuf,
    place: PathBuf,
}

impl Staged {
    fn new(database: &Path, data_dir: &Path) -> Staged {
        Staged {
            database: beside(database, ".restoring"),
            access: beside(&access::path(database), ".restoring"),
            payloads: data_dir.join("payloads.restoring"),
            place: data_dir.join("payloads"),
        }
    }

    /// Takes away what is there, also what a process that died has left.
    fn clear(&self) -> Result<()> {
        for file in [&self.database, &self.access] {
            let logs = ["-wal", "-shm", "-journal"].map(|ending| beside(file, ending));
            for path in std::iter::once(file).chain(&logs) {
                gone(fs::remove_file(path))?;
            }
        }
        Ok(gone(fs::remove_dir_all(&self.payloads))?)
    }

    fn unpack(&self, archive: &mut Reader, manifest: &Manifest) -> Result<()> {
        make_durable_dir(parent(&self.database))?;
        make_durable_dir(&self.payloads)?;
        let unpacked = manifest.parts.iter().try_for_each(|part| {
            let path = self.path(part)?;
            make_durable_dir(parent(&path))?;
            let mut file = private_file(&path)?;
            if !archive.unpack(part, &mut file)? {
                let message = format!(
                    "Part {} of the backup is not what was written: the file is damaged or was altered.",
                    part.name
                );
                return Err(Error::Refused(format!("{message} Nothing was restored.")));
            }
            Ok(file.sync_all()?)
        });
        if unpacked.is_err() {
            self.clear()?;
        }
        unpacked
    }

    /// Where a part belongs. A name from outside leads nowhere else.
    fn path(&self, part: &Part) -> Result<PathBuf> {
        if part.name == DATABASE {
            return Ok(self.database.clone());
        }
        if part.name == ACCESS {
            return Ok(self.access.clone());
        }
        let words: Vec<&str> = part.name.strip_suffix(".zst").unwrap_or_default().split('/').collect();
        let is_id = |word: &str| word.parse::<uuid::Uuid>().is_ok();
        match words[..] {
            ["payloads", organisation, upload] if is_id(organisation) && is_id(upload) => {
                Ok(self.payloads.join(organisation).join(upload))
            }
            _ => Err(Error::Refused("The backup has a part that belongs nowhere. Nothing was restored.".to_owned())),
        }
    }

    /// Puts users and keys in place, behind the database: whoever dies in between leaves those that were there, in which what
    /// was revoked is revoked. They are kept beside the new ones, or in place of none.
    async fn move_access(&self, place: &Path) -> Result<()> {
        if place.exists() {
            set_aside(place).await?;
        }
        for ending in ["-wal", "-shm"] {
            gone(fs::remove_file(beside(place, ending)))?;
        }
        if self.access.exists() {
            fs::rename(&self.access, place)?;
        } else {
            gone(fs::remove_file(place))?;
        }
        sync_dir(parent(place)).map_err(Into::into)
    }

    /// Payloads never change, so those that are there are the same.
    fn move_payloads(&self) -> Result<()> {
        for organisation in fs::read_dir(&self.payloads)? {
            let organisation = organisation?;
            let place = self.place.join(organisation.file_name());
            make_durable_dir(&place)?;
            for payload in fs::read_dir(organisation.path())? {
                let payload = payload?;
                fs::rename(payload.path(), place.join(payload.file_name()))?;
            }
            sync_dir(&place)?;
        }
        Ok(())
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
