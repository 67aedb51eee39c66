//! What a stream's task and the hub know of each other beside frames.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::auth::Principal;
use crate::hooks::DisconnectReason;

/// One per subscriber, written by one side and read by the other.
#[derive(Debug, Default)]
pub struct Line {
    /// Why the hub has ended the stream, if it has.
    ended: OnceLock<DisconnectReason>,
    /// Who it is. Read where hooks want to know; the hub never waits for it longer than for a copy.
    principal: Mutex<Principal>,
    /// Whether it wants records as HTML.
    takes_html: AtomicBool,
}

impl Line {
    /// Notes why the hub ends the stream; the first reason holds.
    pub(super) fn end(&self, reason: DisconnectReason) {
        let _ = self.ended.set(reason);
    }

    /// Notes who it is from now on.
    pub(super) fn set_principal(&self, principal: Principal) {
        *self.lock() = principal;
    }

    /// Whether the stream wants records as HTML, as far as collections have templates.
    pub(super) fn takes_html(&self) -> bool {
        self.takes_html.load(Ordering::Relaxed)
    }

    /// Asks for records as HTML, whatever the subscriptions say. To be called before there are any.
    pub fn take_html(&self) {
        self.takes_html.store(true, Ordering::Relaxed);
    }

    /// Why the hub has ended the stream; `None` if it has not, or only because it has stopped.
    pub fn ended(&self) -> Option<DisconnectReason> {
        self.ended.get().copied()
    }

    /// Who it is just now.
    pub fn principal(&self) -> Principal {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Principal> {
        // A whole value is put in, so that a panic leaves none half-changed.
        self.principal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
