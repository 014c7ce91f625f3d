//! What happens to the files of a control plane: another one wants them, the disk is full, they are
//! damaged. Either everything is there, or it is said what is wrong and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{ListApiKeysRequest, VerifyEntriesRequest};
use bridge_tests::bridge::{Bridge, ControlPlane};
use futures_util::future::try_join_all;
use tonic::Code;

const DATABASE: &str = "data/control-plane";
/// No start hangs for longer, whatever it finds.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// A disk with some room above the 8 MiB that the control plane wants to see free.
const DISK_KIB: u32 = 24 * 1024;
const PAGE: usize = 4096;
/// Of a file, in percent.
const PLACES: [usize; 3] = [0, 50, 99];
/// Starts at the same time.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn a_second_control_plane_on_the_same_folder_is_refused_at_once() -> Result<()> {
    let Some(mut bridge) = Bridge::start_on_folder(0).await? else {
        return Ok(());
    };
    let admin = bridge.admin().await?;
    let elsewhere = ["ADMIN_LISTEN", "FLEET_LISTEN", "OPS_LISTEN"].map(|name| (name, "127.0.0.1:0"));
    let began = Instant::now();
    let second = bridge.control().run(&[], &elsewhere).await?;
    let took = began.elapsed();
    assert!(!second.is_good && second.log.contains("in use"), "{second:?}");
    assert!(took < STUCK_AFTER, "{took:?}");
    admin.create_key("the first goes on").await?;
    eprintln!(
        "figure: a second control plane refused after {} ms",
        took.as_millis()
    );
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_changes_until_there_is_space_and_loses_nothing() -> Result<()> {
    let Some(mut bridge) = Bridge::start_on_small_disk(DISK_KIB).await? else {
        return Ok(());
    };
    bridge.add_node().await?;
    let admin = bridge.admin().await?;
    let (key, _) = admin.create_key("before").await?;
    bridge.wait_until_accepted(&key).await?;
    let pid = bridge.control().process()?.pid();
    // The disk is there for that process alone.
    let inside = bridge.folder().strip_prefix("/")?.join("data/filler");
    let filler = PathBuf::from(format!("/proc/{pid}/root")).join(inside);
    let full = fill(&filler)?;
    let refused = admin
        .create_key("on a full disk")
        .await
        .err()
        .context("the disk is full")?;
    let code = refused.downcast_ref::<tonic::Status>().map(tonic::Status::code);
    assert_eq!(code, Some(Code::ResourceExhausted), "{refused:?}");
    // Reading goes on, and so does serving.
    let keys = admin
        .keys()
        .list_api_keys(ListApiKeysRequest::default())
        .await?
        .into_inner();
    assert_eq!(keys.total_size, 1);
    assert_eq!(
        bridge.client(0, &key)?.try_key().await?.status,
        404,
        "no provider is there"
    );

    fs::remove_file(&filler)?;
    let (again, _) = admin.create_key("after").await?;
    bridge.wait_until_accepted(&again).await?;
    let keys = admin
        .keys()
        .list_api_keys(ListApiKeysRequest::default())
        .await?
        .into_inner();
    let mut names: Vec<_> = keys.api_keys.iter().map(|key| key.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["after", "before"]);
    let chain = admin
        .audit()
        .verify_entries(VerifyEntriesRequest {})
        .await?
        .into_inner();
    assert_eq!(chain.broken_sequence, 0, "{chain:?}");
    eprintln!("figure: refused with {full} KiB taken by others, 0 lost");
    Ok(())
}

/// Writes until nothing fits any more; how much that was, in KiB.
fn fill(file: &Path) -> Result<usize> {
    use std::io::Write as _;
    let mut file = fs::File::create(file)?;
    let page = [7; PAGE];
    for pages in 0..DISK_KIB as usize {
        if file.write_all(&page).is_err() {
            return Ok(pages * PAGE / 1024);
        }
    }
    anyhow::bail!("the disk is larger than it should be")
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    FlippedByte,
    ZeroedPage,
    CutOff,
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>, percent: usize) {
        let at = bytes.len() * percent / 100;
        match self {
            Self::FlippedByte => bytes[at] ^= 0x10,
            Self::ZeroedPage => {
                let start = at / PAGE * PAGE;
                let end = bytes.len().min(start + PAGE);
                bytes[start..end].fill(0);
            }
            Self::CutOff => bytes.truncate(at),
        }
    }
}

#[tokio::test]
async fn damaged_files_are_told_or_heal_and_nothing_is_ever_missing() -> Result<()> {
    let Some(mut bridge) = Bridge::start_on_folder(0).await? else {
        return Ok(());
    };
    let admin = bridge.admin().await?;
    for n in 0..40 {
        admin.create_key(&format!("key {n}")).await?;
    }
    bridge.control().process()?.terminate().await?;
    let database = bridge.folder().join(DATABASE);
    let whole = bridge.control().run(&["verify"], &[]).await?;
    ensure!(whole.is_good, "{whole:?}");
    let mut cases = Vec::new();
    for file in files(&database)? {
        for percent in PLACES {
            for damage in [Damage::FlippedByte, Damage::ZeroedPage, Damage::CutOff] {
                cases.push((file.clone(), percent, damage));
            }
        }
    }
    let trials = tempfile::tempdir()?;
    let (mut told, mut healed) = (0, 0);
    let control = bridge.control();
    for (first, some) in cases.chunks(AT_ONCE).enumerate() {
        let trying = some.iter().enumerate().map(|(n, case)| {
            let trial = trials.path().join(format!("{first}-{n}"));
            try_one(control, &database, trial, case, &whole.told)
        });
        for is_told in try_join_all(trying).await? {
            told += usize::from(is_told);
            healed += usize::from(!is_told);
        }
    }
    ensure!(told > 0, "some of it cannot be healed");
    eprintln!(
        "figure: {} damaged stores: {told} refused with a reason, {healed} with everything in them",
        cases.len()
    );
    Ok(())
}

/// Whether the damage was told; otherwise everything is there.
async fn try_one(
    control: &ControlPlane,
    database: &Path,
    trial: PathBuf,
    (file, percent, damage): &(PathBuf, usize, Damage),
    whole: &str,
) -> Result<bool> {
    fs::create_dir_all(&trial)?;
    for other in files(database)? {
        let mut bytes = fs::read(database.join(&other))?;
        if other == *file {
            damage.apply(&mut bytes, *percent);
        }
        let to = trial.join(other);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::write(to, bytes)?;
    }
    let path = trial.display().to_string();
    let began = Instant::now();
    let ran = control.run(&["verify"], &[("DATABASE_PATH", &path)]).await?;
    let took = began.elapsed();
    let case = format!("{damage:?} at {percent} % of {}", file.display());
    ensure!(took < STUCK_AFTER, "{case}: {took:?}");
    if ran.is_good {
        ensure!(ran.told == whole, "{case}: {} instead of {whole}", ran.told);
    } else {
        let says_what_to_do = ["restore", "put it back"]
            .iter()
            .any(|word| ran.log.contains(word));
        ensure!(says_what_to_do, "{case}: {}", ran.log);
    }
    fs::remove_dir_all(trial)?;
    Ok(!ran.is_good)
}

/// Files of a store that hold something, below its folder.
fn files(database: &Path) -> Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![database.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path)?.len() > 0 {
                files.push(path.strip_prefix(database)?.to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}
