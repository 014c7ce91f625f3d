use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
use proptest::{prop_oneof, strategy::Just};

use super::{WORDS_CHARS_MAX, mask};

fn check(words: &str, expect: &str) {
    assert_eq!(
        mask(words, &["hunter2-secret".into(), "hunter2".into(), "1".into()]),
        expect
    );
}

#[test]
fn own_secrets_and_addresses_are_masked_wherever_they_stand() {
    check("x=hunter2-secret", "x=***");
    check("hunter2hunter2-secret", "******");
    check(
        "see https://internal.host:8443/v1?key=1 for more",
        "see [url] for more",
    );
}

#[test]
fn keys_are_masked_by_what_they_look_like() {
    check(
        "Incorrect API key provided: sk-abc***xyz.",
        "Incorrect API key provided: ***",
    );
    check(
        "key 'sk-1234' is wrong, key=sk-1234 too",
        "key '***' is wrong, key=*** too",
    );
    check("(SK-ABC) <sk_live_0123456789ab>", "(***) <***>");
    check("token eyJhbGciOi.J9.x was bad", "token *** was bad");
    check("AIzaSyA0123456789abcdefghij", "***");
    check("gsk_0123456789abcdef, hf_abcdefghijklmnop", "***, ***");
}

#[test]
fn what_follows_bearer_is_masked_in_whatever_writing() {
    check(
        "header Authorization: Bearer abc.def",
        "header Authorization: Bearer ***",
    );
    check("Authorization:Bearer abc", "Authorization:Bearer ***");
    check(
        r#"{"authorization":"bearer abc"}"#,
        r#"{"authorization":"bearer ***"}"#,
    );
    check("?auth=Bearer%20abc==&x", "?auth=Bearer%20***");
    check("bearer=abc BEARER: \"abc\"", "bearer=*** BEARER: \"***\"");
}

#[test]
fn long_values_with_a_name_are_masked() {
    for name in [
        "key=",
        "api_key=",
        "api-key: ",
        "\"apiKey\":\"",
        "x-api-key ",
        "access_token=",
    ] {
        check(&format!("{name}0123456789abcdef"), &format!("{name}***"));
    }
    check(
        "Incorrect API key provided: 8f3b0123456789abcdef0123456789ab.",
        "Incorrect API key provided: ***",
    );
    check(
        "Your api key was 'QWERTYuiopASDFGHjkl' (400)",
        "Your api key was '***' (400)",
    );
}

#[test]
fn other_words_stay() {
    for words in [
        "model qwen-max: 16 tokens > 8 (task-1)",
        "risk-based limits; 500 ms-",
        "unexpected token: end_of_the_whole_input",
        "no key for claude-3-5-sonnet-20241022 is known",
        "max_tokens: 131072 is more than 65536",
        "api_key is required",
        "request id: req_011CSHoEeqs5C35K2UUqR7Fy",
    ] {
        check(words, words);
    }
    check("余额不足\n", "余额不足 ");
}

#[test]
fn long_words_are_cut_between_characters() {
    assert_eq!(mask(&"字".repeat(900), &[]).chars().count(), WORDS_CHARS_MAX);
}

/// What stands right before a secret.
fn before() -> impl proptest::strategy::Strategy<Value = &'static str> {
    prop_oneof![
        Just("Bearer "),
        Just("authorization: bearer "),
        Just("Authorization:Bearer\t"),
        Just("key="),
        Just("\"api_key\": \""),
        Just("API key provided: "),
        Just("x-api-key: "),
        Just("sk-"),
        Just("key 'sk-"),
        Just("Bearer sk-proj-"),
        Just("https://user:"),
    ]
}

proptest! {
    #[test]
    fn no_secret_survives_between_any_words(
        around in prop::array::uniform2("[ -~é字\n\t]{0,40}"),
        before in before(),
        secret in "[A-Za-z0-9_]{8}[0-9][A-Za-z0-9_-]{8,40}",
    ) {
        let [left, right] = around;
        let shown = mask(&format!("{left} {before}{secret} {right}"), &[]);
        prop_assert!(!shown.contains(&secret), "{shown:?}");
        // Nor most of it.
        prop_assert!(!shown.contains(&secret[4..]), "{shown:?}");
    }

    #[test]
    fn ordinary_words_stay_as_they_are(
        words in prop::collection::vec("[a-zA-Z]{1,9}|[0-9]{1,7}|[a-z]{1,5}-[a-z0-9]{1,4}|[,.;()]", 0..30)
    ) {
        let names_one = |word: &String| {
            let word = word.to_lowercase();
            word.contains("bearer") || word.starts_with("sk-") || word.starts_with("rk-")
                || word.starts_with("pk-") || word.starts_with("eyj")
        };
        let words: Vec<String> = words.into_iter().filter(|word| !names_one(word)).collect();
        let text = words.join(" ");
        prop_assert_eq!(mask(&text, &[]), text.chars().take(WORDS_CHARS_MAX).collect::<String>());
    }
}
