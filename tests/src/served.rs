//! A real `muster serve` of an installation, on a free port, and what it answers.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Deserializer, Value};

use crate::muster::Muster;

/// How long anything may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A process that serves. It is killed when this value is dropped.
pub struct Served {
    child: Child,
    address: SocketAddr,
    log: std::path::PathBuf,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header lines.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as a document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Served {
    /// Starts it and waits until it listens.
    pub fn start(muster: &Muster, more: &[&str]) -> Served {
        Served::begin(muster, more, |_| {})
    }

    /// The same, at a certain address.
    pub fn at(muster: &Muster, listen: &str, more: &[&str]) -> Served {
        Served::begin_at(muster, listen, more, |_| {})
    }

    /// The same, with something more done to the command.
    pub fn begin(muster: &Muster, more: &[&str], change: impl FnOnce(&mut Command)) -> Served {
        Served::begin_at(muster, "127.0.0.1:0", more, change)
    }

    fn begin_at(muster: &Muster, listen: &str, more: &[&str], change: impl FnOnce(&mut Command)) -> Served {
        let mut command = muster.command(&[&["-v", "serve", "--listen", listen], more].concat());
        let log = tempfile::Builder::new().prefix("serve-").suffix(".log").tempfile_in(muster.dir.path()).unwrap();
        let log = log.into_temp_path().keep().unwrap();
        let stderr = File::options().append(true).open(&log).unwrap();
        command.env_remove("MUSTER_AMQP_URL");
        change(&mut command);
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let document = Deserializer::from_reader(stdout).into_iter::<Value>().next();
        let Some(Ok(document)) = document else {
            let _ = child.wait();
            panic!("muster serve did not begin: {}", std::fs::read_to_string(&log).unwrap_or_default())
        };
        Served { child, address: document["listening"].as_str().unwrap().parse().unwrap(), log }
    }

    /// What it answers.
    pub fn get(&self, path: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers: head.to_lowercase(), body: body.to_owned() }
    }

    /// The value of a metric, with its labels; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("/bin/sh").args(["-c", "kill -$0 $1", name, &self.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Whether it is stopped by a signal.
    pub fn is_frozen(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name of the program stands in parentheses and may hold anything; the state follows it.
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }

    /// Whether it is in the middle of writing a file: it holds SQLite's lock for that, the first of a WAL index
    /// (<https://sqlite.org/walformat.html#wal_locks>), as the kernel tells.
    pub fn writes_a_file(&self) -> bool {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let id = self.id().to_string();
        locks.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words[..], [.., "WRITE", pid, _, "120", "120"] if pid == id)
        })
    }

    /// Kills it at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to end, and waits until it has.
    pub fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        within("the end of muster serve", || self.has_ended())
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.address, self.log());
        }
    }
}

/// A prefix of its own keeps a test apart from others on the same broker.
pub fn prefix() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}

/// Waits until something is there, for as long as we have patience. A look that took long, as when everything here was
/// stopped for a while, counts as no more than a second, for whoever is waited for was stopped as well.
pub fn within<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    within_at_most(PATIENCE, what, found)
}

/// The same with another limit, where how soon it comes is what is tried.
pub fn within_at_most<T>(patience: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    const MOST: Duration = Duration::from_secs(1);
    let mut waited = Duration::ZERO;
    loop {
        let began = Instant::now();
        if let Some(found) = found() {
            return found;
        }
        assert!(waited < patience, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
        waited += began.elapsed().min(MOST);
    }
}

/// Waits until something is so, for as long as we have patience.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    within(what, || is_so().then_some(()));
}
