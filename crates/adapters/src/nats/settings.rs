//! Settings of streams.

use serde_json::{Value, json};

use super::{
    names::{Names, Place, Way},
    options::{NatsError, NatsOptions},
};

/// Under which a stream remembers for how many shards it was made.
const SHARDS: &str = "belay_shards";

/// The settings of a stream as they should be.
pub(super) fn wanted(
    options: &NatsOptions,
    names: &Names,
    place: Place,
    incarnation: u64,
) -> Value {
    let limits = options.limits;
    let entries = match place.way {
        Way::Down => limits.down_entries,
        Way::Up => limits.up_entries,
    };
    let bytes = limits.stream_bytes.and_then(|bytes| i64::try_from(bytes).ok());
    let subjects = names.subjects(place);
    json!({
        "name": names.stream(place, incarnation),
        "subjects": [subjects],
        "retention": "limits",
        "storage": "file",
        "num_replicas": options.replicas,
        "discard": "new",
        "discard_new_per_subject": place.way == Way::Up,
        "max_msgs_per_subject": entries,
        "max_msgs": -1,
        "max_bytes": bytes.unwrap_or(-1),
        "max_msg_size": -1,
        "max_age": 0,
        "max_consumers": -1,
        "allow_direct": true,
        "republish": { "src": subjects, "dest": names.told(place) },
        "metadata": { SHARDS: options.shards.to_string() },
    })
}

/// Tells whether a stream was made for as many shards as are wanted.
pub(super) fn check_shards(options: &NatsOptions, found: &Value) -> Result<(), NatsError> {
    let wanted = options.shards;
    match found["metadata"][SHARDS].as_str() {
        Some(found) if found != wanted.to_string() => {
            let (prefix, found) = (options.prefix.clone(), found.to_owned());
            Err(NatsError::Shards { prefix, found, wanted })
        }
        _ => Ok(()),
    }
}

/// The settings that are not as they are wanted, as text.
pub(super) fn drift(wanted: &Value, found: &Value) -> String {
    let Some(wanted) = wanted.as_object() else { return String::new() };
    let absent = |v: &Value| v.is_null() || v == &json!(false) || v == &json!(0);
    let mut differ = Vec::new();
    for (key, want) in wanted.iter().filter(|(key, _)| *key != "metadata") {
        let have = &found[key];
        // The broker leaves out what has its zero value.
        if have != want && !(absent(have) && absent(want)) {
            differ.push(format!("{key} is {have}, not {want}"));
        }
    }
    differ.join("; ")
}
