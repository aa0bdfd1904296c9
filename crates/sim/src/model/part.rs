//! A part of a state, shared by all states in which it is the same.

use std::{
    cell::RefCell,
    fmt::{Debug, Write},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// A value that is copied when it changes, and known by what its `Debug` shows.
#[derive(Debug, Clone)]
pub(super) struct Part<T> {
    value: Arc<T>,
    /// `None` while it is being changed.
    digest: Option<u64>,
}

impl<T: Clone + Debug> Part<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: Arc::new(value), digest: None }
    }

    /// To be changed; [`Part::seal`] it afterwards.
    pub(super) fn edit(&mut self) -> &mut T {
        self.digest = None;
        Arc::make_mut(&mut self.value)
    }

    pub(super) fn seal(&mut self) {
        if self.digest.is_none() {
            self.digest = Some(digest(&*self.value));
        }
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        debug_assert!(self.digest.is_some(), "a part is sealed before it is compared");
        self.digest.hash(state);
    }
}

thread_local! {
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

fn digest(value: &impl Debug) -> u64 {
    TEXT.with_borrow_mut(|text| {
        text.clear();
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    })
}
