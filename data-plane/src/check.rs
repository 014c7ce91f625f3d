//! The subcommand `check`: is the configuration sound, and would this node start without
//! the control plane? It reads what `serve` would read, and touches no network.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use crate::{
    clock::{from_unix_ms, unix_ms},
    config::Config,
    snapshot::{
        cache::{Cache, Found, Kept, generations, read},
        identity,
    },
};

/// Says what it finds on standard output. Failure: something is kept, and none of it can
/// be used.
pub fn run(config: Config) -> ExitCode {
    match report(config, SystemTime::now(), &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Whether nothing is wrong that would keep this node from starting with what is kept.
fn report(config: Config, now: SystemTime, out: &mut impl Write) -> io::Result<bool> {
    let Config {
        public,
        ops,
        fleet,
        cache,
        upstream: _,
        drain: _,
        limits: _,
        log: _,
        collector: _,
    } = config;
    writeln!(out, "configuration: good")?;
    writeln!(out, "  public listener: {public}")?;
    writeln!(out, "  ops listener: {ops}")?;
    let urls: Vec<_> = fleet.urls.iter().map(|url| url.as_str()).collect();
    writeln!(out, "  control plane: {}", urls.join(", "))?;
    writeln!(out, "  node: {}", fleet.node_id)?;
    if let Some(enrolment) = &fleet.enrolment {
        tell_identity(out, &enrolment.identity, now)?;
    }

    let cache = Cache::new(cache, fleet.token);
    if cache.files().is_none() && cache.bootstrap().is_none() {
        writeln!(out, "snapshot cache: off")?;
        return Ok(true);
    }
    let sealer = match cache.sealer() {
        Ok(sealer) => sealer,
        Err(error) => {
            writeln!(out, "snapshot cache: cannot be opened: {error}")?;
            return Ok(false);
        }
    };
    let mut files = Vec::new();
    if let Some(places) = cache.files() {
        writeln!(out, "snapshot cache: {}", places.folder().display())?;
        let found = generations(places, &sealer);
        files.extend(found.map(|(slot, found)| (places.slot(slot), found)));
    }
    if let Some(path) = cache.bootstrap() {
        files.push((path.to_owned(), read(path, &sealer)));
    }
    let is_good = files.iter().any(|(_, found)| matches!(found, Ok(Some(_))));
    let is_empty = files.iter().all(|(_, found)| matches!(found, Ok(None)));
    for (path, found) in files {
        tell(out, &path, found, now)?;
    }
    let verdict = if is_good {
        "this node starts without the control plane"
    } else if is_empty {
        "nothing is kept yet: this node needs the control plane to start"
    } else {
        "nothing of it can be used: this node needs the control plane to start"
    };
    writeln!(out, "{verdict}")?;
    Ok(is_good || is_empty)
}

fn tell_identity(out: &mut impl Write, path: &Path, now: SystemTime) -> io::Result<()> {
    write!(out, "  certificate: {}: ", path.display())?;
    match identity::read(path) {
        Ok(Some(identity)) => writeln!(
            out,
            "{} of {}, until {}",
            if identity.has_expired(now) {
                "expired"
            } else {
                "good"
            },
            identity.node_id,
            httpdate::fmt_http_date(identity.expires_at)
        ),
        Ok(None) => writeln!(out, "not there yet: the join token gets one"),
        Err(error) => writeln!(out, "bad: {error}"),
    }
}

fn tell(out: &mut impl Write, path: &Path, found: Found, now: SystemTime) -> io::Result<()> {
    write!(out, "  {}: ", path.display())?;
    let Kept {
        snapshot,
        generation,
        confirmed_unix_ms,
    } = match found {
        Ok(Some(kept)) => kept,
        Ok(None) => return writeln!(out, "not there"),
        Err(reason) => return writeln!(out, "bad: {reason}"),
    };
    let age_ms = unix_ms(now).saturating_sub(confirmed_unix_ms).max(0);
    let age = Duration::from_millis(age_ms.unsigned_abs());
    let is_too_old = snapshot.settings.stale_limit.is_some_and(|limit| age > limit);
    let expired = snapshot
        .keys
        .values()
        .filter(|key| key.expires_at.is_some_and(|expires_at| expires_at <= now))
        .count();
    writeln!(
        out,
        "good{}: generation {generation}, cluster {:032x}, epoch {}, revision {}, confirmed {} ({} s ago), \
         {} keys ({expired} expired), {} providers, {} model rules",
        if is_too_old { ", but too old to serve" } else { "" },
        u128::from_be_bytes(snapshot.version.cluster),
        snapshot.version.epoch,
        snapshot.version.revision,
        httpdate::fmt_http_date(from_unix_ms(confirmed_unix_ms)),
        age.as_secs(),
        snapshot.keys.len(),
        snapshot.providers.len(),
        snapshot.rules.len(),
    )
}
