//! The sources as text: reading types would take a compiler, and text is enough to see an
//! arrow that points the wrong way in the change that draws it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `.rs` file below `dir`, relative to the root, with `/` between the parts.
pub(crate) fn sources(root: &Path, dir: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting = vec![root.join(dir)];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(root)?;
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

/// The code without comments, string contents and the test module at its end.
pub(crate) fn code_only(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or(source);
    let mut code = String::with_capacity(source.len());
    for line in source.lines() {
        let mut in_string = false;
        let mut before = '\0';
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            if !in_string && c == '/' && chars.peek() == Some(&'/') {
                break;
            }
            if c == '"' && before != '\\' && before != '\'' {
                in_string = !in_string;
            }
            if !in_string {
                code.push(c);
            }
            before = c;
        }
        code.push('\n');
    }
    code
}
