//! Starts a host: identity, session, files, agents, and the desk that joins them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use belay_client::{
    Api, ApiError, Client, CredentialStore, Credentials, FileCredentials, Identity, IdentityError,
    Options,
};
use belay_wire::{CloseCode, app::CommandRequest, pair::HostInfo};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::{
    agents::{Agent, AgentEvent, acp, codex, scripted},
    control,
    desk::{Desk, Ended, Parts},
    journal::Journal,
    lines,
    requests::Requests,
    rpc::Launch,
    transcript::Transcript,
    view::{HostView, UiCommand},
};

/// Agent events that may wait for the desk.
const EVENTS_LEN: usize = 1_024;

/// Pause before a relay that could not be reached is asked again.
const RELAY_PAUSE: Duration = Duration::from_secs(2);

/// How long the agents may take to end.
const AGENTS_TIMEOUT: Duration = Duration::from_secs(4);

/// Which agent to run.
#[derive(Debug, Clone)]
pub enum AgentChoice {
    /// Codex by its native app-server.
    Codex(Launch),
    /// Any agent that speaks ACP.
    Acp(Launch),
    /// The built-in demo.
    Scripted,
}

/// How to run a host.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Address of the relay.
    pub relay: String,
    /// Address under which phones reach it.
    pub link: String,
    /// Where identity, credentials, transcript and journal live.
    pub folder: PathBuf,
    /// Name that phones show.
    pub name: String,
    /// Folders in which threads may be started.
    pub folders: Vec<PathBuf>,
    pub agents: Vec<AgentChoice>,
    /// What a person should read first, for example how to install an agent.
    pub notes: Vec<String>,
    /// What a person must know about the link before sharing it.
    pub warning: Option<String>,
    /// What the process that runs this host tells its person meanwhile.
    pub news: watch::Receiver<String>,
}

/// Why a host ended.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The keys cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The relay refused, or its address is none.
    #[error(transparent)]
    Relay(#[from] ApiError),
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: std::io::Error },
    /// A folder for threads is missing.
    #[error("--folder {0}: there is no such folder")]
    NoFolder(PathBuf),
    /// The relay refused this host for good.
    #[error("the relay refused this desktop ({code} {reason}); {hint}")]
    Refused { code: u16, reason: String, hint: &'static str },
    /// Another host runs on the same folder.
    #[error("another belay host uses {0}; stop it, or choose another folder with --data-dir")]
    InUse(PathBuf),
}

impl HostOptions {
    /// Tells of a missing folder before anything is made or started.
    ///
    /// # Errors
    /// [`HostError::NoFolder`].
    pub fn check_folders(&self) -> Result<(), HostError> {
        canonical(&self.folders).map(|_| ())
    }

    /// Tells of a relay whose address is none before anything is made or started.
    ///
    /// # Errors
    /// [`HostError::Relay`].
    pub fn check_relay(&self) -> Result<(), HostError> {
        Ok(Api::new(&self.relay).map(|_| ())?)
    }
}

