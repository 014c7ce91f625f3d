//! Local references written out where they stand, for upstreams that follow none.
//!
//! All or nothing: if a reference leads nowhere, to itself, or to more than fits, the
//! schema stays as it is, for the upstream to judge.

use serde_json::Value;

use super::node::Node;

/// Schemas of schemas: where their entries are named by the client, not by JSON schema.
const MAPS: &[&str] = &[
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];
/// Where local references usually point.
const DEFINITIONS: &[&str] = &["$defs", "definitions"];
/// Nodes of a schema with all references written out.
const NODES_MAX: usize = 20_000;
/// Levels of a schema with all references written out.
const DEPTH_MAX: u32 = 128;

/// Writes out the references of a whole schema.
pub(super) fn expand(root: &mut Node) {
    let mut expansion = Expansion {
        root,
        open: Vec::new(),
        nodes: 0,
        depth: 0,
    };
    let Some(Node::Object(mut words)) = expansion.schema(root, true) else {
        return;
    };
    words.retain(|(word, _)| !DEFINITIONS.contains(&word.as_str()));
    *root = Node::Object(words);
}

struct Expansion<'n> {
    root: &'n Node,
    /// References being written out.
    open: Vec<&'n str>,
    nodes: usize,
    depth: u32,
}

impl<'n> Expansion<'n> {
    /// A copy without references; none if it cannot be.
    fn schema(&mut self, node: &'n Node, is_root: bool) -> Option<Node> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || self.depth > DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let copy = match node {
            Node::Leaf(value) => Some(Node::Leaf(value.clone())),
            Node::List(list) => {
                let list = list.iter().map(|node| self.schema(node, false));
                list.collect::<Option<_>>().map(Node::List)
            }
            Node::Object(words) => self.object(words, is_root),
        };
        self.depth -= 1;
        copy
    }

    fn object(&mut self, words: &'n [(String, Node)], is_root: bool) -> Option<Node> {
        let mut out = Vec::with_capacity(words.len());
        let mut target = None;
        for (word, value) in words {
            match (word.as_str(), value) {
                ("$ref", Node::Leaf(Value::String(to))) => target = Some(to),
                (word, _) if is_root && DEFINITIONS.contains(&word) => {}
                (word, Node::Object(entries)) if MAPS.contains(&word) => {
                    out.push((word.to_owned(), self.map(entries)?));
                }
                (word, value) => out.push((word.to_owned(), self.schema(value, false)?)),
            }
        }
        let Some(to) = target else {
            return Some(Node::Object(out));
        };
        if self.open.contains(&to.as_str()) {
            return None;
        }
        let found = find(self.root, to)?;
        self.open.push(to);
        let found = self.schema(found, false);
        self.open.pop();
        // What stands beside the reference says it better than what it points to.
        if let Node::Object(more) = found? {
            for (word, value) in more {
                if !out.iter().any(|(known, _)| *known == word) {
                    out.push((word, value));
                }
            }
        }
        Some(Node::Object(out))
    }

    fn map(&mut self, entries: &'n [(String, Node)]) -> Option<Node> {
        let entries = entries
            .iter()
            .map(|(name, schema)| Some((name.clone(), self.schema(schema, false)?)));
        entries.collect::<Option<_>>().map(Node::Object)
    }
}

/// Follows a pointer into this document, such as `#/$defs/Name`.
fn find<'n>(root: &'n Node, pointer: &str) -> Option<&'n Node> {
    let path = pointer.strip_prefix('#')?;
    if path.is_empty() {
        return Some(root);
    }
    path.strip_prefix('/')?.split('/').try_fold(root, |node, step| {
        let step = step.replace("~1", "/").replace("~0", "~");
        match node {
            Node::Object(words) => words.iter().find(|(word, _)| *word == step).map(|(_, node)| node),
            Node::List(list) => list.get(step.parse::<usize>().ok()?),
            Node::Leaf(_) => None,
        }
    })
}
