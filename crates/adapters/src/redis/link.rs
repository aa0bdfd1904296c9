//! One connection for all operations, made anew when it breaks.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{Cmd, ServerError, Value};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use belay_core::ports::StoreError;

use super::{RedisError, address::Address, answer::refusal, error, script::Step, wire::Wire};

/// How long one attempt waits for a connection, and then for the answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Attempts after the first one. Every operation may be done twice.
const RETRIES: u32 = 2;
/// Between attempts, times their number: long enough for a connection to be made anew.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// One operation as a whole, however its attempts went.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
/// Operations under way at once: what a stalled server can make wait.
const IN_FLIGHT_MAX: usize = 4_096;
/// Pauses between attempts to connect: the first, and the longest.
const CONNECT_PAUSES: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));
/// A connection is not made anew sooner than this after it was made: one that breaks at once, or a server
/// that takes no writes, must not make a node connect in a loop.
const LIFE_MIN: Duration = Duration::from_millis(250);
/// One attempt to connect, also by way of three Sentinels of which two do not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Clone)]
enum State {
    /// The `life` tells connections apart.
    Ready {
        life: u64,
        wire: Wire,
    },
    Away {
        cause: String,
    },
}

/// The way to Redis.
pub(super) struct Link {
    state: watch::Receiver<State>,
    /// The newest life that was found broken.
    broken: watch::Sender<u64>,
    in_flight: Semaphore,
    commands: AtomicU64,
    /// Answers that came.
    answers: AtomicU64,
    cluster: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("commands", &self.commands).finish_non_exhaustive()
    }
}

/// How one attempt failed.
enum Failed {
    /// There was no connection: nothing was sent, and waiting on was long enough.
    Away(String),
    /// It may have been done.
    Unknown(String),
}

impl Link {
    /// Connects, and keeps connecting as long as this lives.
    ///
    /// # Errors
    /// When the first attempt fails.
    pub(super) async fn open(address: Address) -> Result<Self, RedisError> {
        let wire = open(&address).await?;
        let cluster = matches!(wire, Wire::Cluster(_));
        let (told, state) = watch::channel(State::Ready { life: 1, wire });
        let (broken, seen) = watch::channel(0);
        tokio::spawn(keep(address, told, seen));
        let in_flight = Semaphore::new(IN_FLIGHT_MAX);
        Ok(Self {
            state,
            broken,
            in_flight,
            commands: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            cluster,
        })
    }

    /// Commands sent so far.
    pub(super) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Tells whether keys lie on several servers.
    pub(super) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// Does steps in their order; an answer may be an error of the server.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after the retries: it may or may not have been done.
    pub(super) async fn run(&self, steps: &[Step]) -> Result<Vec<Value>, StoreError> {
        self.limited(steps, true).await
    }

    /// Does steps of which none waits for another.
    pub(super) async fn run_any_order(&self, steps: &[Step]) -> Result<Vec<Value>, StoreError> {
        self.limited(steps, false).await
    }

