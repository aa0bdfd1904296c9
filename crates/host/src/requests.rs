//! Pending requests of agents: a table, not events. First answer wins.

use std::collections::BTreeMap;

use belay_wire::app::{Answer, RequestState, RequestView};

use crate::{agents::AgentAsk, clock::unix_ms};

/// Requests that are over and still listed, newest first.
const OVER_MAX: usize = 50;

/// Where to send an answer.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) agent: usize,
    pub(crate) key: String,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    views: BTreeMap<String, RequestView>,
    routes: BTreeMap<String, Route>,
}

impl Requests {
    /// Takes what a file held. Nobody waits for an answer to what was open.
    pub(crate) fn restore(kept: Vec<RequestView>) -> Self {
        let views = kept.into_iter().map(|view| (view.id.clone(), view)).collect();
        let mut requests = Self { views, routes: BTreeMap::new() };
        requests.forget_old();
        requests
    }

    /// How many wait for a person.
    pub(crate) fn open_count(&self) -> usize {
        self.views.values().filter(|v| v.state == RequestState::Open).count()
    }

    /// Tells whether a thread has one that is not over.
    pub(crate) fn waits_in(&self, thread: &str) -> bool {
        let waits =
            |v: &RequestView| matches!(v.state, RequestState::Open | RequestState::Answered);
        self.views.values().any(|v| v.thread == thread && waits(v))
    }

    /// Adds what an agent asks.
    pub(crate) fn ask(
        &mut self,
        agent: usize,
        thread: &str,
        ask: AgentAsk,
        rev: u64,
    ) -> RequestView {
        let id = format!("{thread}/{}", ask.key);
        let view = RequestView {
            id: id.clone(),
            thread: thread.to_owned(),
            item: ask.item,
            kind: ask.kind,
            title: ask.title,
            command: ask.command,
            cwd: ask.cwd,
            reason: ask.reason,
            changes: ask.changes,
            questions: ask.questions,
            options: ask.options,
            asked_at: unix_ms(),
            state: RequestState::Open,
            answer: None,
            note: None,
            rev,
        };
        self.routes.insert(id.clone(), Route { agent, key: ask.key });
        self.views.insert(id, view.clone());
        self.forget_old();
        view
    }

    pub(crate) fn view(&self, id: &str) -> Option<&RequestView> {
        self.views.get(id)
    }

    /// The first answer takes the request.
    ///
    /// # Errors
    /// Why it cannot be answered, in words.
    pub(crate) fn take(&mut self, id: &str, answer: Answer, rev: u64) -> Result<Route, String> {
        let unknown = "this request is not known any more; the list shows what is open";
        let view = self.views.get_mut(id).ok_or(unknown)?;
        if let Some(first) = &view.answer {
            return Err(format!("{} answered \"{}\" first", first.by, first.label));
        }
        if view.state != RequestState::Open {
            return Err(view.note.clone().unwrap_or_else(|| unknown.to_owned()));
        }
        let route = self.routes.get(id).cloned().ok_or(unknown)?;
        view.answer = Some(answer);
        view.state = RequestState::Answered;
        view.rev = rev;
        Ok(route)
    }

    /// An answer did not reach the agent: its request is open again, or void if the agent withdrew it
    /// meanwhile.
    pub(crate) fn reopen(&mut self, id: &str, command: &str, rev: u64) {
        let Some(view) = self.views.get_mut(id) else { return };
        if view.answer.as_ref().is_none_or(|answer| answer.command != command) {
            return;
        }
        view.state = match view.state {
            RequestState::Answered => RequestState::Open,
            RequestState::Resolved => {
                view.note = Some("the agent withdrew it before the answer came".to_owned());
                RequestState::Void
            }
            RequestState::Open | RequestState::Void => return,
        };
        view.answer = None;
        view.rev = rev;
    }

