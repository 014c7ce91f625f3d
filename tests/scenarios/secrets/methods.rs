//! Every method of the admin API, by whoever, with a secret wherever one is taken.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bridge_tests::admin::{self, Bearer};
use bridge_tests::canary::secret_of;
use bytes::{Buf, BufMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, Value};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use super::{NEXT_PROVIDER_KEY, PROMPT, Search, WRONG_PASSWORD, file_of_providers};

/// Some streams have no end.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Messages in messages.
const DEPTH_MAX: usize = 4;
const WRONG_TOKEN: &str = "bst-canary0token-7nB2wUh8OkR5Ll3oC0qTf7NxXi8vT6j0Nn4qD1xVizz";

/// Messages as they are on the wire: what a method answers is searched as it came.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// The value of a field that takes a secret.
fn secret_for(field: &str) -> Option<String> {
    match field {
        "password" | "current_password" | "new_password" => Some(WRONG_PASSWORD.to_owned()),
        "refresh_token" | "join_token" | "key" => Some(WRONG_TOKEN.to_owned()),
        "api_key" | "custom_headers" => Some(NEXT_PROVIDER_KEY.to_owned()),
        "file" => Some(file_of_providers("refused", "not a URL", NEXT_PROVIDER_KEY)),
        "body" => Some(PROMPT.to_owned()),
        _ => None,
    }
}

fn filled(message: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let secret = secret_for(field.name()).map(Value::String);
        match (field.kind(), secret) {
            (Kind::String, Some(secret)) if !field.is_list() => dynamic.set_field(&field, secret),
            (Kind::Message(_), Some(secret)) if field.is_map() => {
                let name = MapKey::String("x-canary".to_owned());
                dynamic.set_field(&field, Value::Map([(name, secret)].into()));
            }
            (Kind::Message(inner), _) if depth < DEPTH_MAX && !field.is_list() && !field.is_map() => {
                let is_ours = inner.full_name().starts_with("bridge.");
                if is_ours {
                    dynamic.set_field(&field, Value::Message(filled(&inner, depth + 1)));
                }
            }
            _ => {}
        }
    }
    dynamic
}

pub(super) async fn call_every_method(address: &str, token: &str, search: &mut Search) -> Result<()> {
    search.canaries.plant("a wrong token", secret_of(WRONG_TOKEN))?;
    let channel = admin::connect(address).await?;
    let pool = DescriptorPool::decode(bridge_proto::FILE_DESCRIPTOR_SET)?;
    let mut methods: Vec<_> = pool
        .services()
        .filter(|service| service.package_name() == "bridge.admin.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    // Signing out ends the session that the other calls need.
    methods.sort_by_key(|method| method.name() == "Logout");
    for bearer in [WRONG_TOKEN, token] {
        for method in &methods {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            for message in [Vec::new(), filled(&method.input(), 0).encode_to_vec()] {
                let by = InterceptedService::new(channel.clone(), Bearer::parse(bearer)?);
                let mut grpc = Grpc::new(by);
                grpc.ready().await?;
                let path = PathAndQuery::try_from(&path)?;
                let calling = async {
                    let answer = grpc
                        .server_streaming(Request::new(message), path.clone(), Raw)
                        .await?;
                    answer.into_inner().message().await
                };
                let answer = match tokio::time::timeout(ANSWER_WITHIN, calling).await {
                    Ok(Ok(answer)) => answer.unwrap_or_default(),
                    Ok(Err(status)) => format!("{status:?}").into_bytes(),
                    Err(_) => Vec::new(),
                };
                search.answered(method.full_name(), answer);
            }
        }
    }
    let answered = search
        .answers
        .iter()
        .filter(|(_, answer)| !answer.is_empty())
        .count();
    ensure!(answered > methods.len(), "most methods answer something");
    let last = methods.last().context("a method")?;
    ensure!(last.name() == "Logout", "somebody has signed out");
    Ok(())
}
