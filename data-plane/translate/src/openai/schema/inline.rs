//! Local references written out where they stand, for upstreams that follow none.
//!
//! All or nothing: if a reference leads nowhere, to itself, or to more than fits, the
//! schema stays as it is, for the upstream to judge.

use std::collections::HashSet;

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
/// What all schemas of a request may cost: nodes copied, and names looked at to find them.
const STEPS_MAX: usize = 200_000;
/// Levels of a schema with all references written out.
const DEPTH_MAX: u32 = 128;

/// What is left of the work that one request may make.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Budget(STEPS_MAX)
    }
}

impl Budget {
    fn spend(&mut self, steps: usize) -> Option<()> {
        self.0 = self.0.checked_sub(steps)?;
        Some(())
    }
}

/// Writes out the references of a whole schema.
pub(super) fn expand(root: &mut Node, budget: &mut Budget) {
    let mut expansion = Expansion {
        root,
        open: Vec::new(),
        budget,
        depth: 0,
    };
    if let Some(expanded) = expansion.schema(root, true) {
        *root = expanded;
    }
}

struct Expansion<'n, 'b> {
    root: &'n Node,
    /// References being written out.
    open: Vec<&'n str>,
    budget: &'b mut Budget,
    depth: u32,
}

impl<'n> Expansion<'n, '_> {
    /// A copy without references; none if it cannot be.
    fn schema(&mut self, node: &'n Node, is_root: bool) -> Option<Node> {
        self.budget.spend(1)?;
        if self.depth > DEPTH_MAX {
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
        if let Some(to) = target
            && let Node::Object(more) = self.referenced(to)?
        {
            // What stands beside the reference says it better than what it points to.
            let said: HashSet<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
            out.extend(more.into_iter().filter(|(word, _)| !said.contains(word.as_str())));
        }
        Some(Node::Object(out))
    }

    fn map(&mut self, entries: &'n [(String, Node)]) -> Option<Node> {
        let entries = entries
            .iter()
            .map(|(name, schema)| Some((name.clone(), self.schema(schema, false)?)));
        entries.collect::<Option<_>>().map(Node::Object)
    }

    fn referenced(&mut self, to: &'n str) -> Option<Node> {
        if self.open.contains(&to) {
            return None;
        }
        let found = self.find(to)?;
        self.open.push(to);
        let copy = self.schema(found, false);
        self.open.pop();
        copy
    }

    /// Follows a pointer into this document, such as `#/$defs/Name`.
    fn find(&mut self, pointer: &str) -> Option<&'n Node> {
        let path = pointer.strip_prefix('#')?;
        if path.is_empty() {
            return Some(self.root);
        }
        path.strip_prefix('/')?
            .split('/')
            .try_fold(self.root, |node, step| {
                let step = step.replace("~1", "/").replace("~0", "~");
                match node {
                    Node::Object(words) => {
                        self.budget.spend(words.len())?;
                        words.iter().find(|(word, _)| *word == step).map(|(_, node)| node)
                    }
                    Node::List(list) => list.get(step.parse::<usize>().ok()?),
                    Node::Leaf(_) => None,
                }
            })
    }
}
