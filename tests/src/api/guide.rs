//! The guide, followed: every example on it is run in its order against a real server, with real curl and python3, and answers
//! what the guide shows.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    muster::{Muster, On, binary},
    served::Served,
};

/// A fenced block: what it is marked as, and what is in it.
struct Block {
    line: usize,
    mark: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(mark), false) => {
                blocks.push(Block { line: number + 1, mark: mark.to_owned(), text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// A reader of the guide, in a directory of their own, with what they have set in their shell.
struct Reader<'a> {
    muster: &'a Muster,
    served: &'a Served,
    home: tempfile::TempDir,
}

impl Reader<'_> {
    fn command(&self, program: &str) -> Command {
        let beside = binary().parent().unwrap().display();
        let mut command = Command::new(program);
        command
            .current_dir(self.home.path())
            .env("PATH", format!("{beside}:{}", std::env::var("PATH").unwrap()))
            .env("MUSTER_URL", format!("http://{}", self.served.address()))
            .env("MUSTER_DATABASE_URL", &self.muster.database)
            .env("MUSTER_DATA_DIR", self.muster.dir.path())
            .env_remove("MUSTER_KEY_FILE");
        command
    }

    /// Runs a block as if it were typed into the same shell as those before it.
    fn run(&self, block: &Block) -> Output {
        let script = match block.mark.as_str() {
            "python" => {
                fs::write(self.home.path().join("example.py"), &block.text).unwrap();
                "python3 example.py\n"
            }
            _ => &block.text,
        };
        let script = format!("set -eu\n[ ! -e .typed ] || . ./.typed\nset -a\n{script}\nset +a\nexport -p >.typed\n");
        self.command("sh").args(["-c", &script]).output().unwrap()
    }

    /// The key that was shown is the one that is used from here on.
    fn keep(&self, key: &str) {
        let mut typed = OpenOptions::new().append(true).open(self.home.path().join(".typed")).unwrap();
        writeln!(typed, "export MUSTER_KEY='{key}'").unwrap();
    }
}

/// The key that a command shows.
fn key_in(said: &str) -> Option<&str> {
    let key = &said[said.find("mk_live_")?..];
    let end = key.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(key.len());
    Some(&key[..end])
}

/// Whether a text is what is shown, where `…` stands for anything.
fn is_like(shown: &str, found: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| found.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Where an answer is not what is shown; it may have more members.
fn difference(shown: &Value, found: &Value, place: &str) -> Option<String> {
    match (shown, found) {
        (Value::Object(shown), Value::Object(found)) => shown.iter().find_map(|(name, value)| {
            difference(value, found.get(name).unwrap_or(&Value::from("nothing at all")), &format!("{place}/{name}"))
        }),
        (Value::Array(shown), Value::Array(found)) if shown.len() == found.len() => {
            let pairs = shown.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(no, (shown, found))| difference(shown, found, &format!("{place}/{no}")))
        }
        (Value::String(shown), Value::String(found)) if is_like(shown, found) => None,
        (shown, found) if shown == found => None,
        (shown, found) => Some(format!("{place} is {found}, and the guide shows {shown}")),
    }
}

fn documents(text: &str) -> Vec<Value> {
    let read: Result<_, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    read.unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn check(block: &Block, answer: &Block, said: &str) {
    let line = answer.line;
    if answer.mark == "text" {
        assert!(is_like(&answer.text, said), "line {line} shows\n{}and there is\n{said}", answer.text);
        return;
    }
    let (shown, found) = (Value::Array(documents(&answer.text)), Value::Array(documents(said)));
    let differs = difference(&shown, &found, "");
    assert!(differs.is_none(), "line {line}: {}\n{}\n{said}", differs.unwrap_or_default(), block.text);
}

#[test]
fn the_guide_can_be_followed_from_its_first_line_to_its_last() {
    let muster = Muster::empty(On::Sqlite);
    muster.ok(&["org", "create", "acme", "--name", "Acme Ltd"]);
    let served = Served::start(&muster, &[]);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")).unwrap();
    let blocks = blocks(&page);
    let reader = Reader { muster: &muster, served: &served, home: tempfile::tempdir().unwrap() };
    let mut met = std::collections::BTreeMap::<&str, usize>::new();
    for (no, block) in blocks.iter().enumerate() {
        *met.entry(&block.mark).or_default() += 1;
        if !["sh", "python"].contains(&block.mark.as_str()) {
            let after = no.checked_sub(1).map(|before| blocks[before].mark.as_str());
            assert!(matches!(after, Some("sh" | "python")), "line {}: an answer to nothing", block.line);
            continue;
        }
        let output = reader.run(block);
        // A terminal does not show the carriage returns of HTTP.
        let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "line {}: {}\n{said}{why}", block.line, block.text);
        if let Some(key) = key_in(&said) {
            reader.keep(key);
        }
        let answer = blocks.get(no + 1).filter(|b| ["json", "text"].contains(&b.mark.as_str()));
        if let Some(answer) = answer {
            check(block, answer, &said);
        }
    }
    assert!(met["sh"] > 15 && met["python"] == 1 && met["json"] + met["text"] > 15, "{met:?}");
    muster.verify();
}

/// The subcommands that a command lists in its help.
fn listed(muster: &Muster, command: &[&str]) -> Vec<String> {
    let help = muster.says(&[command, &["--help"]].concat());
    let Some((_, listed)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_its_place_in_the_table_and_every_address_there_is_one() {
    let muster = Muster::empty(On::Sqlite);
    let served = Served::start(&muster, &[]);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")).unwrap();
    let (_, table) = page.split_once("| on the command line | over HTTP |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let is_command = |text: &String| text.starts_with("muster ");
    let mut named: Vec<String> = rows.iter().flat_map(|row| quoted(row)).filter(is_command).collect();
    let mut there = Vec::new();
    for command in listed(&muster, &[]) {
        let below = listed(&muster, &[&command]);
        there.extend(below.iter().map(|name| format!("muster {command} {name}")));
        there.extend(below.is_empty().then(|| format!("muster {command}")));
    }
    named.sort();
    there.sort();
    assert_eq!(named, there, "the table in docs/api.md names every command once");
    let document = served.get("/openapi.json").json();
    let is_address = |text: &String| ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "].iter().any(|m| text.starts_with(m));
    let addresses: Vec<String> = rows.iter().flat_map(|row| quoted(row)).filter(is_address).collect();
    assert!(addresses.len() > 40, "{addresses:?}");
    for address in addresses {
        let (method, path) = address.split_once(' ').unwrap();
        let item = &document["paths"][format!("/api/v1{path}")];
        let is_there = item.get(method.to_lowercase()).is_some();
        assert!(is_there, "there is no {address}");
    }
}

#[test]
fn an_answer_that_is_not_the_one_shown_is_noticed() {
    for (shown, found, is) in [
        ("a…c", "abbc", true),
        ("a…c", "ab", false),
        ("…b…", "abc", true),
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a…b…c", "acb", false),
    ] {
        assert_eq!(is_like(shown, found), is, "{shown} {found}");
    }
    let found = documents(r#"{"a":[{"b":"xyz","c":1}],"d":null}"#).remove(0);
    for (shown, place) in [
        (r#"{"a":[{"b":"x…"}]}"#, None),
        (r#"{"a":[{"b":"y…"}]}"#, Some("/a/0/b")),
        (r#"{"a":[]}"#, Some("/a")),
        (r#"{"d":null,"e":null}"#, Some("/e")),
        (r#"{"a":[{"c":2}]}"#, Some("/a/0/c")),
    ] {
        let differs = difference(&documents(shown)[0], &found, "");
        assert_eq!(differs.as_deref().and_then(|d| d.split(' ').next()), place, "{shown}");
    }
}
