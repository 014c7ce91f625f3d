//! A backup: every row of the store as of one moment, and the way back.
//!
//! What changes is read at one moment into memory, since a reader holds up the writer;
//! the audit log, which only grows, follows in pieces up to the row that was its last at
//! that moment. A restored store is a new epoch of the same installation.

mod format;

use std::{
    io::{self, Read, Write},
    path::Path,
    time::SystemTime,
};

use super::{
    CommitError, OpenError, SealedName, Store,
    audit_log::AuditHead,
    backend::{Parts, View, WriteError},
    digest::StateDigest,
    family::Family,
    head::{Head, Installation, SCHEMA},
    postgres,
    rows::{Order, Row, Rows, Span},
    verify,
    write_set::{WriteSet, Writes},
};

use secrecy::SecretString;

use format::{Decoder, Encoder, NamedRow};

pub use format::{Header, MAGIC};

/// What of a moment may be in memory, in bytes.
const SPOOL_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Rows of the audit log that are read at one moment.
const AUDIT_ROWS: usize = 10_000;
/// Rows that are restored in one write.
const RESTORED_ROWS: usize = 2_000;

/// Why there is no backup, or nothing was restored of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this is no backup")]
    NoBackup,
    #[error("the backup has form {found}, this build reads form {known}")]
    OtherFormat { found: u16, known: u16 },
    #[error("the backup was made by a newer build: its store has layout {found}, this build knows {known}")]
    NewerSchema { found: u32, known: u32 },
    #[error("the backup was made by a newer build: it holds {name}, which this build does not know")]
    UnknownFamily { name: String },
    #[error("the backup is cut off after {after} bytes; take another one, this one cannot be restored")]
    CutOff { after: u64 },
    #[error("the backup is damaged before byte {before}; take another one, this one cannot be restored")]
    Damaged { before: u64 },
    #[error("the records of the backup do not add up; take another one, this one cannot be restored")]
    DoesNotAddUp,
    #[error("the store is too large for this: more than {max} bytes")]
    TooLarge { max: usize },
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] super::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the store cannot be written: {0}; remove what is there and restore again")]
    Write(#[source] WriteFailed),
    #[error("the store could not be verified: {0}")]
    Unsound(String),
}

/// Why rows were not written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WriteFailed(String);

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        Self::Write(WriteFailed(error.to_string()))
    }
}

/// What is in a backup.
#[derive(Debug)]
pub struct Inspected {
    pub header: Header,
    pub rows: u64,
    key_check: Option<Vec<u8>>,
}

impl Inspected {
    /// Tells the right master key from a wrong one; `None`: nothing was ever sealed.
    #[must_use]
    pub fn key_check(&self) -> Option<&[u8]> {
        self.key_check.as_deref()
    }
}

/// What becomes of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    Keep,
    End,
}

// === making one ===

impl Store {
    /// Writes a backup while the store goes on; answers the revision and the number of rows.
    pub async fn backup<W: Write + Send + 'static>(&self, out: W) -> Result<(u64, u64), Error> {
        let installation = self.installation;
        let view = self.backend.view().await?;
        let spooled = run(move || spool(&view, installation)).await?;
        let (mut encoder, audit) = run(move || spooled.into_encoder(out)).await?;
        let mut after = 0;
        while after < audit.sequence {
            let view = self.backend.view().await?;
            (encoder, after) = run(move || {
                let rows = audit_rows(view.rows.as_ref(), after, audit.sequence)?;
                // Whoever reads the backup slowly holds up nobody.
                drop(view);
                let last = rows.last().map(|row| row.key.clone());
                for Row { key, value } in rows {
                    encoder.row(Family::Audit, &key, &value)?;
                }
                encoder.flush()?;
                let last = last.and_then(|key| key.try_into().ok());
                last.map(|key| (encoder, u64::from_be_bytes(key)))
                    .ok_or_else(|| Error::Unsound(format!("row {} of the audit log is missing", after + 1)))
            })
            .await?;
        }
        let revision = encoder.revision;
        let (_, rows) = run(move || encoder.inner.end()).await?;
        Ok((revision, rows))
    }
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(|_| super::Error::Interrupted)?
}

