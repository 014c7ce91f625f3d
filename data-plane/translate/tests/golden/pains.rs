//! The table of known pains in the README against what is there: no number is missing,
//! whatever a row names exists, and no fixture with a number is left out of its row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const PAINS: u32 = 64;
const KINDS: &[&str] = &["request", "response", "stream", "error"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Number of the pain to the names in its last column.
fn table() -> BTreeMap<u32, BTreeSet<String>> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = cells.get(1)?.strip_prefix('P')?.parse().ok()?;
        let names = cells.get(3)?.split('`').skip(1).step_by(2);
        Some((number, names.map(str::to_owned).collect()))
    });
    let mut table = BTreeMap::new();
    for (number, names) in rows {
        assert!(table.insert(number, names).is_none(), "P{number} stands twice");
    }
    table
}

/// `kind/name` of every fixture.
fn fixtures() -> BTreeSet<String> {
    let names = KINDS.iter().flat_map(|kind| {
        let folder = std::fs::read_dir(root().join("fixtures").join(kind)).unwrap();
        folder.map(move |entry| {
            let path = entry.unwrap().path();
            format!("{kind}/{}", path.file_stem().unwrap().to_str().unwrap())
        })
    });
    names.collect()
}

/// Names of all functions in the sources of translation, data plane and scenarios.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root(), root().join("../src"), root().join("../../tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            if path.is_dir() && !is_hidden && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(path).unwrap();
                let found = source
                    .lines()
                    .filter_map(|line| line.trim_start().split_once("fn "));
                names.extend(found.filter_map(|(_, rest)| Some(rest.split_once('(')?.0.to_owned())));
            }
        }
    }
    names
}

#[test]
fn every_pain_has_its_fixture() {
    let (table, fixtures, functions) = (table(), fixtures(), functions());
    for number in 1..=PAINS {
        let names = table
            .get(&number)
            .unwrap_or_else(|| panic!("P{number} is missing"));
        assert!(!names.is_empty(), "P{number} names nothing");
        for name in names {
            let is_there = if name.contains('/') {
                fixtures.contains(name)
            } else {
                functions.contains(name)
            };
            assert!(is_there, "P{number}: there is no {name}");
        }
        let (fixture, test) = (format!("/p{number:02}-"), format!("p{number:02}_"));
        assert!(
            names
                .iter()
                .any(|name| name.contains(&fixture) || name.contains(&test)),
            "P{number}: nothing carries its number"
        );
        let left_out = fixtures
            .iter()
            .find(|name| name.contains(&fixture) && !names.contains(*name));
        assert_eq!(left_out, None, "P{number} does not name it");
    }
    assert_eq!(table.len() as u32, PAINS);
}
