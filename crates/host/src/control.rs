//! The local socket of a running host: another process of the same user asks it for a link, for its
//! devices, or to remove one.

use std::{
    io::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use belay_wire::{DeviceListed, MemberId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
};

use crate::view::{HostView, Offer, UiCommand};

/// How long the host may take to do what is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest question, in bytes.
const QUESTION_BYTES_MAX: u64 = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase")]
enum Question {
    /// A link for one more device.
    Offer,
    /// The paired devices.
    Devices,
    /// Remove a device.
    Revoke { member: MemberId },
}

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
        let answering = answer(stream, view.clone(), &commands);
        let _ = tokio::time::timeout(ANSWER_TIMEOUT + Duration::from_secs(1), answering).await;
    }
}

async fn answer(
    stream: UnixStream,
    view: watch::Receiver<HostView>,
    commands: &mpsc::Sender<UiCommand>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(QUESTION_BYTES_MAX).read_line(&mut line).await?;
    let question = serde_json::from_str(&line)?;
    let doing = tokio::time::timeout(ANSWER_TIMEOUT, carry_out(question, view, commands));
    let late = || Err("the relay did not answer in time; nothing is certain".to_owned());
    let answer = match doing.await.unwrap_or_else(|_| late()) {
        Ok(value) => json!({ "ok": value }),
        Err(text) => json!({ "error": text }),
    };
    let mut stream = stream.into_inner();
    stream.write_all(answer.to_string().as_bytes()).await?;
    stream.shutdown().await
}

async fn carry_out(
    question: Question,
    mut view: watch::Receiver<HostView>,
    commands: &mpsc::Sender<UiCommand>,
) -> Result<Value, String> {
    let ends = |_| "the desktop side is just ending".to_owned();
    if let Some(trouble) = view.borrow().relay_trouble.clone() {
        return Err(format!("the desktop side has no connection to its relay: {trouble}"));
    }
    let done = match question {
        Question::Devices => {
            let view = view.borrow();
            let (devices, used) = (view.devices.clone(), view.devices.len());
            serde_json::to_value(DeviceListed { devices, used, allowed: view.devices_allowed })
        }
        Question::Offer if view.borrow().is_full() => {
            let allowed = view.borrow().devices_allowed;
            return Err(format!(
                "{allowed} of {allowed} devices are paired; remove one first (`belay devices revoke`), \
                 or allow more at the relay with --devices-max"
            ));
        }
        Question::Offer => {
            let before = view.borrow().offer.clone();
            commands.send(UiCommand::AddDevice).await.map_err(|_| "it is ending".to_owned())?;
            let fresh = |v: &HostView| v.offer.is_some() && v.offer != before;
            let shown = view.wait_for(fresh).await.map_err(ends)?;
            serde_json::to_value(&shown.offer)
        }
        Question::Revoke { member } => {
            let revoke = UiCommand::Revoke(member);
            commands.send(revoke).await.map_err(|_| "it is ending".to_owned())?;
            let gone = |v: &HostView| v.devices.iter().all(|d| d.member != member);
            view.wait_for(gone).await.map_err(ends)?;
            serde_json::to_value(member)
        }
    };
    done.map_err(|e| e.to_string())
}

async fn ask<T: DeserializeOwned>(folder: &Path, question: Question) -> std::io::Result<T> {
    let mut stream = UnixStream::connect(path(folder)).await?;
    let line = format!("{}\n", serde_json::to_string(&question)?);
    stream.write_all(line.as_bytes()).await?;
    let mut text = Vec::new();
    let reading = stream.read_to_end(&mut text);
    tokio::time::timeout(2 * ANSWER_TIMEOUT, reading).await.map_err(Error::other)??;
    let mut answer: Value = serde_json::from_slice(&text)?;
    if let Some(error) = answer["error"].as_str() {
        return Err(Error::other(error.to_owned()));
    }
    Ok(serde_json::from_value(answer["ok"].take())?)
}

/// Asks the host that runs on this folder for a link.
///
/// # Errors
/// When none runs (`NotFound`, `ConnectionRefused`), or it gave no link in time.
pub async fn ask_for_offer(folder: &Path) -> std::io::Result<Offer> {
    ask(folder, Question::Offer).await
}

/// Asks the host that runs on this folder for its devices.
///
/// # Errors
/// When none runs (`NotFound`, `ConnectionRefused`), or it is not connected.
pub async fn ask_for_devices(folder: &Path) -> std::io::Result<DeviceListed> {
    ask(folder, Question::Devices).await
}

/// Asks the host that runs on this folder to remove a device; done when the relay has done it.
///
/// # Errors
/// When none runs, it is not connected, or the relay did not answer.
pub async fn ask_to_revoke(folder: &Path, member: MemberId) -> std::io::Result<()> {
    ask::<MemberId>(folder, Question::Revoke { member }).await.map(|_| ())
}
