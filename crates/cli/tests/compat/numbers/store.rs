//! Section 2.8: reasons that need a relay whose folder is older, of another relay, or unreadable.

use std::{fs, io::Write as _, path::Path, sync::Arc};

use tempfile::TempDir;

use super::auth::{failed, refused};
use crate::{relay::Relay, scenario::Scenario, world::World};

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 device_cap_reached", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let at = |most| on(&folder, &w.session, most);
            let (first, second) = {
                let w = at("2");
                let (mut desk, first) = w.paired().await;
                desk.refresh().await;
                (first, desk.pair().await)
            };
            let w = at("1");
            let _wire = {
                let mut wire = w.page().open().await;
                wire.auth(&first.token).await;
                wire
            };
            refused(w.page().open().await, &second.token).await;
            failed(&w.native(), "device_cap_reached", 1).await;
        }),
        Scenario::new("2.8 device_record_missing", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let before = tempfile::tempdir().expect("a folder");
            drop(on(&folder, &w.session, "2").started().await);
            copy(folder.path(), before.path());
            let phone = {
                let w = on(&folder, &w.session, "2");
                let mut desk = crate::world::Desk {
                    desktop: w.desktop(),
                    wire: w.native().open().await,
                    net: w.native(),
                    page: w.page(),
                };
                desk.wire.auth(&desk.desktop.token).await;
                desk.pair().await
            };
            // The store went back to where the phone was not paired yet.
            let w = on(&before, &w.session, "2");
            refused(w.page().open().await, &phone.token).await;
            failed(&w.native(), "device_record_missing", 1).await;
        }),
        Scenario::new("2.8 token_rotation_persist_failed", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let w = on(&folder, &w.session, "2");
            let (mut desk, mut phone) = w.paired().await;
            desk.connect(&mut phone).await.close().await;
            spoil(folder.path());
            // The first use of the new token is what must be stored.
            refused(w.page().open().await, &phone.token).await;
            failed(&w.native(), "token_rotation_persist_failed", 1).await;
        }),
    ]
}

/// A relay of its own on a folder.
fn on(folder: &TempDir, session: &str, devices_max: &str) -> World {
    let path = folder.path().to_str().expect("text");
    let settings = [("BELAY_DATA_DIR", path), ("MAX_DEVICES_PER_SESSION", devices_max)];
    World { relay: Arc::new(Relay::start(&settings)), session: session.to_owned() }
}

fn files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file())
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
}

/// What is stored is no longer readable, as on a disk that fails. The sizes stay, because the relay
/// has the files in its memory.
fn spoil(folder: &Path) {
    for path in files(folder) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db")) {
            let mut file = fs::File::options().write(true).open(&path).expect("a file");
            let size = file.metadata().expect("a size").len();
            let bytes = vec![0xa5; usize::try_from(size).expect("a size")];
            file.write_all(&bytes).expect("written");
        }
    }
}
