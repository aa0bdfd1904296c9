//! The whole journey with a desktop and a phone that live on their own, and what trouble does to it: in
//! the end both show what they show without trouble.

use std::time::Duration;

use belay_testkit::{
    SOON,
    compat::{Desktop, Phone, Seat},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{relay::Relay, world::World};

/// Where in the journey trouble may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Started,
    Joining,
    Approved,
    Connecting,
    Selecting,
    Sending,
    Updates,
    Asking,
    Answering,
    Back,
}

const PHASES: [Phase; 10] = [
    Phase::Started,
    Phase::Joining,
    Phase::Approved,
    Phase::Connecting,
    Phase::Selecting,
    Phase::Sending,
    Phase::Updates,
    Phase::Asking,
    Phase::Answering,
    Phase::Back,
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    CutDesktop(Phase),
    CutPhone(Phase),
    Restart(Phase),
}

struct Play {
    relay: Option<Relay>,
    desktop: Seat<Desktop>,
    phone: Option<Seat<Phone>>,
    trouble: Trouble,
}

/// How long a person waits for something to show before trying again.
const PATIENCE: Duration = Duration::from_millis(2_500);

impl Play {
    async fn start(trouble: Trouble) -> Self {
        Self::start_with(&[], trouble).await
    }

    async fn start_with(settings: &[(&str, &str)], trouble: Trouble) -> Self {
        let relay = Relay::start(settings);
        let desktop = Desktop::new("session-0123456789abcdef");
        assert_eq!(relay.native().post("/pair/start", &desktop.start()).await.status, 200);
        let desktop = Seat::take(relay.native(), desktop);
        Self { relay: Some(relay), desktop, phone: None, trouble }
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("it runs")
    }

    fn phone(&self) -> &Seat<Phone> {
        self.phone.as_ref().expect("paired")
    }

    /// Trouble, if it is to come here.
    async fn reach(&mut self, phase: Phase) {
        let (Trouble::CutDesktop(at) | Trouble::CutPhone(at) | Trouble::Restart(at)) = self.trouble
        else {
            return;
        };
        if at != phase {
            return;
        }
        match std::mem::replace(&mut self.trouble, Trouble::None) {
            Trouble::CutDesktop(_) => self.desktop.cut(),
            Trouble::CutPhone(_) => {
                if let Some(phone) = &self.phone {
                    phone.cut();
                }
            }
            Trouble::Restart(_) => {
                let relay = self.relay.take().expect("it runs");
                let restarting = tokio::task::spawn_blocking(|| relay.kill_and_restart());
                self.relay = Some(restarting.await.expect("restarted"));
            }
            Trouble::None => {}
        }
    }

