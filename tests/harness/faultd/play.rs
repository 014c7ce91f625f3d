//! Plays a response on a socket, and notices when its client hangs up.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt};

use super::http1::{LAST_CHUNK, Socket, framed, head_text};
use super::script::{After, Course, End, Flood, Framing, Response, Slices, Source};

/// How long a stall lasts if nobody hangs up: longer than any limit under test.
const STALL: Duration = Duration::from_secs(600);

/// Text begins behind them, in either API; an empty one does not count.
const TEXT_MARKS: [&[u8]; 2] = [br#""content":""#, br#""text":""#];
const NO_UTF8: &[u8] = b"\xff\xfe";

pub(super) enum Delivery {
    KeepAlive,
    Closed,
    ClientGone,
}

/// The client is no longer there.
struct Gone;

/// A write that fails means that the client is gone.
pub(super) async fn play(socket: &mut Socket, response: Response) -> Delivery {
    match try_play(socket, response).await {
        Ok(delivery) => delivery,
        Err(_) => Delivery::ClientGone,
    }
}

async fn try_play(socket: &mut Socket, response: Response) -> io::Result<Delivery> {
    let Response {
        preface,
        head,
        source,
        course,
        interjection,
        flood,
        end,
    } = response;
    for flood in preface {
        pour(socket, &flood, None).await?;
    }
    let framing = head.as_ref().map_or(Framing::Chunked, |head| head.framing);
    if let Some(head) = head {
        socket.write_all(head_text(&head).as_bytes()).await?;
    }
    let body = Body {
        framing,
        course,
        interjection,
    };
    match body.play(socket, source).await? {
        Ok(()) => {}
        Err(Gone) => return Ok(Delivery::ClientGone),
    }
    if let Some(flood) = flood {
        pour(socket, &flood, Some(framing)).await?;
    }
    finish(socket, framing, end).await
}

struct Body {
    framing: Framing,
    course: Course,
    interjection: Option<(usize, Bytes)>,
}

// === impl Body ===

impl Body {
    async fn play(self, socket: &mut Socket, mut source: Source) -> io::Result<Result<(), Gone>> {
        let mut bytes_left = match self.course.cut {
            Some(After::Bytes(bytes)) => bytes,
            Some(After::Events(_) | After::Nothing) | None => usize::MAX,
        };
        let mut index = 0;
        while bytes_left > 0 && self.course.cut != Some(After::Events(index)) {
            let Some(piece) = outlasts(socket, source.next()).await else {
                return Ok(Err(Gone));
            };
            let Some(mut piece) = piece? else {
                break;
            };
            if !self.wait(socket, index).await {
                return Ok(Err(Gone));
            }
            if let Some((before, interjection)) = &self.interjection
                && *before == index
            {
                socket.write_all(&framed(self.framing, interjection)).await?;
            }
            if self.course.is_text_garbled {
                piece = garbled(&piece);
            }
            piece.truncate(bytes_left);
            bytes_left -= piece.len();
            if !self.write(socket, &piece).await? {
                return Ok(Err(Gone));
            }
            index += 1;
        }
        // A pause behind the last piece.
        match self.course.pause {
            Some((pieces, pause)) if pieces >= index => {
                let is_there = outlasts(socket, tokio::time::sleep(pause)).await;
                Ok(is_there.ok_or(Gone))
            }
            _ => Ok(Ok(())),
        }
    }

    /// All waits before a piece; whether the client is still there then.
    async fn wait(&self, socket: &mut Socket, index: usize) -> bool {
        let Course {
            hold, pause, pace, ..
        } = &self.course;
        let wait = async {
            if let Some((pieces, gate)) = hold
                && *pieces == index
            {
                gate.opened().await;
            }
            if let Some((pieces, pause)) = pause
                && *pieces == index
            {
                tokio::time::sleep(*pause).await;
            }
            if let Some(pace) = pace {
                tokio::time::sleep(*pace).await;
            }
        };
        outlasts(socket, wait).await.is_some()
    }

    async fn write(&self, socket: &mut Socket, piece: &Bytes) -> io::Result<bool> {
        let Some(Slices { bytes, gap }) = self.course.slices else {
            if !piece.is_empty() {
                socket.write_all(&framed(self.framing, piece)).await?;
            }
            return Ok(true);
        };
        for start in (0..piece.len()).step_by(bytes.max(1)) {
            if !gap.is_zero() && outlasts(socket, tokio::time::sleep(gap)).await.is_none() {
                return Ok(false);
            }
            let slice = piece.slice(start..piece.len().min(start + bytes.max(1)));
            socket.write_all(&framed(self.framing, &slice)).await?;
        }
        Ok(true)
    }
}

// === impl Source ===

impl Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Pieces(pieces) => Ok(pieces.pop_front()),
            Self::Server(passage) => passage.next().await,
        }
    }
}

async fn pour(socket: &mut Socket, flood: &Flood, framing: Option<Framing>) -> io::Result<()> {
    let piece = match framing {
        Some(framing) => framed(framing, &flood.piece),
        None => flood.piece.clone(),
    };
    for _ in 0..flood.times {
        socket.write_all(&piece).await?;
    }
    Ok(())
}

async fn finish(socket: &mut Socket, framing: Framing, end: End) -> io::Result<Delivery> {
    match (end, framing) {
        (End::Whole | End::Early | End::WholeThenFin | End::WholeThenStale, Framing::Chunked) => {
            socket.write_all(LAST_CHUNK).await?;
        }
        (End::Whole | End::Early | End::WholeThenFin | End::WholeThenStale, Framing::Sized { .. })
        | (End::Fin | End::Reset | End::Stall, _) => {}
    }
    match end {
        End::Whole | End::Early => Ok(Delivery::KeepAlive),
        End::Fin | End::WholeThenFin => {
            socket.shutdown().await?;
            // Closing now would reset the connection; the client's own end comes first.
            tokio::io::copy_buf(socket, &mut tokio::io::sink()).await?;
            Ok(Delivery::Closed)
        }
        // Dropping the socket resets it: its linger time is zero.
        End::Reset => Ok(Delivery::Closed),
        End::WholeThenStale => {
            socket.fill_buf().await?;
            Ok(Delivery::Closed)
        }
        End::Stall => match outlasts(socket, tokio::time::sleep(STALL)).await {
            Some(()) => Ok(Delivery::Closed),
            None => Ok(Delivery::ClientGone),
        },
    }
}

/// What `wait` comes to; `None` if the client hangs up before.
async fn outlasts<T>(socket: &mut Socket, wait: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // The wait first: a client that leaves as it ends has been served.
        biased;
        value = wait => Some(value),
        () = hung_up(socket) => None,
    }
}

async fn hung_up(socket: &mut (impl AsyncBufRead + Unpin)) {
    match socket.fill_buf().await {
        Ok([]) | Err(_) => {}
        // A request sent ahead: its client is there.
        Ok(_) => std::future::pending().await,
    }
}

/// The piece with bytes at the beginning of its text that are no character.
fn garbled(piece: &Bytes) -> Bytes {
    for mark in TEXT_MARKS {
        let found = piece.windows(mark.len()).position(|window| window == mark);
        let Some(place) = found.map(|start| start + mark.len()) else {
            continue;
        };
        if piece.get(place).is_some_and(|next| *next != b'"') {
            return [&piece[..place], NO_UTF8, &piece[place..]].concat().into();
        }
    }
    piece.clone()
}
