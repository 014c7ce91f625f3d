//! What the programs are made of besides our own sources: where it comes from, under which licence,
//! and that there is one library for TLS. As cargo resolves the lock file on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::source::root;

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
    /// Version, and where it comes from if that is not the registry of everybody.
    origin: String,
    licence: String,
}

/// What is compiled for this machine, tests included.
fn packages() -> Result<Vec<Package>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = [
        "tree",
        "--workspace",
        "--locked",
        "--offline",
        "--edges=normal,build,dev",
        "--prefix=none",
        "--format={p}|{l}|",
    ];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8(output.stdout)?;
    let lines: BTreeSet<_> = told.lines().filter(|line| !line.is_empty()).collect();
    let mut packages = BTreeMap::new();
    for line in lines {
        let (package, rest) = line.split_once('|').context(line.to_owned())?;
        let (licence, _) = rest.split_once('|').context(line.to_owned())?;
        let (name, origin) = package.split_once(' ').context(line.to_owned())?;
        let licence = licence.to_owned();
        packages.insert((name.to_owned(), origin.to_owned()), licence);
    }
    let packages = packages.into_iter().map(|((name, origin), licence)| Package {
        name,
        origin,
        licence,
    });
    Ok(packages.collect())
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
        origin,
        licence,
    } in &packages
    {
        // `v1.2.3 (git or registry or folder)`, where there is no word for the usual registry.
        let place = origin.replace(" (proc-macro)", "");
        let is_ours = name.starts_with("bridge-");
        assert!(is_ours || !place.contains(' '), "{name} {origin}");
        assert!(is_allowed(licence), "{name} {origin}: {licence}");
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
