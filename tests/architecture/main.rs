//! Holds the sources against the architecture: who may import whom, that nobody imports in a
//! circle, and what the top level shows.

mod arrows;
mod circles;
mod source;
mod streams;
mod supply;

use std::fs;

use source::root;

/// The top level of the project; nothing else may be visible there.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "admin-web",
    "control-plane",
    "data-plane",
    "deploy",
    "proto",
    "tests",
];

/// Made by building and running, never committed.
const TOP_LEVEL_IGNORED: &[&str] = &["target", "data", "provider.json"];

#[test]
fn the_top_level_shows_only_what_is_on_the_card() {
    let strangers: Vec<_> = fs::read_dir(root())
        .expect("the project")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()) && !TOP_LEVEL_IGNORED.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "not on the card: {strangers:?}");
}
