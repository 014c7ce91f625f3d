//! Copies of an installation and the way back, another master key, a way in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bridge_proto::admin::v1::GetSettingsRequest;
use bridge_tests::admin::{self, Admin, UPSTREAM_KEY};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use tonic::Code;

const BACKUP: &str = "installation.backup";

fn path(stage: &Stage, name: &str) -> std::path::PathBuf {
    stage.bridge.folder().join(name)
}

/// Whether a file holds these bytes anywhere.
fn holds(file: &Path, secret: &str) -> Result<bool> {
    let bytes = fs::read(file)?;
    Ok(bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes()))
}

async fn status(stage: &Stage, node: usize, key: &str) -> Result<u16> {
    let client = stage.bridge.client(node, key)?;
    Ok(client.messages(&ask("haiku", "Hi")).await?.status)
}

/// What a session that was there before is told, once the control plane is reached again.
async fn of_session(admin: &Admin) -> Result<Option<Code>> {
    wait::until("an answer of the control plane", || async {
        let asked = admin.settings().get_settings(GetSettingsRequest {}).await;
        let code = asked.err().map(|status| status.code());
        (code != Some(Code::Unavailable) && code != Some(Code::Unknown)).then_some(code)
    })
    .await
}

#[tokio::test]
async fn a_backup_under_writes_brings_the_installation_back_and_nodes_follow() -> Result<()> {
    let mut stage = Stage::with_nodes(2).await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let (before, _) = stage.admin.create_key("before").await?;
    let token = stage.admin.token()?;
    let is_in_database = stage.bridge.database().is_some();
    let control = stage.bridge.control();
    let writer = Admin::login(&control.admin_address()).await?;
    // A folder is in use, so that who uses it has to be asked; a database can be read by anybody.
    let unasked = control.run(&["backup", BACKUP], &[]).await?;
    assert_eq!(unasked.is_good, is_in_database, "{unasked:?}");
    assert!(
        is_in_database || unasked.log.contains("ADMIN_TOKEN"),
        "{unasked:?}"
    );
    let writing = async {
        for n in 0..100 {
            writer.create_key(&format!("meanwhile-{n}")).await?;
        }
        anyhow::Ok(())
    };
    let by_admin = [("ADMIN_TOKEN", token.as_str())];
    let making = control.run(&["backup", BACKUP], &by_admin);
    let (made, written) = tokio::join!(making, writing);
    written?;
    let made = made?;
    assert!(made.is_good, "{made:?}");
    for secret in [UPSTREAM_KEY, admin::PASSWORD, &before, &token] {
        assert!(
            !holds(&path(&stage, BACKUP), secret)?,
            "a secret is in the backup"
        );
    }
    let (after, _) = stage.admin.create_key("after").await?;
    stage.bridge.wait_until_accepted(&after).await?;

    let control = stage.bridge.control();
    control.kill()?;
    let refused = control.run(&["restore", BACKUP], &[]).await?;
    assert!(!refused.is_good && refused.log.contains("already"), "{refused:?}");
    stage.bridge.set_store_aside()?;
    let wrong = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
    let control = stage.bridge.control();
    let refused = control
        .run(
            &["restore", BACKUP],
            &[("MASTER_KEY", wrong), ("MASTER_KEY_FILE", "")],
        )
        .await?;
    assert!(
        !refused.is_good && refused.log.contains("master key"),
        "{refused:?}"
    );
    let restored = control.run(&["restore", BACKUP], &[]).await?;
    assert!(
        restored.is_good && restored.told.contains("epoch 1"),
        "{restored:?}"
    );
    let verified = control.run(&["verify"], &[]).await?;
    assert!(
        verified.is_good && verified.told.starts_with("good"),
        "{verified:?}"
    );

    control.start().await?;
    assert_eq!(of_session(&stage.admin).await?, Some(Code::Unauthenticated));
    stage.bridge.wait_until_refused(&after).await?;
    stage.admin = stage.bridge.admin().await?;
    stage.settle().await?;
    for node in 0..2 {
        assert_eq!(status(&stage, node, &before).await?, 200);
        assert_eq!(status(&stage, node, &after).await?, 401);
    }
    Ok(())
}

