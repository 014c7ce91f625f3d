//! Encoded bodies: which encodings are taken, and how far a body may grow.
//!
//! A few kilobytes can stand for gigabytes, so the decoder is stopped at the limit that
//! holds for plain bodies. Its window has the same limit: it is memory too.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder, errors::FrameDecoderError};

const PIECE_BYTES: usize = 64 << 10;
/// Encoders make one part, or one for some ten thousands of bytes. Empty ones cost time and are
/// no bytes, so that the limit of bytes does not stop them.
const PARTS_MAX: usize = 4096;

/// How a body was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// What is wrong with an encoded body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request body's content-encoding is not supported; send gzip, zstd or none")]
    Unsupported,
    #[error("the request body is not what its content-encoding says")]
    Invalid,
    #[error("the request body is larger than {} MiB after decoding", .limit_bytes >> 20)]
    TooLarge { limit_bytes: usize },
}

impl Error {
    /// The word of Anthropic's API.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unsupported => "request_body_encoding_unsupported",
            Self::Invalid => "request_body_encoding_invalid",
            Self::TooLarge { .. } => "request_body_too_large_after_decoding",
        }
    }
}

impl Encoding {
    /// One encoding or none: what was encoded twice is refused.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let mut told = headers.get_all(CONTENT_ENCODING).iter();
        let (Some(name), None) = (told.next(), told.next()) else {
            return if headers.contains_key(CONTENT_ENCODING) {
                Err(Error::Unsupported)
            } else {
                Ok(Self::Identity)
            };
        };
        match name
            .to_str()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Error::Unsupported),
        }
    }

    /// The plain body. Blocks as long as decoding takes.
    pub(super) fn decode(self, body: Bytes, limit_bytes: usize) -> Result<Bytes, Error> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => gunzip(&body, limit_bytes),
            Self::Zstd => unzstd(&body, limit_bytes),
        }
    }
}

/// One member after the other, each held to its checksum.
fn gunzip(mut body: &[u8], limit_bytes: usize) -> Result<Bytes, Error> {
    let mut plain = Plain::new(limit_bytes);
    for _ in 0..PARTS_MAX {
        let mut member = GzDecoder::new(body);
        plain.read(&mut member)?;
        body = member.into_inner();
        if body.is_empty() {
            return Ok(plain.bytes.into());
        }
    }
    Err(Error::Invalid)
}

/// One frame after the other, each held to its checksum.
fn unzstd(mut body: &[u8], limit_bytes: usize) -> Result<Bytes, Error> {
    let mut plain = Plain::new(limit_bytes);
    let mut frames = FrameDecoder::new();
    frames.set_max_window_size(u64::try_from(limit_bytes).unwrap_or(u64::MAX));
    for _ in 0..PARTS_MAX {
        let mut frame =
            StreamingDecoder::new_with_decoder(&mut body, &mut frames).map_err(|error| match error {
                FrameDecoderError::WindowSizeTooBig { .. } => Error::TooLarge { limit_bytes },
                _ => Error::Invalid,
            })?;
        plain.read(&mut frame)?;
        let told = frames.get_checksum_from_data();
        if told.is_some() && told != frames.get_calculated_checksum() {
            return Err(Error::Invalid);
        }
        if body.is_empty() {
            return Ok(plain.bytes.into());
        }
    }
    Err(Error::Invalid)
}

/// What has been decoded, up to a limit.
struct Plain {
    bytes: Vec<u8>,
    piece: Box<[u8]>,
    limit_bytes: usize,
}