    /// The agent took the answer, or withdrew the request.
    pub(crate) fn resolved(&mut self, agent: usize, key: &str, rev: u64) -> Option<String> {
        let is_it = |route: &Route| route.agent == agent && route.key == key;
        let id = self.routes.iter().find(|(_, r)| is_it(r)).map(|(id, _)| id.clone())?;
        self.routes.remove(&id);
        let view = self.views.get_mut(&id)?;
        view.rev = rev;
        if view.state == RequestState::Answered {
            view.state = RequestState::Resolved;
        } else {
            view.state = RequestState::Void;
            view.note = Some("the agent withdrew it".to_owned());
        }
        Some(id)
    }

    /// Declares open requests void: those of an agent, or all.
    pub(crate) fn void(&mut self, agent: Option<usize>, note: &str, rev: u64) -> Vec<String> {
        let mut voided = Vec::new();
        for (id, view) in &mut self.views {
            let theirs = match (agent, self.routes.get(id)) {
                (Some(agent), Some(route)) => route.agent == agent,
                (Some(_), None) => false,
                (None, _) => true,
            };
            if theirs && matches!(view.state, RequestState::Open | RequestState::Answered) {
                view.state = RequestState::Void;
                view.note = Some(note.to_owned());
                view.rev = rev;
                voided.push(id.clone());
            }
        }
        self.routes.retain(|id, _| !voided.contains(id));
        voided
    }

    /// All that are open or answered, and the newest that are over; oldest first.
    pub(crate) fn list(&self) -> Vec<RequestView> {
        let mut views: Vec<_> = self.views.values().cloned().collect();
        views.sort_by_key(|v| v.asked_at);
        views
    }

    fn forget_old(&mut self) {
        let is_over =
            |v: &RequestView| matches!(v.state, RequestState::Resolved | RequestState::Void);
        let mut over: Vec<_> = self
            .views
            .values()
            .filter(|v| is_over(v))
            .map(|v| (v.asked_at, v.id.clone()))
            .collect();
        over.sort();
        let excess = over.len().saturating_sub(OVER_MAX);
        for (_, id) in over.into_iter().take(excess) {
            self.views.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::app::RequestKind;

    use super::*;

    fn table() -> (Requests, String) {
        let mut requests = Requests::default();
        let ask = AgentAsk {
            key: "0".to_owned(),
            item: None,
            kind: RequestKind::Command,
            title: String::new(),
            command: None,
            cwd: None,
            reason: None,
            changes: Vec::new(),
            questions: Vec::new(),
            options: Vec::new(),
        };
        let id = requests.ask(0, "t", ask, 1).id;
        (requests, id)
    }

    fn answer(by: &str) -> Answer {
        Answer { by: by.to_owned(), label: "Accept".to_owned(), at: 1, command: by.to_owned() }
    }

    #[test]
    fn the_first_answer_wins_and_the_second_is_told_who() {
        let (mut requests, id) = table();

        assert!(requests.take(&id, answer("Ana"), 2).is_ok());

        let refused = requests.take(&id, answer("Ben"), 3).expect_err("too late");
        assert!(refused.contains("Ana"), "{refused}");
        assert_eq!(requests.resolved(0, "0", 4), Some(id.clone()));
        assert_eq!(requests.view(&id).map(|v| v.state), Some(RequestState::Resolved));
    }

    #[test]
    fn an_answer_that_came_too_late_for_the_agent_is_not_called_given() {
        let (mut requests, id) = table();
        requests.take(&id, answer("Ana"), 2).expect("open");
        requests.resolved(0, "0", 3);

        requests.reopen(&id, "Ana", 4);

        let view = requests.view(&id).expect("kept");
        assert_eq!((view.state, view.answer.is_none()), (RequestState::Void, true));
    }

    #[test]
    fn requests_of_an_agent_that_restarted_are_void() {
        let (mut requests, id) = table();

        assert!(requests.void(Some(1), "other", 2).is_empty());
        assert_eq!(requests.void(Some(0), "the agent restarted", 3), std::slice::from_ref(&id));

        let refused = requests.take(&id, answer("Ana"), 4).expect_err("void");
        assert_eq!(refused, "the agent restarted");
    }
}
