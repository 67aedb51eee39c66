//! After a stream has ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{Chain, Subscriber};
use crate::auth::Principal;
use crate::telemetry::Metrics;

/// How long one hook may take; it is dropped then.
const HOOK_TIME_MAX: Duration = Duration::from_secs(30);

/// The end of a stream, or of a request for one.
#[derive(Clone)]
#[non_exhaustive]
pub struct Disconnect {
    /// Which.
    pub subscriber: Subscriber,
    /// Who it was at last: a guest if its token had ended before.
    pub principal: Principal,
    /// Why.
    pub reason: DisconnectReason,
    /// How long it was open.
    pub lasted: Duration,
}

/// Why a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client went, its connection broke, or it took no bytes for too long.
    ClientGone,
    /// It received no event for too long.
    Idle,
    /// It has lived long enough.
    Lifetime,
    /// It read too slowly, and its mailbox was full.
    Slow,
    /// The token that it subscribed with has ended.
    TokenExpired,
    /// Nobody knows what has become of the record behind it.
    AuthUnknown,
    /// Somebody who manages the feed ended it.
    Managed,
    /// The feed stops.
    Stopping,
    /// It was never opened: a hook or a limit refused it, or its subscriptions were not valid.
    Refused,
    /// It was never opened: a hook answered instead.
    Swallowed,
    /// A message hook ended it.
    Aborted,
    /// A hook panicked while it was asked about one of its messages.
    HookPanicked,
}

impl DisconnectReason {
    /// The word used in metrics and webhooks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Slow => "slow",
            Self::TokenExpired => "token_expired",
            Self::AuthUnknown => "auth_unknown",
            Self::Managed => "managed",
            Self::Stopping => "stopping",
            Self::Refused => "refused",
            Self::Swallowed => "swallowed",
            Self::Aborted => "aborted",
            Self::HookPanicked => "hook_panicked",
        }
    }

    /// Whether there was a stream at all.
    pub fn was_open(self) -> bool {
        !matches!(self, Self::Refused | Self::Swallowed)
    }
}

/// What is told. All hooks are, whatever becomes of the others.
pub type DisconnectHook = Arc<dyn for<'a> Fn(&'a Disconnect) -> BoxFuture<'a, ()> + Send + Sync>;

impl Disconnect {
    /// The end of one.
    pub fn new(
        subscriber: Subscriber,
        principal: Principal,
        reason: DisconnectReason,
        lasted: Duration,
    ) -> Self {
        Self {
            subscriber,
            principal,
            reason,
            lasted,
        }
    }
}

impl fmt::Debug for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disconnect")
            .field("subscriber", &self.subscriber)
            .field("reason", &self.reason)
            .field("lasted", &self.lasted)
            .finish_non_exhaustive()
    }
}

impl Chain<DisconnectHook> {
    /// Binds a hook, or replaces the one with this id. It may wait, up to 30 seconds; nobody waits
    /// with it but the end of the process.
    pub fn bind<F>(&self, id: &str, priority: i32, hook: F)
    where
        F: for<'a> Fn(&'a Disconnect) -> BoxFuture<'a, ()> + Send + Sync + 'static,
    {
        self.insert(id, priority, Arc::new(hook));
    }

    /// Tells all.
    pub(super) async fn run(&self, disconnect: &Disconnect, metrics: &Metrics) {
        for bound in self.bound().iter() {
            let told = async { timeout(HOOK_TIME_MAX, (bound.hook)(disconnect)).await };
            if let Ok(Err(_)) = bound.call_async("disconnect", metrics, told).await {
                bound.failed("disconnect", "timeout", metrics);
                tracing::warn!(
                    hook.id = bound.id(),
                    seconds = HOOK_TIME_MAX.as_secs(),
                    "a disconnect hook took too long and was dropped"
                );
            }
        }
    }
}
