//! The tools on offer when the model answers: those of the request, as the conversation has
//! changed them, without those that nobody has found yet.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::anthropic::{Block, Content, Request, Tool, ToolChange, ToolChoice, ToolKind};
use crate::dialect::DeferredTools;

use super::context::Context;

/// A tool, and where the client wrote it.
pub(super) struct Offer<'r> {
    pub(super) tool: &'r Tool<'r>,
    pub(super) place: Place,
}

pub(super) enum Place {
    List(usize),
    Block { message: usize, block: usize },
}

/// The offers in the order of the list, then of the conversation.
pub(super) fn translate<'r>(request: &'r Request<'r>, cx: &mut Context<'r>) -> Vec<Offer<'r>> {
    let list = request.tools.list.iter().enumerate();
    let mut offers: Vec<Offer<'r>> = list
        .map(|(n, tool)| Offer {
            tool,
            place: Place::List(n),
        })
        .collect();
    let changes = Changes::apply(request, &mut offers, cx);
    let deferred = Deferred::new(request, &offers, cx);
    offers.retain(|Offer { tool, .. }| {
        let name = tool.name.as_deref().unwrap_or_default();
        !changes.withdrawn.contains(name)
            && (!is_deferred(tool) || changes.offered.contains(name) || deferred.is_wanted(name))
    });
    offers
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::List(n) => write!(f, "tools.{n}"),
            Place::Block { message, block } => write!(f, "messages.{message}.content.{block}.tool"),
        }
    }
}

/// What the conversation said last of each tool that it spoke of.
#[derive(Default)]
struct Changes<'r> {
    offered: HashSet<&'r str>,
    withdrawn: HashSet<&'r str>,
}

impl<'r> Changes<'r> {
    fn apply(request: &'r Request<'r>, offers: &mut Vec<Offer<'r>>, cx: &mut Context<'r>) -> Self {
        let mut changes = Changes::default();
        let mut places: Option<HashMap<&'r str, usize>> = None;
        for (message, block, change) in tool_changes(request) {
            // Most conversations change nothing.
            let places = places.get_or_insert_with(|| {
                let named = offers.iter().enumerate();
                named
                    .filter_map(|(at, offer)| Some((offer.tool.name.as_deref()?, at)))
                    .collect()
            });
            match change {
                ToolChange::Offer { name } if places.contains_key(&**name) => changes.offer(name),
                ToolChange::Offer { .. } => {
                    let path = format!("messages.{message}.content.{block}.{}", change.kind());
                    cx.losses.add(path, "it names a tool that is not there");
                }
                ToolChange::Withdraw { name } => changes.withdraw(name),
                ToolChange::Define(tool) => {
                    let offer = Offer {
                        tool,
                        place: Place::Block { message, block },
                    };
                    let name = tool.name.as_deref();
                    let known = name.and_then(|name| places.get(name)).copied();
                    match known.and_then(|at| offers.get_mut(at)) {
                        Some(known) => *known = offer,
                        None => {
                            places.extend(name.map(|name| (name, offers.len())));
                            offers.push(offer);
                        }
                    }
                    name.into_iter().for_each(|name| changes.offer(name));
                }
                ToolChange::Elsewhere { .. } => {
                    let path = format!("messages.{message}.content.{block}.{}", change.kind());
                    cx.losses.add(path, "not a tool that the provider can be given");
                }
            }
        }
        changes
    }

    fn offer(&mut self, name: &'r str) {
        self.offered.insert(name);
        self.withdrawn.remove(name);
    }

    fn withdraw(&mut self, name: &'r str) {
        self.withdrawn.insert(name);
        self.offered.remove(name);
    }
}

fn tool_changes<'r>(request: &'r Request<'r>) -> impl Iterator<Item = (usize, usize, &'r ToolChange<'r>)> {
    let messages = request.messages.iter().enumerate();
    messages.flat_map(|(message, said)| {
        let blocks = said.content.blocks().iter().enumerate();
        blocks.filter_map(move |(block, content)| match content {
            Block::ToolChange(change) => Some((message, block, change)),
            Block::Text { .. }
            | Block::Image(_)
            | Block::Document(_)
            | Block::SearchResult { .. }
            | Block::Thinking { .. }
            | Block::RedactedThinking { .. }
            | Block::ToolUse { .. }
            | Block::ToolResult { .. }
            | Block::ToolReference { .. }
            | Block::ServerTool { .. }
            | Block::Compaction { .. }
            | Block::Marker
            | Block::Unknown { .. } => None,
        })
    })
}

/// Which deferred tools the conversation has already found.
struct Deferred<'r> {
    takes_all: bool,
    found: HashSet<&'r str>,
}

impl<'r> Deferred<'r> {
    fn new(request: &'r Request<'r>, offers: &[Offer<'r>], cx: &Context<'r>) -> Self {
        let has_search = offers
            .iter()
            .any(|offer| matches!(offer.tool.kind, ToolKind::ToolSearch));
        let takes_all = has_search || cx.dialect().deferred_tools == DeferredTools::All;
        let mut found = HashSet::new();
        if !takes_all && offers.iter().any(|offer| is_deferred(offer.tool)) {
            let messages = request.messages.iter();
            messages.for_each(|message| find_tools(&message.content, &mut found));
            // Whoever demands a tool has found it.
            if let Some(ToolChoice::Tool(name)) = &request.tools.choice {
                found.insert(name);
            }
        }
        Deferred { takes_all, found }
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.takes_all || self.found.contains(name)
    }
}

fn is_deferred(tool: &Tool<'_>) -> bool {
    let ToolKind::Custom { is_deferred, .. } = &tool.kind else {
        return false;
    };
    *is_deferred
}

fn find_tools<'r>(content: &'r Content<'r>, found: &mut HashSet<&'r str>) {
    for block in content.blocks() {
        match block {
            Block::ToolReference { tool_name } => {
                found.insert(tool_name);
            }
            Block::ToolUse { name, .. } => {
                found.insert(name);
            }
            Block::ToolResult { content, .. } => find_tools(content, found),
            Block::Text { .. }
            | Block::Image(_)
            | Block::Document(_)
            | Block::SearchResult { .. }
            | Block::Thinking { .. }
            | Block::RedactedThinking { .. }
            | Block::ServerTool { .. }
            | Block::Compaction { .. }
            | Block::ToolChange(_)
            | Block::Marker
            | Block::Unknown { .. } => {}
        }
    }
}
