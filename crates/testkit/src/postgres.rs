//! A private PostgreSQL for tests: on a unix socket in a directory of its own, run by an ordinary user, always stopped.
//!
//! The server given by `MUSTER_TEST_POSTGRES_URL` (a superuser's address) is used if there is one; else each
//! test process starts its own. A watchdog of the shell waits for the end of a pipe that this process holds,
//! so the server is stopped and its directory removed however the process ends, SIGKILL included.

use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use uuid::Uuid;

use crate::ordinary::{OrdinaryUser, as_user, own_directory};

/// Names an existing server to use instead of starting one.
pub const URL_VARIABLE: &str = "MUSTER_TEST_POSTGRES_URL";

/// A running server. It can be stopped and started again by whoever started it for themselves.
pub struct Server {
    url: String,
    bin: PathBuf,
    dir: PathBuf,
    user: Option<OrdinaryUser>,
    /// Its standard input is the pipe whose end stops the server.
    _watchdog: Child,
}

impl Server {
    /// Starts a server. It runs until this process ends.
    pub fn start() -> Result<Server> {
        let bin = bin_dir()?;
        let user = OrdinaryUser::find(&["postgres", "nobody"])?;
        let dir = own_directory("muster-pg-", user.as_ref())?;
        // From here on the directory goes whatever happens.
        let watchdog = watch(&bin, &dir, user.as_ref())?;
        let data = dir.join("data");
        let initdb = as_user(user.as_ref(), &bin.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(&dir)
            .output()?;
        check("initdb", &initdb)?;
        let url = format!("postgres://postgres@localhost/postgres?host={}", dir.display());
        let server = Server { url, bin, dir, user, _watchdog: watchdog };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it again, after [`Server::stop`].
    pub fn start_again(&self) -> Result<()> {
        let dir = &self.dir;
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c max_connections=200 -c shared_buffers=64MB",
            dir.display()
        );
        let start = self.control("start").arg("--log").arg(dir.join("log")).args(["--options", &options]).status()?;
        if start.success() {
            return Ok(());
        }
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        Err(Error::other(format!("PostgreSQL did not start: {log}")))
    }

    /// Stops it, and with it all that is under way.
    pub fn stop(&self) -> Result<()> {
        self.end("fast")
    }

    /// Stops it as a crash does: what was not written yet must come from its write-ahead log.
    pub fn crash(&self) -> Result<()> {
        self.end("immediate")
    }

    fn end(&self, mode: &str) -> Result<()> {
        let stop = self.control("stop").args(["--mode", mode]).status()?;
        if stop.success() { Ok(()) } else { Err(Error::other("PostgreSQL did not stop")) }
    }

    fn control(&self, what: &str) -> Command {
        let mut command = as_user(self.user.as_ref(), &self.bin.join("pg_ctl"));
        command.args([what, "--wait", "--silent", "-D"]).arg(self.dir.join("data")).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The superuser's address of the database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A new database on the tests' server, and its address.
pub fn create_database() -> Result<String> {
    static SERVER: OnceLock<std::result::Result<Server, String>> = OnceLock::new();
    let server = match std::env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ => match SERVER.get_or_init(|| Server::start().map_err(|e| e.to_string())) {
            Ok(server) => server.url.clone(),
            Err(why) => return Err(Error::other(why.clone())),
        },
    };
    let name = format!("muster_{}", Uuid::now_v7().simple());
    let psql = Command::new(bin_dir()?.join("psql"))
        .args(["--no-psqlrc", "--quiet", "-d", &server, "-c", &format!("CREATE DATABASE {name}")])
        .stdin(Stdio::null())
        .output()?;
    check("psql", &psql)?;
    with_database(&server, &name)
}

/// One of the server's programs, such as `pg_dump`.
///
/// # Errors
/// If PostgreSQL is not installed.
pub fn program(name: &str) -> Result<Command> {
    Ok(Command::new(bin_dir()?.join(name)))
}

/// The same address with another database.
fn with_database(url: &str, name: &str) -> Result<String> {
    let (address, query) = url.split_once('?').map_or((url, None), |(a, q)| (a, Some(q)));
    let authority = address.find("://").map(|i| i + 3).ok_or_else(|| Error::other("not an address"))?;
    let end = address[authority..].find('/').map_or(address.len(), |i| authority + i);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    Ok(format!("{}/{name}{query}", &address[..end]))
}

/// Where the server's programs are: Debian keeps them beside the path, by version.
fn bin_dir() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let bin = entry.path().join("bin");
        if let (Some(version), true) =
            (entry.file_name().to_str().and_then(|v| v.parse().ok()), bin.join("initdb").exists())
        {
            found.push((version, bin));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|dir| dir.join("initdb").exists());
    found
        .into_iter()
        .max()
        .map(|f| f.1)
        .or(on_path)
        .ok_or_else(|| Error::other("PostgreSQL is not installed: no initdb"))
}

/// Waits for the end of its input in a process group of its own, then stops the server and removes its directory.
fn watch(bin: &Path, dir: &Path, user: Option<&OrdinaryUser>) -> Result<Child> {
    let script = "cat >/dev/null; \"$0/pg_ctl\" stop --silent --mode=immediate -D \"$1/data\"; rm -rf \"$1\"";
    let mut command = as_user(user, Path::new("/bin/sh"));
    command.args(["-c", script]).arg(bin).arg(dir).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn check(what: &str, output: &std::process::Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(Error::other(format!("{what} failed: {}", String::from_utf8_lossy(&output.stderr))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_an_address_is_replaced() {
        let with = |url| with_database(url, "x").unwrap();
        assert_eq!(
            with("postgres://postgres@localhost/postgres?host=/tmp/a"),
            "postgres://postgres@localhost/x?host=/tmp/a"
        );
        assert_eq!(with("postgres://u:p@h:5432"), "postgres://u:p@h:5432/x");
    }
}
