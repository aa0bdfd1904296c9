//! How the broker is, as far as its client, and checks of it, tell.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that is made anew within this was not away: the client has other brokers.
const RECONNECTS: Duration = Duration::from_millis(500);
/// Brokers choose a new leader within this, as a rule; who writes meanwhile is told at once.
const ELECTS: Duration = Duration::from_secs(10);
/// For so long after a loss a leader may believe that others follow it.
const BELIEVES: Duration = Duration::from_secs(5);

const NO_CONNECTION: &str = "there is no connection with a broker";

/// What was found of the broker.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The connection was lost then.
    lost: Option<Instant>,
    /// Checks fail since then, and why.
    failing: Option<(Instant, String)>,
    /// When the connection was lost last, or checks began to fail.
    trouble: Option<Instant>,
    /// All were told so.
    pub(super) away: bool,
}

/// What sessions are to hear.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Away(String),
    Back,
}

impl Found {
    /// The connection was lost, or made anew.
    pub(super) fn connected(&mut self, connected: bool, now: Instant) {
        if connected {
            self.lost = None;
        } else if self.lost.is_none() {
            (self.lost, self.trouble) = (Some(now), Some(now));
        }
    }

    /// A check that began at `began` was answered.
    pub(super) fn checked(&mut self, answer: Result<(), String>, began: Instant, now: Instant) {
        // What passed went over a connection, whatever was heard of that.
        self.lost = self.lost.filter(|since| answer.is_err() || began < *since);
        self.failing = answer.err().map(|why| {
            let since = self.failing.take().map(|(since, _)| since);
            if since.is_none() {
                self.trouble = Some(now);
            }
            (since.unwrap_or(now), why)
        });
    }

    /// Tells whether it is well now, and has been for long enough that a check means something.
    fn is_well(&self, now: Instant) -> bool {
        let calm = self.trouble.is_none_or(|at| now - at >= BELIEVES);
        calm && self.lost.is_none() && self.failing.is_none()
    }

    /// Tells whether what could not be stored can be tried again.
    pub(super) fn can_try(&self, now: Instant) -> bool {
        !self.away && self.is_well(now)
    }

    /// What is to be told now that was not told yet.
    pub(super) fn news(&mut self, now: Instant) -> Option<News> {
        let lost = self.lost.filter(|since| now - *since >= RECONNECTS);
        let failing = self.failing.as_ref().filter(|(since, _)| now - *since >= ELECTS);
        let why = match (lost, failing) {
            (Some(_), _) => Some(NO_CONNECTION.to_owned()),
            (None, Some((_, why))) => Some(why.clone()),
            (None, None) => None,
        };
        // A connection alone says nothing: what was told as away is back when a check passed.
        let back = self.away && self.is_well(now);
        match why {
            Some(why) if !self.away => {
                self.away = true;
                Some(News::Away(why))
            }
            None if back => {
                self.away = false;
                Some(News::Back)
            }
            Some(_) | None => None,
        }
    }

    /// Why nothing can be stored, if that was told.
    pub(super) fn fault(&self) -> Option<String> {
        let why = self.failing.as_ref().map(|(_, why)| why.clone());
        let or = if self.lost.is_some() {
            NO_CONNECTION
        } else {
            "messages pass again, and it is not known yet whether they stay"
        };
        self.away.then(|| why.unwrap_or_else(|| or.to_owned()))
    }

    /// When something is to be told without another event.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.lost.filter(|_| !self.away)? + RECONNECTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<(), String> {
        Err("no quorum".to_owned())
    }

    fn away(why: &str) -> News {
        News::Away(why.to_owned())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_that_is_made_anew_at_once_was_not_away() {
        let (mut found, t) = (Found::default(), Instant::now());
        found.connected(false, t);
        assert_eq!(found.news(t), None);
        found.connected(true, t + RECONNECTS / 2);
        assert_eq!(found.news(t + 2 * RECONNECTS), None);
        // The leader that answers now may have lost those that followed it.
        assert!(!found.is_well(t + SECOND));
        assert!(found.is_well(t + BELIEVES));
    }

    #[test]
    fn it_is_away_once_until_a_check_passes_after_leaders_know_who_follows_them() {
        let (mut found, t) = (Found::default(), Instant::now());
        found.connected(false, t);
        assert_eq!(found.news(t + RECONNECTS), Some(away(NO_CONNECTION)));
        found.connected(true, t + SECOND);
        found.checked(Ok(()), t + SECOND, t + SECOND);
        assert_eq!(found.news(t + SECOND), None);
        found.checked(failed(), t + 4 * SECOND, t + 4 * SECOND);
        assert_eq!(found.news(t + 60 * SECOND), None);
        found.checked(Ok(()), t + 61 * SECOND, t + 61 * SECOND);
        assert_eq!(found.news(t + 61 * SECOND), Some(News::Back));
        assert_eq!(found.news(t + 62 * SECOND), None);
    }

    #[test]
    fn a_check_that_passes_shows_a_connection_of_which_nothing_was_heard() {
        let (mut found, t) = (Found::default(), Instant::now());
        found.connected(false, t);
        assert_eq!(found.news(t + SECOND), Some(away(NO_CONNECTION)));
        found.checked(Ok(()), t + 2 * SECOND, t + 2 * SECOND);
        assert_eq!(found.news(t + 6 * SECOND), Some(News::Back));

        found.connected(false, t + 10 * SECOND);
        found.checked(Ok(()), t + 9 * SECOND, t + 10 * SECOND);
        assert_eq!(found.news(t + 11 * SECOND), Some(away(NO_CONNECTION)), "it began before");
    }

    #[test]
    fn while_it_is_away_nothing_is_tried_again_on_a_check_of_before() {
        let (mut found, t) = (Found::default(), Instant::now());
        assert!(found.can_try(t));
        found.away = true;
        assert!(!found.can_try(t));
    }

    #[test]
    fn an_election_is_not_told_to_those_who_write_nothing() {
        let (mut found, t) = (Found::default(), Instant::now());
        for n in 0..4 {
            found.checked(failed(), t + n * SECOND, t + n * SECOND);
            assert_eq!(found.news(t + n * SECOND), None);
        }
        found.checked(Ok(()), t + 4 * SECOND, t + 4 * SECOND);
        found.checked(failed(), t + 5 * SECOND, t + 5 * SECOND);
        assert_eq!(found.news(t + 14 * SECOND), None);
        assert_eq!(found.news(t + 5 * SECOND + ELECTS), Some(away("no quorum")));
    }
}