impl Plain {
    fn new(limit_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            piece: vec![0; PIECE_BYTES].into(),
            limit_bytes,
        }
    }

    /// Appends all that comes.
    fn read(&mut self, decoder: &mut impl Read) -> Result<(), Error> {
        let limit_bytes = self.limit_bytes;
        loop {
            let read = match decoder.read(&mut self.piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Error::Invalid),
            };
            if self.bytes.len() + read > limit_bytes {
                return Err(Error::TooLarge { limit_bytes });
            }
            self.bytes.extend_from_slice(&self.piece[..read]);
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const LIMIT: usize = 1 << 20;

    pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    pub(super) fn zstd(plain: &[u8]) -> Vec<u8> {
        compress_to_vec(plain, CompressionLevel::Fastest)
    }

    fn decode(encoding: Encoding, body: Vec<u8>) -> Result<Bytes, Error> {
        encoding.decode(body.into(), LIMIT)
    }

    #[test]
    fn encodings_are_known_by_their_names() {
        let of = |names: &[&str]| {
            let names = names.iter().map(|name| (CONTENT_ENCODING, name.parse().unwrap()));
            Encoding::of(&names.collect())
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["identity"]), Ok(Encoding::Identity));
        assert_eq!(of(&[" GZip "]), Ok(Encoding::Gzip));
        assert_eq!(of(&["zstd"]), Ok(Encoding::Zstd));
        for unknown in [&["rot13"][..], &["gzip, gzip"], &["gzip", "gzip"], &["br"]] {
            assert_eq!(of(unknown), Err(Error::Unsupported), "{unknown:?}");
        }
    }

    #[test]
    fn what_was_encoded_comes_back_in_one_piece() {
        let plain = b"{\"model\":\"haiku\"}".repeat(1000);
        let twice = |one: Vec<u8>| [one.clone(), one].concat();
        for (encoding, encoded) in [(Encoding::Gzip, gzip(&plain)), (Encoding::Zstd, zstd(&plain))] {
            assert_eq!(decode(encoding, encoded.clone()).unwrap(), plain, "{encoding:?}");
            assert_eq!(decode(encoding, twice(encoded)).unwrap(), twice(plain.clone()));
        }
    }

    #[test]
    fn a_body_that_grows_without_end_is_stopped_at_the_limit() {
        let long = vec![b' '; LIMIT + 1];
        let too_large = Err(Error::TooLarge { limit_bytes: LIMIT });
        for (encoding, bomb) in [(Encoding::Gzip, gzip(&long)), (Encoding::Zstd, zstd(&long))] {
            assert!(bomb.len() < LIMIT / 100);
            assert_eq!(decode(encoding, bomb), too_large, "{encoding:?}");
        }
        for (encoding, fits) in [
            (Encoding::Gzip, gzip(&long[1..])),
            (Encoding::Zstd, zstd(&long[1..])),
        ] {
            assert_eq!(decode(encoding, fits).unwrap().len(), LIMIT);
        }
    }

    #[test]
    fn a_cut_or_changed_body_is_invalid() {
        let plain: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for (encoding, encoded) in [(Encoding::Gzip, gzip(&plain)), (Encoding::Zstd, zstd(&plain))] {
            let cut = encoded[..encoded.len() / 2].to_vec();
            assert_eq!(decode(encoding, cut), Err(Error::Invalid), "{encoding:?}");
            let mut changed = encoded.clone();
            changed[encoded.len() / 2] ^= 0x55;
            assert_eq!(decode(encoding, changed), Err(Error::Invalid), "{encoding:?}");
            assert_eq!(decode(encoding, Vec::new()), Err(Error::Invalid), "{encoding:?}");
            assert_eq!(
                decode(encoding, plain.clone()),
                Err(Error::Invalid),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn a_body_of_countless_parts_is_given_up() {
        for (encoding, empty) in [(Encoding::Gzip, gzip(b"")), (Encoding::Zstd, zstd(b""))] {
            assert_eq!(decode(encoding, empty.repeat(PARTS_MAX)), Ok(Bytes::new()));
            let countless = decode(encoding, empty.repeat(PARTS_MAX + 1));
            assert_eq!(countless, Err(Error::Invalid), "{encoding:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_get_past_the_limit(plain: Vec<u8>, at in 0usize..300, with: u8) {
            for (encoding, mut encoded) in [(Encoding::Gzip, gzip(&plain)), (Encoding::Zstd, zstd(&plain))] {
                if let Some(byte) = encoded.get_mut(at) {
                    *byte = with;
                }
                if let Ok(plain) = decode(encoding, encoded) {
                    prop_assert!(plain.len() <= LIMIT);
                }
            }
        }
    }
}
