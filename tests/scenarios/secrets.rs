//! No secret is where it does not belong: every method and every path is called with known ones, at
//! the level of logs that tells most, and then all that was written or answered is searched.

mod methods;
mod paths;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{
    ApplyRequest, ChangePasswordRequest, CreateApiKeyRequest, CreateJoinTokenRequest, CreateProviderRequest,
    CreateServiceTokenRequest, CreateUserRequest, LoginRequest, PlanRequest, ProviderSecrets, RefreshRequest,
    ResetPasswordRequest, RevokeApiKeyRequest, Role, RotateApiKeyRequest, SendMessageRequest,
    TestProviderRequest, UpdateProviderRequest,
};
use bridge_tests::admin::{self, Admin};
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::canary::{Canaries, secret_of};
use bridge_tests::collector::Collector;
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::wait;

const PROVIDER_KEY: &str = "canary-provider-5pQ8/+=w2Vd7kZ0rTn4Lx";
const NEXT_PROVIDER_KEY: &str = "canary-provider-9sW3/+=b6Hf1mY8qRc5Jv";
const APPLIED_PROVIDER_KEY: &str = "canary-provider-0tE4/+=g7Kj2nX9pSd6Mw";
const IMPORTED_PROVIDER_KEY: &str = "canary-provider-1uR5/+=h8Ll3oC0qTf7Nx";
const CUSTOM_HEADER: &str = "canary-header-4aZ7/+=c9Gg5pB2wUh8Ok";
const USER_PASSWORD: &str = "canary \"password\" \\ of a üser 61-+/=";
const CHANGED_PASSWORD: &str = "canary \"password\" \\ chänged 72-+/=";
const RESET_PASSWORD: &str = "canary \"password\" \\ resët 83-+/=";
const WRONG_PASSWORD: &str = "canary \"password\" \\ mistÿped 94-+/=";
const SIGNING_KEY: &str = "canary-signing-key-of-tokens-8vT6/+=j0Nn4qD1xVi";
const COLLECTOR_KEY: &str = "canary-collector-3yN0/+=k1Pp5rE2yWj";
const PROMPT: &str = "canary words of a client's prompt, \"quoted\"";
const ANSWER: &str = "canary words of a model's answer, \"quoted\"";

const USER: &str = "canary.of.a.person@example.com";
const BACKUP: &str = "installation.backup";
/// What a model says that refuses with the key it was sent in its own words.
const ECHO: &str = "echo";
const MODEL: &str = "m";
/// Files that hold a secret because it is theirs.
const OWN: [&str; 2] = ["master-key", "node-token"];

/// What was planted, and what was answered where it must not be told.
#[derive(Default)]
struct Search {
    canaries: Canaries,
    answers: Vec<(String, Vec<u8>)>,
}

impl Search {
    fn answered(&mut self, by: impl Into<String>, answer: impl Into<Vec<u8>>) {
        self.answers.push((by.into(), answer.into()));
    }

    fn plant_all(&mut self, secrets: &[(&str, &str)]) -> Result<()> {
        secrets
            .iter()
            .try_for_each(|(name, secret)| self.canaries.plant(name, secret))
    }
}

fn file_of_providers(name: &str, upstream: &str, key: &str) -> String {
    serde_json::json!({"providers": [{
        "name": name, "base_url": upstream, "api_key": key,
        "custom_headers": {"x-canary": CUSTOM_HEADER}, "models": {"big": [name]},
    }]})
    .to_string()
}

/// A bridge at its most talkative, with a file that it imports and a collector of its traces.
async fn talkative(folder: &Path, upstream: &str, collector: &Collector) -> Result<Bridge> {
    let file = folder.join("provider.json");
    std::fs::write(&file, file_of_providers("imported", upstream, "${CANARY}"))?;
    let told = [
        ("LOG_LEVEL", "trace".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("authorization={COLLECTOR_KEY}"),
        ),
    ];
    let mut environment = told.to_vec();
    environment.extend([
        ("PROVIDER_CONFIG_PATH", file.display().to_string()),
        ("CANARY", IMPORTED_PROVIDER_KEY.to_owned()),
        ("JWT_SECRET_KEY", SIGNING_KEY.to_owned()),
    ]);
    let mut bridge = Bridge::start_with(0, environment).await?;
    bridge.add_node_with(told.to_vec()).await?;
    Ok(bridge)
}

