//! Any token: nobody gets in with one that we did not sign, and signed nonsense stands for nothing.

use anyhow::{Context, Result, ensure};
use bridge_campaign::{Material, Target, check};
use serde_json::{Map, Value};

use super::{tests as fixture, *};

const INPUTS: u64 = 1000;
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// The last character of the signature carries bits that nobody reads.
fn without_spare_bits(token: &str) -> &str {
    token.get(..token.len().saturating_sub(1)).unwrap_or_default()
}

fn unsigned(keys: &SigningKeys, genuine: &str, input: &[u8]) -> Result<()> {
    let Ok(token) = std::str::from_utf8(input) else {
        return Ok(());
    };
    for kind in [TokenKind::Access, TokenKind::Refresh] {
        let Some(grant) = keys.verify(token, kind, NOW) else {
            continue;
        };
        ensure!(
            without_spare_bits(token) == without_spare_bits(genuine),
            "a token that nobody signed is accepted"
        );
        ensure!(grant == fixture::grant(), "a token stands for somebody else");
    }
    Ok(())
}

/// Signs any claims with the real key.
fn signed(keys: &SigningKeys, input: &[u8]) -> Result<()> {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(input) else {
        return Ok(());
    };
    let key = keys.ring.first().context("no key")?;
    let header = Header {
        kid: Some(key.id.clone()),
        ..Header::new(Algorithm::HS256)
    };
    let token = jsonwebtoken::encode(&header, &claims, &key.encoding)?;
    for (kind, name) in [(TokenKind::Access, "access"), (TokenKind::Refresh, "refresh")] {
        let Some(grant) = keys.verify(&token, kind, NOW) else {
            continue;
        };
        let is = |claim: &str, value: &str| claims.get(claim).and_then(Value::as_str) == Some(value);
        ensure!(is("typ", name), "a token counts as another kind");
        ensure!(is("iss", ISSUER), "somebody else's token is accepted");
        ensure!(
            is("sub", &grant.user_id.to_string()),
            "a token stands for somebody else"
        );
        ensure!(
            is("sid", &grant.session_id.to_string()),
            "a token of another session"
        );
        let time = |claim: &str| claims.get(claim).and_then(Value::as_u64);
        ensure!(
            time("exp").is_some_and(|at| at.saturating_add(5) > 0),
            "a token without an end"
        );
        ensure!(time("iat").is_some_and(|at| at <= 5), "a token of the future");
    }
    Ok(())
}

fn check_any(name: &'static str, material: Material, seeds: Vec<String>, run: bridge_campaign::Run) {
    let target = Target {
        name,
        material,
        seeds: seeds.into_iter().map(String::into_bytes).collect(),
        run,
    };
    check(target, INPUTS).unwrap();
}

#[test]
fn fuzz_nobody_gets_in_with_a_token_that_was_not_signed() {
    let keys = fixture::keys(&[&[1; 32]]);
    let genuine = fixture::signed(&keys);
    let foreign = fixture::signed(&fixture::keys(&[&[2; 32]]));
    let payload = genuine.split('.').nth(1).unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let seeds = vec![genuine.clone(), foreign, none];
    let run = Box::new(move |input: &[u8]| unsigned(&keys, &genuine, input));
    check_any("token", Material::Bytes, seeds, run);
}

#[test]
fn fuzz_signed_nonsense_stands_for_nothing() {
    let keys = fixture::keys(&[&[1; 32]]);
    let Grant {
        kind: _,
        user_id,
        session_id,
        generation,
        session_epoch,
    } = fixture::grant();
    let claims = |typ: &str| {
        format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"{user_id}","sid":"{session_id}","gen":{generation},"epoch":{session_epoch},"iat":0,"exp":60,"jti":"j","typ":"{typ}"}}"#
        )
    };
    let seeds = vec![
        claims("access"),
        claims("refresh"),
        r#"{"aud":["a"],"exp":"60"}"#.to_owned(),
    ];
    let run = Box::new(move |input: &[u8]| signed(&keys, input));
    check_any("claims", Material::Json, seeds, run);
}