/// Runs a host until a person quits at the terminal or the relay refuses it.
///
/// # Errors
/// [`HostError`].
pub async fn run(
    options: HostOptions,
    view: watch::Sender<HostView>,
    commands: mpsc::Sender<UiCommand>,
    mut ui: mpsc::Receiver<UiCommand>,
) -> Result<(), HostError> {
    let folder = options.folder.clone();
    let file = |path: &Path, cause| HostError::File { path: path.to_owned(), cause };
    lines::private_folder(&folder).map_err(|e| file(&folder, e))?;
    let _lock = lock_patiently(&folder).await?;
    let control = control::serve(folder.clone(), view.subscribe(), commands);
    let _control = AbortOnDrop(tokio::spawn(async move {
        if let Err(error) = control.await {
            tracing::warn!(%error, "other processes cannot ask for a link");
        }
    }));
    let folders = canonical(&options.folders)?;
    let identity = Identity::open(&folder.join("identity"))?;
    let credentials: Arc<dyn CredentialStore> =
        Arc::new(FileCredentials::new(&folder.join("session.json")));
    let api = Api::new(&options.relay)?;
    loop {
        let made = tokio::select! {
            made = ensure_session(&options, &api, &identity, &*credentials, &view) => made,
            () = quit(&mut ui) => return Ok(()),
        };
        made?;
        let threads = folder.join("threads");
        let (transcript, kept) = Transcript::open(&threads).map_err(|e| file(&threads, e))?;
        let path = folder.join("journal.jsonl");
        let (journal, unknown) = Journal::open(&path).map_err(|e| file(&path, e))?;
        let processes = TaskTracker::new();
        let (agents, events) = start_agents(&options.agents, &processes);
        let (client, relay) = Client::start(Options {
            credentials: credentials.clone(),
            identity: identity.clone(),
            name: "belay-host".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let parts = Parts {
            link: options.link.clone(),
            host_name: options.name.clone(),
            client,
            api: api.clone(),
            identity: identity.clone(),
            credentials: credentials.clone(),
            transcript,
            requests: Requests::restore(kept),
            journal,
            unknown: settle_reads(unknown),
            folders: folders.clone(),
            agents,
            notes: options.notes.clone(),
            warning: options.warning.clone(),
            news: options.news.clone(),
            view: view.clone(),
        };
        let ended = Desk::run(parts, relay, events, &mut ui).await;
        // Agents that do not end by themselves are stopped; none outlives this host.
        processes.close();
        let _ = tokio::time::timeout(AGENTS_TIMEOUT, processes.wait()).await;
        match ended {
            Ended::Quit => return Ok(()),
            Ended::Refused { code, reason } => {
                if code != CloseCode::UnknownDevice.code() {
                    let hint = "if its data was copied to another machine, remove session.json \
                                there or here and pair again";
                    return Err(HostError::Refused { code, reason, hint });
                }
                tracing::warn!("the relay lost this session; making a new one, pair again");
                let path = folder.join("session.json");
                std::fs::remove_file(&path).map_err(|e| file(&path, e))?;
            }
        }
    }
}

/// Only commands with an effect are ever unknown.
fn settle_reads(
    unknown: Vec<(belay_wire::MemberId, CommandRequest)>,
) -> Vec<(belay_wire::MemberId, CommandRequest)> {
    unknown.into_iter().filter(|(_, request)| !request.command.is_read()).collect()
}

/// Ends when the person wants to stop.
async fn quit(ui: &mut mpsc::Receiver<UiCommand>) {
    while !matches!(ui.recv().await, Some(UiCommand::Quit) | None) {}
}

/// Uses the session of a former run, or makes one as soon as the relay can be reached.
async fn ensure_session(
    options: &HostOptions,
    api: &Api,
    identity: &Identity,
    store: &dyn CredentialStore,
    view: &watch::Sender<HostView>,
) -> Result<(), HostError> {
    let path = options.folder.join("session.json");
    let file = |cause| HostError::File { path: path.clone(), cause };
    let credentials = if let Some(credentials) = store.load().map_err(file)? {
        Credentials { relay: options.relay.clone(), ..credentials }
    } else {
        let host = HostInfo {
            name: options.name.clone(),
            platform: std::env::consts::OS.to_owned(),
            public_key: identity.public(),
        };
        let created = loop {
            match api.create_session(host.clone()).await {
                Err(ApiError::Network { cause, .. }) => view.send_modify(|shown| {
                    shown.relay.clone_from(&options.link);
                    shown.relay_trouble = Some(cause);
                }),
                made => break made?,
            }
            tokio::time::sleep(RELAY_PAUSE).await;
        };
        Credentials {
            relay: options.relay.clone(),
            session: created.session,
            member: None,
            token: created.host_token,
        }
    };
    store.save(&credentials).map_err(file)
}

fn canonical(folders: &[PathBuf]) -> Result<Vec<PathBuf>, HostError> {
    let one = |folder: &PathBuf| {
        let found = folder.canonicalize().ok().filter(|f| f.is_dir());
        found.ok_or_else(|| HostError::NoFolder(folder.clone()))
    };
    folders.iter().map(one).collect()
}

/// How long a start waits for a host that is just ending.
const PATIENCE: Duration = Duration::from_secs(6);

async fn lock_patiently(folder: &Path) -> Result<std::fs::File, HostError> {
    let started = tokio::time::Instant::now();
    loop {
        match lock(folder) {
            Err(HostError::InUse(_)) if started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
}

fn lock(folder: &Path) -> Result<std::fs::File, HostError> {
    let path = folder.join("lock");
    let failed = |cause| HostError::File { path: path.clone(), cause };
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(HostError::InUse(folder.to_owned())),
        Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
    }
}

fn start_agents(
    choices: &[AgentChoice],
    processes: &TaskTracker,
) -> (Vec<Agent>, mpsc::Receiver<(usize, AgentEvent)>) {
    let (joined, events) = mpsc::channel(EVENTS_LEN);
    let mut agents = Vec::new();
    for (at, choice) in choices.iter().enumerate() {
        let (agent, mut told) = match choice {
            AgentChoice::Codex(launch) => codex::start(launch.clone(), processes),
            AgentChoice::Acp(launch) => acp::start(launch.clone(), processes),
            AgentChoice::Scripted => scripted::start(),
        };
        agents.push(agent);
        let joined = joined.clone();
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                if joined.send((at, event)).await.is_err() {
                    return;
                }
            }
        });
    }
    (agents, events)
}

/// Random bytes of the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// Ends a task with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
