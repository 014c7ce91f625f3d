//! What images and PDFs cost, read from their headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// What an image costs at most, and what an unknown one is taken to cost.
pub(super) const TOKENS_MAX: u64 = 1600;
/// Longer sides are scaled down to this many pixels.
const SIDE_PIXELS_MAX: u64 = 1568;
const PIXELS_PER_TOKEN: u64 = 750;
/// Base64 characters that are decoded to find the size; a JPEG may hold a preview first.
const HEADER_CHARS: usize = 64 * 1024;
const PDF_PAGE_TOKENS: u64 = 2000;
const PDF_PAGE_BYTES: usize = 50_000;

/// Tokens of an image in base64.
pub(super) fn tokens(data: &str) -> u64 {
    let Some((width, height)) = size(&decode(data, HEADER_CHARS)) else {
        return TOKENS_MAX;
    };
    let (mut width, mut height) = (u64::from(width), u64::from(height));
    let long = width.max(height);
    if long > SIDE_PIXELS_MAX {
        width = width * SIDE_PIXELS_MAX / long;
        height = height * SIDE_PIXELS_MAX / long;
    }
    (width * height).div_ceil(PIXELS_PER_TOKEN).clamp(1, TOKENS_MAX)
}

/// Tokens of a PDF in base64: by its pages, else by its length.
pub(super) fn pdf_tokens(data: &str) -> u64 {
    let bytes = decode(data, usize::MAX);
    let pages = memchr::memmem::find_iter(&bytes, b"/Type")
        .filter(|at| {
            let rest = bytes
                .get(at + b"/Type".len()..)
                .unwrap_or_default()
                .trim_ascii_start();
            rest.strip_prefix(b"/Page")
                .is_some_and(|after| after.first() != Some(&b's'))
        })
        .count();
    let pages = if pages > 0 {
        pages
    } else {
        bytes.len().div_ceil(PDF_PAGE_BYTES).max(1)
    };
    pages as u64 * PDF_PAGE_TOKENS
}

fn decode(data: &str, chars: usize) -> Vec<u8> {
    let data = if data.starts_with("data:") {
        data.split_once(',').map_or("", |(_, data)| data)
    } else {
        data
    };
    let plain: Vec<u8> = data
        .bytes()
        .filter(|b| !b.is_ascii_whitespace() && *b != b'=')
        .take(chars)
        .collect();
    let whole = plain.len() - plain.len() % 4;
    let mut bytes = STANDARD
        .decode(plain.get(..whole).unwrap_or_default())
        .unwrap_or_default();
    if let Ok(tail) = STANDARD_NO_PAD.decode(plain.get(whole..).unwrap_or_default()) {
        bytes.extend(tail);
    }
    bytes
}

fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some((be32(bytes, 16)?, be32(bytes, 20)?));
    }
    if bytes.starts_with(b"GIF8") {
        return Some((le16(bytes, 6)?, le16(bytes, 8)?));
    }
    if bytes.starts_with(b"\xff\xd8") {
        return jpeg_size(bytes);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return webp_size(bytes);
    }
    None
}

fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let marker = *bytes.get(at)?;
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame {
            return Some((be16(bytes, at + 6)?, be16(bytes, at + 4)?));
        }
        at += 1 + usize::try_from(be16(bytes, at + 1)?).ok()?;
    }
}

fn webp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8 " => Some((le16(bytes, 26)? & 0x3fff, le16(bytes, 28)? & 0x3fff)),
        b"VP8L" => {
            let bits = le16(bytes, 21)? | le16(bytes, 23)? << 16;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => {
            let le24 = |at| Some(le16(bytes, at)? | u32::from(*bytes.get(at + 2)?) << 16);
            Some((le24(24)? + 1, le24(27)? + 1))
        }
        _ => None,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(*bytes.get(at)?) << 8 | u32::from(*bytes.get(at + 1)?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(be16(bytes, at)? << 16 | be16(bytes, at + 2)?)
}

fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(*bytes.get(at)?) | u32::from(*bytes.get(at + 1)?) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> String {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        STANDARD.encode(bytes)
    }

    #[test]
    fn i02_images_cost_by_their_pixels() {
        assert_eq!(tokens(&png(1000, 1000)), 1334);
        assert_eq!(tokens(&png(1, 1)), 1);
        assert_eq!(tokens(&png(8000, 4000)), 1600);
        assert_eq!(tokens("not an image"), TOKENS_MAX);
        let jpeg = STANDARD.encode(b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\0\x96\0\xc8");
        assert_eq!(tokens(&jpeg), 40);
        assert_eq!(tokens(&STANDARD.encode(b"GIF89a\x96\0\x96\0")), 30);
    }

    #[test]
    fn pdfs_cost_by_their_pages() {
        let pdf = STANDARD.encode(b"%PDF /Type /Pages /Type/Page x /Type /Page");
        assert_eq!(pdf_tokens(&pdf), 4000);
        assert_eq!(pdf_tokens(&STANDARD.encode([b'x'; 60_000])), 4000);
    }
}
