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
