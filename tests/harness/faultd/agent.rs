//! Models that work through Claude Code's own tools, as `f-cc-NAME`.
//!
//! They remember nothing between requests. How far a task is can be read from the request:
//! it is as many steps on as turns of the assistant in it called tools. A task whose steps
//! are done ends with what the tools said, so that whoever asked sees that it came through.

use serde_json::{Value, json};

use super::answer::Answer;
use super::script::{After, End, Script};

/// For a provider that offers them.
pub const EXAMPLES: &[&str] = &[
    "f-cc-bash",
    "f-cc-task",
    "f-cc-two",
    "f-cc-interleaved",
    "f-cc-think",
    "f-cc-same-id",
    "f-cc-lost@700",
    "f-cc-bash@700",
    "f-cc-two@4000",
    "f-cc-image",
    "f-cc-search",
    "f-cc-agent",
];

const THOUGHT: &str = "One step after the other.";

/// How many characters of a tool's answer are told at the end.
const SAID_CHARS_MAX: usize = 4000;

/// `None`: no agent has this name. With `cut_after`, the stream of the first step ends there.
pub(super) fn script(name: &str, cut_after: Option<After>, request: &Value) -> Option<Script> {
    let progress = Progress::of(request);
    let is_first_stream = request["stream"] == json!(true) && progress.steps_done == 0;
    if name == "lost" && !is_first_stream {
        return Some(Script::text("I lost the thread."));
    }
    let step = steps(name)?.into_iter().nth(progress.steps_done);
    let script = Script::answer(step.unwrap_or_else(|| progress.report()));
    Some(match cut_after.filter(|_| is_first_stream) {
        Some(after) => script.cut(after, End::Fin),
        None => script,
    })
}

fn steps(name: &str) -> Option<Vec<Answer>> {
    let steps = match name {
        "bash" | "lost" => vec![bash(0, "echo ran >> bash.txt && cat bash.txt")],
        "task" => vec![
            call(
                0,
                "Write",
                json!({"file_path": "notes.txt", "content": "quiet notes\n"}),
            ),
            call(1, "Read", json!({"file_path": "notes.txt"})),
            bash(2, "tr a-z A-Z < notes.txt | tee loud.txt"),
        ],
        "two" => vec![two()],
        "interleaved" => vec![two().interleaved()],
        "think" => vec![
            bash(0, "echo first >> steps.txt").reasoning(THOUGHT),
            bash(1, "echo second >> steps.txt").reasoning(THOUGHT),
        ],
        "same-id" => vec![
            bash(0, "echo first >> steps.txt"),
            bash(0, "echo second >> steps.txt"),
        ],
        "image" => vec![call(0, "Read", json!({"file_path": "dot.png"}))],
        "search" => vec![call(0, "WebSearch", json!({"query": "weather in Oslo"}))],
        "agent" => vec![call(
            0,
            "Agent",
            json!({
                "description": "look around",
                "prompt": "Look around.",
                "subagent_type": "Explore",
                "model": "haiku",
                "run_in_background": false,
            }),
        )],
        _ => return None,
    };
    Some(steps)
}

fn two() -> Answer {
    bash(0, "echo left >> left.txt").tool_call("call_1", "Bash", &command("echo right >> right.txt"))
}

fn bash(nth: usize, line: &str) -> Answer {
    Answer::default().tool_call(&format!("call_{nth}"), "Bash", &command(line))
}

fn call(nth: usize, tool: &str, arguments: Value) -> Answer {
    Answer::default().tool_call(&format!("call_{nth}"), tool, &arguments.to_string())
}

fn command(line: &str) -> String {
    json!({"command": line, "description": "a scripted step"}).to_string()
}

/// Where a conversation stands.
struct Progress {
    steps_done: usize,
    tools_said: Vec<String>,
}

// === impl Progress ===

impl Progress {
    fn of(request: &Value) -> Self {
        let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let calls = messages.iter().filter(|message| message["tool_calls"].is_array());
        let results = messages.iter().filter(|message| message["role"] == "tool");
        Self {
            steps_done: calls.count(),
            tools_said: results.map(|result| text_of(&result["content"])).collect(),
        }
    }

    fn report(self) -> Answer {
        Answer::text(&format!("The tools said: {}", self.tools_said.join(" | ")))
    }
}

fn text_of(content: &Value) -> String {
    let text = match content.as_str() {
        Some(text) => text.to_owned(),
        None => content.to_string(),
    };
    text.trim().chars().take(SAID_CHARS_MAX).collect()
}
