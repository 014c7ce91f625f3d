//! How many processors this process may use: the least of its control groups' quotas and of
//! its threads.

use std::{path::Path, time::Duration};

use super::groups::{self, Folder};

/// What a process may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Allowed {
    pub(super) processors: f64,
    /// How long it has to wait at most once its quota is used up.
    pub(super) pause: Duration,
}

impl Allowed {
    /// `threads` is how many of ours may run at once. A quota may change while we run.
    pub(super) fn now(threads: usize) -> Self {
        Self::read(threads, |path| std::fs::read_to_string(path).ok())
    }

    fn read(threads: usize, read: impl Fn(&Path) -> Option<String>) -> Self {
        let threads = threads as f64;
        let quotas = groups::folders("cpu", &read)
            .into_iter()
            .filter_map(|folder| quota(folder, &read))
            .map(|(processors, period)| Self {
                processors,
                pause: period.mul_f64((1.0 - processors / threads).max(0.0)),
            });
        let all = Self {
            processors: threads,
            pause: Duration::ZERO,
        };
        quotas.fold(all, |least, quota| Self {
            processors: least.processors.min(quota.processors),
            pause: least.pause.max(quota.pause),
        })
    }
}

/// In processors, and its period; `None` without a quota, which both versions write in their own
/// way.
fn quota(folder: Folder, read: impl Fn(&Path) -> Option<String>) -> Option<(f64, Duration)> {
    let (quota, period) = match folder {
        Folder::Unified(folder) => {
            let text = read(&folder.join("cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
        Folder::Single(folder) => (
            read(&folder.join("cpu.cfs_quota_us"))?,
            read(&folder.join("cpu.cfs_period_us"))?,
        ),
    };
    let (quota, period): (u64, u64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0 && period > 0).then(|| (quota as f64 / period as f64, Duration::from_micros(period)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], processors: f64, pause_ms: u64) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        let expected = Allowed {
            processors,
            pause: Duration::from_millis(pause_ms),
        };
        assert_eq!(Allowed::read(4, read), expected, "{files:?}");
    }

    #[test]
    fn the_narrowest_quota_counts() {
        check(&[], 4.0, 0);
        let v2 = ("/proc/self/cgroup", "0::/a/b\n");
        let own = "/sys/fs/cgroup/a/b/cpu.max";
        let around = "/sys/fs/cgroup/a/cpu.max";
        check(&[v2, (own, "max 100000\n")], 4.0, 0);
        check(&[v2, (own, "800000 100000\n")], 4.0, 0);
        check(&[v2, (own, "100000 100000\n")], 1.0, 75);
        check(
            &[v2, (own, "100000 100000\n"), (around, "50000 10000\n")],
            1.0,
            75,
        );
        check(&[v2, (own, "200000 100000\n"), (around, "5000 10000\n")], 0.5, 50);
        let v1 = ("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n");
        let (quota, period) = (
            "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us",
            "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us",
        );
        check(&[v1, (quota, "-1\n"), (period, "100000\n")], 4.0, 0);
        check(&[v1, (quota, "16000\n"), (period, "8000\n")], 2.0, 4);
    }

    #[test]
    fn nonsense_limits_nothing() {
        let v2 = ("/proc/self/cgroup", "0::/\n");
        for text in ["", "0 0\n", "x 100000\n", "100000\n", "-5 100000\n"] {
            check(&[v2, ("/sys/fs/cgroup/cpu.max", text)], 4.0, 0);
        }
    }
}
