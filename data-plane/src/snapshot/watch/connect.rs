//! Opens the stream to one fleet endpoint.

use std::{sync::Arc, time::Duration};

use bridge_proto::fleet::v1::{WatchRequest, WatchResponse, watch_service_client::WatchServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use url::Url;

use super::{ended::Ended, link::Link, tls::Dialler};
use crate::{config::Fleet, snapshot::identity::Identity};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Chunks are at most 256 KiB; anything near this is broken.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The subscription, with what this node shows, and the connection that it goes over.
pub(super) async fn open(
    fleet: &Fleet,
    (identity, bearer): (Option<&Arc<Identity>>, Option<MetadataValue<Ascii>>),
    url: &Url,
    upward: mpsc::Receiver<WatchRequest>,
) -> Result<(Streaming<WatchResponse>, Link), Ended> {
    let channel = connect(fleet, url, identity).await?;
    let link = Link::new(channel, bearer);
    let mut client = WatchServiceClient::with_interceptor(link.channel(), link.credential())
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = Request::new(ReceiverStream::new(upward));
    Ok((client.watch(request).await?.into_inner(), link))
}

/// A connection on which this node shows its certificate, if it has one.
pub(super) async fn connect(
    fleet: &Fleet,
    url: &Url,
    identity: Option<&Arc<Identity>>,
) -> Result<Channel, Ended> {
    if url.scheme() == "http" {
        return Ok(endpoint(url.as_str())?.connect().await?);
    }
    let (host, trust, identity) = (url.clone(), fleet.trust.clone(), identity.cloned());
    let dialler = tokio::task::spawn_blocking(move || Dialler::new(&host, &trust, identity.as_deref()));
    let dialler = dialler.await.map_err(|_| Ended::Interrupted)??;
    // Its scheme says who does TLS: not the library.
    let plain = url.as_str().replacen("https:", "http:", 1);
    Ok(dialler.connect(&endpoint(&plain)?).await?)
}

fn endpoint(url: &str) -> Result<Endpoint, Ended> {
    Ok(Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}
