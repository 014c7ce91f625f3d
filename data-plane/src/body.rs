//! Reads a request body: bounded in size, in time and in the memory that all bodies
//! share, and copied at most once. An encoded one is decoded within the same bounds.

pub(crate) mod encoding;

use std::{
    error::Error as StdError,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{Version, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use self::encoding::Encoding;
use crate::{
    error::Error,
    off_reactor::Room,
    overload::{Budget, Held},
};

pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
const IDLE_MAX: Duration = Duration::from_secs(30);
const TOTAL_MAX: Duration = Duration::from_secs(120);
/// A body that is too long is read on for a while: a client that is still writing when
/// the connection closes sees a reset instead of the answer.
const DISCARD_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
const DISCARD_MAX: Duration = Duration::from_secs(2);
/// Of a request that is turned away so much is read at most: what agents send, as a rule.
const DISCARD_SHORT_BYTES_MAX: usize = 8 << 20;
/// What a body costs besides itself: what is made of it for an upstream, and the buffers that
/// both grow in.
const COPIES: u64 = 3;
/// Memory is taken in steps of this, so that a length that is only claimed costs nothing.
const STEP_BYTES: usize = 64 << 10;

/// What the largest body costs.
const COST_MAX: u64 = cost(BODY_BYTES_MAX);
/// A budget in which it fits, beside what is kept for small ones.
pub(crate) const BUDGET_MIN: u64 = Budget::for_one(COST_MAX);

const fn cost(bytes: usize) -> u64 {
    bytes as u64 * COPIES
}

/// A whole body, and the memory it is accounted for.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) held: Held,
}

pub(crate) async fn read(head: &Parts, body: Body, budget: &Arc<Budget>) -> Result<Whole, Error> {
    match Encoding::of(&head.headers) {
        Ok(Encoding::Identity) => as_sent(head.version, body, budget.hold()).await,
        Ok(encoding) => {
            let Whole { bytes, mut held } = as_sent(head.version, body, budget.hold()).await?;
            // How far it will grow is known afterwards.
            held.grow_to(COST_MAX).map_err(Error::Overloaded)?;
            // How long decoding takes depends on what it becomes.
            let room = Room::soon(BODY_BYTES_MAX).await.map_err(Error::Overloaded)?;
            let plain = room.run(|| encoding.decode(bytes, BODY_BYTES_MAX))?;
            held.shrink_to(cost(plain.len()));
            Ok(Whole { bytes: plain, held })
        }
        Err(unsupported) => {
            discard(body).await;
            Err(unsupported.into())
        }
    }
}

async fn as_sent(version: Version, mut body: Body, mut held: Held) -> Result<Whole, Error> {
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
        let Ok(bytes) = frame.map_err(|error| broken(&error))?.into_data() else {
            continue;
        };
        if whole.len() + many.len() + bytes.len() > BODY_BYTES_MAX {
            discard(body).await;
            return Err(Error::TooLarge {
                limit_bytes: BODY_BYTES_MAX,
            });
        }
        let length = whole.len() + many.len() + bytes.len();
        if let Err(shortage) = held.grow_to(cost(length.next_multiple_of(STEP_BYTES))) {
            drop((whole, many, bytes, held));
            discard(body).await;
            return Err(Error::Overloaded(shortage));
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
    // A stream that its client resets has an end, too, but not that of its body.
    if version == Version::HTTP_2 && !body.is_end_stream() {
        return Err(Error::ClientLeft);
    }
    let bytes = if many.is_empty() { whole } else { many.freeze() };
    Ok(Whole { bytes, held })
}

/// Whether its client left in the middle of a body, or made it wrongly.
fn broken(error: &axum::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData)
        {
            return Error::BrokenBody;
        }
        cause = error.source();
    }
    Error::ClientLeft
}

/// Reads past a body that nobody wants, if that costs less than a new connection and another
/// attempt would; `None` if it does not, or if there is nothing to read.
pub(crate) fn discard_short(body: Body) -> Option<impl Future<Output = ()> + use<>> {
    let is_long = |bytes: u64| bytes > DISCARD_SHORT_BYTES_MAX as u64;
    let is_worth_it = !body.is_end_stream() && !body.size_hint().exact().is_some_and(is_long);
    is_worth_it.then(|| discard_up_to(body, DISCARD_SHORT_BYTES_MAX))
}

async fn discard(body: Body) {
    discard_up_to(body, DISCARD_BYTES_MAX).await;
}