#[tokio::test]
async fn damage_is_told_and_a_move_keeps_sessions() -> Result<()> {
    let mut stage = Stage::start().await?;
    let control = stage.bridge.control();
    control.kill()?;
    let exported = control.run(&["export", BACKUP], &[]).await?;
    assert!(exported.is_good, "{exported:?}");
    let good = control.run(&["verify", BACKUP], &[]).await?;
    assert!(good.is_good && good.told.starts_with("good"), "{good:?}");
    let bytes = fs::read(path(&stage, BACKUP))?;
    stage.bridge.set_store_aside()?;
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (damaged, word) in [(&bytes[..bytes.len() - 1], "cut off"), (&flipped[..], "damaged")] {
        fs::write(path(&stage, "damaged"), damaged)?;
        for command in ["verify", "restore", "import"] {
            let ran = stage.bridge.control().run(&[command, "damaged"], &[]).await?;
            assert!(!ran.is_good && ran.log.contains(word), "{command}: {ran:?}");
        }
    }
    assert!(
        !stage.bridge.is_store_made()?,
        "nothing is made of what is damaged"
    );
    let control = stage.bridge.control();
    let imported = control.run(&["import", BACKUP], &[]).await?;
    assert!(imported.is_good, "{imported:?}");
    control.start().await?;
    assert_eq!(of_session(&stage.admin).await?, None);
    Ok(())
}

#[tokio::test]
async fn another_master_key_and_a_way_in() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let control = stage.bridge.control();
    let running = control.run(&["rotate-master-key"], &[]).await?;
    assert!(!running.is_good && running.log.contains("in use"), "{running:?}");
    control.kill()?;
    let before = fs::read_to_string(path(&stage, "master-key"))?;
    let control = stage.bridge.control();
    let rotated = control.run(&["rotate-master-key"], &[]).await?;
    assert!(rotated.is_good, "{rotated:?}");
    let after = fs::read_to_string(path(&stage, "master-key"))?;
    assert_ne!(before, after);
    assert_eq!(fs::read_to_string(path(&stage, "master-key.old"))?, before);
    // As after a crash before the new key took its place.
    fs::write(path(&stage, "master-key.next"), &after)?;
    fs::write(path(&stage, "master-key"), &before)?;
    let control = stage.bridge.control();
    let verified = control.run(&["verify"], &[]).await?;
    assert!(verified.is_good, "{verified:?}");
    assert_eq!(fs::read_to_string(path(&stage, "master-key"))?, after);

    let control = stage.bridge.control();
    let reset = control.run(&["reset-admin"], &[("ADMIN_PASSWORD", "")]).await?;
    assert!(reset.is_good, "{reset:?}");
    let told = reset
        .told
        .split(' ')
        .nth(4)
        .context("no password is told")?
        .to_owned();
    control.start().await?;
    let address = control.admin_address();
    assert!(Admin::login(&address).await.is_err(), "the old password is void");
    assert_eq!(of_session(&stage.admin).await?, Some(Code::Unauthenticated));
    Admin::login_as(&address, admin::EMAIL, &told).await?;
    stage.bridge.control().kill()?;
    let control = stage.bridge.control();
    let reset = control.run(&["reset-admin"], &[]).await?;
    assert!(reset.is_good, "{reset:?}");
    control.start().await?;
    stage.admin = stage.bridge.admin().await?;
    stage.settle().await?;
    assert_eq!(
        status(&stage, 0, &stage.key).await?,
        200,
        "the provider's key opens"
    );
    let call = stage
        .upstream
        .requests_for(MODEL)
        .pop()
        .context("nobody was asked")?;
    assert_eq!(
        call.header("authorization"),
        Some(&*format!("Bearer {UPSTREAM_KEY}"))
    );
    Ok(())
}

/// A file as existing installations have it, about a provider that is there and one that is not.
fn provider_json(stage: &Stage, more: &str) -> String {
    let upstream = stage.upstream.base_url();
    format!(
        r#"{{
  "providers": [
    {{"name": "Second One", "enabled": true, "priority": 5, "api_key": "${{SECOND_KEY}}", "base_url": "{upstream}",
      "api_format": "openai", "timeout": 60, "max_retries": 1, "custom_headers": {{}},
      "models": {{"big": [], "middle": [], "small": ["second-small"]}}, "max_tokens_limit": 8192}},
    {{"name": "scripted", "priority": 1, "base_url": "{upstream}", "models": {{"big": ["{MODEL}"], "small": ["{MODEL}"]}}}}
  ],
  "fallback_strategy": "random",
  "circuit_breaker": {{"failure_threshold": 7, "recovery_timeout": 30}},
  "model_rules": [{{"match": "mine", "provider": "second-one", "model": "second-small"}}]{more}
}}"#
    )
}