/// What is at one moment, but for the audit log.
struct Spooled {
    header: Header,
    audit: AuditHead,
    rows: Vec<NamedRow>,
}

/// An encoder that remembers what it is about.
struct Begun<W> {
    inner: Encoder<W>,
    revision: u64,
}

impl<W: Write> Begun<W> {
    fn row(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.inner.row(family, key, value)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.inner.flush()
    }
}

impl Spooled {
    fn into_encoder<W: Write>(self, out: W) -> Result<(Begun<W>, AuditHead), Error> {
        let mut inner = Encoder::begin(out, &self.header)?;
        for (family, key, value) in self.rows {
            inner.row(family, &key, &value)?;
        }
        inner.flush()?;
        let revision = self.header.revision;
        Ok((Begun { inner, revision }, self.audit))
    }
}

fn spool(view: &View, installation: Installation) -> Result<Spooled, Error> {
    let rows = view.rows.as_ref();
    let head = verify::head(rows).map_err(Error::Unsound)?;
    let mut spooled = Vec::new();
    let mut room = SPOOL_BYTES_MAX;
    for family in Family::ALL.iter().copied().filter(|family| is_spooled(*family)) {
        for row in rows.scan(family, Span::all(), Order::Ascending) {
            let Row { key, value } = row?;
            room = room
                .checked_sub(key.len() + value.len())
                .ok_or(Error::TooLarge { max: SPOOL_BYTES_MAX })?;
            spooled.push((family, key, value));
        }
    }
    let Installation { cluster_id, epoch } = installation;
    let made = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(Spooled {
        header: Header {
            schema: SCHEMA,
            cluster_id,
            epoch,
            revision: head.revision,
            digest: *head.digest.as_bytes(),
            audit_sequence: head.audit.sequence,
            audit_hash: head.audit.hash,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            made_ms: u64::try_from(made.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        },
        audit: head.audit,
        rows: spooled,
    })
}

/// `Meta` is in the header, the audit log follows, and who wrote and was there, and what they
/// said to each other, is of the old place.
fn is_spooled(family: Family) -> bool {
    match family {
        Family::Meta | Family::Audit | Family::Writers | Family::Presence => false,
        Family::ShownNodes | Family::Letters => false,
        Family::Users | Family::UsersByEmail | Family::LastLogins | Family::Sessions => true,
        Family::Providers | Family::ApiKeys | Family::ModelRules | Family::Settings => true,
        Family::Sealed | Family::HealthChecks | Family::ChangeLog | Family::Idempotency => true,
        Family::ServiceTokens | Family::ServiceTokenUses | Family::BreakerOverrides => true,
        Family::History | Family::JoinTokens | Family::Nodes => true,
        Family::UsageSums | Family::UsageMeta | Family::KeyUsage | Family::RequestLog => true,
    }
}

fn audit_rows(rows: &dyn Rows, after: u64, last: u64) -> Result<Vec<Row>, Error> {
    let span = Span {
        from: (after + 1).to_be_bytes().to_vec(),
        below: last.checked_add(1).map(|below| below.to_be_bytes().to_vec()),
    };
    let rows = rows.scan(Family::Audit, span, Order::Ascending).take(AUDIT_ROWS);
    Ok(rows.collect::<Result<_, _>>()?)
}

// === the way back ===

/// Reads the whole of a backup and finds it sound, or says why not.
pub fn inspect(input: impl Read) -> Result<Inspected, Error> {
    let (header, mut decoder) = Decoder::begin(input)?;
    if header.schema > SCHEMA {
        return Err(Error::NewerSchema {
            found: header.schema,
            known: SCHEMA,
        });
    }
    let (mut digest, mut count, mut key_check) = (StateDigest::default(), 0, None);
    while let Some(rows) = decoder.rows()? {
        for (family, key, value) in rows {
            if family.is_digested() {
                digest.toggle(family, &key, &value);
            }
            if family == Family::Sealed && key == SealedName::KeyCheck.as_str().as_bytes() {
                key_check = Some(value);
            }
            count += 1;
        }
    }
    if *digest.as_bytes() != header.digest {
        return Err(Error::DoesNotAddUp);
    }
    Ok(Inspected {
        header,
        rows: count,
        key_check,
    })
}

impl Store {
    /// Makes a store of a backup, in a folder where none is. Blocks. A crash leaves
    /// something that does not open.
    pub fn restore(path: &Path, input: impl Read, sessions: Sessions) -> Result<Self, Error> {
        Self::restore_into(
            |installation| super::sled::create(path, installation),
            input,
            sessions,
        )
    }

    /// The same in a PostgreSQL database without rows.
    pub fn restore_to_database(
        url: &SecretString,
        input: impl Read,
        sessions: Sessions,
    ) -> Result<Self, Error> {
        Self::restore_into(
            |installation| postgres::create(url, installation),
            input,
            sessions,
        )
    }

    fn restore_into(
        place: impl FnOnce(Installation) -> Result<Parts, OpenError>,
        input: impl Read,
        sessions: Sessions,
    ) -> Result<Self, Error> {
        let (header, mut decoder) = Decoder::begin(input)?;
        let installation = Installation {
            cluster_id: header.cluster_id,
            epoch: header.epoch + 1,
        };
        let mut parts = place(installation)?;
        // Until all is there, what is there does not add up to its head, and does not open.
        write_head(&mut parts, &header, StateDigest::from_bytes(header.digest))?;
        let mut digest = StateDigest::default();
        let mut writes = Writes::new();
        while let Some(rows) = decoder.rows()? {
            for (family, key, value) in rows {
                if family == Family::Sessions && sessions == Sessions::End {
                    continue;
                }
                if family.is_digested() {
                    digest.toggle(family, &key, &value);
                }
                writes.insert((family, key), Some(value));
            }
            if writes.len() >= RESTORED_ROWS {
                write(&mut parts, std::mem::take(&mut writes), header.revision)?;
            }
        }
        write(&mut parts, writes, header.revision)?;
        write_head(&mut parts, &header, digest)?;
        Ok(Self::start(parts)?)
    }

    /// Reads everything and compares it with what it should add up to; answers how many rows
    /// there are, and how many of them in the audit log.
    pub async fn verify(&self) -> Result<(u64, u64), Error> {
        let view = self.backend.view().await?;
        run(move || {
            let rows = view.rows.as_ref();
            let head = verify::head(rows).map_err(Error::Unsound)?;
            verify::to_the_last(rows, &head).map_err(Error::Unsound)?;
            let mut count = 0;
            for family in Family::ALL {
                for row in rows.scan(*family, Span::all(), Order::Ascending) {
                    row?;
                    count += 1;
                }
            }
            Ok((count, head.audit.sequence))
        })
        .await
    }
}

fn write_head(parts: &mut Parts, header: &Header, digest: StateDigest) -> Result<(), Error> {
    let head = Head {
        revision: header.revision,
        digest,
        audit: AuditHead {
            sequence: header.audit_sequence,
            hash: header.audit_hash,
        },
    };
    let batch = parts.ledger.begin()?;
    let mut writes = WriteSet::on(batch.rows());
    head.write(&mut writes)?;
    let writes = writes.into_writes();
    Ok(batch.write(writes, header.revision)?)
}

fn write(parts: &mut Parts, writes: Writes, revision: u64) -> Result<(), Error> {
    if writes.is_empty() {
        return Ok(());
    }
    Ok(parts.ledger.begin()?.write(writes, revision)?)
}
