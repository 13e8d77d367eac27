//! What the documents name exists: every path, and for every rule the test that keeps it.

use std::path::{Path, PathBuf};

/// How a path of this repository begins, when a document puts it between backticks.
const PLACES: &[&str] = &["crates/", "docs/", "fixtures/", "migrations/", "tests/", ".ci/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the repository")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and every Markdown page under docs/, decision records too.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let mut open = vec![root().join("docs")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What stands between backticks, with its line number; fenced blocks are commands and output, not paths.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut fenced) = (vec![], false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|words| (number + 1, words)));
        }
    }
    found
}

/// The path that a quotation names, if it looks like one of this repository: a first word with a slash that begins with one
/// of the places, without `::test` or `:line` behind it. A path with a `*`, `…` or `<name>` in it stands for many.
fn path_named(words: &str) -> Option<&str> {
    let word = words.split_whitespace().next()?;
    let word = word.strip_prefix("./").unwrap_or(word);
    let path = word.split(':').next()?.trim_end_matches([',', '.', ';']);
    let pattern = path.contains(['*', '…', '<', '{', '$']) || path.contains("...");
    (PLACES.iter().any(|place| path.starts_with(place)) && !pattern).then_some(path)
}

/// The links of a page to files beside it: `[text](path)`. One to an address of the server is followed in
/// `tests/src/api/pages.rs`.
fn links(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| line.split("](").skip(1).map(move |rest| (number + 1, rest)))
        .filter_map(|(number, rest)| Some((number, rest.split_once(')')?.0.split('#').next()?)))
        .filter(|(_, target)| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .filter(|(_, target)| !target.starts_with('/'))
        .collect()
}

/// The tests that docs/rules.md names in the last column of its tables: line, file, name of the test.
fn tests_named(text: &str) -> Vec<(usize, &str, &str)> {
    let rows = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with('|'));
    let cells = rows.filter_map(|(number, line)| {
        let line = line.trim().trim_end_matches('|');
        line.rfind('|').map(|at| (number + 1, &line[at..]))
    });
    let named = cells.flat_map(|(number, cell)| cell.split('`').skip(1).step_by(2).map(move |words| (number, words)));
    named.filter_map(|(number, words)| words.split_once("::").map(|(file, test)| (number, file, test))).collect()
}

/// Whether a file defines that test: a function, also within `proptest!`, whose name it is. Modules before the name
/// (`tests::a_name`) say only where it stands.
fn has_test(source: &str, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    source.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['(', '<']))
    })
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut missing = vec![];
    for document in documents() {
        let text = read(&document);
        let shown = document.strip_prefix(root()).unwrap_or(&document).display();
        for (line, words) in quoted(&text) {
            if let Some(path) = path_named(words).filter(|path| !root().join(path).exists()) {
                missing.push(format!("{shown}:{line}: {path}"));
            }
        }
        let beside = document.parent().expect("a page stands in a directory");
        for (line, target) in links(&text) {
            if !beside.join(target).exists() {
                missing.push(format!("{shown}:{line}: link to {target}"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there:\n  {}", missing.join("\n  "));
}

#[test]
fn every_rule_names_a_test_that_exists() {
    let text = read(&root().join("docs/rules.md"));
    let named = tests_named(&text);
    assert!(!named.is_empty(), "docs/rules.md has no table `| rule | test |` with `file.rs::name` in its last column");
    let mut missing = vec![];
    for (line, file, test) in named {
        match std::fs::read_to_string(root().join(file)) {
            Ok(source) if has_test(&source, test) => {}
            Ok(_) => missing.push(format!("docs/rules.md:{line}: no `fn {test}` in {file}")),
            Err(error) => missing.push(format!("docs/rules.md:{line}: {file}: {error}")),
        }
    }
    assert!(missing.is_empty(), "rules without their test:\n  {}", missing.join("\n  "));
}

#[test]
fn every_test_file_is_compiled() {
    for krate in ["engine", "cli"] {
        let tests = root().join("crates").join(krate).join("tests");
        let main = read(&tests.join("main.rs"));
        for entry in std::fs::read_dir(&tests).expect("a directory of tests") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
            let is_test = name != "main" && path.extension().is_some_and(|e| e == "rs");
            assert!(!is_test || main.contains(&format!("mod {name};")), "{}: not named in main.rs", path.display());
        }
    }
}

#[test]
fn every_rule_has_a_test() {
    let text = read(&root().join("docs/rules.md"));
    let rows = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with('|'));
    let bare: Vec<String> = rows
        .filter(|(_, line)| {
            let ruler = line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
            let header = line.to_lowercase().replace(' ', "").ends_with("|test|");
            !ruler && !header && tests_named(line).is_empty()
        })
        .map(|(number, line)| format!("docs/rules.md:{}: {line}", number + 1))
        .collect();
    assert!(bare.is_empty(), "rules that name no test:\n  {}", bare.join("\n  "));
}

#[test]
fn paths_and_tests_are_recognised_in_a_page() {
    let page = "See `crates/domain/src/diff.rs:12`, `a/b`, `tests/run --quick` and `crates/*/src`.\n```\n`docs/none.md`\n```\n`docs/x.md`, [y](../y.md#top)";
    let paths: Vec<_> = quoted(page).into_iter().filter_map(|(line, words)| Some((line, path_named(words)?))).collect();
    assert_eq!(paths, [(1, "crates/domain/src/diff.rs"), (1, "tests/run"), (5, "docs/x.md")]);
    assert_eq!(links(page), [(5, "../y.md")]);

    let rules = "| rule | test |\n| --- | --- |\n| `a` holds | `tests/src/a.rs::one`, `tests/src/b.rs::tests::two` |\n";
    assert_eq!(tests_named(rules), [(3, "tests/src/a.rs", "one"), (3, "tests/src/b.rs", "tests::two")]);
    let source = "    #[tokio::test]\n    async fn two() {\n}\nfn one_more(x in any::<u8>()) {}";
    assert!(has_test(source, "tests::two") && has_test(source, "one_more") && !has_test(source, "one"));
}