#[tokio::test]
async fn a_provider_json_is_imported_as_it_is_and_again_changes_nothing() -> Result<()> {
    const SECOND_KEY: &str = "sk-of-the-second-one-51w";
    let mut stage = Stage::start().await?;
    for model in [MODEL, "second-small"] {
        stage.upstream.always(model, Script::text("Hi"));
    }
    let file = path(&stage, "seed.json");
    fs::write(&file, provider_json(&stage, r#", "unknown": 1"#))?;
    let control = stage.bridge.control();
    control.process()?.terminate().await?;
    let key = [("SECOND_KEY", SECOND_KEY)];
    let control = stage.bridge.control();
    let ran = control.run(&["import", "seed.json"], &key).await?;
    assert!(ran.is_good, "{ran:?}");
    for line in [
        "create provider/second-one: ",
        "update provider/scripted: ",
        "update settings: ",
        "create model_rule/",
        "imported: revision ",
    ] {
        assert!(
            ran.told.lines().any(|told| told.starts_with(line)),
            "{line}: {ran:?}"
        );
    }
    for warning in ["is called second-one from now on", "unknown is not known"] {
        assert!(ran.log.contains(warning), "{warning}: {ran:?}");
    }
    assert!(!format!("{ran:?}").contains(SECOND_KEY), "a secret is told");
    let again = control.run(&["import", "seed.json"], &key).await?;
    assert!(again.is_good, "{again:?}");
    // Whether a key that is given is another one is told to nobody.
    assert!(
        again
            .told
            .lines()
            .all(|told| told.contains("provider/second-one") || told.starts_with("imported")),
        "{again:?}"
    );
    control.start().await?;
    stage.admin = stage.bridge.admin().await?;
    stage.settle().await?;
    for (asked, model, key) in [
        ("mine", "second-small", SECOND_KEY),
        ("opus", MODEL, UPSTREAM_KEY),
    ] {
        let client = stage.client()?;
        assert_eq!(client.messages(&ask(asked, "Hi")).await?.status, 200);
        let call = stage.upstream.requests_for(model).pop().context("a call")?;
        assert_eq!(
            call.header("authorization"),
            Some(&*format!("Bearer {key}")),
            "a key that the file leaves out stays"
        );
    }
    let settings = stage.admin.settings().get_settings(GetSettingsRequest {}).await?;
    let settings = settings.into_inner().settings.context("settings")?;
    assert_eq!(
        settings.circuit_breaker.context("a breaker")?.failure_threshold,
        7
    );
    Ok(())
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_and_one_of_another_kind_says_so() -> Result<()> {
    let mut stage = Stage::start().await?;
    let broken = provider_json(&stage, "")
        .replace(r#""api_format": "openai""#, r#""api_format": "soap""#)
        .replace(r#""failure_threshold": 7"#, r#""failure_threshold": "many""#)
        .replace(r#""provider": "second-one""#, r#""provider": "nobody""#);
    for (name, content) in [
        ("mistakes.json", broken.as_bytes()),
        ("half.json", b"{\"providers\": [".as_slice()),
        ("list.json", b"[]"),
        ("other.json", b"{\"name\": \"a-package\", \"version\": \"1\"}"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\xff"),
        ("empty", b""),
    ] {
        fs::write(path(&stage, name), content)?;
    }
    let control = stage.bridge.control();
    control.process()?.terminate().await?;
    let before = control.run(&["verify"], &[]).await?;
    for (name, words) in [
        (
            "mistakes.json",
            &["api_format", "failure_threshold", "SECOND_KEY"][..],
        ),
        ("half.json", &["is not JSON", "line 1"]),
        ("list.json", &["neither", "provider.json"]),
        ("other.json", &["neither", "name is not known"]),
        ("picture.png", &["neither", "no text"]),
        ("empty", &["neither"]),
        ("nowhere.json", &["nowhere.json", "No such file"]),
    ] {
        let ran = control.run(&["import", name], &[]).await?;
        assert!(!ran.is_good && ran.told.is_empty(), "{name}: {ran:?}");
        for word in words {
            assert!(ran.log.contains(word), "{name}: {word}: {ran:?}");
        }
    }
    let after = control.run(&["verify"], &[]).await?;
    assert!(after.is_good && after.told == before.told, "{before:?} {after:?}");
    Ok(())
}
