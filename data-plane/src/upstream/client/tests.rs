mod swallowed;
mod through_proxy;

use bytes::Bytes;
use http::HeaderMap;
use url::Url;

use super::*;

/// Hosts as somebody may write them who wants a credential of the cloud.
const DENIED: &[&str] = &[
    "169.254.169.254",
    "169.254.169.254.",
    "169.254.170.2",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0XA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0xa9.254.0251.254",
    "169.254.0xa9fe",
    "0251.0376.0251.0376",
    "025177524776",
    "0000251.0376.169.254",
    "%31%36%39.254.169.254",
    "169%2e254%2e169%2e254",
    "１６９.254.169.254",
    "169。254。169。254",
    "①⑥⑨.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[0000:0000:0000:0000:0000:FFFF:A9FE:A9FE]",
    "[::a9fe:a9fe]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:1:2:3:4:5601:5601]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0:0:0:0:0:254]",
    "100.100.100.200",
    "1684301000",
    "0x646464c8",
    "[::ffff:100.100.100.200]",
    "[64:ff9b::6464:64c8]",
    "168.63.129.16",
    "0xa83f8110",
    "[::ffff:168.63.129.16]",
    "0",
    "0x0",
    "00",
    "0.0",
    "0.0.0.0",
    "0.1.2.3",
    "[::]",
    "[::ffff:0:0]",
    "224.0.0.251",
    "[ff02::fb]",
    "255.255.255.255",
    "0xffffffff",
    "240.0.0.1",
];

fn call(url: Url) -> Request {
    Request {
        url,
        headers: HeaderMap::new(),
        accept: Accept::Json,
        body: Bytes::from_static(b"{}"),
    }
}

#[tokio::test]
async fn h69_no_form_of_a_denied_address_is_called() {
    let client = Client::plain();
    let mut forms = 0;
    for host in DENIED {
        for url in [
            format!("http://{host}/latest/meta-data"),
            format!("https://{host}:8443/v1"),
            format!("http://model.example@{host}/v1"),
        ] {
            forms += 1;
            // What is no URL cannot be configured.
            let Ok(url) = Url::parse(&url) else { continue };
            let refused = client.send(&call(url.clone())).await.map(|answer| answer.status);
            assert_eq!(refused, Err(Class::DeniedAddress), "{url}");
        }
    }
    assert!(forms >= 80);
}

#[tokio::test]
async fn an_operator_decides_where_providers_live() {
    let config = config::Upstream {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        deny: vec!["127.0.0.8/29".parse().unwrap()],
        ..config::Upstream::default()
    };
    let client = Client::new(
        config,
        &crate::metrics::Metrics::new().process,
        Budget::new(1 << 30),
    )
    .unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    for (host, class) in [
        ("127.0.0.1", Class::Unreachable),
        ("localhost", Class::Unreachable),
        ("127.0.0.9", Class::DeniedAddress),
        ("10.0.0.1", Class::DeniedAddress),
        ("[::1]", Class::DeniedAddress),
    ] {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        let refused = client.send(&call(url)).await.map(|answer| answer.status);
        assert_eq!(refused, Err(class), "{host}");
    }
}
