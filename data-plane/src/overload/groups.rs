//! Control groups of this process: where their files are, in both versions.

use std::path::{Path, PathBuf};

const GROUPS: &str = "/proc/self/cgroup";
const MOUNT: &str = "/sys/fs/cgroup";

/// One folder of files that limit this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    /// Of all controllers.
    Unified(PathBuf),
    /// Of the controller that was asked for.
    Single(PathBuf),
}

/// The folders of a controller, from the group of this process outwards: it is held to the
/// limits of all of them. `read` reads a file.
pub(super) fn folders(controller: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<Folder> {
    let groups = read(Path::new(GROUPS)).unwrap_or_default();
    groups
        .lines()
        .filter_map(|line| of_line(line, controller))
        .flatten()
        .collect()
}

/// Those of a line such as `0::/system.slice/bridge.service`.
fn of_line(line: &str, controller: &str) -> Option<Vec<Folder>> {
    let mut parts = line.splitn(3, ':');
    let (_number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, folder): (_, fn(PathBuf) -> Folder) = if controllers.is_empty() {
        (PathBuf::from(MOUNT), Folder::Unified)
    } else if controllers.split(',').any(|name| name == controller) {
        (Path::new(MOUNT).join(controller), Folder::Single)
    } else {
        return None;
    };
    // Inside a container the path may be the machine's; what counts is then at the mount itself.
    let own = mount.join(path.trim_start_matches('/'));
    let around = own.ancestors().take_while(|around| around.starts_with(&mount));
    Some(around.map(|around| folder(around.to_owned())).collect())
}
