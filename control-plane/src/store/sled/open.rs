//! Opening the store: recover what can be recovered without losing anything, and
//! refuse everything else. An installation that has data never starts without it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    folder::{DATA_FILE, sync_dir},
    marker::{self, Mark, Marker},
    trees::Trees,
};
use crate::store::{
    OpenError,
    head::{self, Head, Installation, SCHEMA},
    verify,
};

/// How long opening may take. Damaged files have been seen to hang it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sled's own threads may hold on to the data of a store that was closed in this
/// process, or of a process that ended.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
const RELEASE_POLL: Duration = Duration::from_millis(5);
/// What sled may keep in memory, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Held for as long as the store is open.
const LOCK_FILE: &str = "lock";
/// sled's snapshots of its page table; it can do without.
const SNAPSHOT_PREFIX: &str = "snap.";

/// A store that has been opened and found whole.
pub(super) struct Opened {
    pub(super) trees: Trees,
    pub(super) installation: Installation,
    pub(super) head: Head,
    pub(super) marker: Marker,
    pub(super) lock: File,
}

/// Opens in a thread of its own, so that a hanging disk or damaged file ends in an
/// error. The thread is given up in that case; the process is expected to exit.
///
/// `new`: what is opened must be empty, and becomes this installation.
pub(super) fn open_watched(path: &Path, new: Option<Installation>) -> Result<Opened, OpenError> {
    let (sender, receiver) = mpsc::channel();
    let owned = path.to_owned();
    let thread = thread::Builder::new()
        .name("store-open".to_owned())
        .spawn(move || {
            // Nobody waits any more if it took too long.
            let _ = sender.send(open(&owned, new));
        });
    thread.map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    match receiver.recv_timeout(OPEN_TIMEOUT) {
        Ok(opened) => opened,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(OpenError::Hung {
            path: path.to_owned(),
            seconds: OPEN_TIMEOUT.as_secs(),
        }),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(damaged(path, "reading it panicked")),
    }
}

fn open(path: &Path, new: Option<Installation>) -> Result<Opened, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_error)?;
    let lock = lock(path)?;
    let mark = read_mark(path)?;
    if new.is_some() && mark.is_some() {
        return Err(not_empty(path));
    }
    if let Some(mark) = mark {
        check_data_is_there(path, &mark)?;
    }
    wait_until_released(path).map_err(io_error)?;
    let db = open_or_recover(path)?;
    let trees = Trees::open(&db).map_err(|error| damaged(path, error))?;
    let installation = identify(path, &trees, mark, new)?;
    let head = verify(path, &trees, mark)?;
    let mark = Mark {
        cluster_id: installation.cluster_id,
        revision: head.revision,
    };
    let marker = Marker::write(path, mark).map_err(io_error)?;
    Ok(Opened {
        trees,
        installation,
        head,
        marker,
        lock,
    })
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path.join(LOCK_FILE))
        .map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

fn read_mark(path: &Path) -> Result<Option<Mark>, OpenError> {
    marker::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => OpenError::MarkerDamaged {
            marker: marker::path(path),
        },
        _ => OpenError::Io {
            path: path.to_owned(),
            source,
        },
    })
}

/// Asked before sled opens, which would make an empty file in its place.
fn check_data_is_there(path: &Path, mark: &Mark) -> Result<(), OpenError> {
    let bytes = fs::metadata(path.join(DATA_FILE)).map_or(0, |metadata| metadata.len());
    if bytes == 0 {
        Err(data_missing(path, mark))
    } else {
        Ok(())
    }
}

