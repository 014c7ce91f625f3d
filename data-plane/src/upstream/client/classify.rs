//! What an error of the HTTP client means: by its type, since its words may change.

use std::error::Error;

use bridge_translate::error::FaultKind;
use h2::Reason;
use rustls::pki_types::InvalidDnsNameError;

use super::{resolver::Refusal, trace::Trace};
use crate::upstream::outcome::Class;

pub(super) fn classify(error: &reqwest::Error, trace: &Trace) -> Class {
    if let Some(refusal) = find::<Refusal>(error) {
        return match refusal {
            Refusal::NotFound => Class::NameNotFound,
            Refusal::Denied => Class::DeniedAddress,
        };
    }
    if error.is_connect() {
        // A handshake that stalls or is cut off fails like any connection: the trace knows.
        return if trace.is_shaking_hands() || find::<InvalidDnsNameError>(error).is_some() {
            Class::Tls
        } else if error.is_timeout() {
            Class::ConnectTimeout
        } else {
            Class::Unreachable
        };
    }
    // What is a URL and no URI leads nowhere.
    if error.is_builder() {
        return Class::Unreachable;
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => Class::TooBig,
        Some(error) if error.is_parse() => Class::Said(FaultKind::Nonsense),
        Some(_) | None => Class::Reset,
    }
}

/// Whether the upstream has not taken the call, if the connection is one that was kept. In
/// HTTP/2 it says so; otherwise the connection has ended before there was a head.
pub(super) fn may_be_unseen(error: &reqwest::Error) -> bool {
    match find::<h2::Error>(error) {
        Some(error) => {
            error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
        }
        None => !error.is_timeout(),
    }
}

fn find<T: Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use http::HeaderMap;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::upstream::client::{Accept, Client, Request};

    /// What an upstream does to whoever says the first word.
    #[derive(Debug, Clone, Copy)]
    enum Does {
        Refuse,
        Close,
        Say(&'static [u8]),
        Nothing,
    }

    async fn class_of(scheme: &str, does: Does) -> Class {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/", listener.local_addr().unwrap());
        let serve = async move {
            if matches!(does, Does::Refuse) {
                drop(listener);
                return std::future::pending().await;
            }
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut word = [0; 16];
            assert!(socket.read(&mut word).await.unwrap() > 0);
            match does {
                Does::Refuse | Does::Close => drop(socket),
                Does::Say(words) => {
                    socket.write_all(words).await.unwrap();
                    // What was said is not lost to a reset that unread bytes cause.
                    while socket.read(&mut word).await.is_ok_and(|count| count > 0) {}
                }
                Does::Nothing => std::future::pending().await,
            }
            std::future::pending().await
        };
        let call = Request {
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            accept: Accept::Json,
            body: Bytes::from_static(b"{}"),
        };
        let client = Client::plain();
        tokio::select! {
            answer = client.send(&call) => answer.map(|answer| answer.status).unwrap_err(),
            () = serve => unreachable!("it stays"),
        }
    }

    #[tokio::test]
    async fn each_way_to_fail_has_its_class() {
        const GARBAGE: Does = Does::Say(b"\x00\x01garbage\r\n\r\n");
        for (scheme, does, class) in [
            ("http", Does::Refuse, Class::Unreachable),
            ("https", Does::Refuse, Class::Unreachable),
            ("http", Does::Close, Class::Reset),
            ("https", Does::Close, Class::Tls),
            ("http", GARBAGE, Class::Said(FaultKind::Nonsense)),
            ("https", GARBAGE, Class::Tls),
        ] {
            assert_eq!(class_of(scheme, does).await, class, "{scheme} {does:?}");
        }
    }

    #[tokio::test]
    async fn a_handshake_that_stalls_is_no_silent_address() {
        let started = Instant::now();
        assert_eq!(class_of("https", Does::Nothing).await, Class::Tls);
        assert!(started.elapsed().as_secs() < 8);
    }
}
