//! What a request knows of the connection that it came on: whether the server is stopping, and what is to be done once the
//! connection has been upgraded to something else than HTTP.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Extensions;
use tokio::sync::watch;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Until the server is to stop. Whoever holds one is waited for by the server that stops.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(Option<watch::Receiver<()>>);

impl Stopping {
    pub(crate) fn new(receiver: watch::Receiver<()>) -> Self {
        Self(Some(receiver))
    }

    /// That of the connection of a request; without a connection nothing ever stops.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self(None))
    }

    /// Resolves when the server is to stop. Dropped while it waits, it has missed nothing.
    pub(crate) async fn told(&mut self) {
        match &mut self.0 {
            // It stops as well if there is nobody left to say so.
            Some(receiver) => drop(receiver.changed().await),
            None => pending().await,
        }
    }
}

/// What a connection does once HTTP is over on it. Clones are of the same connection.
#[derive(Clone, Default)]
pub(crate) struct Afterwards(Arc<Mutex<Option<Work>>>);

impl Afterwards {
    /// That of the connection of a request; none if it cannot be upgraded.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().cloned()
    }

    /// This is to be done.
    pub(crate) fn set(&self, work: impl Future<Output = ()> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(work));
    }

    /// What is to be done, if something is.
    pub(crate) fn take(&self) -> Option<Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
