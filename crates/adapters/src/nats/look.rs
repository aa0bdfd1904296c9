//! What events may have missed: doubts after a new connection or leader, and a look at all streams from
//! time to time that costs an idle session nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use belay_core::ports::LogEvent;
use tokio::time::sleep;

use super::{Inner, answer::CallError, names::Place};

/// Doubts that come closer together than this are one.
const DOUBT_PAUSE: Duration = Duration::from_millis(250);
/// How long other servers may take to learn of a subscription.
const YOUNG: Duration = Duration::from_secs(2);

/// A stream, and up to where all that was watched was compared with it.
#[derive(Debug, Clone, Copy)]
struct Checked {
    incarnation: u64,
    up_to: u64,
}

/// Tells doubts, but not too many.
pub(super) async fn doubts(inner: Arc<Inner>) {
    loop {
        inner.doubt.notified().await;
        inner.watch.forget_tails();
        inner.tell(&LogEvent::Doubt);
        sleep(DOUBT_PAUSE).await;
    }
}

/// Compares the tails of sessions whose subscription was young a moment ago.
pub(super) async fn young(inner: Arc<Inner>) {
    loop {
        inner.watch.young.notified().await;
        sleep(YOUNG).await;
        let sessions = inner.watch.take_young();
        for place in inner.streams.names.places() {
            if inner.compare(place, &sessions, 1).await.is_err() {
                inner.watch.set_young(&sessions);
            }
        }
    }
}

/// Looks at all streams from time to time.
pub(super) async fn periodically(inner: Arc<Inner>) {
    let mut checked = HashMap::new();
    loop {
        sleep(jittered(inner.options.look_every)).await;
        for place in inner.streams.names.places() {
            // What cannot be asked now is asked the next time: nothing of it is forgotten.
            let _ = inner.look(place, &mut checked).await;
        }
    }
}

/// A fifth more or less.
fn jittered(time: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    time.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
}

impl Inner {
    /// Looks at one stream, and compares what was stored since the last look with what was told of it.
    async fn look(
        &self,
        place: Place,
        checked: &mut HashMap<Place, Checked>,
    ) -> Result<(), CallError> {
        let known = self.streams.current(place).await?;
        let (stream, info) = match self.streams.info(&known).await {
            Err(error) if error.is_gone() => {
                let stream = self.streams.look_again(place, known.incarnation).await?;
                let info = self.streams.info(&stream).await?;
                (stream, info)
            }
            other => (known.clone(), other?),
        };
        let last = info.state.last_seq;
        let seen = self.streams.swap_seen(place, last);
        let went_back = stream.incarnation != known.incarnation || last < seen;
        if went_back {
            self.doubt.notify_one();
        }
        let now = Checked { incarnation: stream.incarnation, up_to: last };
        let before = checked.entry(place).or_insert(now);
        if went_back || before.incarnation != now.incarnation {
            *before = now;
        } else if last > before.up_to {
            let sessions = self.watch.sessions();
            let up_to = self.compare(place, &sessions, before.up_to + 1).await?;
            // The replica that answered may be behind.
            before.up_to = before.up_to.max(up_to.min(last));
        }
        Ok(())
    }
}
