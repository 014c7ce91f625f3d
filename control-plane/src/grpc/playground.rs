//! `PlaygroundService`: messages of people through a data plane.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::playground_service_server::PlaygroundService;
use bridge_proto::admin::v1::send_message_response::Part;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::domain::Violations;
use crate::grpc::call::Call;
use crate::grpc::status::Error;
use crate::playground::{self, Answer, Letter, Playground, Target};

/// Largest body that is sent.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What a request may have beside its body.
const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// Largest message of this service.
pub(crate) const REQUEST_BYTES_MAX: usize = BODY_BYTES_MAX + FIELDS_BYTES_MAX;

pub(crate) struct Service {
    pub(crate) playground: Playground,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl PlaygroundService for Service {
    async fn list_targets(
        &self,
        request: Request<admin::ListTargetsRequest>,
    ) -> Result<Response<admin::ListTargetsResponse>, Status> {
        let admin::ListTargetsRequest {} = request.into_inner();
        let targets = self.playground.targets().into_iter();
        let targets = targets.map(|Target { node, address }| admin::Target {
            id: node.map(|node| node.to_string()).unwrap_or_default(),
            address: address.as_str().trim_end_matches('/').to_owned(),
        });
        Ok(Response::new(admin::ListTargetsResponse {
            targets: targets.collect(),
        }))
    }

    type SendMessageStream = BoxStream<'static, Result<admin::SendMessageResponse, Status>>;

    async fn send_message(
        &self,
        request: Request<admin::SendMessageRequest>,
    ) -> Result<Response<Self::SendMessageStream>, Status> {
        let call = Call::of(&request)?;
        let answer = self.playground.send(letter(request.into_inner())?).await;
        let Answer {
            address,
            status,
            headers,
            body,
        } = answer.map_err(Error::from)?;
        tracing::info!(user.id = %call.caller.user_id, %address, status, "a message was sent by the playground");
        let head = part(Part::Head(head(status, headers)));
        let pieces = body.map(|piece| match piece {
            Ok(piece) => Ok(part(Part::Piece(piece))),
            Err(cut) => Err(Error::AnswerBroken(cut.to_string()).into()),
        });
        let answered = stream::once(std::future::ready(Ok(head))).chain(pieces);
        // A shutdown does not wait for an answer.
        let ending = self.stopping.clone().cancelled_owned();
        Ok(Response::new(answered.take_until(ending).boxed()))
    }
}

fn letter(request: admin::SendMessageRequest) -> Result<Letter, Error> {
    let admin::SendMessageRequest { target_id, key, body } = request;
    let mut violations = Violations::default();
    if key.trim().is_empty() {
        violations.add("key", "must be an API key");
    }
    if body.is_empty() {
        violations.add("body", "must not be empty");
    }
    if body.len() > BODY_BYTES_MAX {
        violations.add("body", format!("must have at most {BODY_BYTES_MAX} bytes"));
    }
    violations.finish(Some(()))?;
    Ok(Letter {
        target: target_id,
        key: SecretString::from(key.trim()),
        body,
    })
}

fn part(part: Part) -> admin::SendMessageResponse {
    admin::SendMessageResponse { part: Some(part) }
}

fn head(status: u16, headers: Vec<(String, String)>) -> admin::MessageHead {
    let headers = headers.into_iter();
    let headers = headers.map(|(name, value)| admin::MessageHeader { name, value });
    admin::MessageHead {
        status: status.into(),
        headers: headers.collect(),
    }
}

impl From<playground::Error> for Error {
    fn from(error: playground::Error) -> Self {
        match error {
            playground::Error::NoSuchTarget => Self::invalid("target_id", error.to_string()),
            playground::Error::NotAKey => Self::invalid("key", error.to_string()),
            playground::Error::TooMany { retry_after } => Self::TooMany { retry_after },
            playground::Error::Unreachable { .. } | playground::Error::NoAnswer { .. } => {
                Self::Precondition(error.to_string())
            }
        }
    }
}