    async fn limited(&self, steps: &[Step], ordered: bool) -> Result<Vec<Value>, StoreError> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(StoreError::Unavailable("too many operations wait for Redis".to_owned()));
        };
        let all = timeout(OPERATION_TIMEOUT, self.attempts(steps, ordered));
        all.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!(
                "Redis did not answer within {OPERATION_TIMEOUT:?}"
            )))
        })
    }

    async fn attempts(&self, steps: &[Step], ordered: bool) -> Result<Vec<Value>, StoreError> {
        let mut attempt = 0;
        loop {
            let failed = match self.attempt(steps, ordered).await {
                Ok((life, answers)) => match passing(&answers) {
                    None => return Ok(answers),
                    Some(error) => {
                        if error::moved(error) {
                            self.report(life);
                        }
                        error::told(error)
                    }
                },
                Err(Failed::Away(cause)) => return Err(StoreError::Unavailable(cause)),
                Err(Failed::Unknown(cause)) => StoreError::Unavailable(cause),
            };
            attempt += 1;
            if attempt > RETRIES {
                return Err(failed);
            }
            sleep(RETRY_PAUSE * attempt).await;
        }
    }

    /// All steps once; scripts that the server does not know are sent again as texts, and only those: what
    /// the others answered would be lost.
    async fn attempt(&self, steps: &[Step], ordered: bool) -> Result<(u64, Vec<Value>), Failed> {
        let (life, wire) = self.ready().await?;
        let commands = steps.iter().map(|step| step.command(false)).collect();
        let mut answers = self.send(life, wire.clone(), commands, ordered).await?;
        let unknown: Vec<_> = (0..steps.len()).filter(|n| is_unknown(&answers[*n])).collect();
        if !unknown.is_empty() {
            let commands = unknown.iter().map(|n| steps[*n].command(true)).collect();
            let again = self.send(life, wire, commands, ordered).await?;
            for (n, answer) in unknown.into_iter().zip(again) {
                answers[n] = answer;
            }
        }
        Ok((life, answers))
    }

    async fn send(
        &self,
        life: u64,
        mut wire: Wire,
        commands: Vec<Cmd>,
        ordered: bool,
    ) -> Result<Vec<Value>, Failed> {
        let count = commands.len();
        self.commands.fetch_add(count as u64, Ordering::Relaxed);
        let before = self.answers.load(Ordering::Relaxed);
        let sent = async {
            if ordered { wire.send(commands).await } else { wire.send_any_order(commands).await }
        };
        let cause = match timeout(ATTEMPT_TIMEOUT, sent).await {
            Ok(Ok(answers)) if answers.len() == count => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                return Ok(answers);
            }
            Ok(Ok(_)) => "Redis answered something else than was asked".to_owned(),
            Ok(Err(error)) => format!("the connection to Redis broke: {error}"),
            Err(_) => {
                if self.answers.load(Ordering::Relaxed) == before {
                    self.report(life);
                }
                // Else others were answered: this one is late, and a new connection would be, too.
                return Err(Failed::Unknown(format!(
                    "Redis did not answer within {ATTEMPT_TIMEOUT:?}"
                )));
            }
        };
        self.report(life);
        Err(Failed::Unknown(cause))
    }

    /// The connection, once there is one.
    async fn ready(&self) -> Result<(u64, Wire), Failed> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| matches!(state, State::Ready { .. }));
        if let Ok(Ok(state)) = timeout(ATTEMPT_TIMEOUT, ready).await
            && let State::Ready { life, wire } = &*state
        {
            return Ok((*life, wire.clone()));
        }
        Err(Failed::Away(match &*self.state.borrow() {
            State::Away { cause } => cause.clone(),
            State::Ready { .. } => "the connection to Redis was just made".to_owned(),
        }))
    }

    /// Has the connection of this life made anew.
    fn report(&self, life: u64) {
        self.broken.send_if_modified(|newest| {
            let news = life > *newest;
            *newest = life.max(*newest);
            news
        });
    }
}

/// The first answer that may be another one in a moment.
fn passing(answers: &[Value]) -> Option<&ServerError> {
    answers.iter().filter_map(refusal).find(|error| error::passes(error))
}

/// Tells whether the server did not know a script.
fn is_unknown(answer: &Value) -> bool {
    refusal(answer).is_some_and(error::unknown_script)
}

async fn open(address: &Address) -> Result<Wire, RedisError> {
    timeout(CONNECT_TIMEOUT, Wire::open(address)).await.unwrap_or_else(|_| {
        let cause = format!("no connection within {CONNECT_TIMEOUT:?}");
        Err(RedisError::Unreachable { address: address.to_string(), cause })
    })
}

/// Makes a connection anew each time one is found broken, until nobody needs it any more.
async fn keep(address: Address, state: watch::Sender<State>, mut broken: watch::Receiver<u64>) {
    let (mut life, mut made) = (1, Instant::now());
    while broken.wait_for(|newest| *newest >= life).await.is_ok() {
        let cause = format!("the connection to Redis at {address} broke");
        state.send_replace(State::Away { cause });
        sleep_until(made + LIFE_MIN).await;
        let (mut pause, longest) = CONNECT_PAUSES;
        loop {
            match open(&address).await {
                Ok(wire) => {
                    (life, made) = (life + 1, Instant::now());
                    state.send_replace(State::Ready { life, wire });
                    break;
                }
                Err(error) => state.send_replace(State::Away { cause: error.to_string() }),
            };
            tokio::select! {
                () = state.closed() => return,
                () = sleep(pause) => pause = (pause * 2).min(longest),
            }
        }
    }
}
