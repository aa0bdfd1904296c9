//! Connections: one to a server that takes writes, or one to each master of a cluster.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisResult, ServerError,
    Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cmd, pipe,
};
use tokio::time::timeout;

use super::{RedisError, address::Address};

/// Connecting and logging in at one place.
const PLACE_TIMEOUT: Duration = Duration::from_millis(900);
/// Commands that wait for the socket before more callers have to.
const SOCKET_QUEUE: usize = 1_024;

/// A connection that all operations share.
#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Wire {
    /// Connects to where writes are taken.
    ///
    /// # Errors
    /// [`RedisError`], with the places that were tried.
    pub(super) async fn open(address: &Address) -> Result<Self, RedisError> {
        match address {
            Address::Server(place) => Ok(Self::One(open(place).await?)),
            Address::Sentinels { name, places } => Ok(Self::One(open_master(name, places).await?)),
            Address::Cluster(places) => {
                let unreachable =
                    |cause: String| RedisError::Unreachable { address: address.to_string(), cause };
                let client = ClusterClient::new(places.clone())
                    .map_err(|cause| unreachable(cause.to_string()))?;
                let opening = timeout(PLACE_TIMEOUT, client.get_async_connection()).await;
                let opened = opening.map_err(|_| unreachable(NO_ANSWER.to_owned()))?;
                Ok(Self::Cluster(opened.map_err(|cause| unreachable(cause.to_string()))?))
            }
        }
    }

    /// Sends commands in their order, on one server in one go. Errors of the server are among the answers.
    ///
    /// # Errors
    /// When the connection broke; what was sent may have been done.
    pub(super) async fn send(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        match self {
            Self::One(connection) => {
                let count = commands.len();
                let mut pipeline = pipe();
                for command in commands {
                    pipeline.add_command(command);
                }
                connection.req_packed_commands(&pipeline, 0, count).await
            }
            Self::Cluster(connection) => {
                let mut answers = Vec::with_capacity(commands.len());
                for command in commands {
                    answers.push(answered(connection.req_packed_command(&command).await)?);
                }
                Ok(answers)
            }
        }
    }

    /// Sends commands of which none waits for another.
    pub(super) async fn send_any_order(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        let Self::Cluster(connection) = self else { return self.send(commands).await };
        let all = commands.into_iter().map(|command| {
            let mut connection = connection.clone();
            async move { answered(connection.req_packed_command(&command).await) }
        });
        join_all(all).await.into_iter().collect()
    }
}

/// Errors of the server are answers here as they are in a pipeline.
fn answered(result: RedisResult<Value>) -> RedisResult<Value> {
    result.or_else(|error| ServerError::try_from(error).map(Value::ServerError))
}

const NO_ANSWER: &str = "no answer in time";

async fn open(place: &ConnectionInfo) -> Result<MultiplexedConnection, RedisError> {
    let address = place.addr().to_string();
    let unreachable = |cause: String| RedisError::Unreachable { address: address.clone(), cause };
    let client = Client::open(place.clone()).map_err(|cause| unreachable(cause.to_string()))?;
    // Time is limited by whoever waits, so that one number says how long that is.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(SOCKET_QUEUE);
    let opening = client.get_multiplexed_async_connection_with_config(&config);
    let opened = timeout(PLACE_TIMEOUT, opening).await;
    let opened = opened.map_err(|_| unreachable(NO_ANSWER.to_owned()))?;
    opened.map_err(|cause| {
        let refused = cause.kind() == redis::ErrorKind::AuthenticationFailed
            || matches!(cause.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        let text = cause.to_string();
        if refused {
            return RedisError::Refused { address: address.clone(), cause: text };
        }
        unreachable(text)
    })
}

/// Asks the Sentinels in turn where the master is, and makes sure that it is one.
async fn open_master(
    name: &str,
    sentinels: &[ConnectionInfo],
) -> Result<MultiplexedConnection, RedisError> {
    let mut last = None;
    for sentinel in sentinels {
        match open_master_of(name, sentinel).await {
            Ok(connection) => return Ok(connection),
            // That nobody was let in says more than that another one is away.
            Err(error) if !matches!(last, Some(RedisError::Refused { .. })) => last = Some(error),
            Err(_) => {}
        }
    }
    Err(last.unwrap_or_else(|| RedisError::Address("it names no Sentinel".to_owned())))
}

async fn open_master_of(
    name: &str,
    sentinel: &ConnectionInfo,
) -> Result<MultiplexedConnection, RedisError> {
    let (host, port) = ask(name, sentinel).await?;
    let addr = if let ConnectionAddr::TcpTls { tls_params, .. } = sentinel.addr() {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: tls_params.clone() }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let place = sentinel.clone().set_addr(addr);
    let mut connection = open(&place).await?;
    let role = timeout(PLACE_TIMEOUT, cmd("ROLE").query_async::<Vec<Value>>(&mut connection)).await;
    let is_master = match role {
        Ok(Ok(role)) => {
            matches!(role.first(), Some(Value::BulkString(role)) if role == b"master")
        }
        Ok(Err(error)) if error.code() == Some("NOAUTH") => {
            let (address, cause) = (place.addr().to_string(), error.to_string());
            return Err(RedisError::Refused { address, cause });
        }
        // Not every user may ask; a write to a replica is refused anyway.
        Ok(Err(error)) => error.code() == Some("NOPERM"),
        Err(_) => false,
    };
    if !is_master {
        return Err(RedisError::Unreachable {
            address: place.addr().to_string(),
            cause: "it is no master yet; the Sentinels have not chosen one".to_owned(),
        });
    }
    Ok(connection)
}

/// Where this Sentinel sees the master. A Sentinel often has no password, so it is asked without one first.
async fn ask(name: &str, sentinel: &ConnectionInfo) -> Result<(String, u16), RedisError> {
    let plain = sentinel.clone().set_redis_settings(redis::RedisConnectionInfo::default());
    let login = sentinel.redis_settings().clone().set_db(0);
    let with_login = sentinel.clone().set_redis_settings(login);
    let mut answer = ask_as(name, &plain).await;
    if matches!(answer, Err(RedisError::Refused { .. })) {
        answer = ask_as(name, &with_login).await;
    }
    answer
}

async fn ask_as(name: &str, sentinel: &ConnectionInfo) -> Result<(String, u16), RedisError> {
    let mut connection = open(sentinel).await?;
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let asked = question.query_async::<Option<(String, u16)>>(&mut connection);
    let address = || sentinel.addr().to_string();
    let cause = match timeout(PLACE_TIMEOUT, asked).await {
        Ok(Ok(Some(place))) => return Ok(place),
        Ok(Ok(None)) => format!("this Sentinel knows no master \"{name}\""),
        Ok(Err(error)) if matches!(error.code(), Some("NOAUTH" | "NOPERM")) => {
            return Err(RedisError::Refused { address: address(), cause: error.to_string() });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => NO_ANSWER.to_owned(),
    };
    Err(RedisError::Unreachable { address: address(), cause })
}
