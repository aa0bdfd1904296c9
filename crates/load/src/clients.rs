//! A process of clients: orders come as lines of JSON, each is answered by what is counted so far.

use std::{
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::crowd::{Count, Crowd, Setup};

/// How long a process of clients may take to answer: it may be behind with its sockets.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is asked while something is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// What a process is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Nothing: it tells what is counted.
    Look,
    /// So many of a hundred pairs send a message each so many milliseconds.
    Talk { every_ms: u64, share: u64 },
    /// Nobody sends.
    Quiet,
    /// All sockets are cut, and come back.
    Cut,
}

/// Runs in the process of clients until its input ends.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let setup = lines.next_line().await?.context("no setup")?;
    let crowd = Crowd::start(&serde_json::from_str::<Setup>(&setup)?)?;
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Order::Look => {}
            Order::Talk { every_ms, share } => crowd.order(|orders| {
                orders.every = Some(Duration::from_millis(every_ms));
                orders.share = share;
            }),
            Order::Quiet => crowd.order(|orders| orders.every = None),
            Order::Cut => crowd.order(|orders| orders.cut += 1),
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&crowd.counted())?)?;
        out.flush()?;
    }
    Ok(())
}

/// All processes of clients, as whoever started them sees them.
pub(crate) struct Clients {
    processes: Vec<Process>,
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    /// Starts a process for each setup; they connect at once.
    pub(crate) async fn start(setups: &[Setup]) -> anyhow::Result<Self> {
        let mut processes = Vec::new();
        for setup in setups {
            let mut child = Command::new(std::env::current_exe()?)
                .arg("clients")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .context("clients")?;
            let mut input = child.stdin.take().context("a pipe")?;
            let output = BufReader::new(child.stdout.take().context("a pipe")?).lines();
            input.write_all(format!("{}\n", serde_json::to_string(setup)?).as_bytes()).await?;
            processes.push(Process { child, input, output });
        }
        Ok(Self { processes })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().filter_map(|process| process.child.id()).collect()
    }

    /// Gives an order to all of them; answers what all have counted.
    pub(crate) async fn order(&mut self, order: Order) -> anyhow::Result<Count> {
        let line = format!("{}\n", serde_json::to_string(&order)?);
        for process in &mut self.processes {
            process.input.write_all(line.as_bytes()).await?;
        }
        let mut all = Count::default();
        for process in &mut self.processes {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, process.output.next_line()).await;
            let Some(line) = answer.context("clients do not answer")?? else {
                bail!("a process of clients ended");
            };
            all.add(&serde_json::from_str(&line)?);
        }
        Ok(all)
    }

    /// Waits until what is counted is as it should be, at most for some time; answers what it is then, and
    /// how long it took.
    pub(crate) async fn until(
        &mut self,
        most: Duration,
        is_so: impl Fn(&Count) -> bool,
    ) -> anyhow::Result<(Count, Duration)> {
        let began = Instant::now();
        loop {
            let count = self.order(Order::Look).await?;
            if is_so(&count) || began.elapsed() > most {
                return Ok((count, began.elapsed()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