async fn discard_up_to(mut body: Body, bytes_max: usize) {
    let all = async {
        let mut bytes_read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes_read += frame.data_ref().map_or(0, Bytes::len);
            if bytes_read > bytes_max {
                return;
            }
        }
    };
    // Whether it was read in time makes no difference to the answer.
    let _ = timeout(DISCARD_MAX, all).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::overload::Shortage;

    /// A head that says nothing of its body.
    fn head() -> Parts {
        http::Request::new(()).into_parts().0
    }

    async fn read(body: Body) -> Result<Bytes, Error> {
        let budget = Budget::new(2 * COST_MAX);
        let whole = super::read(&head(), body, &budget).await?;
        assert!(budget.used() >= whole.bytes.len() as u64);
        let Whole { bytes, held } = whole;
        drop(held);
        assert_eq!(budget.used(), 0);
        Ok(bytes)
    }

    fn chunks(chunks: Vec<Vec<u8>>) -> Body {
        Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
    }

    #[tokio::test]
    async fn pieces_become_one_body() {
        let body = chunks(vec![b"ab".to_vec(), Vec::new(), b"cd".to_vec(), b"e".to_vec()]);
        assert_eq!(read(body).await.unwrap(), "abcde");
        assert_eq!(read(Body::empty()).await.unwrap(), "");
    }

    #[tokio::test]
    async fn of_a_refused_request_so_much_is_read_that_usual_bodies_end() {
        const PIECE_BYTES: usize = 1 << 20;
        for (sent, expected) in [(5, 5), (usize::MAX, DISCARD_SHORT_BYTES_MAX / PIECE_BYTES + 1)] {
            let read = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&read);
            let pieces = stream::repeat_with(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::io::Error>(vec![b'x'; PIECE_BYTES])
            });
            discard_short(Body::from_stream(pieces.take(sent))).unwrap().await;
            assert_eq!(read.load(Ordering::Relaxed), expected);
        }
    }

    #[tokio::test]
    async fn a_body_that_hides_its_length_is_counted() {
        let piece = vec![b'x'; BODY_BYTES_MAX / 4];
        let fits = chunks(vec![piece.clone(); 4]);
        assert_eq!(read(fits).await.unwrap().len(), BODY_BYTES_MAX);
        let mut pieces = vec![piece; 4];
        pieces.push(b"x".to_vec());
        assert!(matches!(read(chunks(pieces)).await, Err(Error::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_told_from_one_that_speaks_nonsense() {
        let broken = |kind: ErrorKind| {
            let pieces = [Ok(Bytes::from_static(b"{")), Err(io::Error::from(kind))];
            read(Body::from_stream(stream::iter(pieces)))
        };
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset] {
            assert!(matches!(broken(kind).await, Err(Error::ClientLeft)), "{kind}");
        }
        for kind in [ErrorKind::InvalidInput, ErrorKind::InvalidData] {
            assert!(matches!(broken(kind).await, Err(Error::BrokenBody)), "{kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let stops = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let started = Instant::now();
        assert!(matches!(read(stops).await, Err(Error::SlowBody)));
        assert_eq!(started.elapsed(), IDLE_MAX);
    }

    #[tokio::test]
    async fn without_memory_a_body_is_refused_and_what_it_took_is_given_back() {
        let budget = Budget::new(COST_MAX);
        let mut others = budget.hold();
        others.grow_to(COST_MAX / 2).unwrap();
        let large = chunks(vec![vec![b'x'; BODY_BYTES_MAX / 4]; 3]);
        let refused = super::read(&head(), large, &budget).await;
        assert!(matches!(refused, Err(Error::Overloaded(Shortage::Memory))));
        assert_eq!(budget.used(), COST_MAX / 2);
        let small = chunks(vec![vec![b'x'; 1000]]);
        super::read(&head(), small, &budget).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_encoded_body_is_accounted_for_by_what_it_becomes() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
        let encoded = encoder.finish().unwrap();
        let mut head = head();
        let gzip = "gzip".parse().unwrap();
        head.headers.insert(http::header::CONTENT_ENCODING, gzip);
        let budget = Budget::new(2 * COST_MAX);
        let whole = super::read(&head, chunks(vec![encoded.clone()]), &budget)
            .await
            .unwrap();
        assert_eq!(budget.used(), cost(1 << 20));
        drop(whole);
        // Nobody knows beforehand what it becomes.
        let narrow = Budget::new(COST_MAX / 2);
        let refused = super::read(&head, chunks(vec![encoded]), &narrow).await;
        assert!(matches!(refused, Err(Error::Overloaded(Shortage::Memory))));
    }
}
