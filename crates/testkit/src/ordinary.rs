//! Somebody to run private servers as: PostgreSQL refuses to run as root, and RabbitMQ has no need to.

use std::io::{Error, Result};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user of this machine who is not root.
#[derive(Clone, Copy)]
pub(crate) struct OrdinaryUser {
    uid: u32,
    gid: u32,
}

impl OrdinaryUser {
    /// Somebody to run as, if we are root: the first of the names that exists.
    pub fn find(names: &[&str]) -> Result<Option<OrdinaryUser>> {
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd")?;
        let of = |name: &&str| {
            let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some(OrdinaryUser { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        };
        names.iter().find_map(of).map(Some).ok_or_else(|| Error::other("no ordinary user to run a server as"))
    }
}

/// A program that will run as that user, or as ourselves.
pub(crate) fn as_user(user: Option<&OrdinaryUser>, program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid).env("HOME", "/tmp");
    }
    command
}

/// A new directory below `/tmp` that is that user's alone. Nobody removes it but the caller.
pub(crate) fn own_directory(prefix: &str, user: Option<&OrdinaryUser>) -> Result<PathBuf> {
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp")?.keep();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))?;
    if let Some(user) = user {
        chown(&dir, Some(user.uid), Some(user.gid))?;
    }
    Ok(dir)
}
