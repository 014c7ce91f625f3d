//! Messages of people through a data plane, which here is whatever a test makes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::playground_service_client::PlaygroundServiceClient;
use bridge_proto::admin::v1::send_message_response::Part;
use bridge_proto::fleet::v1 as fleet;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::watch::node::Node;
use super::{Bridge, DEADLINE, SignedIn};

const KEY: &str = "sk-bridge-of-the-test";
const BODY: &str = r#"{"model":"m"}"#;

/// Answers with pieces as the test sends them, to whoever has the key.
struct DataPlane {
    address: SocketAddr,
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

type Pieces = Arc<Mutex<Option<mpsc::Receiver<Result<Bytes, std::io::Error>>>>>;

impl DataPlane {
    async fn start(path: &str) -> Self {
        let (pieces, answer) = mpsc::channel(1);
        let answer: Pieces = Arc::new(Mutex::new(Some(answer)));
        let app = Router::new().route(path, post(messages)).with_state(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move { axum::serve(listener, app).await });
        Self { address, pieces }
    }

    async fn say(&self, piece: &'static str) {
        self.pieces
            .send(Ok(Bytes::from_static(piece.as_bytes())))
            .await
            .unwrap();
    }
}

async fn messages(State(answer): State<Pieces>, request: Request) -> Response {
    let headers = request.headers();
    let version = headers.get("anthropic-version").cloned();
    if headers.get("x-api-key").is_none_or(|key| key != KEY) || version.is_none() {
        return (StatusCode::UNAUTHORIZED, "no such key").into_response();
    }
    let body = axum::body::to_bytes(request.into_body(), 1024).await.unwrap();
    assert_eq!(body, BODY);
    let pieces = answer.lock().await.take().unwrap();
    let shown = [("x-bridge-provider", "qwen"), ("set-cookie", "secret=1")];
    (shown, Body::from_stream(ReceiverStream::new(pieces))).into_response()
}

fn letter(target: &str, key: &str) -> admin::SendMessageRequest {
    admin::SendMessageRequest {
        target_id: target.to_owned(),
        key: key.to_owned(),
        body: BODY.to_owned(),
    }
}

async fn next(answer: &mut Streaming<admin::SendMessageResponse>) -> Option<Part> {
    let message = timeout(DEADLINE, answer.message()).await.unwrap().unwrap();
    message.map(|message| message.part.unwrap())
}

async fn refusal(
    client: &mut PlaygroundServiceClient<SignedIn>,
    letter: admin::SendMessageRequest,
) -> Status {
    client.send_message(letter).await.unwrap_err()
}

fn piece(text: &'static str) -> Option<Part> {
    Some(Part::Piece(Bytes::from_static(text.as_bytes())))
}

async fn at(url: &str) -> (Bridge, PlaygroundServiceClient<SignedIn>) {
    let bridge = Bridge::start_with(&["--bridge-url", url], None).await;
    let client = PlaygroundServiceClient::new(bridge.admin().await);
    (bridge, client)
}

#[tokio::test]
async fn an_answer_comes_as_it_is_said_and_ends_with_its_reader() {
    let plane = DataPlane::start("/below/v1/messages").await;
    let (_bridge, mut client) = at(&format!("http://{}/below/", plane.address)).await;
    plane.say("one").await;
    let mut answer = client.send_message(letter("", KEY)).await.unwrap().into_inner();
    let Some(Part::Head(head)) = next(&mut answer).await else {
        panic!("the head comes first")
    };
    assert_eq!(head.status, 200);
    let names: Vec<_> = head.headers.iter().map(|header| header.name.as_str()).collect();
    assert!(
        names.contains(&"x-bridge-provider") && !names.contains(&"set-cookie"),
        "{names:?}"
    );
    assert_eq!(next(&mut answer).await, piece("one"));
    plane.say("two").await;
    assert_eq!(next(&mut answer).await, piece("two"));
    drop(answer);
    timeout(DEADLINE, plane.pieces.closed()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_of_the_data_plane_is_an_answer() {
    let plane = DataPlane::start("/v1/messages").await;
    let (_bridge, mut client) = at(&format!("http://{}", plane.address)).await;
    let mut answer = client
        .send_message(letter("", "another"))
        .await
        .unwrap()
        .into_inner();
    let Some(Part::Head(head)) = next(&mut answer).await else {
        panic!("the head comes first")
    };
    assert_eq!(head.status, 401);
    assert_eq!(next(&mut answer).await, piece("no such key"));
    assert_eq!(next(&mut answer).await, None);
}

#[tokio::test]
async fn a_node_is_called_where_it_comes_from() {
    let plane = DataPlane::start("/v1/messages").await;
    let bridge = Bridge::start().await;
    let mut client = PlaygroundServiceClient::new(bridge.admin().await);
    let targets = client.list_targets(admin::ListTargetsRequest {}).await.unwrap();
    assert!(targets.into_inner().targets.is_empty());
    // It names a place that is not its own, as one might that somebody else has taken over.
    let subscribe = fleet::Subscribe {
        node_id: "node-1".to_owned(),
        schema_max: 1,
        public_address: format!("http://169.254.169.254:{}", plane.address.port()),
        ..Default::default()
    };
    let mut node = Node::subscribed(&bridge, subscribe).await;
    node.snapshot().await;
    let targets = client.list_targets(admin::ListTargetsRequest {}).await.unwrap();
    let expected = admin::Target {
        id: "node-1".to_owned(),
        address: format!("http://{}", plane.address),
    };
    assert_eq!(targets.into_inner().targets, [expected]);
    let answer = client.send_message(letter("node-1", KEY)).await.unwrap();
    let head = answer.into_inner().next().await.unwrap().unwrap();
    assert!(matches!(head.part, Some(Part::Head(head)) if head.status == 200));
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_with_its_field() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (_bridge, mut client) = at(&format!("http://{closed}")).await;
    let fields = |status: &Status| {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|it| it.field_violations.clone());
        let fields = violations.unwrap_or_default().into_iter().map(|it| it.field);
        fields.collect::<Vec<_>>()
    };
    let empty = refusal(&mut client, admin::SendMessageRequest::default()).await;
    assert_eq!(
        (empty.code(), fields(&empty)),
        (Code::InvalidArgument, vec!["key".to_owned(), "body".to_owned()])
    );
    let split = refusal(&mut client, letter("", "sk-bridge-\nx")).await;
    assert_eq!(
        (split.code(), fields(&split)),
        (Code::InvalidArgument, vec!["key".to_owned()])
    );
    let unknown = refusal(&mut client, letter("node-9", KEY)).await;
    assert_eq!(
        (unknown.code(), fields(&unknown)),
        (Code::InvalidArgument, vec!["target_id".to_owned()])
    );
    let unreachable = refusal(&mut client, letter("", KEY)).await;
    assert_eq!(unreachable.code(), Code::FailedPrecondition);
    assert!(unreachable.message().contains("BRIDGE_URL"), "{unreachable:?}");
}