/// sled locks its data file and lets go of it in a thread of its own, a moment after the last
/// handle is gone. Whoever opens it holds our lock, so that nobody else takes it meanwhile.
pub(in crate::store) fn wait_until_released(path: &Path) -> io::Result<()> {
    let file = match File::open(path.join(DATA_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let end = Instant::now() + RELEASE_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            // Beyond this sled says why it cannot open.
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(RELEASE_POLL),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A damaged snapshot file hides an intact log: without it sled reads the log.
fn open_or_recover(path: &Path) -> Result<sled::Db, OpenError> {
    let first = match open_sled(path) {
        Ok(db) => return Ok(db),
        Err(error) => error,
    };
    let Reason::Damage(reason) = first else {
        return Err(first.into_error(path));
    };
    let copy = copy_aside(path).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    tracing::error!(%reason, copy = %copy.display(), "the store did not open; trying again without its snapshot, after a copy");
    remove_snapshots(path).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    let db = open_sled(path).map_err(|reason| reason.into_error(path))?;
    tracing::error!(copy = %copy.display(), "the store was recovered from its log; keep the copy until all is well");
    Ok(db)
}

enum Reason {
    Damage(String),
    Io(io::Error),
}

impl Reason {
    fn into_error(self, path: &Path) -> OpenError {
        match self {
            Self::Damage(reason) => damaged(path, reason),
            Self::Io(source) => OpenError::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

fn open_sled(path: &Path) -> Result<sled::Db, Reason> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    // sled panics over some damage; nothing of it is used after that.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if !is_damage(&error) => Err(Reason::Io(error)),
        Ok(Err(error)) => Err(Reason::Damage(error.to_string())),
        Err(_) => Err(Reason::Damage("reading it panicked".to_owned())),
    }
}

/// Reading past what a damaged length promised is damage, not the disk.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{seconds}"));
    let copy = path.with_file_name(name);
    copy_dir(path, &copy)?;
    Ok(copy)
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?
        } else {
            fs::copy(entry.path(), target).map(drop)?
        };
    }
    sync_dir(to)
}

fn remove_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SNAPSHOT_PREFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    sync_dir(path)
}

/// Which installation this is. Only a store that never was one becomes a new one.
fn identify(
    path: &Path,
    trees: &Trees,
    mark: Option<Mark>,
    new: Option<Installation>,
) -> Result<Installation, OpenError> {
    match head::load_schema(trees).map_err(|error| damaged(path, error))? {
        Some(found) if found > SCHEMA => {
            return Err(OpenError::NewerSchema {
                place: path.display().to_string(),
                found,
                known: SCHEMA,
            });
        }
        Some(_) | None => {}
    }
    let found = head::load_installation(trees).map_err(|error| damaged(path, error))?;
    if new.is_some() && !trees.are_empty() {
        return Err(not_empty(path));
    }
    match (found, mark) {
        (Some(found), Some(mark)) if found.cluster_id == mark.cluster_id => Ok(found),
        (Some(_), Some(_)) => Err(damaged(path, "its files belong to two installations")),
        // The first start ended before the marker was written.
        (Some(found), None) => Ok(found),
        (None, Some(mark)) => Err(data_missing(path, &mark)),
        (None, None) if trees.are_empty() => initialise(path, trees, new.unwrap_or_else(Installation::mint)),
        (None, None) => Err(damaged(path, "there are records, but nothing says whose")),
    }
}

fn initialise(path: &Path, trees: &Trees, installation: Installation) -> Result<Installation, OpenError> {
    let first = head::first_rows(trees, installation).map_err(|error| damaged(path, error))?;
    let write = || -> Result<(), sled::Error> {
        trees.apply(&first)?;
        trees.flush()?;
        File::open(path.join(DATA_FILE))?.sync_all()?;
        sync_dir(path)?;
        Ok(())
    };
    write().map_err(|error| damaged(path, error))?;
    Ok(installation)
}

/// Compares what is there with what it should add up to.
fn verify(path: &Path, trees: &Trees, mark: Option<Mark>) -> Result<Head, OpenError> {
    let head = verify::head(trees).map_err(|reason| damaged(path, reason))?;
    if let Some(Mark {
        revision: acknowledged,
        ..
    }) = mark
        && acknowledged > head.revision
    {
        let marker = marker::path(path);
        return Err(OpenError::ChangesLost {
            path: path.to_owned(),
            marker,
            found: head.revision,
            acknowledged,
        });
    }
    verify::all(trees, &head).map_err(|reason| damaged(path, reason))?;
    Ok(head)
}

fn damaged(path: &Path, reason: impl ToString) -> OpenError {
    OpenError::Damaged {
        place: path.display().to_string(),
        reason: reason.to_string(),
    }
}

fn not_empty(path: &Path) -> OpenError {
    OpenError::NotEmpty {
        place: path.display().to_string(),
    }
}

fn data_missing(path: &Path, mark: &Mark) -> OpenError {
    OpenError::DataMissing {
        path: path.to_owned(),
        cluster: marker::hex(&mark.cluster_id),
    }
}
