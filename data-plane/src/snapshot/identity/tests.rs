use std::{fs, os::unix::fs::PermissionsExt, time::UNIX_EPOCH};

use secrecy::ExposeSecret;

use super::*;

const NOW: SystemTime = UNIX_EPOCH;
const SECOND: Duration = Duration::from_secs(1);

fn certified(from_s: u32, until_s: u32) -> Certified {
    Certified {
        chain: vec![vec![1, 2], vec![3]],
        issued_at: NOW + from_s * SECOND,
        expires_at: NOW + until_s * SECOND,
    }
}

fn identity() -> Identity {
    Identity::new("node-1".into(), NewKey::make("node-1").unwrap(), certified(0, 30))
}

#[test]
fn what_was_written_is_read_and_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/identity");
    assert!(read(&path).unwrap().is_none());
    let (first, second) = (identity(), identity());
    for written in [&first, &second] {
        write(&path, written).unwrap();
        let read = read(&path).unwrap().unwrap();
        assert_eq!(
            (&read.node_id, &read.key, &read.chain),
            (&written.node_id, &written.key, &written.chain)
        );
        assert_eq!(
            (read.issued_at, read.expires_at),
            (written.issued_at, written.expires_at)
        );
        assert_eq!(
            read.cache_secret.expose_secret(),
            written.cache_secret.expose_secret()
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    assert_ne!(
        first.cache_secret.expose_secret(),
        second.cache_secret.expose_secret()
    );
}

#[test]
fn what_is_damaged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity");
    write(&path, &identity()).unwrap();
    let good = fs::read(&path).unwrap();
    for bytes in 0..good.len() {
        fs::write(&path, &good[..bytes]).unwrap();
        assert!(matches!(read(&path), Err(Error::Damaged { .. })), "{bytes}");
    }
    let text = String::from_utf8(good).unwrap();
    for (part, other) in [
        ("\"v\":1", "\"v\":2"),
        ("\"chain\":[\"0102\"", "\"chain\":[\"010x\""),
        ("\"issued_unix_ms\":0", "\"issued_unix_ms\":9223372036854775807"),
    ] {
        assert!(text.contains(part), "{part}");
        fs::write(&path, text.replace(part, other)).unwrap();
        assert!(matches!(read(&path), Err(Error::Damaged { .. })), "{part}");
    }
}

#[test]
fn a_certificate_is_renewed_when_two_thirds_of_its_time_are_over() {
    let identity = identity();
    let renews_in = |at: u32| identity.renews_in(NOW + at * SECOND);
    assert_eq!((renews_in(0), renews_in(15)), (20 * SECOND, 5 * SECOND));
    assert_eq!((renews_in(20), renews_in(40)), (Duration::ZERO, Duration::ZERO));
    assert!(!identity.has_expired(NOW + 29 * SECOND) && identity.has_expired(NOW + 30 * SECOND));
}

#[test]
fn a_renewal_changes_the_key_and_keeps_what_the_cache_is_sealed_with() {
    let before = identity();
    let after = before.renewed(NewKey::make("node-1").unwrap(), certified(20, 50));
    assert_ne!(before.key, after.key);
    assert_eq!(
        before.cache_secret.expose_secret(),
        after.cache_secret.expose_secret()
    );
    assert_eq!(after.renews_in(NOW + 20 * SECOND), 20 * SECOND);
}
