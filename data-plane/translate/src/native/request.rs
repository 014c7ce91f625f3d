//! The way up: the client's body, changed only where the provider needs it.

use crate::anthropic::claude_code::BILLING_HEADER;
use crate::anthropic::{Request, Thinking};
use crate::dialect::{Effort, Lossy, MidSystem, ThinkingAdaptive};
use crate::error::BadRequest;
use crate::json;
use crate::loss::LossList;
use crate::request::Target;

use super::draft::{Draft, History};
use super::edits::Edits;
use super::history;
use super::reply::Reply;
use super::walk::{Span, Text};

/// Thinking budgets that stand for efforts, in tokens.
const BUDGET_LOW: u64 = 1_536;
const BUDGET_MEDIUM: u64 = 6_144;
const BUDGET_HIGH: u64 = 16_384;
const BUDGET_XHIGH: u64 = 32_768;
/// Providers refuse smaller ones.
const BUDGET_MIN: u64 = 1_024;
const OFF: &str = "{\"type\":\"disabled\"}";

/// What goes to the provider, and what is needed when it answers.
#[derive(Debug)]
pub struct Outbound {
    /// `None`: the client's own bytes.
    pub body: Option<Vec<u8>>,
    pub losses: LossList,
    pub reply: Reply,
}

/// Fits a body to one candidate. `request` is what `body` was parsed to.
pub fn edit(
    body: &[u8],
    request: &Request<'_>,
    target: &Target<'_>,
    history: History,
) -> Result<Outbound, BadRequest> {
    let text = Text(body);
    let mut draft = Draft {
        text,
        target,
        edits: Edits::default(),
        losses: LossList::default(),
    };
    let root = text.root();
    draft.strip_fields(&root);
    for member in text.members(&root) {
        let Some(name) = text.string(&member.key) else {
            continue;
        };
        let value = member.value;
        match &*name {
            "model" if request.model != target.model => {
                let mut model = Vec::new();
                json::push_str(&mut model, target.model);
                draft.edits.replace(value, model);
            }
            "max_tokens" => draft.limit_output(request, value),
            "thinking" => draft.thinking(request, value, history),
            "context_management" if draft.switches_thinking_off(request, history) => {
                draft.keep_thinking_uncleared(&value);
            }
            "system" => draft.system(&value),
            "tools" => draft
                .text
                .elements(&value)
                .iter()
                .for_each(|tool| draft.strip_ttl(tool)),
            "messages" => history::edit(&mut draft, &value, history),
            _ => {}
        }
    }
    draft.strip_ttl(&root);
    let Draft {
        edits, mut losses, ..
    } = draft;
    if target.dialect.lossy == Lossy::Strict
        && let Some(loss) = losses.iter().next()
    {
        return Err(BadRequest::at(&loss.path, loss.reason));
    }
    if target.dialect.lossy != Lossy::Report {
        losses = LossList::default();
    }
    let reply = Reply::new(request, target, body.len());
    Ok(Outbound {
        body: edits.apply(body),
        losses,
        reply,
    })
}

