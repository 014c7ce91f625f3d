//! The body of a streamed answer, as fast as its model's name says.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Sleep;

use super::Watch;
use crate::load::piece;

/// What a flood writes at once.
const FLOOD_PIECE_BYTES: usize = 8 << 10;
const FLOOD_WORDS: &str = "and so on, ";

pub(super) struct Events {
    watch: Watch,
    next: u32,
    end: u32,
    pace: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Text for those who do not read it.
    flood: Option<Bytes>,
}

impl Events {
    pub(super) fn new(pieces: u32, every: Duration, watch: Watch) -> Self {
        watch.books.open_streams.fetch_add(1, Ordering::Relaxed);
        Self {
            watch,
            next: 0,
            end: pieces,
            // The first piece comes at once.
            pace: Some((every, Box::pin(tokio::time::sleep(Duration::ZERO)))),
            flood: None,
        }
    }

    pub(super) fn flood(bytes: u64, watch: Watch) -> Self {
        let pieces = bytes / FLOOD_PIECE_BYTES as u64;
        watch.books.open_streams.fetch_add(1, Ordering::Relaxed);
        Self {
            watch,
            next: 0,
            end: pieces.try_into().unwrap_or(u32::MAX),
            pace: None,
            flood: Some(delta(&FLOOD_WORDS.repeat(FLOOD_PIECE_BYTES / FLOOD_WORDS.len()))),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.watch.is_whole {
            return Poll::Ready(None);
        }
        if let Some((every, sleep)) = &mut self.pace {
            ready!(sleep.as_mut().poll(context));
            let due = sleep.deadline() + *every;
            sleep.as_mut().reset(due);
        }
        if self.next == self.end {
            self.watch.is_whole = true;
            return Poll::Ready(Some(Bytes::from_static(LAST.as_bytes())));
        }
        let bytes = self.flood.clone().unwrap_or_else(|| delta(&piece(self.next)));
        self.next += 1;
        Poll::Ready(Some(bytes))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.watch.books.open_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

const LAST: &str = concat!(
    r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":8,"completion_tokens":4,"total_tokens":12}}"#,
    "\n\ndata: [DONE]\n\n"
);

fn delta(text: &str) -> Bytes {
    format!(
        r#"data: {{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}{}"#,
        "\n\n"
    )
    .into()
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let bytes = ready!(this.poll(context));
        let length = bytes.as_ref().map_or(0, Bytes::len) as u64;
        this.watch.change(|exchange| exchange.body_bytes += length);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
