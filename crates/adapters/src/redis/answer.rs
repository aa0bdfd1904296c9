//! Reading answers.

use belay_core::ports::StoreError;
use redis::{FromRedisValue, Value, from_redis_value};

use super::error;

/// Takes an answer as what it should be.
///
/// # Errors
/// What the server said, or [`StoreError::Damaged`] if it is something else.
pub(super) fn read<T: FromRedisValue>(answer: Value) -> Result<T, StoreError> {
    if let Value::ServerError(error) = &answer {
        return Err(error::told(error));
    }
    from_redis_value(answer).map_err(|error| {
        StoreError::Damaged(format!("Redis keeps something else than was expected: {error}"))
    })
}

/// Takes the only answer.
pub(super) fn only<T: FromRedisValue>(answers: Vec<Value>) -> Result<T, StoreError> {
    read(answers.into_iter().next_back().unwrap_or(Value::Nil))
}

/// Makes sure that none of these answers is an error.
pub(super) fn all_well(answers: &[Value]) -> Result<(), StoreError> {
    let failed = answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error::told(error)),
        _ => None,
    });
    failed.map_or(Ok(()), Err)
}