    /// The person tries until the phone is in; the desktop makes a new code each time.
    async fn pair(&mut self) {
        let deadline = tokio::time::Instant::now() + 2 * SOON;
        loop {
            let join_token = self.desktop.look(|d| d.join_token.clone()).await;
            let body = json!({
                "sessionID": "session-0123456789abcdef", "joinToken": join_token, "deviceName": "Ana",
            });
            let page = self.relay().page();
            let joining = tokio::spawn(async move { page.try_call("/pair/join", &body).await });
            tokio::time::sleep(Duration::from_millis(30)).await;
            self.reach(Phase::Joining).await;
            if let Some(joined) = joining.await.expect("ran").filter(|a| a.status == 200) {
                self.phone = Some(Seat::take(self.relay().page(), Phone::new(&joined.body)));
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "the phone is let in");
            let refresh = self.desktop.change(Desktop::refresh).await;
            self.relay().native().try_call("/pair/refresh", &refresh).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A person taps again when nothing has happened.
    async fn tap(&mut self, phase: Phase, name: &str, more: &Value, done: impl Fn(&Phone) -> bool) {
        for _ in 0..4 {
            self.phone().until("both are connected", together_now).await;
            self.phone().act(|p| p.says(name, more)).await;
            self.reach(phase).await;
            if self.phone().comes(PATIENCE, &done).await {
                return;
            }
        }
        let shows = self.phone().look(|p| (p.errors.clone(), p.acks.clone(), p.shows())).await;
        panic!("{:?}: {name} does not take effect: {shows:?}", self.trouble);
    }

    async fn run(mut self) -> Value {
        self.reach(Phase::Started).await;
        self.pair().await;
        self.reach(Phase::Approved).await;
        self.reach(Phase::Connecting).await;
        self.phone().until("threads", |p| p.shows()["threads"].is_array()).await;
        let thread = json!({ "threadID": "t-1" });
        let selected = |p: &Phone| p.shows()["selected"] == "t-1";
        self.tap(Phase::Selecting, "thread.select", &thread, selected).await;
        let hello = json!({ "threadID": "t-1", "text": "hello" });
        self.tap(Phase::Sending, "thread.send_message", &hello, |p| p.shows_text("hello")).await;
        for text in ["one", "two", "three"] {
            self.desktop.act(|d| d.says("t-1", "assistant", text)).await;
            if text == "two" {
                self.reach(Phase::Updates).await;
            }
        }
        self.phone().until("updates", |p| p.shows_text("three")).await;
        self.desktop.act(|d| d.asks("7", "t-1")).await;
        self.reach(Phase::Asking).await;
        self.phone().until("a question", Phone::is_asked).await;
        let yes = json!({
            "runtimeRequestID": "7", "runtimeRequestKind": "approval",
            "runtimeRequestResponse": { "decision": "accept", "optionID": "approve_once" },
        });
        let answered = |p: &Phone| !p.is_asked();
        self.tap(Phase::Answering, "runtime_request.respond", &yes, answered).await;
        let before = self.phone().look(|p| p.token.clone()).await;
        self.phone().cut();
        self.phone().until("a rotated token", |p| p.is_online() && p.token != before).await;
        let other = json!({ "threadID": "t-2", "text": "again" });
        self.tap(Phase::Back, "thread.send_message", &other, |p| p.shows_text("again")).await;
        self.settle().await
    }

    /// What is left when everything has calmed down.
    async fn settle(self) -> Value {
        let shown = self.desktop.look(Desktop::shows).await;
        self.phone().until("the desktop's state", |p| p.shows() == shown).await;
        let applied = self.desktop.look(|d| d.applied.clone()).await;
        let told = |c: &Value| json!([c["name"], c["threadID"], c["text"]]);
        let mut applied: Vec<_> = applied.iter().map(told).collect();
        // To select twice is to select once.
        applied.dedup();
        json!({ "shown": shown, "applied": applied })
    }
}

async fn journey(trouble: Trouble) -> Value {
    Play::start(trouble).await.run().await
}

async fn all_end_alike(troubles: Vec<Trouble>) {
    let expected = journey(Trouble::None).await;
    assert_eq!(expected["applied"].as_array().map(Vec::len), Some(4), "{expected}");
    let runs = stream::iter(troubles)
        .map(|trouble| tokio::spawn(async move { (trouble, Box::pin(journey(trouble)).await) }));
    let ended: Vec<_> = runs.buffer_unordered(4).collect().await;
    for run in ended {
        let (trouble, end) = run.expect("it ended");
        assert_eq!(end, expected, "{trouble:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_journeys_end_alike() {
    all_end_alike(vec![Trouble::None; 20]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_in_any_phase_changes_nothing_in_the_end() {
    let both = |phase: Phase| [Trouble::CutDesktop(phase), Trouble::CutPhone(phase)];
    all_end_alike(PHASES.into_iter().flat_map(both).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_of_the_relay_in_any_phase_changes_nothing_in_the_end() {
    all_end_alike(PHASES.into_iter().map(Trouble::Restart).collect()).await;
}

/// A desktop and a phone that are in.
async fn together(settings: &[(&str, &str)]) -> Play {
    let mut play = Play::start_with(settings, Trouble::None).await;
    play.pair().await;
    play.phone().until("threads", |p| p.shows()["threads"].is_array()).await;
    play
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_number_is_noticed_and_a_snapshot_mends_it() {
    let play = together(&[]).await;

    play.desktop.act(|d| d.says("t-1", "assistant", "before")).await;
    play.desktop.change(|d| d.loses_a_message("t-1", "lost on the way")).await;
    play.desktop.act(|d| d.says("t-1", "assistant", "after")).await;

    play.phone().until("all three", |p| p.shows_text("lost on the way")).await;
    assert_eq!(play.phone().look(|p| p.gaps).await, 1);
    play.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_snapshot_never_hides_what_is_newer() {
    let play = together(&[]).await;

    let late = play.desktop.change(Desktop::snapshot).await;
    for text in ["newer", "newest"] {
        play.desktop.act(|d| d.says("t-1", "assistant", text)).await;
    }
    play.desktop.act(|_| vec![late]).await;
    play.desktop.act(|d| d.says("t-1", "assistant", "last")).await;

    play.phone().until("the last", |p| p.shows_text("last")).await;
    assert!(play.phone().look(|p| p.shows_text("newer") && p.shows_text("newest")).await);
    play.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reconnects_leave_nothing_behind() {
    // Each reconnect asks for a snapshot.
    let play = together(&[("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "10000")]).await;
    let relay = play.relay();
    let before = (relay.number("activeWebSockets").await, relay.number("deviceTokens").await);
    let files = files_of(relay.pid());

    for _ in 0..100 {
        let token = play.phone().look(|p| p.token.clone()).await;
        play.phone().cut();
        play.phone().until("a new token", |p| p.is_online() && p.token != token).await;
    }

    play.desktop.act(|d| d.says("t-1", "assistant", "still here")).await;
    play.phone().until("the message", |p| p.shows_text("still here")).await;
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let after = (relay.number("activeWebSockets").await, relay.number("deviceTokens").await);
        if after == before && files_of(relay.pid()) <= files + 2 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{before:?} before, {after:?} after");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let own = play.desktop.look(Desktop::own).await;
    let list = relay.native().post("/devices/list", &own).await;
    assert_eq!(list.body["devices"].as_array().map(Vec::len), Some(1), "{}", list.text);
}

/// Pairs that come back at one time.
const CROWD: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_comes_back_after_a_restart_and_nobody_is_refused() {
    let relay = std::sync::Arc::new(Relay::start(&[]));
    let pairs = stream::iter(0..CROWD).map(|n| {
        let world = World { relay: relay.clone(), session: format!("crowd-{n}-0123456789abcdef") };
        async move {
            let (desk, phone) = world.paired().await;
            let desktop = Seat::take(world.native(), desk.desktop);
            (desktop, Seat::take(world.page(), Phone::new(&phone.joined)))
        }
    });
    let pairs: Vec<_> = pairs.buffer_unordered(8).collect().await;
    for (_, phone) in &pairs {
        phone.until("both are connected", together_now).await;
    }

    let relay = std::sync::Arc::into_inner(relay).expect("nobody else has it");
    let relay = tokio::task::spawn_blocking(|| relay.kill_and_restart()).await.expect("it starts");
    for (desktop, phone) in &pairs {
        phone.until("both are connected again", together_now).await;
        assert_eq!(desktop.look(|d| d.ended().map(str::to_owned)).await, None);
    }

    let numbers = relay.native().get("/metricsz").await.body;
    for reason in ["token_not_found", "mobile_session_missing", "device_record_missing"] {
        assert_eq!(numbers["wsAuthFailureReasons"][reason], 0, "{numbers}");
    }
    assert_eq!(numbers["activeWebSockets"], 2 * CROWD);
}

fn together_now(phone: &Phone) -> bool {
    phone.is_online() && phone.desktop_connected == Some(true)
}

/// Open files of a process.
fn files_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}