/// Everything that takes a secret, or shows one once, as it is meant to be used.
async fn use_secrets(
    bridge: &Bridge,
    admin: &Admin,
    search: &mut Search,
    upstream: &Faultd,
) -> Result<String> {
    let secrets = |key: &str| ProviderSecrets {
        api_key: key.to_owned(),
        custom_headers: [("x-canary".to_owned(), CUSTOM_HEADER.to_owned())].into(),
    };
    for model in [MODEL, ECHO] {
        let request = CreateProviderRequest {
            provider: Some(admin::provider(model, &upstream.base_url(), model)),
            secrets: Some(secrets(PROVIDER_KEY)),
            ..CreateProviderRequest::default()
        };
        let made = admin.providers().create_provider(request).await?;
        search.answered("CreateProvider", format!("{made:?}"));
    }
    let request = UpdateProviderRequest {
        provider: Some(admin::provider(ECHO, &upstream.base_url(), ECHO)),
        secrets: Some(secrets(NEXT_PROVIDER_KEY)),
        ..UpdateProviderRequest::default()
    };
    let made = admin.providers().update_provider(request).await?;
    search.answered("UpdateProvider", format!("{made:?}"));
    let file = file_of_providers("applied", &upstream.base_url(), APPLIED_PROVIDER_KEY);
    let plan = PlanRequest {
        file: file.clone(),
        prune: false,
    };
    search.answered("Plan", format!("{:?}", admin.config().plan(plan).await?));
    let apply = ApplyRequest {
        file,
        ..ApplyRequest::default()
    };
    search.answered("Apply", format!("{:?}", admin.config().apply(apply).await?));

    let request = CreateServiceTokenRequest {
        name: "script".to_owned(),
        role: Role::Admin.into(),
        scopes: vec!["api_keys:write".to_owned()],
        ..CreateServiceTokenRequest::default()
    };
    let token = admin
        .service_tokens()
        .create_service_token(request)
        .await?
        .into_inner()
        .token;
    search.canaries.plant("a service token", secret_of(&token))?;
    let script = admin.speaking_as(&token)?;
    let (key, record) = script.create_key("of a script").await?;
    search.canaries.plant("an API key", secret_of(&key))?;
    bridge.wait_until_accepted(&key).await?;
    let rotate = RotateApiKeyRequest {
        id: record.id.clone(),
        ..RotateApiKeyRequest::default()
    };
    let rotated = script.keys().rotate_api_key(rotate).await?.into_inner().key;
    search.canaries.plant("a rotated API key", secret_of(&rotated))?;
    bridge.wait_until_accepted(&rotated).await?;
    let (revoked, record) = admin.create_key("to be revoked").await?;
    search.canaries.plant("a revoked API key", secret_of(&revoked))?;
    let revoke = RevokeApiKeyRequest {
        id: record.id,
        ..RevokeApiKeyRequest::default()
    };
    let answer = admin.keys().revoke_api_key(revoke).await?;
    search.answered("RevokeApiKey", format!("{answer:?}"));
    let repeated = CreateApiKeyRequest {
        name: "twice".to_owned(),
        idempotency_key: "the same".to_owned(),
        ..CreateApiKeyRequest::default()
    };
    let once = admin
        .keys()
        .create_api_key(repeated.clone())
        .await?
        .into_inner()
        .key;
    search
        .canaries
        .plant("a key that was asked for twice", secret_of(&once))?;
    search.answered(
        "a repeated CreateApiKey",
        format!("{:?}", admin.keys().create_api_key(repeated).await?),
    );
    if let Ok(made) = admin
        .fleet()
        .create_join_token(CreateJoinTokenRequest::default())
        .await
    {
        let token = made.into_inner().join_token;
        search.canaries.plant("a join token", secret_of(&token))?;
    }

    for model in [MODEL, ECHO] {
        let test = TestProviderRequest {
            name: model.to_owned(),
            ..TestProviderRequest::default()
        };
        search.answered(
            "TestProvider",
            format!("{:?}", admin.providers().test_provider(test).await),
        );
    }
    let message = SendMessageRequest {
        target_id: "node-0".to_owned(),
        key: rotated.clone(),
        body: ask(MODEL, PROMPT).to_string(),
    };
    // What comes back is for that person.
    let mut answer = admin.playground().send_message(message).await?.into_inner();
    let mut parts = 0;
    while answer.message().await?.is_some() {
        parts += 1;
    }
    ensure!(parts > 1, "a head and a body");
    Ok(rotated)
}

