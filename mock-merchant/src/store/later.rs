//! Texts that are made beside the writer: it goes on with other requests meanwhile, and needs them before the commit.

use super::StoreError;
use crate::failure::Failure;
use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

/// Makes a text; it has everything that it needs.
pub type Make = Box<dyn FnOnce() -> Result<String, Failure> + Send>;

/// The most threads that make texts.
const MAKERS: usize = 4;

/// A text that is being made, or will be by whoever needs it first.
#[derive(Clone)]
pub struct Later(Arc<Place>);

struct Place {
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Waiting(Make),
    Begun,
    Done(Result<String, Failure>),
}

impl Later {
    fn new(make: Make) -> Self {
        Self(Arc::new(Place { state: Mutex::new(State::Waiting(make)), done: Condvar::new() }))
    }

    /// Makes the text, unless that was begun.
    fn make(&self) {
        let mut state = self.lock();
        match replace(&mut *state, State::Begun) {
            State::Waiting(make) => {
                drop(state);
                let defect = |_| Err(StoreError::Defect("a text could not be made: panic".to_owned()).into());
                let text = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(defect);
                *self.lock() = State::Done(text);
                self.0.done.notify_all();
            }
            other => *state = other,
        }
    }

    /// The text, made here if nobody has begun.
    ///
    /// # Errors
    /// What making it failed with.
    pub fn finish(self) -> Result<String, Failure> {
        self.make();
        let mut state = self.lock();
        loop {
            match replace(&mut *state, State::Begun) {
                State::Done(text) => return text,
                other => *state = other,
            }
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads that make texts; they end with the last of these handles.
pub struct Makers {
    queue: Option<Sender<Later>>,
}

impl Makers {
    /// As many threads as there are processors beside the writer's; none where there is one only.
    ///
    /// # Errors
    /// What the system says when it gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(0, |n| n.get() - 1).min(MAKERS);
        let (queue, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = waiting.clone();
            Builder::new().name("documents".to_owned()).spawn(move || run(&waiting))?;
        }
        Ok(Self { queue: (threads > 0).then_some(queue) })
    }

    /// None: texts are made by who needs them.
    pub fn none() -> Self {
        Self { queue: None }
    }

    /// Has a text made.
    pub fn later(&self, make: Make) -> Later {
        let later = Later::new(make);
        if let Some(queue) = &self.queue {
            // Without threads any more it is made by who needs it.
            let _ = queue.send(later.clone());
        }
        later
    }
}

fn run(waiting: &Mutex<Receiver<Later>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(later) => later.make(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::refuse;
    use walkpay::protocol::problem::ProblemCode;

    #[test]
    fn texts_come_in_their_places_whoever_makes_them() {
        for makers in [Makers::none(), Makers::start().unwrap()] {
            let all: Vec<_> = (0..100).map(|n| makers.later(Box::new(move || Ok(n.to_string())))).collect();
            let texts: Vec<_> = all.into_iter().map(|text| text.finish().unwrap()).collect();
            assert_eq!(texts, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_fails_or_panics_is_told_to_who_needs_it() {
        let makers = Makers::start().unwrap();
        let refused = makers.later(Box::new(|| Err(refuse(ProblemCode::Forbidden, "no"))));
        let panic = makers.later(Box::new(|| panic!("on purpose")));
        let after = makers.later(Box::new(|| Ok("after".to_owned())));
        assert_eq!(refused.finish().unwrap_err().code(), ProblemCode::Forbidden);
        assert!(matches!(panic.finish(), Err(Failure::Fault(StoreError::Defect(_)))));
        assert_eq!(after.finish().unwrap(), "after");
    }
}
