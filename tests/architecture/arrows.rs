//! Which module may import what.
//!
//! A path such as `sled::` or `use sled` counts as an import.

use std::{fs, path::Path};

use anyhow::Result;

use crate::source::{code_only, root, sources};

/// Code below `places` must not name any of `banned`, save in `except`.
struct Rule {
    places: &'static [&'static str],
    except: &'static [&'static str],
    banned: &'static [&'static str],
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        places: &["data-plane/translate/src"],
        except: &[],
        banned: &[
            "tokio",
            "axum",
            "hyper",
            "reqwest",
            "tonic",
            "tracing",
            "rand",
            "Instant",
            "SystemTime",
            "std::fs",
            "std::net",
            "std::env",
            "async",
        ],
        reason: "translation is pure: no I/O, no clock, no randomness",
    },
    Rule {
        places: &[
            "data-plane/src/routing",
            "data-plane/src/upstream/breaker",
            "data-plane/src/upstream/by_model",
            "data-plane/src/upstream/cooldown",
            "data-plane/src/upstream/guards",
            "data-plane/src/upstream/outcome",
            "data-plane/src/upstream/quarantine",
            "data-plane/src/upstream/retry_budget",
            "data-plane/src/upstream/window",
        ],
        except: &[],
        banned: &[
            "async",
            "tokio",
            "axum",
            "hyper",
            "reqwest",
            "tonic",
            "Instant::now",
            "SystemTime::now",
        ],
        reason: "decisions are pure: time and randomness are arguments",
    },
    Rule {
        places: &["data-plane/src"],
        except: &["data-plane/src/snapshot", "data-plane/src/report"],
        banned: &["bridge_proto", "prost"],
        reason: "only the subscription and the reports speak the fleet protocol",
    },
    Rule {
        places: &["data-plane/src"],
        except: &[
            "data-plane/src/snapshot",
            "data-plane/src/report",
            "data-plane/src/traces",
        ],
        banned: &["tonic"],
        reason: "gRPC is for the control plane and the collector of traces",
    },
    Rule {
        places: &["data-plane/src"],
        except: &["data-plane/src/traces", "data-plane/src/usage/trace"],
        banned: &["opentelemetry", "opentelemetry_sdk", "opentelemetry_proto"],
        reason: "the way of a request knows nothing of traces: they are made when it is over",
    },
    Rule {
        places: &["data-plane/src"],
        except: &["data-plane/src/upstream/client"],
        banned: &["reqwest", "hyper_util::client"],
        reason: "one module calls upstreams",
    },
    Rule {
        places: &["data-plane/src"],
        except: &[
            "data-plane/src/upstream/client",
            "data-plane/src/snapshot/watch/tls",
        ],
        banned: &["rustls", "tokio_rustls"],
        reason: "whom to trust is decided in one place for upstreams, and in one for the control plane",
    },
    Rule {
        places: &["data-plane/src/relay"],
        except: &[],
        banned: &["failover", "upstream::failover"],
        reason: "what has content knows no other candidate",
    },
    Rule {
        places: &["data-plane/translate/src/request"],
        except: &[],
        banned: &["crate::response", "crate::stream", "crate::tokens"],
        reason: "a request knows nothing of its answer but the reply's rules",
    },
    Rule {
        places: &["data-plane/translate/src/stream"],
        except: &[],
        banned: &["crate::response", "crate::request"],
        reason: "whole answers are made of streams, not the other way",
    },
    Rule {
        places: &["control-plane/src/auth"],
        except: &[],
        banned: &["tonic", "axum", "bridge_proto"],
        reason: "who may do what does not depend on how it was asked",
    },
    Rule {
        places: &["control-plane/src/domain"],
        except: &[],
        banned: &[
            "sled",
            "tonic",
            "prost",
            "prost_types",
            "serde",
            "tokio",
            "bridge_proto",
        ],
        reason: "the domain knows no transport and no disk",
    },
    Rule {
        places: &["control-plane/src/domain"],
        except: &["control-plane/src/domain/extra_body"],
        banned: &["serde_json"],
        reason: "the domain reads JSON only where the thing itself is JSON",
    },
    Rule {
        places: &["control-plane/src"],
        except: &["control-plane/src/store/sled"],
        banned: &["sled"],
        reason: "one module knows sled; the rest of the store knows rows",
    },
    Rule {
        places: &["control-plane/src"],
        except: &["control-plane/src/store/postgres"],
        banned: &["sqlx"],
        reason: "one module knows SQL",
    },
    Rule {
        places: &["control-plane/src"],
        except: &["control-plane/src/playground"],
        banned: &["reqwest"],
        reason: "one module calls out",
    },
    Rule {
        places: &["control-plane/src/store"],
        except: &[],
        banned: &["tonic", "prost", "bridge_proto"],
        reason: "the store knows no transport",
    },
    Rule {
        places: &["control-plane/src"],
        except: &[],
        banned: &["bridge_data_plane", "bridge_translate"],
        reason: "the planes share the contract and nothing else",
    },
    Rule {
        places: &["data-plane/src"],
        except: &[],
        banned: &["bridge_control_plane"],
        reason: "the planes share the contract and nothing else",
    },
];

/// Whether `word` stands in the code as a whole name or path.
fn names(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// Crates count where they begin a path; `async`, types and functions anywhere.
fn imports(code: &str, banned: &str) -> bool {
    let is_crate = banned.chars().all(|c| c.is_ascii_lowercase() || c == '_') && banned != "async";
    if is_crate {
        path_begins(code, banned)
    } else {
        names(code, banned)
    }
}

fn path_begins(code: &str, krate: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(&format!("{krate}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| is_name(c) || c == ':')
    }) || names(code, &format!("use {krate}"))
}

fn violations(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for rule in RULES {
        let mut seen = 0;
        for place in rule.places {
            let folder = place.split_once("/src").map_or(*place, |(krate, _)| krate);
            for file in sources(root, &format!("{folder}/src"))? {
                let applies = file.starts_with(place) && !rule.except.iter().any(|e| file.starts_with(e));
                // Tests are exempt wherever they stand, as in `code_only`.
                if !applies || file.ends_with("/tests.rs") || file.contains("/tests/") {
                    continue;
                }
                seen += 1;
                let code = code_only(&fs::read_to_string(root.join(&file))?);
                for banned in rule.banned {
                    if imports(&code, banned) {
                        found.push(format!("{file} names `{banned}`: {}", rule.reason));
                    }
                }
            }
        }
        if seen == 0 {
            found.push(format!(
                "no file is at {:?} any more: adapt the rule",
                rule.places
            ));
        }
    }
    Ok(found)
}

#[test]
fn every_module_imports_only_what_it_may() {
    let found = violations(&root()).unwrap();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_checker_sees_an_import_and_nothing_else() {
    let check = |code: &str, banned: &str| imports(&code_only(code), banned);
    assert!(check("use sled::Db;", "sled"));
    assert!(check("fn a(d: &sled::Db) {}", "sled"));
    assert!(check("async fn a() {}", "async"));
    assert!(check("let t = Instant::now();", "Instant::now"));
    assert!(!check("// sled::Db would do\nlet a = \"sled::Db\";", "sled"));
    assert!(!check("use crate::store::sled_tree::Tree;", "sled"));
    assert!(!check("use crate::rand::x; let strand = 1;", "rand"));
    assert!(!check(
        "fn a() {}\n#[cfg(test)]\nmod tests { use sled::Db; }",
        "sled"
    ));
}