/// Somebody who signs in, mistypes, changes the password and has it reset.
async fn use_passwords(address: &str, admin: &Admin, search: &mut Search) -> Result<()> {
    let request = CreateUserRequest {
        email: USER.to_owned(),
        name: "Ann".to_owned(),
        role: Role::Operator.into(),
        password: USER_PASSWORD.to_owned(),
        ..CreateUserRequest::default()
    };
    let made = admin.users().create_user(request).await?.into_inner();
    search.answered("CreateUser", format!("{made:?}"));
    let id = made.user.context("a created user")?.id;
    for (email, password) in [(USER, WRONG_PASSWORD), (WRONG_PASSWORD, USER_PASSWORD)] {
        let login = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
        };
        let refused = admin.auth().login(login).await;
        ensure!(refused.is_err(), "{email} is let in");
        search.answered("a refused Login", format!("{refused:?}"));
    }
    let login = LoginRequest {
        email: USER.to_owned(),
        password: USER_PASSWORD.to_owned(),
    };
    let pair = admin.auth().login(login).await?.into_inner();
    search.plant_all(&[
        ("an access token", secret_of(&pair.access_token)),
        ("a refresh token", secret_of(&pair.refresh_token)),
    ])?;
    let refresh = RefreshRequest {
        refresh_token: pair.refresh_token,
    };
    let pair = admin.auth().refresh(refresh.clone()).await?.into_inner();
    search.plant_all(&[
        ("a second access token", secret_of(&pair.access_token)),
        ("a second refresh token", secret_of(&pair.refresh_token)),
    ])?;
    let person = admin.speaking_as(&pair.access_token)?;
    let change = ChangePasswordRequest {
        current_password: USER_PASSWORD.to_owned(),
        new_password: CHANGED_PASSWORD.to_owned(),
    };
    let pair = person.auth().change_password(change).await?.into_inner();
    search
        .canaries
        .plant("a third access token", secret_of(&pair.access_token))?;
    // A token that was used before: it ends the session.
    search.answered(
        "a repeated Refresh",
        format!("{:?}", admin.auth().refresh(refresh).await),
    );
    let reset = ResetPasswordRequest {
        id,
        new_password: RESET_PASSWORD.to_owned(),
        revision: 0,
    };
    search.answered(
        "ResetPassword",
        format!("{:?}", admin.users().reset_password(reset).await?),
    );
    ensure!(
        Admin::login_as(address, USER, CHANGED_PASSWORD).await.is_err(),
        "an old password lets in"
    );
    Ok(())
}

