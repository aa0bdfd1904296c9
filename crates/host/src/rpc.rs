//! JSON-RPC over the pipes of a child process, one object per line: the wire of `codex app-server`
//! (without the `jsonrpc` member) and of ACP (with it).

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    task::TaskTracker,
};

/// Longest line of an agent, in bytes; one that babbles beyond it is stopped.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Lines of error output that are told when an agent ends.
const LAST_WORDS: usize = 3;
/// Lines to and from the agent that may wait.
const QUEUE_LEN: usize = 1_024;
/// How long an agent may take to end after its input was closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How to start an agent.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Send the `jsonrpc` member.
    pub with_version: bool,
}

/// Why a call has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RpcError {
    /// The agent refused.
    #[error("{message}")]
    Refused { code: i64, message: String },
    /// The agent ended before it answered: whether it did anything is unknown.
    #[error("the agent ended before it answered")]
    Died,
}

/// What an agent says by itself.
#[derive(Debug)]
pub(crate) enum Incoming {
    Notification {
        method: String,
        params: Value,
    },
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    /// The answer to a call that [`Rpc::begin`] made, in its place among what the agent says.
    Answer {
        id: u64,
        result: Result<Value, RpcError>,
    },
    /// The process ended, or said something that is not this protocol.
    Ended {
        reason: String,
    },
}

/// Calls without an answer; one that waits for none to be sent to it gets it as [`Incoming::Answer`].
type Pending = Arc<Mutex<HashMap<u64, Option<oneshot::Sender<Result<Value, RpcError>>>>>>;

/// A running agent process.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    lines: mpsc::Sender<String>,
    pending: Pending,
    next: Arc<AtomicU64>,
    with_version: bool,
    /// Process id.
    pub(crate) pid: Option<u32>,
}

impl Rpc {
    /// Starts the process; what it says comes out of the receiver, an `Ended` last.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn start(
        launch: &Launch,
        processes: &TaskTracker,
    ) -> std::io::Result<(Self, mpsc::Receiver<Incoming>)> {
        let mut child = Command::new(&launch.program)
            .args(&launch.args)
            .envs(launch.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What it starts is stopped with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || std::io::Error::other("no pipe to the agent");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let pid = child.id();
        let (lines, queue) = mpsc::channel(QUEUE_LEN);
        let (events, incoming) = mpsc::channel(QUEUE_LEN);
        let pending = Pending::default();
        tokio::spawn(write(stdin, queue));
        let said = LastWords::default();
        processes.spawn(listen(stderr, said.clone()));
        processes.spawn(read(child, stdout, said, pending.clone(), events));
        let next = Arc::new(AtomicU64::new(1));
        let with_version = launch.with_version;
        Ok((Self { lines, pending, next, with_version, pid }, incoming))
    }

    /// Calls a method and waits for its result, however long it takes.
    ///
    /// # Errors
    /// [`RpcError`].
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.pending.lock().insert(id, Some(sender));
        let sent = self.send(json!({ "id": id, "method": method, "params": params })).await;
        if sent.is_err() {
            self.pending.lock().remove(&id);
            return Err(RpcError::Died);
        }
        receiver.await.unwrap_or(Err(RpcError::Died))
    }

    /// Calls a method whose result comes as [`Incoming::Answer`], if the process lives until then.
    ///
    /// # Errors
    /// [`RpcError::Died`].
    pub(crate) async fn begin(&self, method: &str, params: Value) -> Result<u64, RpcError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.pending.lock().insert(id, None);
        self.send(json!({ "id": id, "method": method, "params": params })).await?;
        Ok(id)
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// [`RpcError::Died`].
    pub(crate) async fn notify(&self, method: &str, params: Value) -> Result<(), RpcError> {
        self.send(json!({ "method": method, "params": params })).await
    }

    /// Answers a request of the agent.
    ///
    /// # Errors
    /// [`RpcError::Died`].
    pub(crate) async fn answer(&self, id: Value, result: Value) -> Result<(), RpcError> {
        self.send(json!({ "id": id, "result": result })).await
    }

    /// Refuses a request of the agent.
    ///
    /// # Errors
    /// [`RpcError::Died`].
    pub(crate) async fn refuse(&self, id: Value, code: i64, message: &str) -> Result<(), RpcError> {
        self.send(json!({ "id": id, "error": { "code": code, "message": message } })).await
    }

    async fn send(&self, mut message: Value) -> Result<(), RpcError> {
        if self.with_version
            && let Some(object) = message.as_object_mut()
        {
            object.insert("jsonrpc".to_owned(), "2.0".into());
        }
        self.lines.send(message.to_string()).await.map_err(|_| RpcError::Died)
    }
}

