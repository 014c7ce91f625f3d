//! Where the store stands: which installation, which revision, and what everything
//! in it adds up to. Written in the same transaction as what it describes.

use serde::{Deserialize, Serialize};

use super::{
    CommitError, Error,
    audit_log::AuditHead,
    digest::StateDigest,
    family::Family,
    record,
    rows::Rows,
    write_set::{WriteSet, Writes},
};

/// The newest layout of the store that this build knows.
pub(super) const SCHEMA: u32 = 1;

const SCHEMA_KEY: &[u8] = b"schema";
const INSTALLATION_KEY: &[u8] = b"installation";
pub(super) const HEAD_KEY: &[u8] = b"head";

/// Which installation this is; made once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installation {
    pub(super) cluster_id: [u8; 16],
    /// +1 with every restore of a backup.
    pub(super) epoch: u64,
}

impl Installation {
    /// A new one.
    pub(super) fn mint() -> Self {
        Self {
            cluster_id: rand::random(),
            epoch: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) digest: StateDigest,
    pub(super) audit: AuditHead,
}

#[derive(Serialize, Deserialize)]
struct HeadRecord {
    digest: [u8; 32],
    audit_sequence: u64,
    audit_hash: [u8; 32],
}

impl Head {
    pub(super) fn load(rows: &dyn Rows) -> Result<Option<Self>, Error> {
        let row = rows.get(Family::Meta, HEAD_KEY)?;
        row.map(|row| Self::decode(&row)).transpose()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Error> {
        let (record, revision) = record::decode_row(Family::Meta, row)?;
        let HeadRecord {
            digest,
            audit_sequence,
            audit_hash,
        } = record;
        let audit = AuditHead {
            sequence: audit_sequence,
            hash: audit_hash,
        };
        Ok(Self {
            revision,
            digest: StateDigest::from_bytes(digest),
            audit,
        })
    }

    pub(super) fn write(&self, writes: &mut WriteSet<'_>) -> Result<(), CommitError> {
        let Self {
            revision,
            digest,
            audit: AuditHead { sequence, hash },
        } = self;
        let record = HeadRecord {
            digest: *digest.as_bytes(),
            audit_sequence: *sequence,
            audit_hash: *hash,
        };
        writes.put(
            Family::Meta,
            HEAD_KEY,
            record::encode_row(Family::Meta, record, *revision)?,
        )
    }
}

/// The schema on disk; `None` if nothing was ever written.
pub(super) fn load_schema(rows: &dyn Rows) -> Result<Option<u32>, Error> {
    let Some(bytes) = rows.get(Family::Meta, SCHEMA_KEY)? else {
        return Ok(None);
    };
    let bytes =
        <[u8; 4]>::try_from(bytes).map_err(|_| Error::damaged(Family::Meta, "the schema is not a number"))?;
    Ok(Some(u32::from_be_bytes(bytes)))
}

pub(super) fn load_installation(rows: &dyn Rows) -> Result<Option<Installation>, Error> {
    let Some(bytes) = rows.get(Family::Meta, INSTALLATION_KEY)? else {
        return Ok(None);
    };
    Ok(Some(record::decode_row(Family::Meta, &bytes)?.0))
}

/// What makes an empty store one of a new installation.
pub(super) fn first_rows(rows: &dyn Rows, installation: Installation) -> Result<Writes, CommitError> {
    let mut writes = WriteSet::on(rows);
    writes.put(Family::Meta, SCHEMA_KEY, SCHEMA.to_be_bytes().to_vec())?;
    writes.put(
        Family::Meta,
        INSTALLATION_KEY,
        record::encode_row(Family::Meta, installation, 0)?,
    )?;
    Head::default().write(&mut writes)?;
    Ok(writes.into_writes())
}
