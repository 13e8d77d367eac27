//! The crate graph keeps to its rules, and what Muster is built from may be used: all without the network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;

/// Muster's own crates and which of one another each may be built on. A crate exists to forbid a dependency.
const LAYERS: &[(&str, &[&str])] = &[
    ("muster-domain", &[]),
    ("muster-intake", &["muster-domain"]),
    ("muster-store", &["muster-domain"]),
    ("muster-bus", &["muster-domain"]),
    ("muster-engine", &["muster-domain", "muster-intake", "muster-store", "muster-bus"]),
    ("muster-server", &["muster-domain", "muster-intake", "muster-store", "muster-bus", "muster-engine"]),
    ("muster", &["muster-domain", "muster-intake", "muster-store", "muster-bus", "muster-engine", "muster-server"]),
];

/// For tests only: nothing that is shipped may depend on them.
const TEST_CRATES: &[&str] = &["muster-testkit", "muster-tests"];

/// Crates that only one of ours speaks to.
const AT_HOME: &[(&str, &str)] = &[
    ("encoding_rs", "muster-intake"),
    ("flate2", "muster-intake"),
    ("quick-xml", "muster-intake"),
    ("zip", "muster-intake"),
    ("sqlx", "muster-store"),
    ("lapin", "muster-bus"),
    ("argon2", "muster-engine"),
    ("rust_xlsxwriter", "muster-engine"),
    ("rpassword", "muster"),
    ("axum", "muster-server"),
    ("pulldown-cmark", "muster-server"),
    ("clap", "muster"),
    ("anyhow", "muster"),
];

/// What `domain` must not reach, however far down: a runtime, a socket, a database, a terminal.
const IMPURE: &[&str] = &[
    "async-std", "axum", "fs-err", "futures-executor", "hyper", "lapin", "mio", "object_store", "reqwest", "rusqlite",
    "smol", "socket2", "sqlx", "sqlx-core", "tempfile", "tokio", "tracing", "walkdir",
];

/// What `domain` may reach but not call: time, ids, randomness and the world are arguments there.
const IMPURE_CALLS: &[&str] = &[
    "std::fs", "std::net", "std::io", "std::env", "std::process", "std::thread", "std::time::SystemTime",
    "SystemTime::now", "Instant::now", "Utc::now", "Local::now", "new_v4(", "now_v7(", "getrandom", "async fn",
    ".await", "println!", "eprintln!",
];

/// Licences under which code may become part of Muster.
const LICENCES: &[&str] = &[
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
];

/// Crates that must not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "a C library of the system: rustls instead"),
    ("openssl-sys", "a C library of the system: rustls instead"),
    ("native-tls", "a C library of the system: rustls instead"),
    ("ansi_term", "unmaintained (RUSTSEC-2021-0139)"),
    ("atty", "unsound and unmaintained (RUSTSEC-2021-0145)"),
    ("backoff", "unmaintained (RUSTSEC-2025-0012)"),
    ("chrono-english", "guesses at dates; ambiguous ones are an issue here"),
    ("dotenv", "unmaintained (RUSTSEC-2021-0141)"),
    ("failure", "unsound and unmaintained (RUSTSEC-2020-0036)"),
    ("net2", "unmaintained (RUSTSEC-2020-0016)"),
    ("serde_yml", "unsound and unmaintained (RUSTSEC-2025-0068)"),
    ("users", "unsound and unmaintained (RUSTSEC-2023-0059)"),
    ("yaml-rust", "unmaintained (RUSTSEC-2024-0320)"),
];

