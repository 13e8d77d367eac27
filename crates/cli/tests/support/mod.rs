//! The real binary, run in a directory of its own with a clean environment.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A directory in which commands are run.
pub struct Place {
    dir: TempDir,
}

#[allow(dead_code, reason = "not every test file needs all of it")]
impl Place {
    /// An empty one.
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().expect("a directory") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file into it.
    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("a file");
    }

    /// The command with these words, parted at spaces.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(line.split_whitespace()).current_dir(self.path()).env_clear();
        command
    }

    /// Runs it.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("muster runs")
    }

    /// Runs it, and expects this exit code.
    pub fn expect(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "muster {line}\n{out}{err}");
        format!("{out}{err}")
    }

    /// Runs it with `--json`, and expects this exit code and exactly one document.
    pub fn json(&self, code: i32, line: &str) -> Value {
        let line = format!("{line} --json");
        let output = self.run(&line);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "muster {line}\n{out}{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "muster {line}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("muster {line}: {e}\n{out}"))
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
