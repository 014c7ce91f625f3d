//! Whom to start a program with so that it meets another disk or another time than this machine's.
//!
//! That takes rights or packages that not everybody has: `None` says so, and the reason is printed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

const UNSHARE: &str = "/usr/bin/unshare";

/// A folder becomes a disk of so many KiB.
pub fn small_disk(folder: &Path, kib: u32) -> Result<Option<Vec<String>>> {
    let script = format!("mount -t tmpfs -o size={kib}k tmpfs \"$0\"");
    std::fs::create_dir_all(folder)?;
    let folder = folder.display().to_string();
    let trial = ["--mount", "/bin/sh", "-c", &script, &folder];
    if !succeeds(trial.map(OsStr::new)) {
        eprintln!("skipped: mount namespaces are not permitted here");
        return Ok(None);
    }
    let script = format!("{script} && exec \"$@\"");
    Ok(Some(words([
        UNSHARE, "--mount", "/bin/sh", "-c", &script, &folder,
    ])))
}

/// The monotonic clock is ahead.
pub fn monotonic_clock_ahead(by: Duration) -> Option<Vec<String>> {
    let seconds = by.as_secs().to_string();
    let options = ["--time", "--monotonic", &seconds];
    if !succeeds(options.into_iter().chain(["true"]).map(OsStr::new)) {
        eprintln!("skipped: time namespaces are not permitted here");
        return None;
    }
    Some(words([UNSHARE].into_iter().chain(options)))
}

/// The wall clock is off by what stands in a file, such as `+3600`, whenever it is looked at.
pub fn wall_clock_by(file: &Path) -> Option<Vec<String>> {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !Path::new(LIBRARY).exists() {
        eprintln!("skipped: {LIBRARY} is not there (Debian's package faketime)");
        return None;
    }
    let settings = [
        format!("LD_PRELOAD={LIBRARY}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_RESET=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    Some(["/usr/bin/env".to_owned()].into_iter().chain(settings).collect())
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

fn succeeds<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> bool {
    let status = Command::new(UNSHARE)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
