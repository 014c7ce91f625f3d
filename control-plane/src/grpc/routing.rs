//! `RoutingService`: where a request would go, asked of a data plane.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::routing_service_server::RoutingService;
use tonic::{Request, Response, Status};

use crate::domain::Violations;
use crate::domain::api_key::KeyId;
use crate::explain::{Explains, Question};
use crate::grpc::status::Error;
use crate::peers::Peers;
use crate::snapshot::nodes::NodeId;
use crate::store::{Kind, Store};

/// Largest body that is explained.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What a request may have beside its body.
const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// Largest message of this service.
pub(crate) const REQUEST_BYTES_MAX: usize = BODY_BYTES_MAX + FIELDS_BYTES_MAX;

pub(crate) struct Routing {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) explains: Explains,
}

#[tonic::async_trait]
impl RoutingService for Routing {
    async fn explain(
        &self,
        request: Request<admin::ExplainRequest>,
    ) -> Result<Response<admin::ExplainResponse>, Status> {
        let question = self.question(request.into_inner()).await?;
        let (node, explanation) = self
            .explains
            .ask(&self.peers, question)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(admin::ExplainResponse {
            node_id: node.to_string(),
            explanation: Some(explanation),
        }))
    }
}

impl Routing {
    async fn question(&self, request: admin::ExplainRequest) -> Result<Question, Error> {
        let admin::ExplainRequest {
            body,
            key_id,
            node_id,
        } = request;
        let mut violations = Violations::default();
        if body.len() > BODY_BYTES_MAX {
            violations.add("body", format!("must have at most {BODY_BYTES_MAX} bytes"));
        }
        if !node_id.is_empty() && NodeId::parse(&node_id).is_none() {
            violations.add("node_id", "must be the name of a data plane");
        }
        let key = (!key_id.is_empty())
            .then(|| violations.check("key_id", KeyId::parse(&key_id)))
            .flatten();
        violations.finish(Some(()))?;
        if let Some(key) = key
            && self.store.api_key(&key).await?.is_none()
        {
            return Err(Error::NotFound {
                kind: Kind::ApiKey,
                id: key_id,
            });
        }
        Ok(Question {
            body: body.into_bytes(),
            key_id,
            revision: self.store.version().revision,
            node: (!node_id.is_empty()).then_some(node_id),
        })
    }
}
