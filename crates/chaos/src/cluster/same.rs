//! Whether all nodes give the same answer, and the right one.

use std::{
    fmt,
    time::{Duration, Instant},
};

use belay_wire::{MemberId, SessionId};

use super::Node;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// What nodes should say of a session.
#[derive(Debug, Clone)]
pub struct Expected {
    pub session: SessionId,
    pub devices: Vec<MemberId>,
    /// Devices that were revoked.
    pub without: Vec<MemberId>,
    /// Nothing happens any more: the session is in the list of all, its devices are connected, and nobody
    /// else. Else that is not looked at.
    pub settled: bool,
    /// There is no other device. Else a device may be there whose phone never heard that it was paired.
    pub exact: bool,
}

/// How nodes differ, in words, by session.
#[derive(Debug, Default)]
pub struct Differences(pub Vec<String>);

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Asks all nodes that are up until all of them say what is expected. Gives how long that took.
///
/// # Errors
/// When they do not within `bound`, with how they differ.
pub async fn until(
    nodes: &[Node],
    expected: &[Expected],
    bound: Duration,
) -> Result<Duration, Differences> {
    let started = Instant::now();
    loop {
        // What was asked in time counts.
        let asked = started.elapsed();
        let differences = differences(nodes, expected).await;
        if differences.0.is_empty() {
            return Ok(asked);
        }
        if started.elapsed() > bound {
            return Err(differences);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn differences(nodes: &[Node], expected: &[Expected]) -> Differences {
    let mut found = Vec::new();
    let mut lists = Vec::new();
    for node in nodes.iter().filter(|node| node.address().is_some()) {
        match ask(node, expected).await {
            Ok(answers) => lists.push((&node.name, answers)),
            Err(error) => found.push(format!("{}: {error:#}", node.name)),
        }
    }
    for (name, answers) in &lists {
        for (at, (expected, answer)) in expected.iter().zip(answers).enumerate() {
            if let Some(wrong) = wrong(expected, answer.as_deref()) {
                found.push(format!("session {} at {name}: {wrong}", expected.session));
            } else if lists
                .first()
                .is_some_and(|(_, first)| listed(&first[at], expected) != listed(answer, expected))
            {
                found.push(format!("session {} at {name}: another answer", expected.session));
            }
        }
    }
    Differences(found)
}

type Answer = Option<Vec<(String, bool)>>;

/// The devices of each session; `None` if the node does not list the session.
async fn ask(node: &Node, expected: &[Expected]) -> anyhow::Result<Vec<Answer>> {
    let admin = node.admin()?;
    let settled = expected.iter().any(|expected| expected.settled);
    let listed = if settled { admin.sessions().await? } else { Vec::new() };
    let mut answers = Vec::new();
    for Expected { session, settled, .. } in expected {
        let is_listed = !settled || listed.contains(&session.to_string());
        answers.push(if is_listed { Some(admin.devices(*session).await?) } else { None });
    }
    Ok(answers)
}

/// What nodes must agree on.
fn listed(answer: &Answer, expected: &Expected) -> Vec<(String, bool)> {
    let devices = answer.iter().flatten().cloned();
    devices.map(|(id, connected)| (id, connected && expected.settled)).collect()
}

fn wrong(expected: &Expected, answer: Option<&[(String, bool)]>) -> Option<String> {
    let Some(answer) = answer else { return Some("not listed".to_owned()) };
    for device in &expected.devices {
        let device = device.to_string();
        match answer.iter().find(|(listed, _)| *listed == device) {
            None => return Some(format!("{device} is missing")),
            Some((_, false)) if expected.settled => {
                return Some(format!("{device} is said to be away"));
            }
            Some(_) => {}
        }
    }
    for device in &expected.without {
        let device = device.to_string();
        if answer.iter().any(|(listed, _)| *listed == device) {
            return Some(format!("{device}, which was revoked, is listed"));
        }
    }
    let more = answer.len().saturating_sub(expected.devices.len());
    let connected = answer.iter().filter(|(_, connected)| *connected).count();
    if (expected.settled && connected > expected.devices.len()) || (expected.exact && more > 0) {
        return Some(format!("{more} devices too many: {answer:?}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_away_or_too_much_is_wrong() {
        let id = |n: u8| MemberId::from_bytes([n; 16]);
        let (device, revoked) = (id(1), id(2));
        let expected = Expected {
            session: SessionId::from_bytes([3; 16]),
            devices: vec![device],
            without: vec![revoked],
            settled: true,
            exact: false,
        };
        let row = |connected| (device.to_string(), connected);
        let other = |connected| (id(4).to_string(), connected);
        let exact = Expected { exact: true, ..expected.clone() };

        assert!(wrong(&expected, None).is_some());
        assert!(wrong(&expected, Some(&[])).is_some());
        assert!(wrong(&expected, Some(&[row(false)])).is_some());
        assert!(wrong(&expected, Some(&[row(true), other(true)])).is_some());
        assert!(wrong(&expected, Some(&[row(true), other(false)])).is_none());
        assert!(wrong(&exact, Some(&[row(true), other(false)])).is_some());
        assert!(wrong(&expected, Some(&[row(true), (revoked.to_string(), false)])).is_some());
        assert!(wrong(&expected, Some(&[row(true)])).is_none());
    }
}
