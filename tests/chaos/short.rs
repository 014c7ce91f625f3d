//! The short form of every chaos run: the same program, smaller figures.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Result, ensure};

/// A test for each run, and their names.
macro_rules! short_forms {
    ($($test:ident => $run:literal,)*) => {
        const RUNS: &[&str] = &[$($run),*];
        $(#[test]
        fn $test() -> Result<()> {
            check($run)
        })*
    };
}

short_forms! {
    large_bodies_do_not_hold_up_small_ones => "bodies",
    a_cancelled_request_ends_at_the_upstream => "cancel",
    keys_are_made_once_and_soon => "creates",
    a_cut_answer_is_given_by_the_next_or_ends_in_one_error => "cuts",
    without_descriptors_nothing_spins_and_streams_live => "descriptors",
    what_runs_with_a_revoked_key_ends_and_nothing_else => "ended",
    every_answer_under_a_plan_of_faults_is_as_the_table_says => "faults",
    a_frozen_node_holds_up_nobody_and_catches_up => "frozen",
    floods_of_frames_end_their_connection => "http2",
    a_killed_control_plane_leads_no_node_back => "kills",
    guesses_are_few_and_hold_up_nobody => "logins",
    many_keys_reach_many_nodes => "many-keys",
    bodies_beyond_the_memory_are_turned_away => "memory",
    nobody_notices_that_the_control_plane_is_away => "outage",
    a_node_with_too_much_to_do_does_what_it_can => "overload",
    a_provider_that_fails_is_hidden_and_left_alone => "providers",
    a_revoked_key_is_accepted_nowhere_after_the_answer => "revoke",
    nodes_come_and_go_without_a_failed_request => "roll",
    slow_readers_hold_back_their_upstream_and_nobody_else => "slow-readers",
    dripping_clients_are_closed_and_the_others_served => "slowloris",
    a_node_does_not_grow => "soak",
    stock_servers_lack_what_ours_have => "stock",
    open_streams_are_kept_and_cost_little => "streams",
    changes_over_a_bad_line_are_healed => "tampered",
    refusals_tell_nothing_by_their_time => "timing",
}

fn chaos(arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(arguments)
        .output()?;
    // The test runner shows this only if the test fails.
    std::io::stderr().write_all(&output.stderr)?;
    std::io::stdout().write_all(&output.stdout)?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

fn check(run: &str) -> Result<()> {
    let (is_passed, told) = chaos(&[run, "--short"])?;
    ensure!(is_passed, "{told}");
    Ok(())
}

#[test]
fn every_run_has_a_short_form() -> Result<()> {
    let (_, list) = chaos(&["list"])?;
    let first_word = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let names: Vec<String> = list.lines().filter_map(first_word).collect();
    assert_eq!(names, RUNS);
    Ok(())
}
