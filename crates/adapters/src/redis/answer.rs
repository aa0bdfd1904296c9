//! Reading answers.

use belay_core::ports::StoreError;
use redis::{FromRedisValue, ServerError, Value, from_redis_value};

use super::error;

/// The error that an answer is, if it is one.
pub(super) fn refusal(answer: &Value) -> Option<&ServerError> {
    if let Value::ServerError(error) = answer { Some(error) } else { None }
}

/// Takes an answer as what it should be.
///
/// # Errors
/// What the server said, or [`StoreError::Damaged`] if it is something else.
pub(super) fn read<T: FromRedisValue>(answer: Value) -> Result<T, StoreError> {
    if let Some(error) = refusal(&answer) {
        return Err(error::told(error));
    }
    // The error would quote the answer, which may be a record.
    from_redis_value(answer)
        .map_err(|_| StoreError::Damaged("Redis keeps something else than was expected".to_owned()))
}

/// Takes the only answer.
pub(super) fn only<T: FromRedisValue>(answers: Vec<Value>) -> Result<T, StoreError> {
    read(answers.into_iter().next_back().unwrap_or(Value::Nil))
}

/// Makes sure that none of these answers is an error.
pub(super) fn all_well(answers: &[Value]) -> Result<(), StoreError> {
    let failed = answers.iter().find_map(refusal).map(error::told);
    failed.map_or(Ok(()), Err)
}
