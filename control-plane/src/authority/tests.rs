use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use super::*;
use crate::secrets::{MasterKey, MasterKeySource};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
/// Of a request, with what it is made by.
const SIGNATURE_BYTES_MAX: usize = 90;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn keyring() -> Keyring {
    let text: String = rand::random::<[u8; 32]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Keyring::new(MasterKey::load(&MasterKeySource::Given(text.into()), false).unwrap())
}

fn authority() -> Authority {
    Authority::read(&make(NOW + 40 * 365 * DAY).unwrap(), 30 * DAY).unwrap()
}

fn request(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.serialize_request(key).unwrap().der().to_vec()
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

#[tokio::test]
async fn it_is_made_once_and_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let keyring = keyring();
    let load = || Authority::load_or_make(&store, &keyring, DAY, NOW);
    let first = load().await.unwrap();
    assert_eq!(load().await.unwrap().fingerprint(), first.fingerprint());
    assert_eq!(first.fingerprint().len(), 64);
    let other = Authority::load_or_make(&store, &self::keyring(), DAY, NOW).await;
    assert!(matches!(other, Err(Error::Seal(_))));
    let sealed = store.sealed(SealedName::Authority).await.unwrap().unwrap();
    assert!(!sealed.windows(11).any(|window| window == b"certificate"));
}

#[test]
fn what_a_node_gets_says_who_it_is_and_nothing_that_it_asked_for() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let now = NOW + 50 * 365 * DAY;
    let issued = authority
        .issue_node(&request(&key), &node("a b"), [7; 16], now)
        .unwrap();
    let [own, of_authority] = issued.chain.as_slice() else {
        panic!("two certificates")
    };
    assert_eq!(of_authority, &authority.shared.certificate);
    let said = presented(own).unwrap();
    assert_eq!((said.node, said.enrolment), (node("a b"), [7; 16]));
    assert_eq!(said.fingerprint, issued.kept.fingerprint);
    assert_eq!(
        (said.expires_at, issued.kept.expires_at),
        (now + 30 * DAY, now + 30 * DAY)
    );
    assert!(!own.windows(4).any(|window| window == b"evil"));
}

#[test]
fn other_certificates_are_nobodys() {
    let authority = authority();
    assert_eq!(presented(&authority.shared.certificate), None);
    let pem = authority.issue_listener(NOW).unwrap();
    let first = pem.chain.split("-----END").next().unwrap();
    let text: String = first.lines().skip(1).collect();
    let listener = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    assert_eq!(presented(&listener), None);
    assert_eq!(presented(b"nothing"), None);
}

#[test]
fn a_request_must_be_whole_and_with_the_key_that_is_expected() {
    let authority = authority();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let good = request(&key);
    let issue = |request: &[u8]| authority.issue_node(request, &node("a"), [1; 16], NOW + DAY);
    assert!(issue(&good).is_ok());
    // Some bytes of the signature's own form have no say.
    for at in 0..good.len() - SIGNATURE_BYTES_MAX {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        assert!(issue(&bad).is_err(), "byte {at}");
    }
    let other = request(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
    assert!(matches!(issue(&other), Err(BadRequest::OtherKey)));
    assert!(matches!(issue(b""), Err(BadRequest::Unreadable)));
}
