//! The table of rows and tests against the sources: no row without a test, no test that is made up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const ROWS: usize = 50;
/// Where tests of rows may stand.
const PLACES: [&str; 4] = ["tests", "data-plane", "control-plane", "proto"];

/// Rust sources below a folder, each with its path.
fn sources(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_foreign = name.starts_with('.') || name == "node_modules" || name == "target";
        if path.is_dir() && !is_foreign {
            sources(&path, found)?;
        } else if name.ends_with(".rs") {
            found.push(fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The functions of a source that are tests, or what a chaos run's short form is called.
fn functions(source: &str) -> impl Iterator<Item = &str> {
    let names = source
        .split("fn ")
        .skip(1)
        .filter_map(|rest| rest.split('(').next());
    let short_forms = source.lines().filter_map(|line| line.trim().split_once(" => \""));
    names.chain(short_forms.map(|(name, _)| name))
}

#[test]
fn every_row_has_tests_and_every_test_its_row() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    for place in PLACES {
        sources(&root.join(place), &mut texts)?;
    }
    let known: BTreeSet<&str> = texts.iter().flat_map(|text| functions(text)).collect();
    let readme = fs::read_to_string(root.join("tests/scenarios/faults/README.md"))?;
    let mut told = BTreeSet::new();
    for number in 1..=ROWS {
        let start = format!("| {number} | ");
        let row = readme.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.with_context(|| format!("row {number} is missing"))?;
        let (_, tests) = row
            .split_once(" | ")
            .with_context(|| format!("row {number} has one column"))?;
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "row {number} has no test");
        for name in names {
            let function = name.rsplit("::").next().unwrap_or(name);
            assert!(known.contains(function), "row {number}: there is no test {name}");
            told.insert(function);
        }
    }
    let is_ours =
        |name: &&&str| name.len() > 4 && name.starts_with('r') && name[1..3].parse::<usize>().is_ok();
    let mut own = Vec::new();
    sources(&root.join("tests/scenarios/faults"), &mut own)?;
    let own: BTreeSet<&str> = own.iter().flat_map(|text| functions(text)).collect();
    let untold: Vec<&&str> = own
        .iter()
        .filter(is_ours)
        .filter(|name| !told.contains(**name))
        .collect();
    assert!(untold.is_empty(), "not in the table: {untold:?}");
    Ok(())
}
