//! What goes wrong with Redis, in words.

use belay_core::ports::StoreError;
use redis::ServerError;

use super::record::FORMAT;

/// Why there is no connection to Redis. No text of it holds a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedisError {
    /// The address cannot be read.
    #[error(
        "the address of Redis cannot be used: {0}; expected redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// \
         for TLS, or redis+sentinel://HOST,HOST/MASTER"
    )]
    Address(String),
    /// The prefix of keys cannot be used.
    #[error(
        "\"{0}\" cannot be the prefix of keys: use 1 to 64 letters, digits and any of \"._:-\""
    )]
    Prefix(String),
    /// Nobody answers there.
    #[error(
        "Redis at {address} cannot be reached: {cause}; check that it runs and that --store names it"
    )]
    Unreachable { address: String, cause: String },
    /// It answers, and does not let us in.
    #[error(
        "Redis at {address} refused the user or password of its address: {cause}; check both in the URL of --store"
    )]
    Refused { address: String, cause: String },
    /// It is older than what is needed.
    #[error("Redis at {address} is version {found}; 6.2 or later is needed")]
    TooOld { address: String, found: String },
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What an error of the server means for who asked.
pub(super) fn told(error: &ServerError) -> StoreError {
    let detail = error.details().unwrap_or_default();
    let code = code(error);
    match code {
        "WRONGTYPE" => StoreError::Damaged(format!(
            "something else was written at one of this relay's keys in Redis ({detail})"
        )),
        "DAMAGED" => StoreError::Damaged(detail.to_owned()),
        "NEWER" => StoreError::Newer {
            found: detail.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0),
            known: FORMAT,
        },
        "OOM" => StoreError::Unavailable(
            "Redis is out of memory (its maxmemory is reached), so it takes no writes; give it more"
                .to_owned(),
        ),
        "READONLY" => {
            StoreError::Unavailable("this Redis is a replica now and takes no writes".to_owned())
        }
        "LOADING" => StoreError::Unavailable("Redis is reading its data after a start".to_owned()),
        "MISCONF" => StoreError::Unavailable(format!("Redis cannot write to its disk: {detail}")),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => {
            StoreError::Unavailable(format!("Redis does not allow this: {detail}"))
        }
        code => StoreError::Unavailable(format!("Redis answered {code}: {detail}")),
    }
}

/// The code of an error. Redis before 7 wraps those of commands inside a script.
fn code(error: &ServerError) -> &str {
    let inside = ["WRONGTYPE", "OOM", "READONLY", "MISCONF"];
    let detail = error.details().unwrap_or_default();
    match error.code() {
        "ERR" if detail.starts_with("Error running script") => {
            inside.into_iter().find(|code| detail.contains(code)).unwrap_or("ERR")
        }
        code => code,
    }
}

/// Tells whether it may go well in a moment, here or at another server.
pub(super) fn passes(error: &ServerError) -> bool {
    matches!(
        code(error),
        "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK"
    )
}

/// Tells whether another server has to be found.
pub(super) fn moved(error: &ServerError) -> bool {
    matches!(code(error), "READONLY" | "MASTERDOWN")
}

/// Tells whether the server does not know a script.
pub(super) fn unknown_script(error: &ServerError) -> bool {
    error.code() == "NOSCRIPT"
}
