//! The real binary over a database of its own, on either engine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

/// Where the store lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A file.
    Sqlite,
    /// A database of a private server.
    Postgres,
}

/// An installation: a database, a data directory, and the binary.
pub struct Muster {
    /// Everything of it.
    pub dir: TempDir,
    /// The address of its database.
    pub database: String,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The document that it printed.
    pub json: Value,
    /// What it said on standard error.
    pub stderr: String,
}

/// The binary: the one that `tests/run` built, else built here once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("MUSTER_BIN") {
            return path.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = Command::new(env!("CARGO")).args(["build", "-p", "muster"]).current_dir(&root).status().unwrap();
        assert!(built.success(), "muster does not build");
        root.join("target/debug/muster")
    })
}

impl Muster {
    /// A fresh installation with an organisation `acme` whose pushes apply by themselves.
    pub fn new(on: On) -> Muster {
        Muster::empty(on).with_acme()
    }

    /// A fresh installation without any organisation.
    pub fn empty(on: On) -> Muster {
        let dir = tempfile::tempdir().unwrap();
        let database = match on {
            On::Sqlite => format!("sqlite:{}", dir.path().join("muster.db").display()),
            On::Postgres => muster_testkit::postgres::create_database().expect("a private PostgreSQL"),
        };
        let muster = Muster { dir, database };
        if on == On::Postgres {
            assert_eq!(muster.run(&["migrate"]).code, Some(0));
        }
        muster
    }

    /// An installation on a PostgreSQL of one's own, with an organisation `acme` whose pushes apply by themselves.
    pub fn on_server(server: &muster_testkit::postgres::Server) -> Muster {
        let muster = Muster { dir: tempfile::tempdir().unwrap(), database: server.url().to_owned() };
        muster.ok(&["migrate"]);
        muster.with_acme()
    }

    fn with_acme(self) -> Muster {
        self.ok(&["org", "create", "acme", "--name", "Acme"]);
        self.ok(&["org", "set", "acme", "guard.first_import=off", "policy.upload=apply"]);
        self
    }

    /// The command, ready to be run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(["--json", "--no-progress", "--database", &self.database, "--actor", "test", "--data-dir"]);
        command
            .arg(self.dir.path())
            .args(args)
            .stdin(Stdio::null())
            .env_remove("MUSTER_CRASH_AT")
            .env_remove("MUSTER_AMQP_URL");
        command
    }

    /// The log of acme, as it is exported.
    pub fn log(&self) -> Vec<u8> {
        self.log_of("acme")
    }

    /// The log of an organisation, as it is exported.
    pub fn log_of(&self, slug: &str) -> Vec<u8> {
        let mut command = Command::new(binary());
        command.args(["--database", &self.database, "events", "export", "--org", slug]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Runs a command.
    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Runs a command that has to succeed.
    pub fn ok(&self, args: &[&str]) -> Value {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {} {}", ran.json, ran.stderr);
        ran.json
    }

    /// What a command says to a person; it has to succeed.
    pub fn says(&self, args: &[&str]) -> String {
        let mut command = Command::new(binary());
        let output = command.args(["--no-progress", "--database", &self.database, "--data-dir"]).arg(self.dir.path());
        let output = output.args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command in a test build that dies at a named point.
    pub fn dying_at(&self, point: &str, args: &[&str]) -> Ran {
        ran(self.command(args).env("MUSTER_CRASH_AT", point).output().unwrap())
    }

    /// Writes a file.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// The log and the store agree with each other.
    pub fn verify(&self) {
        let ran = self.run(&["verify", "--org", "acme"]);
        assert_eq!(ran.code, Some(0), "verify: {} {}", ran.json, ran.stderr);
    }

    /// The roster, a line a person in order of keys: key and fields, without what differs from one installation to another.
    pub fn roster(&self) -> String {
        let document = self.ok(&["members", "list", "--org", "acme", "--limit", "0"]);
        let members = document["members"].as_array().expect("members");
        let mut lines: Vec<String> = members.iter().map(|m| format!("{} {}", m["key"], m["fields"])).collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

/// The first line in which two rosters differ; nothing if they are the same.
pub fn difference(one: &str, other: &str) -> Option<String> {
    let (mut a, mut b) = (one.lines(), other.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some(format!("{a:?} is not {b:?}")),
        }
    }
}

fn ran(output: Output) -> Ran {
    let stdout = String::from_utf8(output.stdout).unwrap();
    Ran {
        code: output.status.code(),
        json: serde_json::from_str(&stdout).unwrap_or(Value::String(stdout)),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A feed of so many people; `change` alters some of them.
pub fn feed(people: std::ops::Range<u32>, department: &str) -> String {
    let mut csv = String::from("Employee ID,First Name,Last Name,Work Email,Date of Birth,Department\n");
    for i in people {
        csv.push_str(&format!("E{i:04},First{i},Last{i},p{i}@example.com,19{:02}-01-02,{department}\n", i % 90 + 10));
    }
    csv
}
