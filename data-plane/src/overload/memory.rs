//! How much memory this process may use: the least of its control groups' limits and of
//! what the machine has.

use std::path::Path;

use super::groups::{self, Folder};

const MACHINE: &str = "/proc/meminfo";

/// `None` where nothing tells.
pub(crate) fn memory_bytes() -> Option<u64> {
    least(|path| std::fs::read_to_string(path).ok())
}

fn least(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limit = |folder| {
        let file = match folder {
            Folder::Unified(folder) => folder.join("memory.max"),
            Folder::Single(folder) => folder.join("memory.limit_in_bytes"),
        };
        // Both versions write "no limit" in their own way.
        read(&file)?.trim().parse::<u64>().ok()
    };
    let limits = groups::folders("memory", &read).into_iter().filter_map(limit);
    limits.chain(machine(&read(Path::new(MACHINE))?)).min()
}

fn machine(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GROUPS: &str = "/proc/self/cgroup";

    fn check(files: &[(&str, &str)], expected: Option<u64>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(least(read), expected, "{files:?}");
    }

    #[test]
    fn the_narrowest_limit_counts() {
        let machine = (MACHINE, "MemTotal:       1048576 kB\nMemFree: 1 kB\n");
        check(&[], None);
        check(&[machine], Some(1024 * MIB));
        let v2 = (GROUPS, "0::/a/b\n");
        check(
            &[machine, v2, ("/sys/fs/cgroup/a/b/memory.max", "max\n")],
            Some(1024 * MIB),
        );
        check(
            &[
                machine,
                v2,
                ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("/sys/fs/cgroup/a/memory.max", "268435456\n"),
            ],
            Some(256 * MIB),
        );
        // A container that sees its own group as the root.
        check(
            &[machine, v2, ("/sys/fs/cgroup/memory.max", "1048576\n")],
            Some(MIB),
        );
        let v1 = (GROUPS, "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n");
        check(
            &[
                machine,
                v1,
                ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n"),
                (
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
            Some(MIB),
        );
    }
}
