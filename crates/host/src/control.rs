//! The local socket of a running host: another process of the same user asks it for a link.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
};

use crate::view::{HostView, Offer, UiCommand};

/// How long a link may take.
const OFFER_TIMEOUT: Duration = Duration::from_secs(10);

fn path(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// Answers other processes until the host ends. The folder is private, and so is the socket.
pub(crate) async fn serve(
    folder: PathBuf,
    view: watch::Receiver<HostView>,
    commands: mpsc::Sender<UiCommand>,
) -> std::io::Result<()> {
    let path = path(&folder);
    // The lock of the folder is held, so a socket that is there belongs to nobody.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, private)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = answer(stream, view.clone(), &commands).await;
    }
}

async fn answer(
    mut stream: UnixStream,
    mut view: watch::Receiver<HostView>,
    commands: &mpsc::Sender<UiCommand>,
) -> std::io::Result<()> {
    let before = view.borrow().offer.clone();
    commands.send(UiCommand::AddDevice).await.map_err(std::io::Error::other)?;
    let fresh = async {
        let shown = view.wait_for(|v| v.offer.is_some() && v.offer != before).await;
        shown.ok().and_then(|view| view.offer.clone())
    };
    let Ok(Some(offer)) = tokio::time::timeout(OFFER_TIMEOUT, fresh).await else {
        return Ok(());
    };
    stream.write_all(&serde_json::to_vec(&offer)?).await?;
    stream.shutdown().await
}

/// Asks the host that runs on this folder for a link.
///
/// # Errors
/// When none runs, or it gave no link in time.
pub async fn ask_for_offer(folder: &Path) -> std::io::Result<Offer> {
    let mut stream = UnixStream::connect(path(folder)).await?;
    let mut text = Vec::new();
    let reading = stream.read_to_end(&mut text);
    tokio::time::timeout(OFFER_TIMEOUT + Duration::from_secs(2), reading)
        .await
        .map_err(std::io::Error::other)??;
    if text.is_empty() {
        return Err(std::io::Error::other("no link was made; is the relay running?"));
    }
    serde_json::from_slice(&text).map_err(std::io::Error::other)
}
