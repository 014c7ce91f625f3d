//! A schema as a tree, for the levels that rewrite it.

use serde_json::Value;

use crate::json::cursor::{Cursor, Kind, Result};
use crate::json::escaped::Raw;
use crate::json::write::{List, Object};

/// Deeper schemas are not meant for models.
const DEPTH_MAX: u32 = 64;

/// A schema as a tree with its key order.
#[derive(Debug)]
pub(crate) enum Node {
    Object(Vec<(String, Node)>),
    Leaf(Value),
    List(Vec<Node>),
}

impl Node {
    pub(super) fn read(raw: Raw<'_>) -> Result<Node> {
        Node::next(&mut Cursor::new(raw.get()), 0)
    }

    fn next(cursor: &mut Cursor<'_>, depth: u32) -> Result<Node> {
        match cursor.peek()? {
            _ if depth > DEPTH_MAX => {
                cursor.skip()?;
                Ok(Node::Leaf(Value::Bool(true)))
            }
            Kind::Object => {
                let mut entries = Vec::new();
                cursor.object(|cursor, name| {
                    entries.push((name.decoded().into_owned(), Node::next(cursor, depth + 1)?));
                    Ok(())
                })?;
                Ok(Node::Object(entries))
            }
            Kind::List => {
                let mut list = Vec::new();
                cursor.list(|cursor| {
                    list.push(Node::next(cursor, depth + 1)?);
                    Ok(())
                })?;
                Ok(Node::List(list))
            }
            Kind::Text | Kind::Scalar => {
                // What a cursor takes, the parser of single values takes as well.
                let value = serde_json::from_str(cursor.raw()?.get());
                Ok(Node::Leaf(value.unwrap_or_default()))
            }
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Node::Leaf(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Node::List(nodes) => {
                let mut list = List::begin(out);
                nodes.iter().for_each(|node| node.write(list.element()));
                list.end();
            }
            Node::Object(entries) => {
                let mut object = Object::begin(out);
                for (name, node) in entries {
                    node.write(object.named_member(name));
                }
                object.end();
            }
        }
    }
}
