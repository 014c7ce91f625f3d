//! A fleet of data planes with certificates, from their side.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::fleet_service_client::FleetServiceClient;
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::enrolment_service_client::EnrolmentServiceClient;
use bridge_proto::fleet::v1::usage_service_client::UsageServiceClient;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::tests::watch::node::Node;
use crate::tests::{Bearer, Bridge, DEADLINE, SignedIn};

/// A control plane with TLS on both listeners, by an authority that is not the fleet's.
pub(super) struct Fleet {
    pub(super) bridge: Bridge,
    authority: String,
    _files: TempDir,
}

/// A node's key with its certificate.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) chain: String,
    key: String,
}

impl Fleet {
    pub(super) async fn start(lifetime_s: u32) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name).display().to_string();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(path("cert"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        let lifetime = lifetime_s.to_string();
        let (cert, key) = (path("cert"), path("key"));
        let arguments = [
            "--fleet-tls-cert",
            &cert,
            "--fleet-tls-key",
            &key,
            "--admin-tls-cert",
            &cert,
            "--admin-tls-key",
            &key,
            "--node-certificate-lifetime-s",
            &lifetime,
        ];
        let authority = authority.pem();
        Self {
            bridge: Bridge::start_with(&arguments, Some(&authority)).await,
            authority,
            _files: files,
        }
    }

    pub(super) async fn admin(&self) -> FleetServiceClient<SignedIn> {
        FleetServiceClient::new(self.bridge.admin().await)
    }

    pub(super) async fn token(&self, node_id: &str) -> String {
        let request = admin::CreateJoinTokenRequest {
            node_id: node_id.to_owned(),
            lifetime: None,
        };
        let made = self.admin().await.create_join_token(request).await.unwrap();
        made.into_inner().join_token
    }

    pub(super) async fn channel(&self, address: std::net::SocketAddr, holder: Option<&Holder>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        if let Some(Holder { chain, key }) = holder {
            tls = tls.identity(Identity::from_pem(chain, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let endpoint = endpoint.tls_config(tls).unwrap().connect_timeout(DEADLINE);
        endpoint.connect().await.unwrap()
    }

    pub(super) async fn enrol(&self, token: &str, node_id: &str) -> Result<Holder, Status> {
        let channel = self.channel(self.bridge.fleet, None).await;
        let (key, request) = request();
        let enrol = fleet::EnrolRequest {
            join_token: token.to_owned(),
            node_id: node_id.to_owned(),
            certificate_signing_request: request,
        };
        let answer = EnrolmentServiceClient::new(channel)
            .enrol(enrol)
            .await?
            .into_inner();
        Ok(holder(&key, &answer.certificate_chain))
    }

    pub(super) async fn renew(&self, holder: &Holder) -> Result<Holder, Status> {
        let channel = self.channel(self.bridge.fleet, Some(holder)).await;
        let (key, request) = request();
        let renew = fleet::RenewRequest {
            certificate_signing_request: request,
        };
        let answer = EnrolmentServiceClient::new(channel)
            .renew(renew)
            .await?
            .into_inner();
        Ok(self::holder(&key, &answer.certificate_chain))
    }

    /// A stream, as far as the first answer.
    pub(super) async fn watch(&self, holder: &Holder, says: &str) -> Result<Node, Status> {
        let channel = self.channel(self.bridge.fleet, Some(holder)).await;
        let mut node = Node::open_as(channel, Bearer(None)).await?;
        node.send(Up::Subscribe(fleet::Subscribe {
            node_id: says.to_owned(),
            ..Default::default()
        }));
        node.next().await?;
        Ok(node)
    }

    pub(super) async fn report(&self, holder: &Holder) -> Result<(), Status> {
        let channel = self.channel(self.bridge.fleet, Some(holder)).await;
        let report = fleet::ReportRequest {
            node_id: "somebody".to_owned(),
            boot_id: "boot".to_owned(),
            sequence: 1,
            ..Default::default()
        };
        UsageServiceClient::new(channel).report(report).await.map(drop)
    }

    pub(super) async fn nodes(&self) -> Vec<admin::Node> {
        let nodes = self.admin().await.list_nodes(admin::ListNodesRequest {}).await;
        nodes.unwrap().into_inner().nodes
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<admin::RevokeNodeResponse, Status> {
        let request = admin::RevokeNodeRequest { id: id.to_owned() };
        let revoked = self.admin().await.revoke_node(request).await;
        revoked.map(tonic::Response::into_inner)
    }

    pub(super) async fn forget(&self, id: &str) -> Result<(), Status> {
        let request = admin::ForgetNodeRequest { id: id.to_owned() };
        self.admin().await.forget_node(request).await.map(drop)
    }
}

fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let der = request.der().to_vec();
    (key, der)
}

fn holder(key: &KeyPair, chain: &[Vec<u8>]) -> Holder {
    assert_eq!(chain.len(), 2, "the node's own and the authority's");
    let pem = |der: &Vec<u8>| pem(der);
    Holder {
        chain: chain.iter().map(pem).collect(),
        key: key.serialize_pem(),
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