async fn write(mut stdin: ChildStdin, mut queue: mpsc::Receiver<String>) {
    while let Some(mut line) = queue.recv().await {
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// The last lines that an agent wrote to its error output: they often say why it ended.
type LastWords = Arc<Mutex<VecDeque<String>>>;

async fn listen(stderr: ChildStderr, said: LastWords) {
    let mut lines = FramedRead::new(stderr, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    while let Some(Ok(line)) = lines.next().await {
        let line: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
        if !line.trim().is_empty() {
            let mut said = said.lock();
            said.push_back(line);
            if said.len() > LAST_WORDS {
                said.pop_front();
            }
        }
    }
}

/// Ends a process and what it started.
async fn stop(child: &mut Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill().await;
}

async fn read(
    mut child: Child,
    stdout: ChildStdout,
    said: LastWords,
    pending: Pending,
    events: mpsc::Sender<Incoming>,
) {
    let mut lines = FramedRead::new(stdout, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    let reason = loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = events.closed() => break "it is no longer needed".to_owned(),
        };
        match line {
            Some(Ok(line)) => {
                if !take_line(&line, &pending, &events).await {
                    break "it is no longer needed".to_owned();
                }
            }
            Some(Err(e)) => break format!("it said something that is not its protocol: {e}"),
            None => break "its output ended".to_owned(),
        }
    };
    let status = if let Ok(Ok(status)) = tokio::time::timeout(EXIT_TIMEOUT, child.wait()).await {
        format!("{reason} ({status})")
    } else {
        stop(&mut child).await;
        format!("{reason} (killed)")
    };
    let words = said.lock().iter().cloned().collect::<Vec<_>>().join(" / ");
    let status = if words.is_empty() { status } else { format!("{status}; it said: {words}") };
    for (_, waiting) in pending.lock().drain() {
        let _ = waiting.map(|waiting| waiting.send(Err(RpcError::Died)));
    }
    let _ = events.send(Incoming::Ended { reason: status }).await;
}

/// Takes one line; `false` when nobody listens any more. Lines that are not JSON objects are noise
/// that some agents print, and are skipped.
async fn take_line(line: &str, pending: &Pending, events: &mpsc::Sender<Incoming>) -> bool {
    let Ok(Value::Object(mut message)) = serde_json::from_str(line) else {
        tracing::debug!(len = line.len(), "an agent printed a line that is not JSON");
        return true;
    };
    let method = message.get("method").and_then(Value::as_str).map(str::to_owned);
    let params = message.remove("params").unwrap_or(Value::Null);
    let incoming = match (message.remove("id"), method) {
        (Some(id), Some(method)) => Incoming::Request { id, method, params },
        (None, Some(method)) => Incoming::Notification { method, params },
        (Some(id), None) => match settle(id.as_u64(), message, pending) {
            Some(answer) => answer,
            None => return true,
        },
        (None, None) => return true,
    };
    events.send(incoming).await.is_ok()
}

/// Gives a result to its call; back comes the one that is to be told in its place.
fn settle(id: Option<u64>, mut message: Map<String, Value>, pending: &Pending) -> Option<Incoming> {
    let id = id?;
    let waiting = pending.lock().remove(&id)?;
    let result = match message.remove("error") {
        Some(error) => Err(RpcError::Refused {
            code: error["code"].as_i64().unwrap_or_default(),
            message: describe(&error),
        }),
        None => Ok(message.remove("result").unwrap_or(Value::Null)),
    };
    let Some(waiting) = waiting else { return Some(Incoming::Answer { id, result }) };
    let _ = waiting.send(result);
    None
}

fn describe(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("the agent gave no reason");
    message.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Launch {
        Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: Vec::new(),
            with_version: false,
        }
    }

    async fn end(incoming: &mut mpsc::Receiver<Incoming>) -> String {
        let waiting = async {
            loop {
                match incoming.recv().await {
                    Some(Incoming::Ended { reason }) => return reason,
                    Some(_) => {}
                    None => panic!("an end is always told"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("in time")
    }

    #[tokio::test]
    async fn a_call_to_an_agent_that_dies_is_unknown_not_failed() {
        let (rpc, mut incoming) =
            Rpc::start(&shell("read line; exit 3"), &TaskTracker::new()).expect("started");

        let result = rpc.call("turn/start", json!({})).await;

        assert!(matches!(result, Err(RpcError::Died)), "{result:?}");
        assert!(end(&mut incoming).await.contains("exit status: 3"));
    }

    #[tokio::test]
    async fn an_agent_that_babbles_is_stopped() {
        let script = "head -c 80000000 /dev/zero | tr '\\0' x; sleep 60";
        let (_rpc, mut incoming) =
            Rpc::start(&shell(script), &TaskTracker::new()).expect("started");

        let reason = end(&mut incoming).await;

        assert!(reason.contains("not its protocol"), "{reason}");
    }

    #[tokio::test]
    async fn noise_between_the_lines_is_skipped_and_id_zero_is_an_id() {
        let script = "echo noise; echo '[1]'; echo '{\"id\":0,\"method\":\"ask\",\"params\":{}}'; \
                      read line; echo \"{\\\"method\\\":\\\"heard\\\",\\\"params\\\":$line}\"";
        let (rpc, mut incoming) = Rpc::start(&shell(script), &TaskTracker::new()).expect("started");

        let Some(Incoming::Request { id, .. }) = incoming.recv().await else { panic!("a request") };
        assert_eq!(id, json!(0));
        rpc.answer(id, json!("yes")).await.expect("sent");

        let Some(Incoming::Notification { params, .. }) = incoming.recv().await else {
            panic!("what it heard")
        };
        assert_eq!(params, json!({ "id": 0, "result": "yes" }));
    }
}