/// Crates of which two incompatible versions are in the build, and why that cannot be helped yet.
const TWICE: &[(&str, &str)] = &[
    ("base64", "sqlx-core 0.9 is on 0.22"),
    ("block-buffer", "follows digest"),
    ("cpufeatures", "follows sha2"),
    ("crypto-common", "follows digest"),
    ("digest", "follows sha2"),
    ("getrandom", "proptest, tempfile and uuid move at their own pace"),
    ("hashbrown", "sqlx-core 0.9 is on 0.16, indexmap on 0.17"),
    ("phf", "cron 0.17 is on 0.11, chrono-tz on 0.12"),
    ("phf_shared", "follows phf"),
    ("rand", "phf 0.11, which cron asks for while it is compiled, is on 0.8"),
    ("rand_chacha", "follows rand"),
    ("rand_core", "follows rand"),
    ("sha2", "sqlx-core 0.9 is on 0.10"),
    ("syn", "half of the derive macros are still on 2"),
    ("thiserror", "half of our dependencies are still on 1"),
    ("thiserror-impl", "follows thiserror"),
    ("windows-sys", "not built here"),
    ("winnow", "cron 0.17 is on 0.7, toml on 1"),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// The graph as the lock file has it, for this platform: other platforms' crates need not be on the machine.
static GRAPH: LazyLock<Metadata> = LazyLock::new(|| {
    let run = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", &host()])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        run.status.success(),
        "cargo metadata failed; is Cargo.lock in step with the manifests, and has `cargo fetch` run?\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).expect("the form of cargo metadata, version 1")
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the repository")
}

fn host() -> String {
    let run = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(run.stdout).expect("UTF-8");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host line").to_owned()
}

fn ours() -> impl Iterator<Item = &'static Package> {
    GRAPH.packages.iter().filter(|package| GRAPH.workspace_members.contains(&package.id))
}

fn others() -> impl Iterator<Item = &'static Package> {
    GRAPH.packages.iter().filter(|package| !GRAPH.workspace_members.contains(&package.id))
}

/// What a package needs when it is built for use, not for its own tests.
fn shipped(package: &Package) -> impl Iterator<Item = &str> {
    package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")).map(|d| d.name.as_str())
}

/// Everything that the package reaches when it is built for use.
fn closure(name: &str) -> BTreeSet<&'static str> {
    let nodes: BTreeMap<&str, &Node> = GRAPH.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let names: BTreeMap<&str, &str> = GRAPH.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let start = ours().find(|package| package.name == name).expect("a crate of ours");
    let (mut reached, mut open) = (BTreeSet::new(), vec![start.id.as_str()]);
    while let Some(id) = open.pop() {
        for edge in &nodes[id].deps {
            let in_use = edge.dep_kinds.iter().any(|k| k.kind.is_none());
            if in_use && reached.insert(edge.pkg.as_str()) {
                open.push(&edge.pkg);
            }
        }
    }
    reached.into_iter().map(|id| names[id]).collect()
}

fn none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_crate_keeps_to_its_layer() {
    let mut wrong = vec![];
    for package in ours().filter(|package| !TEST_CRATES.contains(&package.name.as_str())) {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} has no place in LAYERS of tests/src/crates.rs", package.name));
            continue;
        };
        for needed in shipped(package).filter(|name| *name == "muster" || name.starts_with("muster-")) {
            if !allowed.contains(&needed) {
                wrong.push(format!("{} depends on {needed}", package.name));
            }
        }
    }
    none(wrong, "the crate graph is broken");
}

#[test]
fn what_is_shipped_depends_on_no_test_crate() {
    let wrong = ours()
        .filter(|package| !TEST_CRATES.contains(&package.name.as_str()))
        .flat_map(|package| {
            shipped(package).filter(|d| TEST_CRATES.contains(d)).map(|d| format!("{} on {d}", package.name))
        })
        .collect();
    none(wrong, "for tests only, so put it under dev-dependencies");
}

#[test]
fn a_crate_with_a_home_is_used_nowhere_else() {
    let mut wrong = vec![];
    for package in ours().filter(|package| !TEST_CRATES.contains(&package.name.as_str())) {
        for (guest, home) in AT_HOME {
            if package.name != *home && shipped(package).any(|d| d == *guest) {
                wrong.push(format!("{} uses {guest}, which only {home} may", package.name));
            }
        }
    }
    none(wrong, "a crate has left its home");
}

#[test]
fn domain_reaches_no_crate_that_does_input_or_output() {
    let reached = closure("muster-domain");
    assert!(reached.contains("serde"), "the graph was read");
    let wrong = IMPURE.iter().filter(|name| reached.contains(*name)).map(|name| (*name).to_owned()).collect();
    none(wrong, "domain is pure, but reaches");
}