impl Draft<'_> {
    /// Fields by name; a dot leads into an object.
    fn strip_fields(&mut self, root: &Span) {
        // Neighbours share a comma, so that all fields of an object go at once.
        let mut unwanted: Vec<(Span, Vec<&str>)> = Vec::new();
        for path in &self.target.dialect.strip_fields {
            let (holder, name) = path.rsplit_once('.').unwrap_or(("", path));
            let mut steps = holder.split('.').filter(|step| !step.is_empty());
            let object = steps.try_fold(root.clone(), |object, step| self.text.member(&object, step));
            let Some(object) = object.filter(|object| self.text.member(object, name).is_some()) else {
                continue;
            };
            self.losses
                .add(path.as_str(), "the provider does not take this field");
            match unwanted.iter_mut().find(|(known, _)| *known == object) {
                Some((_, names)) => names.push(name),
                None => unwanted.push((object, vec![name])),
            }
        }
        for (object, names) in unwanted {
            self.strip_members(&object, &names);
        }
    }

    fn strip_members(&mut self, object: &Span, names: &[&str]) {
        let members = self.text.members(object);
        let is_removed: Vec<_> = members
            .iter()
            .map(|member| names.iter().any(|name| self.text.is(&member.key, name)))
            .collect();
        let items: Vec<_> = members
            .into_iter()
            .map(|member| member.key.start..member.value.end)
            .collect();
        self.edits.remove(&items, &is_removed);
    }

    /// Limits that an admin set hold for native providers too.
    fn limit_output(&mut self, request: &Request<'_>, value: Span) {
        let most = self.output_max();
        if request.sampling.max_tokens.is_some_and(|wanted| wanted > most) {
            self.edits.replace(value, most.to_string());
        }
    }

    fn output_max(&self) -> u64 {
        let Target {
            token_limits,
            max_output_tokens,
            ..
        } = self.target;
        max_output_tokens
            .map_or(token_limits.max, |most| most.min(token_limits.max))
            .into()
    }

    fn thinking(&mut self, request: &Request<'_>, value: Span, history: History) {
        let room = request
            .sampling
            .max_tokens
            .unwrap_or(u64::MAX)
            .min(self.output_max());
        let largest = room.saturating_sub(1);
        match request.options.thinking {
            Thinking::Enabled { .. } | Thinking::Adaptive { .. }
                if self.switches_thinking_off(request, history) =>
            {
                self.losses.add(
                    "thinking",
                    "the turn that goes on has no thinking that the provider takes",
                );
                self.edits.replace(value, OFF);
            }
            Thinking::Enabled { budget_tokens, .. } => {
                let is_too_large = budget_tokens.is_some_and(|budget| budget > largest);
                // A request that was wrong before stays wrong: the provider says so better.
                let was_right = budget_tokens < request.sampling.max_tokens;
                if is_too_large
                    && was_right
                    && let Some(budget) = self.text.member(&value, "budget_tokens")
                {
                    self.edits.replace(budget, largest.to_string());
                }
            }
            Thinking::Adaptive { .. } => match self.target.dialect.thinking_adaptive {
                ThinkingAdaptive::Keep => {}
                ThinkingAdaptive::Enabled => {
                    let budget = budget(request.options.effort).min(largest);
                    let thinking = if budget < BUDGET_MIN {
                        OFF.to_owned()
                    } else {
                        format!("{{\"type\":\"enabled\",\"budget_tokens\":{budget}}}")
                    };
                    self.losses
                        .add("thinking.type", "the provider takes only a fixed budget");
                    self.edits.replace(value, thinking);
                }
            },
            Thinking::Absent | Thinking::Disabled => {}
        }
    }

    /// A provider that has refused thinking in a turn which goes on takes the turn without any.
    fn switches_thinking_off(&self, request: &Request<'_>, history: History) -> bool {
        let has_budget = match request.options.thinking {
            Thinking::Enabled { .. } => true,
            Thinking::Adaptive { .. } => self.target.dialect.thinking_adaptive == ThinkingAdaptive::Enabled,
            Thinking::Absent | Thinking::Disabled => false,
        };
        has_budget && history == History::WithoutThinking && history::is_within_tool_loop(request)
    }

    /// Without thinking there is none to clear, and providers refuse to be told so.
    fn keep_thinking_uncleared(&mut self, context_management: &Span) {
        let Some(edits) = self.text.member(context_management, "edits") else {
            return;
        };
        let edits = self.text.elements(&edits);
        let is_removed: Vec<_> = edits
            .iter()
            .map(|edit| {
                let kind = self.text.member(edit, "type");
                let kind = kind.and_then(|kind| self.text.string(&kind));
                kind.is_some_and(|kind| kind.starts_with("clear_thinking"))
            })
            .collect();
        self.edits.remove(&edits, &is_removed);
    }

    fn system(&mut self, value: &Span) {
        let strips = self.target.dialect.strip_billing_header;
        let blocks = self.text.elements(value);
        let is_removed: Vec<_> = blocks
            .iter()
            .map(|block| {
                let said = self.text.member(block, "text");
                let said = said.and_then(|said| self.text.string(&said));
                strips && said.is_some_and(|said| said.starts_with(BILLING_HEADER))
            })
            .collect();
        self.edits.remove(&blocks, &is_removed);
        blocks.iter().for_each(|block| self.strip_ttl(block));
    }

    /// The lifetime of a cache mark, for providers that know only one.
    pub(super) fn strip_ttl(&mut self, holder: &Span) {
        if self.target.dialect.strip_cache_ttl
            && let Some(mark) = self.text.member(holder, "cache_control")
        {
            self.strip_members(&mark, &["ttl"]);
        }
    }

    /// Whether system messages between the turns have to become the user's.
    pub(super) fn moves_reminders(&self) -> bool {
        match self.target.dialect.mid_system {
            MidSystem::User => true,
            // Words for other APIs: this one has a single place for them.
            MidSystem::System | MidSystem::Developer | MidSystem::Top => false,
        }
    }
}

fn budget(effort: Option<Effort>) -> u64 {
    match effort {
        Some(Effort::None | Effort::Minimal | Effort::Low) => BUDGET_LOW,
        Some(Effort::Medium) => BUDGET_MEDIUM,
        Some(Effort::High) | None => BUDGET_HIGH,
        Some(Effort::Xhigh | Effort::Max) => BUDGET_XHIGH,
    }
}
