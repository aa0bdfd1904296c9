//! The host is killed at each of its steps while it carries out a command. The command ends as done or not
//! done, or is shown as unknown until a person decides; its effect happens at most once, unless the person
//! said "send again", and it is never forgotten.

mod desktop;
mod phone;
mod places;
mod world;

use belay_wire::app::{Command, Settle};

use places::{at_each_place, judge};
use world::World;

/// The steps of any command that an agent carries out.
const EFFECT: [&str; 3] =
    ["after fdatasync journal.jsonl", "after write agent", "after send relay"];

async fn nothing(_: &mut World, _: &str) {}

fn prompt(thread: &str, text: &str) -> Command {
    Command::TurnStart { thread: thread.to_owned(), text: text.to_owned() }
}

/// The agent has loaded the thread, so the next thing that it gets is the prompt.
async fn load(world: &mut World, thread: &str, id: &str) {
    let resume = Command::ThreadResume { thread: thread.to_owned() };
    world.carry_out(&format!("load-{id}"), resume).await;
}

/// Leads to a request that waits for an answer.
async fn ask(world: &mut World, thread: &str, id: &str) {
    let text = format!("ASK {id}");
    world.carry_out(&format!("ask-{id}"), prompt(thread, &text)).await;
    world.until(&text, |phone| phone.asked(&text).is_some()).await;
}

fn answer(world: &mut World, id: &str) {
    let request = world.phone.asked(&format!("ASK {id}")).expect("it is asked");
    let (option, answers) = (Some("yes".to_owned()), std::collections::BTreeMap::new());
    world.phone.give(id, Command::Answer { request, option, answers });
}

/// A prompt whose host was killed at a step, and is not started again.
async fn killed(world: &mut World, thread: &str, id: &str, step: &str) {
    load(world, thread, id).await;
    let give = async |world: &mut World, id: &str| world.phone.give(id, prompt(thread, id));
    assert!(world.work(id, Some(step), give).await, "it dies {step}");
}

#[tokio::test]
async fn a_prompt_is_given_at_most_once_and_never_forgotten_wherever_its_host_is_killed() {
    let mut world = World::new().await;
    let thread = world.thread().await;
    let load = async |world: &mut World, id: &str| load(world, &thread, id).await;
    let give = async |world: &mut World, id: &str| world.phone.give(id, prompt(&thread, id));

    let ended = at_each_place(&mut world, "prompt", load, give, &EFFECT).await;

    judge(&ended, &world.desktop.end(), 1, |id| format!("prompt {id}"));
}

#[tokio::test]
async fn an_answer_is_given_at_most_once_and_never_forgotten_wherever_its_host_is_killed() {
    let mut world = World::new().await;
    let thread = world.thread().await;
    let ask = async |world: &mut World, id: &str| ask(world, &thread, id).await;
    let give = async |world: &mut World, id: &str| answer(world, id);

    let ended = at_each_place(&mut world, "answer", ask, give, &EFFECT).await;

    judge(&ended, &world.desktop.end(), 1, |id| format!("answer ASK {id}"));
}

#[tokio::test]
async fn a_thread_is_started_at_most_once_and_never_forgotten_wherever_its_host_is_killed() {
    let mut world = World::new().await;
    world.thread().await;
    let give = async |world: &mut World, id: &str| {
        let (agent, folder) = ("acp-python3".to_owned(), world.folder(id));
        let start = Command::ThreadStart { agent, folder, prompt: Some(id.to_owned()) };
        world.phone.give(id, start);
    };

    let ended = at_each_place(&mut world, "thread", nothing, give, &EFFECT).await;

    let folder = world.folder("");
    let notes = world.desktop.end();
    judge(&ended, &notes, 1, |id| format!("session {folder}{id}"));
    judge(&ended, &notes, 1, |id| format!("prompt {id}"));
}

#[tokio::test]
async fn what_is_sent_again_is_given_once_more_at_most_wherever_its_host_is_killed() {
    let mut world = World::new().await;
    let thread = world.thread().await;
    let prepare = async |world: &mut World, id: &str| {
        killed(world, &thread, id, "before write agent").await;
        world.desktop.start_again();
        world.until(id, |phone| phone.unknown.contains(id)).await;
    };
    let settle = async |world: &mut World, id: &str| drop(world.settle(id, Settle::SendAgain));

    let ended = at_each_place(&mut world, "again", prepare, settle, &EFFECT).await;

    judge(&ended, &world.desktop.end(), 0, |id| format!("prompt {id}"));
}

#[tokio::test]
async fn a_host_that_is_killed_as_it_starts_again_runs_nothing_twice_and_forgets_nothing() {
    let mut world = World::new().await;
    let thread = world.thread().await;
    let start = async |world: &mut World, _: &str| world.desktop.start_again();

    let prepare = async |world: &mut World, id: &str| {
        killed(world, &thread, id, "after write agent").await;
    };
    let ended = at_each_place(
        &mut world,
        "start",
        prepare,
        start,
        &["after rename journal.jsonl", "before send relay"],
    )
    .await;

    judge(&ended, &world.desktop.end(), 1, |id| format!("prompt {id}"));
}
