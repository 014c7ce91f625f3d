//! What the programs are made of besides our own sources: where it comes from, under which licence,
//! and that there is one library for TLS. Read from the lock file as cargo resolves it here.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::source::root;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    // Certificates of authorities, as data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];
/// Other ways to speak TLS, and libraries of the system that we would have to be built against.
const BANNED: &[&str] = &["boring", "native-tls", "openssl", "openssl-sys", "ring"];
/// What nobody maintains any more, by whose wish it is there all the same.
const UNMAINTAINED: &[(&str, &str)] = &[
    ("fxhash", "RUSTSEC-2025-0057: sled hashes its own pages with it"),
    ("instant", "RUSTSEC-2024-0384: sled's locks ask it for the time"),
];

struct Package {
    name: String,
    version: String,
    source: Option<String>,
    licence: String,
}

/// What is compiled for this machine.
fn packages() -> Result<Vec<Package>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = [
        "metadata",
        "--locked",
        "--offline",
        "--format-version",
        "1",
        "--filter-platform",
    ];
    let output = Command::new(cargo)
        .args(arguments)
        .arg(target)
        .current_dir(root())
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let resolved = told["resolve"]["nodes"].as_array().context("what is resolved")?;
    let resolved: BTreeSet<_> = resolved.iter().filter_map(|node| node["id"].as_str()).collect();
    let all = told["packages"].as_array().context("packages")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let package = |told: &Value| {
        Some(Package {
            name: text(&told["name"])?,
            version: text(&told["version"])?,
            source: text(&told["source"]),
            licence: text(&told["license"]).unwrap_or_default(),
        })
    };
    let here = all
        .iter()
        .filter(|told| told["id"].as_str().is_some_and(|id| resolved.contains(id)));
    here.map(|told| package(told).context("a package without a name"))
        .collect()
}

/// Whether one of the alternatives that an expression gives is ours.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    parts(&expression, " OR ").iter().any(|alternative| {
        parts(alternative, " AND ").iter().all(|part| {
            match part.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
                Some(inner) => is_allowed(inner),
                None => LICENCES.contains(&part.as_str()),
            }
        })
    })
}

/// What stands between separators outside of parentheses.
fn parts(expression: &str, separator: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for piece in expression.split(separator) {
        let last = parts.last_mut().filter(|last| depth(last) > 0);
        match last {
            Some(open) => {
                open.push_str(separator);
                open.push_str(piece);
            }
            None => parts.push(piece.to_owned()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn depth(text: &str) -> usize {
    text.matches('(')
        .count()
        .saturating_sub(text.matches(')').count())
}

#[test]
fn everything_comes_from_one_place_under_licences_that_we_accept() -> Result<()> {
    let packages = packages()?;
    ensure!(packages.len() > 100, "{} packages", packages.len());
    for Package {
        name,
        version,
        source,
        licence,
    } in &packages
    {
        let is_ours = name.starts_with("bridge-") && source.is_none();
        let is_known = source.as_deref() == Some(REGISTRY);
        assert!(is_ours || is_known, "{name} {version} comes from {source:?}");
        assert!(is_allowed(licence), "{name} {version}: {licence}");
    }
    Ok(())
}

#[test]
fn there_is_one_library_for_tls_and_every_exception_is_one() -> Result<()> {
    let packages = packages()?;
    let versions = |name: &str| packages.iter().filter(|package| package.name == name).count();
    for name in BANNED {
        assert_eq!(versions(name), 0, "{name} is compiled");
    }
    assert_eq!(versions("rustls"), 1);
    for (name, why) in UNMAINTAINED {
        assert_eq!(versions(name), 1, "{name} is gone, and with it the reason: {why}");
    }
    Ok(())
}

#[test]
fn an_expression_is_allowed_by_one_of_its_alternatives() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 / MIT",
        "MIT OR LGPL-2.1-or-later",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "ISC AND (Apache-2.0 OR ISC) AND MIT",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(GPL-3.0 OR AGPL-3.0) AND MIT",
        "SSPL-1.0/GPL-2.0",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
