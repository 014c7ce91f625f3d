//! A collector of traces: takes OTLP over gRPC, keeps every span, and shows what it was sent.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::wait;

/// Ends with its handle.
pub struct Collector {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    serving: JoinHandle<()>,
}

/// What came.
#[derive(Default)]
struct Seen {
    spans: Vec<Told>,
    /// Every message as it was sent.
    bytes: Vec<u8>,
    credentials: Vec<String>,
}

/// A span, and which service told it.
#[derive(Debug, Clone)]
pub struct Told {
    pub service: String,
    pub span: Span,
}

struct Service(Arc<Mutex<Seen>>);

// === impl Collector ===

impl Collector {
    /// On a free port of loopback.
    pub async fn start() -> Result<Self> {
        Self::bind(0).await
    }

    pub async fn bind(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::<Mutex<Seen>>::default();
        let service = TraceServiceServer::new(Service(Arc::clone(&seen)));
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        let serving = tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the collector ended: {error}");
            }
        });
        Ok(Self { port, seen, serving })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn spans(&self) -> Vec<Told> {
        lock(&self.seen).spans.clone()
    }

    /// All messages, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.seen).bytes.clone()
    }

    /// What came as `authorization`, with each message.
    pub fn credentials(&self) -> Vec<String> {
        lock(&self.seen).credentials.clone()
    }

    /// Waits until spans that the condition finds are there.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&[Told]) -> Option<T>) -> Result<T> {
        wait::until(what, || async { find(&self.spans()) }).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// === impl Told ===

impl Told {
    /// An attribute as text, whatever its type.
    pub fn attribute(&self, key: &str) -> Option<String> {
        let found = self.span.attributes.iter().find(|pair| pair.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            Value::IntValue(number) => Some(number.to_string()),
            Value::BoolValue(is) => Some(is.to_string()),
            other => Some(format!("{other:?}")),
        }
    }

    /// Whether it is right below another.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.span.trace_id == parent.span.trace_id && self.span.parent_span_id == parent.span.span_id
    }
}

// === impl Service ===

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let credential = request.metadata().get("authorization");
        let credential = credential
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let message = request.into_inner();
        let mut seen = lock(&self.0);
        seen.credentials.extend(credential);
        seen.bytes.extend(message.encode_to_vec());
        for resource in message.resource_spans {
            let attributes = resource
                .resource
                .map(|resource| resource.attributes)
                .unwrap_or_default();
            let named = attributes.into_iter().find(|pair| pair.key == "service.name");
            let service = match named.and_then(|pair| pair.value?.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            seen.spans.extend(spans.map(|span| Told {
                service: service.clone(),
                span,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
