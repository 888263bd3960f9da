//! A bounded queue between the runtime and the threads that own a connection.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs in the order in which they came, for one thread or several.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limit: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    idle: usize,
    closed: bool,
}

/// How busy the threads of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Threads that have nothing to do.
    pub(crate) idle: usize,
    /// Jobs that wait.
    pub(crate) waiting: usize,
}

/// The queue takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many jobs wait as may.
    Full,
    /// It was closed.
    Closed,
}

impl<T> Queue<T> {
    /// An empty queue in which so many jobs may wait.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                idle: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Puts a job at the end.
    pub(crate) fn offer(&self, job: T) -> Result<(), Refused> {
        let mut state = self.locked();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= self.limit {
            return Err(Refused::Full);
        }
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a job; `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.locked();
        while state.waiting.is_empty() && !state.closed {
            state.idle += 1;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        state.waiting.pop_front()
    }

    /// Takes the next job if it is there already and is wanted; otherwise it stays the next.
    pub(crate) fn take_waiting(&self, is_wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut state = self.locked();
        if is_wanted(state.waiting.front()?) {
            state.waiting.pop_front()
        } else {
            None
        }
    }

    /// Takes no more jobs; those that wait are still done.
    pub(crate) fn close(&self) {
        self.locked().closed = true;
        self.changed.notify_all();
    }

    /// How busy its threads are at this moment.
    pub(crate) fn load(&self) -> Load {
        let state = self.locked();
        Load {
            idle: state.idle,
            waiting: state.waiting.len(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_leave_in_the_order_in_which_they_came_and_no_more_than_the_limit_wait() {
        let queue = Queue::new(2);
        assert_eq!(queue.offer(1), Ok(()));
        assert_eq!(queue.offer(2), Ok(()));
        assert_eq!(queue.offer(3), Err(Refused::Full));
        assert_eq!(
            queue.load(),
            Load {
                idle: 0,
                waiting: 2
            }
        );
        assert_eq!(queue.take(), Some(1));
        assert_eq!(queue.take_waiting(|job| *job > 2), None);
        assert_eq!(queue.take_waiting(|job| *job == 2), Some(2));
        assert_eq!(queue.take_waiting(|_| true), None);
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_then_ends() {
        let queue = Queue::new(2);
        assert_eq!(queue.offer(1), Ok(()));
        queue.close();
        assert_eq!(queue.offer(2), Err(Refused::Closed));
        assert_eq!((queue.take(), queue.take()), (Some(1), None));
    }
}
