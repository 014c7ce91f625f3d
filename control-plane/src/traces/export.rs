//! Brings spans to the collector, many at a time.
//!
//! A batch that was not taken is sent again until it is, while newer spans wait behind it as
//! far as there is room; a collector that is away is told of once.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tracing::{info, warn};

use super::SCOPE;
use crate::config::Collector;
use crate::telemetry::Spans;

/// Spans of one message.
const BATCH_MAX: usize = 512;
/// How long spans wait for others to go with.
const GATHER_MAX: Duration = Duration::from_secs(1);
/// For one message and its answer.
const SEND_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Before what was not taken is sent again.
const PAUSE: Duration = Duration::from_secs(2);

/// Why there can be no way to the collector.
#[derive(Debug, thiserror::Error)]
#[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
pub struct StartError(#[from] tonic::transport::Error);

pub(crate) struct Exporter {
    waiting: mpsc::Receiver<SpanData>,
    endpoint: Endpoint,
    /// They may hold a credential.
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
    spans: Spans,
    is_failing: bool,
}

impl Exporter {
    pub(super) fn new(
        Collector { url, headers }: Collector,
        instance: &str,
        waiting: mpsc::Receiver<SpanData>,
        spans: Spans,
    ) -> Result<Self, StartError> {
        let mut endpoint = Endpoint::from_shared(url.to_string())?
            .connect_timeout(CONNECT_MAX)
            .timeout(SEND_MAX);
        if url.scheme() == "https" {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        let resource = Resource::builder_empty()
            .with_service_name(SCOPE)
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        Ok(Self {
            waiting,
            endpoint,
            headers,
            resource: (&resource).into(),
            spans,
            is_failing: false,
        })
    }

    /// Until `over`, and then until all that waits was sent, or was in vain once.
    pub(crate) async fn run(mut self, over: CancellationToken) {
        let mut client = TraceServiceClient::new(self.endpoint.connect_lazy());
        loop {
            let batch = self.gather(&over).await;
            if batch.is_empty() {
                return;
            }
            self.deliver(&mut client, batch, &over).await;
        }
    }

    /// Empty once it is over and nothing waits.
    async fn gather(&mut self, over: &CancellationToken) -> Vec<SpanData> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        tokio::select! {
            // What waits comes before the end.
            biased;
            _some = self.waiting.recv_many(&mut batch, BATCH_MAX) => {}
            () = over.cancelled() => return batch,
        }
        let others = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if self.waiting.recv_many(&mut batch, room).await == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = others => {}
            () = over.cancelled() => {}
            () = sleep(GATHER_MAX) => {}
        }
        batch
    }

    async fn deliver(
        &mut self,
        client: &mut TraceServiceClient<Channel>,
        batch: Vec<SpanData>,
        over: &CancellationToken,
    ) {
        let count = batch.len() as u64;
        let message = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        loop {
            let is_last = over.is_cancelled();
            match self.send(client, message.clone()).await {
                Ok(refused) => return self.taken(count, refused),
                Err(status) => {
                    self.tell_of(&status);
                    if is_last || !may_pass(status.code()) {
                        self.spans.dropped.inc_by(count);
                        return;
                    }
                }
            }
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// How many of them the collector refused.
    async fn send(
        &self,
        client: &mut TraceServiceClient<Channel>,
        message: ExportTraceServiceRequest,
    ) -> Result<u64, Status> {
        let metadata = MetadataMap::from_headers(self.headers.clone());
        let request = Request::from_parts(metadata, tonic::Extensions::default(), message);
        let sent = timeout(SEND_MAX, client.export(request)).await;
        let answer = sent.map_err(|_| Status::deadline_exceeded("no answer"))??;
        let refused = answer.into_inner().partial_success;
        Ok(refused.map_or(0, |refused| refused.rejected_spans.try_into().unwrap_or(0)))
    }

    fn taken(&mut self, count: u64, refused: u64) {
        let refused = refused.min(count);
        self.spans.exported.inc_by(count - refused);
        self.spans.dropped.inc_by(refused);
        if std::mem::take(&mut self.is_failing) {
            info!("the collector takes traces again");
        }
    }

    /// Once, until it takes some again. Its words may repeat what it was sent.
    fn tell_of(&mut self, status: &Status) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let endpoint = self.endpoint.uri();
            warn!(%endpoint, code = ?status.code(), "the collector takes no traces");
        }
    }
}

/// Whether the same may be taken another time.
fn may_pass(code: Code) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => false,
    }
}
