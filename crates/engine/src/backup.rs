//! Backup: an embedded database with its payloads in one file, made while it is in use.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use muster_domain::{documents::Upload, ids::OrganisationId};
use muster_store::{Filter, SCHEMA_VERSION, Store, access, file};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Error, Result, crash,
    payload::{Payloads, sync_dir},
};

pub mod archive;

use archive::{Part, Writer};

/// The form of backups that this program writes.
pub const FORM: u32 = 2;
/// The database in the archive.
pub const DATABASE: &str = "muster.db.zst";
/// Users and keys in the archive; not there if there were none.
pub const ACCESS: &str = "access.db.zst";
/// What is in the archive, behind everything else.
pub const MANIFEST: &str = "manifest.json";
/// BLAKE3 of the manifest, hexadecimal.
pub const SEAL: &str = "manifest.blake3";

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the archive.
    pub form: u32,
    /// The version of Muster that made it.
    pub muster: String,
    /// The schema of the database.
    pub schema: i64,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The epoch of the database that it was made of.
    pub epoch: Uuid,
    /// The organisations, each with the number of its last event.
    pub organisations: Vec<(String, u64)>,
    /// How many payloads the log names whose originals were not there any more.
    pub payloads_gone: u64,
    /// The parts, each with its hash.
    pub parts: Vec<Part>,
}

impl Manifest {
    /// How many payloads are in it.
    pub fn payloads(&self) -> usize {
        self.parts.iter().filter(|part| part.name.starts_with("payloads/")).count()
    }
}

/// A path beside another one.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Makes a new file that only this user may read; what a process that died left under this name goes.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Files that go when their work is done, however it ends.
struct Scratch(Vec<PathBuf>);

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes the database and every payload that it names into one file, which is whole or not there. Others go on reading
/// and writing meanwhile; what they do after the first moment is not in it.
///
/// # Errors
/// If there is no such database, or anything cannot be read or written; nothing is left behind then.
pub async fn backup(database: &Path, data_dir: &Path, to: &Path) -> Result<Manifest> {
    if !database.exists() {
        return Err(Error::Unknown(format!("There is no database {}.", database.display())));
    }
    let [partial, copy, access_copy] = [".partial", ".copy", ".access-copy"].map(|ending| beside(to, ending));
    let logs = [&copy, &access_copy].map(|copy| ["-wal", "-shm"].map(|ending| beside(copy, ending))).concat();
    let _scratch = Scratch([&[partial.clone(), copy.clone(), access_copy.clone()], &logs[..]].concat());
    let cannot = |e: io::Error| Error::File(format!("The backup {} cannot be written: {e}", to.display()));
    let archive = private_file(&partial).map_err(cannot)?;
    private_file(&copy).map_err(cannot)?;
    // Users and keys first: a key of an organisation that is made meanwhile is in neither.
    let users_and_keys = access::path(database);
    let access_copy = if users_and_keys.exists() {
        private_file(&access_copy).map_err(cannot)?;
        file::copy(&users_and_keys, &access_copy).await?;
        file::gather(&access_copy).await?;
        Some(access_copy)
    } else {
        None
    };
    file::copy(database, &copy).await?;
    let mut manifest = Manifest {
        form: FORM,
        muster: env!("CARGO_PKG_VERSION").to_owned(),
        schema: SCHEMA_VERSION,
        made_at: Utc::now(),
        epoch: Uuid::nil(),
        organisations: Vec::new(),
        payloads_gone: 0,
        parts: Vec::new(),
    };
    let named = named_payloads(&copy, &mut manifest).await?;
    file::gather(&copy).await?;
    tokio::task::block_in_place(|| {
        write(Writer::new(archive), &copy, access_copy.as_deref(), data_dir, named, &mut manifest)
    })
    .map_err(cannot)?;
    crash::point("backup");
    fs::rename(&partial, to).map_err(cannot)?;
    sync_dir(to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))).map_err(cannot)?;
    Ok(manifest)
}

/// The payloads that the copy of the database knows. They were durable before it did, and never change.
async fn named_payloads(copy: &Path, manifest: &mut Manifest) -> Result<Vec<(OrganisationId, Upload)>> {
    let store = Store::open(&format!("sqlite:{}", copy.display())).await?;
    manifest.epoch = store.epoch().await?;
    let mut named = Vec::new();
    for row in store.organisations().await? {
        manifest.organisations.push((row.slug.clone(), store.head(row.id).await?.last_seq));
        for upload in store.uploads(row.id, &Filter::default()).await? {
            let upload: Upload = serde_json::from_slice(&upload.doc)?;
            // What was done by hand has no payload.
            if !upload.received.blake3.is_empty() {
                named.push((row.id, upload));
            }
        }
    }
    store.close().await;
    Ok(named)
}

fn write(
    mut archive: Writer,
    copy: &Path,
    access_copy: Option<&Path>,
    data_dir: &Path,
    named: Vec<(OrganisationId, Upload)>,
    manifest: &mut Manifest,
) -> io::Result<()> {
    manifest.parts.push(archive.add_packed(DATABASE, &mut File::open(copy)?)?);
    if let Some(access) = access_copy {
        manifest.parts.push(archive.add_packed(ACCESS, &mut File::open(access)?)?);
    }
    let payloads = Payloads::new(data_dir);
    for (organisation, upload) in named {
        let upload = upload.received.upload;
        let mut payload = match File::open(payloads.path(organisation, upload)) {
            Ok(payload) => payload,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                manifest.payloads_gone += 1;
                continue;
            }
            Err(e) => return Err(e),
        };
        manifest.parts.push(archive.add_packed(&format!("payloads/{organisation}/{upload}.zst"), &mut payload)?);
    }
    let text = serde_json::to_vec(manifest)?;
    archive.add(MANIFEST, &text)?;
    archive.add(SEAL, blake3::hash(&text).to_hex().as_bytes())?;
    archive.finish()
}
