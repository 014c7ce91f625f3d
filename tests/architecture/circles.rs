//! Nobody imports in a circle: a module can be read and changed with those that it names, and
//! without those that name it.
//!
//! A module and what it is made of count as one here: parents gather their children, and
//! children take from their parents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::Result;

use crate::source::{code_only, root, sources};

const CRATES: [&str; 3] = ["data-plane/src", "data-plane/translate/src", "control-plane/src"];
/// What begins a path to a module of the same crate.
const BEGINNINGS: [&str; 3] = ["crate", "self", "super"];
/// Programs and the crate's own root gather everything.
const ROOTS: [&str; 2] = ["lib", "main"];
/// Tests and fixtures, which may take from whom they like.
const TESTS: [&str; 2] = ["tests", "fuzz"];

type Module = Vec<String>;
/// Whom each module names.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// The code of every module of a crate.
fn modules(root: &Path, src: &str) -> Result<BTreeMap<Module, String>> {
    let mut modules = BTreeMap::new();
    for file in sources(root, src)? {
        let inner = file.trim_start_matches(src).trim_start_matches('/');
        let mut module: Module = inner
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        module.pop_if(|last| last == "mod");
        let is = |names: &[&str]| module.iter().any(|part| names.contains(&part.as_str()));
        if !is(&TESTS) && !is(&ROOTS) {
            modules.insert(module, code_only(&fs::read_to_string(root.join(&file))?));
        }
    }
    Ok(modules)
}

fn imports(modules: &BTreeMap<Module, String>) -> Imports {
    let of = |module: &Module, code: &str| -> BTreeSet<Module> {
        let named = paths(code).into_iter();
        let named = named.filter_map(|path| resolve(modules, module, &path));
        named
            .filter(|named| !named.starts_with(module) && !module.starts_with(named))
            .collect()
    };
    modules
        .iter()
        .map(|(module, code)| (module.clone(), of(module, code)))
        .collect()
}

/// Every path in the code that begins in this crate, trees of imports spread out.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for beginning in BEGINNINGS {
        for (at, _) in code.match_indices(&format!("{beginning}::")) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|before| is_of_name(before) || before == ':') {
                spread(&code[at..], &[], &mut found);
            }
        }
    }
    found
}

/// Reads one path, or tree of paths, and returns what comes behind it.
fn spread<'a>(code: &'a str, before: &[&'a str], found: &mut Vec<Vec<&'a str>>) -> &'a str {
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if rest.starts_with(['}', ';']) || rest.is_empty() {
                return rest.get(1..).unwrap_or_default();
            }
            rest = spread(rest, before, found);
            // Another name for it is none of ours.
            let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
            rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
        }
    }
    let end = code.find(|c| !is_of_name(c)).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let path = [before, &[name]].concat();
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() => spread(rest, &path, found),
        _ => {
            found.push(path);
            rest
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The module that a path of this one leads to or into.
fn resolve(modules: &BTreeMap<Module, String>, module: &Module, path: &[&str]) -> Option<Module> {
    let mut named = module.clone();
    for part in path {
        match *part {
            "crate" => named.clear(),
            "self" => {}
            "super" => drop(named.pop()),
            name => named.push(name.to_owned()),
        }
    }
    while !named.is_empty() && !modules.contains_key(&named) {
        named.pop();
    }
    (!named.is_empty()).then_some(named)
}

/// Modules of which each names the next, and the last one the first.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let mut is_done = BTreeSet::new();
    for module in imports.keys() {
        let mut way = Vec::new();
        if let Some(circle) = follow(imports, module, &mut way, &mut is_done) {
            return Some(circle);
        }
    }
    None
}

fn follow<'a>(
    imports: &'a Imports,
    module: &'a Module,
    way: &mut Vec<&'a Module>,
    is_done: &mut BTreeSet<&'a Module>,
) -> Option<Vec<String>> {
    if let Some(first) = way.iter().position(|known| *known == module) {
        return Some(way[first..].iter().map(|module| module.join("::")).collect());
    }
    if is_done.contains(module) {
        return None;
    }
    way.push(module);
    for named in imports.get(module)? {
        if let Some(circle) = follow(imports, named, way, is_done) {
            return Some(circle);
        }
    }
    way.pop();
    is_done.insert(module);
    None
}

#[test]
fn nobody_imports_in_a_circle() {
    for src in CRATES {
        let imports = imports(&modules(&root(), src).unwrap());
        let arrows: usize = imports.values().map(BTreeSet::len).sum();
        assert!(arrows > imports.len(), "{src}: {arrows} imports cannot be all");
        assert_eq!(circle(&imports), None, "{src}");
    }
}

#[test]
fn a_circle_is_seen_however_it_is_written() {
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let circle_of = |codes: &[(&str, &str)]| {
        let codes = codes
            .iter()
            .map(|(path, code)| (module(path), (*code).to_owned()));
        circle(&imports(&codes.collect()))
    };
    let a = ("a", "use crate::{x::Y, b::{self, c::Z as W}};");
    assert_eq!(
        circle_of(&[
            a,
            ("b", ""),
            ("b::c", "fn f() { super::super::a::g() }"),
            ("x", "")
        ]),
        Some(vec!["a".to_owned(), "b::c".to_owned()])
    );
    assert_eq!(
        circle_of(&[a, ("b", "use self::c::Z;"), ("b::c", "use super::V;")]),
        None
    );
    assert_eq!(
        circle_of(&[("a", "use b::a::C; use crate::d::E;"), ("b", "use crate::a::F;")]),
        None
    );
}