#[test]
fn domain_asks_neither_clock_nor_chance_nor_world() {
    let mut wrong = vec![];
    let mut open = vec![root().join("crates/domain/src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        if path.extension().is_none_or(|e| e != "rs") || path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        // A file's own tests stand at its end.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for call in IMPURE_CALLS.iter().filter(|call| line.contains(**call)) {
                // The form of an exported log is the domain's; the readers and writers are whatever the caller brings,
                // and threads that only share out the unpacking give the same whichever of them is first.
                if matches!(*call, "std::io" | "std::thread")
                    && path.components().any(|c| c.as_os_str().to_string_lossy().starts_with("replay"))
                {
                    continue;
                }
                wrong.push(format!("{}:{}: {call}", path.display(), number + 1));
            }
        }
    }
    none(wrong, "domain is pure, but says");
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let wrong = others()
        .filter(|package| package.source.as_deref() != Some(registry))
        .map(|package| format!("{} {} from {:?}", package.name, package.version, package.source))
        .chain(ours().filter(|package| !package.manifest_path.starts_with(root())).map(|package| package.name.clone()))
        .collect();
    none(wrong, "not from crates.io");
}

#[test]
fn every_dependency_has_a_licence_that_we_may_use() {
    let wrong = GRAPH
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(may_use))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    none(wrong, "look at the licence, then add it to LICENCES or choose another crate");
}

#[test]
fn no_banned_crate_comes_in() {
    let wrong = GRAPH
        .packages
        .iter()
        .filter_map(|package| BANNED.iter().find(|(name, _)| *name == package.name))
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    none(wrong, "banned");
}

#[test]
fn no_crate_comes_in_twice_without_a_reason() {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &GRAPH.packages {
        versions.entry(&package.name).or_default().insert(compatible(&package.version));
    }
    let wrong = versions
        .into_iter()
        .filter(|(name, found)| found.len() > 1 && !TWICE.iter().any(|(known, _)| known == name))
        .map(|(name, found)| format!("{name}: {}", found.into_iter().collect::<Vec<_>>().join(" and ")))
        .collect();
    none(wrong, "use one version, or write the reason down in TWICE");
}

#[test]
fn every_crate_of_ours_has_our_licence_and_is_not_published() {
    for package in ours() {
        assert_eq!(package.license.as_deref(), Some("MIT OR Apache-2.0"), "{}", package.name);
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
}

/// The part of a version within which Cargo takes one for another: `1`, `0.9`, `0.0.3`.
fn compatible(version: &str) -> String {
    let mut parts = version.split(['.', '+', '-']);
    let mut kept = vec![];
    for part in parts.by_ref().take(3) {
        kept.push(part);
        if part != "0" {
            break;
        }
    }
    kept.join(".")
}

/// Whether an SPDX expression leaves a way that is allowed. The old `MIT/Apache-2.0` means "or".
fn may_use(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = either(&mut rest);
    allowed && rest.is_empty()
}

fn either(rest: &mut &[&str]) -> bool {
    let mut allowed = both(rest);
    while take(rest, "OR") {
        allowed |= both(rest);
    }
    allowed
}

fn both(rest: &mut &[&str]) -> bool {
    let mut allowed = one(rest);
    while take(rest, "AND") {
        allowed &= one(rest);
    }
    allowed
}

fn one(rest: &mut &[&str]) -> bool {
    if take(rest, "(") {
        let allowed = either(rest);
        return take(rest, ")") && allowed;
    }
    let Some((licence, after)) = rest.split_first() else { return false };
    *rest = after;
    if take(rest, "WITH")
        && let Some((exception, after)) = rest.split_first()
    {
        *rest = after;
        return LICENCES.contains(&format!("{licence} WITH {exception}").as_str());
    }
    LICENCES.contains(licence)
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == word => {
            *rest = after;
            true
        }
        _ => false,
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for fine in ["MIT", "MIT/GPL-3.0", "GPL-3.0 OR (MIT AND Unicode-3.0)", "Apache-2.0 WITH LLVM-exception"] {
        assert!(may_use(fine), "{fine}");
    }
    for not in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND AGPL-3.0",
        "GPL-2.0 WITH Classpath-exception",
        "(MIT",
    ] {
        assert!(!may_use(not), "{not}");
    }
    assert_eq!(["1.2.3", "0.9.1", "0.0.3", "2.0.0-rc.1"].map(compatible), ["1", "0.9", "0.0.3", "2"]);
}
