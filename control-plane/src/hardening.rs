//! What the program gives up at its start, so that the secrets in its memory and in
//! its files stay with it.
//!
//! It holds for the whole process, so it is the program's and not the library's.

use rustix::{
    fs::Mode,
    io::Errno,
    process::{Resource, Rlimit, setrlimit, umask},
};

#[derive(Debug, thiserror::Error)]
#[error("cannot keep this process's memory to itself: {0}")]
pub(crate) struct Error(#[from] Errno);

/// New files are the owner's alone, nothing dumps core, and on Linux only root may
/// look into the memory.
pub(crate) fn harden() -> Result<(), Error> {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;

    #[test]
    fn files_are_the_owners_and_nothing_dumps_core() {
        harden().unwrap();
        let Rlimit { current, maximum } = getrlimit(Resource::Core);
        assert_eq!((current, maximum), (Some(0), Some(0)));
        assert_eq!(umask(Mode::RWXG | Mode::RWXO), Mode::RWXG | Mode::RWXO);
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior(),
            Ok(rustix::process::DumpableBehavior::NotDumpable)
        );
    }
}
