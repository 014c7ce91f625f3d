//! The form of a backup: a magic, a header, blocks of rows, an end.
//!
//! Each block has a checksum, so that damage is told where it is; the end has the
//! number of rows and the SHA-256 of everything before it, so that a file that is cut off
//! between two blocks, or put together of two, is no backup.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
use crate::store::family::Family;

/// What every backup begins with.
pub const MAGIC: &[u8; 14] = b"bridge-backup\0";
/// The newest form that this build knows.
const FORMAT: u16 = 1;
/// A block is closed once it has this much.
const BLOCK_BYTES: usize = 128 * 1024;
/// No block is larger: a row has its place in one.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
const HEADER: u8 = 1;
const ROWS: u8 = 2;
const END: u8 = 3;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The layout of the store that the rows come from.
    pub(super) schema: u32,
    pub(super) cluster_id: [u8; 16],
    pub(super) epoch: u64,
    /// The last change that is in it.
    pub revision: u64,
    pub(super) digest: [u8; 32],
    pub(super) audit_sequence: u64,
    pub(super) audit_hash: [u8; 32],
    /// Version of the program that made it.
    pub build: String,
    /// Milliseconds since 1970.
    pub made_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: u64,
    sha256: [u8; 32],
}

/// A row with the name of its family.
pub(super) type NamedRow = (Family, Vec<u8>, Vec<u8>);

// === writing ===

pub(super) struct Encoder<W> {
    out: W,
    hash: Sha256,
    family: Family,
    block: Vec<u8>,
    rows: u64,
}

impl<W: Write> Encoder<W> {
    pub(super) fn begin(out: W, header: &Header) -> Result<Self, Error> {
        let mut encoder = Self {
            out,
            hash: Sha256::new(),
            family: Family::Meta,
            block: Vec::new(),
            rows: 0,
        };
        encoder.put(MAGIC)?;
        encoder.put(&FORMAT.to_be_bytes())?;
        encoder.block(HEADER, &json(header)?)?;
        Ok(encoder)
    }

    pub(super) fn row(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if family != self.family || self.block.len() >= BLOCK_BYTES {
            self.flush()?;
            self.family = family;
        }
        if self.block.is_empty() {
            push_bytes(&mut self.block, family.name().as_bytes());
        }
        push_bytes(&mut self.block, key);
        push_bytes(&mut self.block, value);
        self.rows += 1;
        Ok(())
    }

    /// Hands on what was gathered, so that the file may go on elsewhere.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let block = std::mem::take(&mut self.block);
        if block.is_empty() {
            return Ok(());
        }
        self.block(ROWS, &block)
    }

    /// The writer, and the number of rows.
    pub(super) fn end(mut self) -> Result<(W, u64), Error> {
        self.flush()?;
        let end = End {
            rows: self.rows,
            sha256: self.hash.clone().finalize().into(),
        };
        self.block(END, &json(&end)?)?;
        self.out.flush()?;
        Ok((self.out, self.rows))
    }

    fn block(&mut self, kind: u8, payload: &[u8]) -> Result<(), Error> {
        let head = head_of(kind, payload.len())?;
        let checksum = checksum(&head, payload);
        self.put(&head)?;
        self.put(payload)?;
        self.put(&checksum.to_be_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Io(error.into()))
}

fn push_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    block.extend(length.to_be_bytes());
    block.extend(bytes);
}

fn head_of(kind: u8, payload_bytes: usize) -> Result<[u8; 5], Error> {
    let length = u32::try_from(payload_bytes)
        .ok()
        .filter(|_| payload_bytes <= BLOCK_BYTES_MAX)
        .ok_or_else(|| Error::Io(io::ErrorKind::InvalidData.into()))?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([kind, a, b, c, d])
}

fn checksum(head: &[u8; 5], payload: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(head);
    checksum.update(payload);
    checksum.finalize()
}

// === reading ===

pub(super) struct Decoder<R> {
    input: R,
    hash: Sha256,
    read: u64,
    rows: u64,
}

impl<R: Read> Decoder<R> {
    pub(super) fn begin(input: R) -> Result<(Header, Self), Error> {
        let mut decoder = Self {
            input,
            hash: Sha256::new(),
            read: 0,
            rows: 0,
        };
        let magic: [u8; 14] = decoder.take()?;
        if magic != *MAGIC {
            return Err(Error::NoBackup);
        }
        let found = u16::from_be_bytes(decoder.take()?);
        if found != FORMAT {
            return Err(Error::OtherFormat { found, known: FORMAT });
        }
        let (kind, payload, _) = decoder.block()?;
        if kind != HEADER {
            return Err(decoder.damaged());
        }
        let header = serde_json::from_slice(&payload).map_err(|_| decoder.damaged())?;
        Ok((header, decoder))
    }

    /// The rows of the next block; none after the end, which is then known to be good.
    pub(super) fn rows(&mut self) -> Result<Option<Vec<NamedRow>>, Error> {
        let (kind, payload, before) = self.block()?;
        match kind {
            ROWS => {
                let rows = self.parse(&payload)?;
                self.rows += rows.len() as u64;
                Ok(Some(rows))
            }
            END => {
                let end: End = serde_json::from_slice(&payload).map_err(|_| self.damaged())?;
                let sha256: [u8; 32] = before.finalize().into();
                let is_over = self.input.read(&mut [0])? == 0;
                if end.sha256 != sha256 || end.rows != self.rows || !is_over {
                    return Err(self.damaged());
                }
                Ok(None)
            }
            _ => Err(self.damaged()),
        }
    }

    fn parse(&self, mut payload: &[u8]) -> Result<Vec<NamedRow>, Error> {
        let mut next = || -> Option<&[u8]> {
            let (length, rest) = payload.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (bytes, rest) = rest.split_at_checked(length)?;
            payload = rest;
            Some(bytes)
        };
        let name = next().ok_or_else(|| self.damaged())?;
        let family = Family::ALL
            .iter()
            .copied()
            .find(|family| family.name().as_bytes() == name)
            .ok_or_else(|| Error::UnknownFamily {
                name: String::from_utf8_lossy(name).into_owned(),
            })?;
        let mut rows = Vec::new();
        while let Some(key) = next() {
            let value = next().ok_or_else(|| self.damaged())?;
            rows.push((family, key.to_vec(), value.to_vec()));
        }
        Ok(rows)
    }

    /// Kind and payload of a block, and the hash of all before it.
    fn block(&mut self) -> Result<(u8, Vec<u8>, Sha256), Error> {
        let before = self.hash.clone();
        let head: [u8; 5] = self.take()?;
        let [kind, a, b, c, d] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > BLOCK_BYTES_MAX {
            return Err(self.damaged());
        }
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        let told = u32::from_be_bytes(self.take()?);
        if told != checksum(&head, &payload) {
            return Err(self.damaged());
        }
        Ok((kind, payload, before))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::CutOff { after: self.read },
            _ => Error::Io(error),
        })?;
        self.hash.update(&*bytes);
        self.read += bytes.len() as u64;
        Ok(())
    }

    fn damaged(&self) -> Error {
        Error::Damaged { before: self.read }
    }
}
