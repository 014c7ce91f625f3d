//! Reads a request body: bounded in size and in time, and copied at most once. An
//! encoded one is decoded within the same bounds.

pub(crate) mod encoding;

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use self::encoding::Encoding;
use crate::{error::Error, off_reactor::off_reactor};

pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
const IDLE_MAX: Duration = Duration::from_secs(30);
const TOTAL_MAX: Duration = Duration::from_secs(120);
/// A body that is too long is read on for a while: a client that is still writing when
/// the connection closes sees a reset instead of the answer.
const DISCARD_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
const DISCARD_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    match Encoding::of(headers) {
        Ok(Encoding::Identity) => as_sent(body).await,
        Ok(encoding) => {
            let encoded = as_sent(body).await?;
            // How long decoding takes depends on what it becomes.
            let plain = off_reactor(BODY_BYTES_MAX, || encoding.decode(encoded, BODY_BYTES_MAX))?;
            Ok(plain)
        }
        Err(unsupported) => {
            discard(body).await;
            Err(unsupported.into())
        }
    }
}

async fn as_sent(mut body: Body) -> Result<Bytes, Error> {
    let told = body
        .size_hint()
        .exact()
        .and_then(|bytes| usize::try_from(bytes).ok());
    if told.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        discard(body).await;
        return Err(Error::TooLarge {
            limit_bytes: BODY_BYTES_MAX,
        });
    }
    let end = Instant::now() + TOTAL_MAX;
    let mut whole = Bytes::new();
    let mut many = BytesMut::new();
    while let Some(frame) = timeout_at(end, timeout(IDLE_MAX, body.frame()))
        .await
        .and_then(|idle| idle)
        .map_err(|_| Error::SlowBody)?
    {
        let Ok(bytes) = frame.map_err(|_| Error::BrokenBody)?.into_data() else {
            continue;
        };
        if whole.len() + many.len() + bytes.len() > BODY_BYTES_MAX {
            discard(body).await;
            return Err(Error::TooLarge {
                limit_bytes: BODY_BYTES_MAX,
            });
        }
        if whole.is_empty() && many.is_empty() {
            whole = bytes;
            continue;
        }
        if many.is_empty() {
            many.reserve(told.unwrap_or(whole.len() * 2));
            many.extend_from_slice(&std::mem::take(&mut whole));
        }
        many.extend_from_slice(&bytes);
    }
    Ok(if many.is_empty() { whole } else { many.freeze() })
}

async fn discard(mut body: Body) {
    let all = async {
        let mut bytes_read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes_read += frame.data_ref().map_or(0, Bytes::len);
            if bytes_read > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // Whether it was read in time makes no difference to the answer.
    let _ = timeout(DISCARD_MAX, all).await;
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(chunks: Vec<Vec<u8>>) -> Body {
        Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
    }

    #[tokio::test]
    async fn pieces_become_one_body() {
        let body = chunks(vec![b"ab".to_vec(), Vec::new(), b"cd".to_vec(), b"e".to_vec()]);
        assert_eq!(read(&HeaderMap::new(), body).await.unwrap(), "abcde");
        assert_eq!(read(&HeaderMap::new(), Body::empty()).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_that_hides_its_length_is_counted() {
        let piece = vec![b'x'; BODY_BYTES_MAX / 4];
        let fits = chunks(vec![piece.clone(); 4]);
        assert_eq!(read(&HeaderMap::new(), fits).await.unwrap().len(), BODY_BYTES_MAX);
        let mut pieces = vec![piece; 4];
        pieces.push(b"x".to_vec());
        assert!(matches!(
            read(&HeaderMap::new(), chunks(pieces)).await,
            Err(Error::TooLarge { .. })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let stops = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let started = Instant::now();
        assert!(matches!(
            read(&HeaderMap::new(), stops).await,
            Err(Error::SlowBody)
        ));
        assert_eq!(started.elapsed(), IDLE_MAX);
    }
}
