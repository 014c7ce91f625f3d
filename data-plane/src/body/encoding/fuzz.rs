//! Any encoded body: decoded within its limit, or refused; never more work than it is worth.

use anyhow::{Result, ensure};
use bridge_campaign::{Material, Target, check};

use super::{
    tests::{gzip, zstd},
    *,
};

const INPUTS: u64 = 1000;
const LIMIT: usize = 1 << 20;

fn run(input: &[u8]) -> Result<()> {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let body = Bytes::copy_from_slice(input);
        let decoded = encoding.decode(body.clone(), LIMIT);
        let bytes = decoded.as_ref().map_or(0, Bytes::len);
        ensure!(bytes <= LIMIT, "more than the limit");
        // What fits into less is the same; what does not is refused.
        let less = encoding.decode(body, LIMIT / 16);
        match (&decoded, &less) {
            (Ok(all), Ok(same)) => ensure!(all == same, "a limit changes the body"),
            (Ok(all), Err(_)) => ensure!(
                all.len() > LIMIT / 16 || encoding == Encoding::Zstd,
                "refused for nothing"
            ),
            (Err(_), Err(_)) => {}
            (Err(_), Ok(_)) => anyhow::bail!("a smaller limit lets it through"),
        }
    }
    Ok(())
}

#[test]
fn fuzz_any_encoded_body_stays_within_its_limit() {
    let request = br#"{"model":"haiku","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    let plains = [
        request.to_vec(),
        request.repeat(400),
        vec![b' '; LIMIT / 8],
        Vec::new(),
    ];
    let mut seeds: Vec<Vec<u8>> = plains
        .iter()
        .flat_map(|plain| [gzip(plain), zstd(plain)])
        .collect();
    seeds.push([gzip(b"{"), gzip(b"}")].concat());
    seeds.push([zstd(b"{"), zstd(b"}")].concat());
    let target = Target {
        name: "encoding",
        material: Material::Bytes,
        seeds,
        run: Box::new(run),
    };
    check(target, INPUTS).unwrap();
}
