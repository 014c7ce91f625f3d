//! Opens the stream to one fleet endpoint.

use std::time::Duration;

use bridge_proto::fleet::v1::{WatchRequest, WatchResponse, watch_service_client::WatchServiceClient};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{ended::Ended, link::Link};
use crate::{
    config::{Fleet, TokenSource},
    snapshot::token,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Chunks are at most 256 KiB; anything near this is broken.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

pub(super) async fn open(
    fleet: &Fleet,
    url: &url::Url,
    upward: mpsc::Receiver<WatchRequest>,
) -> Result<(Streaming<WatchResponse>, Link), Ended> {
    let mut endpoint = Endpoint::from_shared(url.to_string())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    if let Some(path) = &fleet.authority {
        let authority = tokio::fs::read(path).await.map_err(|source| Ended::Authority {
            path: path.display().to_string(),
            source,
        })?;
        endpoint =
            endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)))?;
    }
    let mut request = Request::new(ReceiverStream::new(upward));
    let bearer = bearer(&fleet.token).await?;
    request.metadata_mut().insert("authorization", bearer.clone());
    let channel = endpoint.connect().await?;
    let link = Link::new(channel.clone(), bearer);
    let mut client = WatchServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Ok((client.watch(request).await?.into_inner(), link))
}

async fn bearer(source: &TokenSource) -> Result<MetadataValue<Ascii>, Ended> {
    let source = source.clone();
    let token = tokio::task::spawn_blocking(move || token::read(&source));
    let token = token.await.map_err(|_| Ended::BadToken)??;
    let text = format!("Bearer {}", token.expose_secret().trim());
    let mut value = MetadataValue::try_from(text).map_err(|_| Ended::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}
