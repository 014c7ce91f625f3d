//! How much memory this process may use: the least of its control groups' limits and of
//! what the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
};

const GROUPS: &str = "/proc/self/cgroup";
const MACHINE: &str = "/proc/meminfo";
const MOUNT: &str = "/sys/fs/cgroup";

/// `None` where nothing tells.
pub(crate) fn memory_bytes() -> Option<u64> {
    least(|path| fs::read_to_string(path).ok())
}

fn least(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new(GROUPS)).unwrap_or_default();
    let limits = groups
        .lines()
        .filter_map(files)
        .flat_map(|(folder, mount, file)| {
            // A group is held to the limits of those around it, too. Inside a container the
            // path may be the machine's; what counts is then at the mount itself.
            let around: Vec<_> = folder.ancestors().map(Path::to_owned).collect();
            around
                .into_iter()
                .take_while(move |folder| folder.starts_with(&mount))
                .map(move |folder| folder.join(file))
        })
        // Both versions write "no limit" in their own way.
        .filter_map(|file| read(&file)?.trim().parse::<u64>().ok());
    limits.chain(machine(&read(Path::new(MACHINE))?)).min()
}

/// Folder, mount and file of a line such as `0::/system.slice/bridge.service`.
fn files(line: &str) -> Option<(PathBuf, PathBuf, &'static str)> {
    let mut parts = line.splitn(3, ':');
    let (_number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, file) = if controllers.is_empty() {
        (PathBuf::from(MOUNT), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (Path::new(MOUNT).join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    Some((mount.join(path.trim_start_matches('/')), mount, file))
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
