//! What the program gives up at its start, so that the secrets in its memory and in
//! its files stay with it.
//!
//! It holds for the whole process, so it is the program's and not the library's.

use rustix::{
    fs::Mode,
    io::Errno,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot turn core dumps off: {0}")]
    CoreLimit(Errno),
    #[error("cannot close this process's memory to others: {0}")]
    Dumpable(Errno),
}

/// New files are the owner's alone, nothing dumps core, and only root may look into
/// the memory.
pub(crate) fn harden() -> Result<(), Error> {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(Error::CoreLimit)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::Dumpable)
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn files_are_the_owners_and_nothing_dumps_core() {
        harden().unwrap();
        let Rlimit { current, maximum } = getrlimit(Resource::Core);
        assert_eq!((current, maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(umask(Mode::RWXG | Mode::RWXO).bits(), 0o077);
    }
}
