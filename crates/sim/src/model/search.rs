//! Plays all schedules of a model, or as many as time allows.

use std::{
    fmt::Debug,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model};

/// Ends a search in time. The checker's own timeout says nothing of what was left out.
#[derive(Debug, Clone)]
pub struct Clock {
    end: Instant,
    was_late: Arc<AtomicBool>,
}

/// How long a search may take.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub Duration);

impl Clock {
    /// Tells whether there is time for one more state.
    pub(super) fn goes_on(&self) -> bool {
        let late = Instant::now() > self.end;
        if late {
            self.was_late.store(true, Ordering::Relaxed);
        }
        !late
    }
}

/// What a search showed.
#[derive(Debug, Clone)]
pub struct Checked {
    pub name: String,
    /// Different ones.
    pub states: usize,
    pub depth: usize,
    /// All states that can be reached were seen.
    pub exhausted: bool,
    pub seconds: f64,
    /// What does not hold, and what leads there.
    pub violation: Option<(String, Vec<String>)>,
    /// What should happen sometimes did not.
    pub missing: Vec<&'static str>,
}

/// Searches a model with all cores.
pub fn check<M>(name: &str, limit: Limit, make: impl FnOnce(Clock) -> M) -> Checked
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Debug + Send + Sync + Clone + PartialEq,
{
    let started = Instant::now();
    let was_late = Arc::new(AtomicBool::new(false));
    let clock = Clock { end: started + limit.0, was_late: was_late.clone() };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = make(clock).checker().threads(cores);
    let checker = model.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut violation = None;
    let mut missing = Vec::new();
    for property in checker.model().properties() {
        let path = checker.discovery(property.name);
        let is_failure = property.expectation != stateright::Expectation::Sometimes;
        match path {
            Some(path) if is_failure && violation.is_none() => {
                let steps = path.into_actions().iter().map(|step| format!("{step:?}")).collect();
                violation = Some((property.name.to_owned(), steps));
            }
            None if !is_failure => missing.push(property.name),
            Some(_) | None => {}
        }
    }
    Checked {
        name: name.to_owned(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        exhausted: violation.is_none() && !was_late.load(Ordering::Relaxed),
        seconds: started.elapsed().as_secs_f64(),
        violation,
        missing,
    }
}
