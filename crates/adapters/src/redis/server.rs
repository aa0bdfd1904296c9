//! What a server is like, looked at once when a node connects.

use std::collections::BTreeMap;

use redis::{Value, from_redis_value_ref};

use super::{
    RedisError,
    answer::{only, refusal},
    link::Link,
    script::Step,
};

/// The oldest version that has all that is used here.
const OLDEST: (u32, u32) = (6, 2);

/// Refuses a server that is too old; answers notes for the operator.
///
/// # Errors
/// [`RedisError::TooOld`], and [`RedisError::Refused`] if no command is allowed at all.
pub(super) async fn look(link: &Link, address: &str) -> Result<Vec<String>, RedisError> {
    let mut notes = Vec::new();
    let info = info(link).await;
    let version = info.get("redis_version").map(String::as_str);
    match version.map(|version| (version, parse(version))) {
        Some((found, Some(known))) if known < OLDEST => {
            return Err(RedisError::TooOld {
                address: address.to_owned(),
                found: found.to_owned(),
            });
        }
        Some((_, Some(_))) => {}
        _ => {
            // A server that lets nobody in says so to every command.
            if let Some(cause) = refused(link).await {
                return Err(RedisError::Refused { address: address.to_owned(), cause });
            }
            notes.push(format!(
                "Redis at {address} does not tell its version and what it keeps (allow its user INFO): \
                 make sure that it is 6.2 or later and that it persists"
            ));
            return Ok(notes);
        }
    }
    if !persists(link, &info).await {
        notes.push(format!(
            "Redis at {address} keeps nothing on disk: after a restart of it all sessions are gone and \
             their devices must pair again; set appendonly yes"
        ));
    }
    let policy = info.get("maxmemory_policy").map_or("noeviction", String::as_str);
    if policy != "noeviction" {
        notes.push(format!(
            "Redis at {address} drops keys when its memory is full (maxmemory-policy {policy}): sessions \
             would vanish and their devices must pair again; set maxmemory-policy noeviction"
        ));
    }
    Ok(notes)
}

/// What INFO tells; nothing if it is forbidden.
async fn info(link: &Link) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for section in ["server", "persistence", "memory"] {
        let asked = link.run(&[Step::plain("INFO", &[section])]).await;
        let Ok(answer) = asked.and_then(only::<Value>) else { continue };
        // A cluster answers with one text per server: the first stands for all.
        let of_all = || from_redis_value_ref::<BTreeMap<String, String>>(&answer).ok();
        let text = from_redis_value_ref::<String>(&answer).ok();
        let Some(text) = text.or_else(|| of_all()?.into_values().next()) else { continue };
        let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
        all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    all
}

/// Why even a harmless command is not allowed, if so.
async fn refused(link: &Link) -> Option<String> {
    let step = Step::plain("ECHO", &["belay"]);
    let answers = link.run(&[step]).await.ok()?;
    let error = answers.first().and_then(refusal).filter(|error| error.code() == "NOAUTH")?;
    Some(error.details().unwrap_or("a password is needed").to_owned())
}

/// Tells whether anything reaches the disk: an append-only file, or snapshots.
async fn persists(link: &Link, info: &BTreeMap<String, String>) -> bool {
    if info.get("aof_enabled").is_some_and(|enabled| enabled == "1") {
        return true;
    }
    let configured = link.run(&[Step::plain("CONFIG", &["GET", "save"])]).await;
    match configured.and_then(only::<BTreeMap<String, String>>) {
        Ok(settings) => settings.get("save").is_some_and(|points| !points.is_empty()),
        // Forbidden, as with many hosted servers: a snapshot that was made shows that they are on.
        Err(_) => info.get("rdb_saves").is_some_and(|saves| saves != "0"),
    }
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse("6.0.16") < Some(OLDEST));
        assert!(parse("6.2.0") >= Some(OLDEST) && parse("10.1") >= Some(OLDEST));
        assert_eq!((parse("unstable"), parse("")), (None, None));
    }
}
