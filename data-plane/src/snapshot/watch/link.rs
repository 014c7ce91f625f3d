//! The connection to the control plane, for others who have something to say to it.
//!
//! Their calls go beside the subscription, over the same connection and with the same
//! credential: a node that may watch may report, and it needs no second way in.

use bridge_proto::fleet::v1::usage_service_client::UsageServiceClient;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

#[derive(Debug, Clone)]
pub(crate) struct Link {
    channel: Channel,
    /// `None`: the connection itself shows a certificate.
    bearer: Option<MetadataValue<Ascii>>,
}

/// Speaks for this node.
#[derive(Clone)]
pub(crate) struct Credential(Option<MetadataValue<Ascii>>);

impl Link {
    pub(crate) fn new(channel: Channel, bearer: Option<MetadataValue<Ascii>>) -> Self {
        Self { channel, bearer }
    }

    pub(crate) fn usage(&self) -> UsageServiceClient<InterceptedService<Channel, Credential>> {
        UsageServiceClient::with_interceptor(self.channel(), self.credential())
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn credential(&self) -> Credential {
        Credential(self.bearer.clone())
    }
}

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}
