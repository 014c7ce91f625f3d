//! The table of numbered cases against the sources: no number without a test, no test that is made up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The last case that is a function of ours; the three after it are clients' own tests.
const LAST_OF_OURS: usize = 104;
const TITLE: &str = "\n## Numbered cases\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All text of the files below a folder that end so.
fn sources(folder: &str, ending: &str) -> Result<String> {
    let mut found = String::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push_str(&fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

/// Number by number, what stands in its row.
fn table() -> Result<BTreeMap<usize, String>> {
    let readme = fs::read_to_string(root().join("data-plane/translate/README.md"))?;
    let (_, section) = readme.split_once(TITLE).context("there is no table")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| {
        let (number, tests) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some((number.parse().ok()?, tests.to_owned()))
    });
    Ok(rows.collect())
}

/// The functions of our own cases: `cNNN_…`.
fn functions(sources: &str) -> BTreeSet<&str> {
    let names = sources.split("async fn ").skip(1);
    let names = names.filter_map(|rest| rest.split('(').next());
    let is_case =
        |name: &&str| name.len() > 5 && name.starts_with('c') && name[1..4].parse::<usize>().is_ok();
    names.filter(is_case).collect()
}

#[test]
fn every_number_has_tests_and_every_test_its_number() -> Result<()> {
    let scenarios = sources("tests/scenarios", ".rs")? + &sources("data-plane/src/relay", ".rs")?;
    let functions = functions(&scenarios);
    let table = table()?;
    let mut told = BTreeSet::new();
    for number in 1..=LAST_OF_OURS {
        let row = table
            .get(&number)
            .with_context(|| format!("case {number} is missing"))?;
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "case {number} has no test");
        for name in names {
            assert!(
                name.starts_with(&format!("c{number:03}_")),
                "{name} is not of case {number}"
            );
            assert!(functions.contains(name), "there is no test {name}");
            told.insert(name);
        }
    }
    assert_eq!(told, functions, "not in the table, or made up");
    Ok(())
}

#[test]
fn clients_have_all_their_cases() -> Result<()> {
    let claude_code = (1..=18).chain([90]);
    let clients: [(usize, String, Vec<String>); 3] = [
        (
            105,
            sources("tests/sdk/python", ".py")?,
            (1..=13)
                .map(|number| format!("def test_kp{number:02}_"))
                .collect(),
        ),
        (
            106,
            sources("tests/sdk/typescript", ".mjs")?,
            (1..=11).map(|number| format!("KT{number:02} ")).collect(),
        ),
        (
            107,
            sources("tests/sdk/claude-code", ".mjs")?,
            claude_code.map(|number| format!("KC{number:02} ")).collect(),
        ),
    ];
    let table = table()?;
    for (number, sources, cases) in clients {
        assert!(table.contains_key(&number), "case {number} is missing");
        for case in cases {
            assert!(sources.contains(&case), "no test for {case}");
        }
    }
    Ok(())
}
