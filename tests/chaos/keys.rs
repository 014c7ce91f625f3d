//! Many keys, which several runs need.

use anyhow::Result;
use bridge_tests::admin::Admin;

/// Creates at the same time.
const AT_ONCE: usize = 32;

/// Makes so many keys more; the last revision that one of them has.
pub(crate) async fn fill(admin: &Admin, count: usize) -> Result<u64> {
    let mut last = 0;
    for first in (0..count).step_by(AT_ONCE) {
        let names: Vec<_> = (first..count.min(first + AT_ONCE))
            .map(|n| format!("key {n}"))
            .collect();
        let creating = names.iter().map(|name| admin.create_key(name));
        let made = futures_util::future::try_join_all(creating).await?;
        last = made
            .iter()
            .map(|(_, record)| record.revision)
            .fold(last, u64::max);
    }
    Ok(last)
}
