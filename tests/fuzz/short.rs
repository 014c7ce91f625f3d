//! The short form of fuzzing translation: every target, some thousand inputs, always the same ones.

mod fixtures;
mod targets;

use std::sync::Arc;

use anyhow::{Context, Result};

use fixtures::Fixtures;
use targets::VERBS;

const INPUTS: u64 = 2000;

fn check(name: &str) -> Result<()> {
    let verb = VERBS.iter().find(|verb| verb.name == name);
    let fixtures = Arc::new(Fixtures::load()?);
    bridge_campaign::check(verb.context("no target")?.target(&fixtures), INPUTS)
}

#[test]
fn any_request_is_refused_or_translated_for_every_preset() {
    check("request").unwrap();
}

#[test]
fn any_answer_is_a_fault_or_a_message() {
    check("response").unwrap();
}

#[test]
fn any_stream_obeys_the_grammar_however_it_is_cut() {
    check("stream").unwrap();
}

#[test]
fn any_bytes_give_the_same_events_however_they_are_cut() {
    check("sse").unwrap();
}

#[test]
fn any_error_body_is_read_as_some_fault() {
    check("error").unwrap();
}

#[test]
fn any_bytes_pass_a_native_provider_unharmed() {
    check("native").unwrap();
}