#[tokio::test]
async fn no_secret_is_in_a_log_a_file_a_metric_or_an_answer() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let upstream = Faultd::start().await?;
    upstream.always(MODEL, Script::text(ANSWER));
    let said = format!("the key {NEXT_PROVIDER_KEY} is not good, nor is {CUSTOM_HEADER}");
    upstream.always(ECHO, Script::error(400, "invalid_request_error", &said));
    let collector = Collector::start().await?;
    let mut bridge = talkative(elsewhere.path(), &upstream.base_url(), &collector).await?;
    let address = bridge.control().admin_address();
    let mut search = Search::default();
    search.plant_all(&[
        ("a provider's key", PROVIDER_KEY),
        ("a provider's next key", NEXT_PROVIDER_KEY),
        ("the key of an applied file", APPLIED_PROVIDER_KEY),
        ("the key of an imported file", IMPORTED_PROVIDER_KEY),
        ("a header", CUSTOM_HEADER),
        ("the first password", admin::PASSWORD),
        ("a user's password", USER_PASSWORD),
        ("a changed password", CHANGED_PASSWORD),
        ("a reset password", RESET_PASSWORD),
        ("a wrong password", WRONG_PASSWORD),
        ("the signing key", SIGNING_KEY),
        ("the collector's credential", COLLECTOR_KEY),
        ("a prompt", PROMPT),
        ("an answer", ANSWER),
    ])?;
    for own in OWN {
        let secret = std::fs::read_to_string(bridge.folder().join(own))?;
        search.canaries.plant(own, secret.trim())?;
    }
    let admin = bridge.admin().await?;
    search
        .canaries
        .plant("the admin's token", secret_of(&admin.token()?))?;

    let key = use_secrets(&bridge, &admin, &mut search, &upstream).await?;
    use_passwords(&address, &admin, &mut search).await?;
    methods::call_every_method(&address, &admin.token()?, &mut search).await?;
    let node = bridge.node(0)?;
    let node_ops = node.metrics_url();
    paths::call_every_path(&node.base_url(), &node_ops, &key, &mut search).await?;
    let control_ops = bridge.control().metrics_url();
    paths::call_every_path(&format!("http://{address}"), &control_ops, &key, &mut search).await?;

    // Signing out was one of the methods.
    let admin = bridge.admin().await?;
    let token = admin.token()?;
    search
        .canaries
        .plant("the second token of the admin", secret_of(&token))?;
    let cache = bridge.node(0)?.directory().join("data/snapshot-cache/a.snapshot");
    wait::until("the node to keep its snapshot", || async {
        cache.exists().then_some(())
    })
    .await?;
    let control = bridge.control();
    let by_admin = [("ADMIN_TOKEN", token.as_str())];
    let ran = control.run(&["backup", BACKUP], &by_admin).await?;
    ensure!(ran.is_good, "{ran:?}");
    search.answered("backup", format!("{ran:?}"));
    bridge.node(0)?.process()?.terminate().await?;
    let control = bridge.control();
    control.process()?.terminate().await?;
    for command in [
        &["verify"][..],
        &["verify", BACKUP],
        &["export", "installation.export"],
        &["rotate-master-key"],
    ] {
        let ran = control.run(command, &[]).await?;
        ensure!(ran.is_good, "{command:?}: {ran:?}");
        search.answered(command.join(" "), format!("{ran:?}"));
    }

    let spans = collector.spans();
    for service in ["bridge-data-plane", "bridge-control-plane"] {
        ensure!(
            spans.iter().any(|told| told.service == service),
            "{service} tells nothing"
        );
    }
    search.answered("traces", collector.bytes());

    bridge.show_store()?;
    let folder = bridge.folder();
    let own: Vec<_> = OWN.into_iter().chain(["master-key.old"]).collect();
    let (mut found, bytes) = search.canaries.found_below(folder, &own)?;
    for (by, answer) in &search.answers {
        found.extend(search.canaries.found_in(by, answer));
    }
    found.sort();
    found.dedup();
    assert_eq!(found, Vec::<String>::new());
    // Addresses of people are no secrets, but logs have no use for them.
    let mut people = Canaries::default();
    people.plant("an e-mail address", USER)?;
    for log in ["control-plane.log", "node-0/node-0.log"] {
        let log = std::fs::read(folder.join(log))?;
        ensure!(!log.is_empty(), "nothing was logged");
        assert_eq!(people.found_in("a log", &log), Vec::<String>::new());
    }
    // It would have been found, wherever it lay.
    std::fs::write(
        folder.join("node-0/data/planted"),
        format!("x{}", hex(PROVIDER_KEY)),
    )?;
    let (planted, _) = search.canaries.found_below(folder, &own)?;
    ensure!(planted.len() == 1, "{planted:?}");
    eprintln!(
        "figure: {} writings of secrets looked for in {bytes} bytes of files and {} answers: 0 found",
        search.canaries.len(),
        search.answers.len()
    );
    Ok(())
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
