//! Reading sessions. Ways to a record are taken at their word only if the record agrees.

use belay_core::{
    SessionRecord,
    ports::{StoreError, Version},
    session::LeaseKey,
};
use belay_wire::SessionId;

use super::{
    Inner,
    answer::{only, read},
    record,
    script::{Step, scripts},
};
use crate::lease::means;

/// Keys that one command names at most, so that no command holds the server for long.
const KEYS_MAX: usize = 512;
/// Records that are read at once while looking for a code: each may be many kilobytes.
const RECORDS_MAX: usize = 64;
/// Sessions that are looked at for one typed code, the newest first: a code has 32,768 beginnings, so more
/// share one only if tens of millions of sessions have saved a lease within a day.
const CANDIDATES_MAX: usize = 1_024;
/// How long an entry that leads nowhere is spared, in milliseconds: its record may come right after it.
const SPARED_MS: u64 = 60_000;

impl Inner {
    pub(super) async fn load(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let step = Step::plain("GET", &[&self.keys.record(id)]);
        let bytes: Option<Vec<u8>> = only(self.link.run(&[step]).await?)?;
        bytes.map(|bytes| record::decode(id, &bytes)).transpose()
    }

    pub(super) async fn find_lease(&self, key: LeaseKey) -> Result<Vec<SessionId>, StoreError> {
        if matches!(key, LeaseKey::Code { .. }) {
            return self.find_code(key).await;
        }
        let step = Step::plain("GET", &[&self.keys.index(&key)]);
        let found: Option<String> = only(self.link.run(&[step]).await?)?;
        let Some(id) = found else { return Ok(Vec::new()) };
        let id = parse(&id)?;
        Ok(self.of_these(&key, &[id]).await?.0)
    }

    async fn find_code(&self, key: LeaseKey) -> Result<Vec<SessionId>, StoreError> {
        let index = self.keys.index(&key);
        let last = (CANDIDATES_MAX - 1).to_string();
        let step = Step::plain("ZREVRANGE", &[&index, "0", &last]);
        let listed: Vec<String> = only(self.link.run(&[step]).await?)?;
        let ids = listed.iter().map(|id| parse(id)).collect::<Result<Vec<_>, _>>()?;
        let (found, nowhere) = self.of_these(&key, &ids).await?;
        if !nowhere.is_empty() {
            let step = Step::script(&scripts().drop_codes, vec![index]).arg(SPARED_MS.to_string());
            let step = nowhere.iter().fold(step, |step, id| step.arg(id.to_string()));
            // What stays leads nowhere at the next look, too.
            let _ = self.link.run(&[step]).await;
        }
        Ok(found)
    }

    /// Which of these sessions have this key, and which have not. One that cannot be read might have it:
    /// whoever loads it is told why not.
    async fn of_these(
        &self,
        key: &LeaseKey,
        ids: &[SessionId],
    ) -> Result<(Vec<SessionId>, Vec<SessionId>), StoreError> {
        let (mut found, mut nowhere) = (Vec::new(), Vec::new());
        for some in ids.chunks(RECORDS_MAX) {
            let steps: Vec<_> =
                some.iter().map(|id| Step::plain("GET", &[&self.keys.record(*id)])).collect();
            let answers = self.link.run_any_order(&steps).await?;
            for (id, answer) in some.iter().zip(answers) {
                let record = read::<Option<Vec<u8>>>(answer)
                    .and_then(|bytes| bytes.map(|b| record::decode(*id, &b)).transpose());
                match record {
                    Ok(Some(record)) if !means(&record, key) => nowhere.push(*id),
                    Ok(None) => nowhere.push(*id),
                    Ok(Some(_)) | Err(StoreError::Damaged(_) | StoreError::Newer { .. }) => {
                        found.push(*id);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((found, nowhere))
    }

    pub(super) async fn list(
        &self,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut found = Vec::new();
        let mut after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut nowhere = Vec::new();
        while found.len() < limit {
            let step = Step::script(&scripts().page, vec![self.keys.sessions()])
                .arg(after.clone())
                .arg(KEYS_MAX.min(limit - found.len()).to_string());
            let listed: Vec<String> = only(self.link.run(&[step]).await?)?;
            let Some(last) = listed.last() else { break };
            after.clone_from(last);
            let ids = listed.iter().map(|id| parse(id)).collect::<Result<Vec<_>, _>>()?;
            let versions = self.versions(&ids).await?;
            for (id, version) in ids.into_iter().zip(versions) {
                if version.record == 0 { nowhere.push(id) } else { found.push(id) }
            }
        }
        self.unlist(&nowhere).await;
        Ok(found)
    }

    /// Takes out of the list what has no record; what stays is met by the next who lists.
    async fn unlist(&self, nowhere: &[SessionId]) {
        for some in nowhere.chunks(KEYS_MAX) {
            let step = Step::plain("ZREM", &[&self.keys.sessions()]);
            let step = some.iter().fold(step, |step, id| step.arg(id.to_string()));
            let _ = self.link.run(&[step]).await;
        }
    }

    /// In one round trip, however many they are.
    pub(super) async fn versions(&self, ids: &[SessionId]) -> Result<Vec<Version>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| self.keys.version(*id)).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let texts: Vec<Option<String>> = if self.link.is_cluster() {
            let steps: Vec<_> = keys.iter().map(|key| Step::plain("GET", &[key])).collect();
            let answers = self.link.run_any_order(&steps).await?;
            answers.into_iter().map(read).collect::<Result<_, _>>()?
        } else {
            let steps: Vec<_> = keys.chunks(KEYS_MAX).map(|k| Step::plain("MGET", k)).collect();
            let answers = self.link.run(&steps).await?.into_iter().map(read);
            answers.collect::<Result<Vec<Vec<_>>, _>>()?.into_iter().flatten().collect()
        };
        if texts.len() != ids.len() {
            return Err(StoreError::Damaged("Redis answered for other sessions".to_owned()));
        }
        let read = |(text, id): (Option<String>, &SessionId)| {
            text.map_or(Ok(Version::default()), |text| version(&text, *id))
        };
        texts.into_iter().zip(ids).map(read).collect()
    }
}

fn version(text: &str, id: SessionId) -> Result<Version, StoreError> {
    let counters = text.split_once(' ').and_then(|(record, seats)| {
        Some(Version { record: record.parse().ok()?, seats: seats.parse().ok()? })
    });
    counters.ok_or_else(|| {
        StoreError::Damaged(format!("what is stored as the version of session {id} is none"))
    })
}

fn parse(text: &str) -> Result<SessionId, StoreError> {
    text.parse().map_err(|_| {
        StoreError::Damaged("an entry of a list of sessions in Redis is no session".to_owned())
    })
}
