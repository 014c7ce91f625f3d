//! What is given as an example is true.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use bridge_tests::process::binary;

/// Read from the environment only: a flag would show in the list of processes.
const SECRETS: [&str; 10] = [
    "ADMIN_TOKEN",
    "DATABASE_URL",
    "NEW_MASTER_KEY",
    "ADMIN_PASSWORD",
    "JOIN_TOKEN",
    "JWT_SECRET_KEY",
    "MASTER_KEY",
    "NODE_TOKEN",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "UPSTREAM_PROXY",
];

#[test]
fn the_example_of_the_environment_names_every_variable_and_no_other() -> Result<()> {
    let mut known: BTreeSet<String> = SECRETS.map(str::to_owned).into();
    for name in ["bridge-control-plane", "bridge-data-plane"] {
        known.extend(variables_in_help(name)?);
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/env.example");
    let text = std::fs::read_to_string(example)?;
    let named: BTreeSet<String> = text.lines().filter_map(variable_of).collect();
    assert_eq!(known, named);
    Ok(())
}

/// clap shows each as `[env: NAME=…]`.
fn variables_in_help(binary_name: &str) -> Result<Vec<String>> {
    let output = Command::new(binary(binary_name)?)
        .arg("--help")
        .env_clear()
        .output()?;
    let help = String::from_utf8(output.stdout)?;
    let names: Vec<String> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| Some(rest.split(['=', ']']).next()?.trim().to_owned()))
        .collect();
    (!names.is_empty())
        .then_some(names)
        .with_context(|| format!("{binary_name} --help names no variable"))
}

/// `NAME=value`, set or commented out; prose begins with `# `.
fn variable_of(line: &str) -> Option<String> {
    let (name, _) = line.trim_start_matches('#').split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    is_name.then(|| name.to_owned())
}
