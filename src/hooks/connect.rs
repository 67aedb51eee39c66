//! Before a stream is opened.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Uri};

use super::{Chain, Flow, Refusal, Subscriber};
use crate::auth::Principal;
use crate::telemetry::Metrics;

/// A request for a stream, before anything is registered or written.
#[non_exhaustive]
pub struct Connect {
    /// The stream it will be.
    pub subscriber: Subscriber,
    /// Who the request's `Authorization` proves to be. The stream itself begins as a guest's, whatever
    /// it says here.
    pub principal: Principal,
    /// What was asked for.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// Headers to answer with beside the usual ones, which they replace.
    pub response_headers: HeaderMap,
    /// How long this stream may go without an event.
    pub idle_timeout: Duration,
    /// How long this stream lives at most: the setting, shortened by its jitter, unless replaced here.
    pub lifetime: Duration,
    held: Vec<Box<dyn Any + Send>>,
}

/// What is asked: reject with a [`Refusal`], open the stream with [`Flow::Next`], or with [`Flow::Stop`]
/// answer 200 with an empty body and open nothing.
pub type ConnectHook =
    Arc<dyn for<'a> Fn(&'a mut Connect) -> BoxFuture<'a, Result<Flow, Refusal>> + Send + Sync>;

impl Connect {
    /// A request, with the defaults of its stream.
    pub fn new(subscriber: Subscriber, idle_timeout: Duration, lifetime: Duration) -> Self {
        Self {
            subscriber,
            principal: Principal::Guest,
            uri: Uri::default(),
            headers: HeaderMap::new(),
            response_headers: HeaderMap::new(),
            idle_timeout,
            lifetime,
            held: Vec::new(),
        }
    }

    /// Keeps a value for as long as the stream lasts, and drops it when it has ended, or when it was
    /// never opened: a place among a limited number, say.
    pub fn hold(&mut self, value: impl Any + Send) {
        self.held.push(Box::new(value));
    }

    /// What is to be dropped when the stream has ended.
    pub(crate) fn take_held(&mut self) -> Vec<Box<dyn Any + Send>> {
        std::mem::take(&mut self.held)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and queries may hold tokens.
        f.debug_struct("Connect")
            .field("subscriber", &self.subscriber)
            .field("idle_timeout", &self.idle_timeout)
            .field("lifetime", &self.lifetime)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl Chain<ConnectHook> {
    /// Binds a hook, or replaces the one with this id. It may wait; the request waits with it, no
    /// longer than any request may take.
    pub fn bind<F>(&self, id: &str, priority: i32, hook: F)
    where
        F: for<'a> Fn(&'a mut Connect) -> BoxFuture<'a, Result<Flow, Refusal>>
            + Send
            + Sync
            + 'static,
    {
        self.insert(id, priority, Arc::new(hook));
    }

    /// Asks all, until one says no or stops.
    pub(crate) async fn run(
        &self,
        connect: &mut Connect,
        metrics: &Metrics,
    ) -> Result<Flow, Refusal> {
        for bound in self.bound().iter() {
            let asked = bound.call_async("connect", metrics, async { (bound.hook)(connect).await });
            if asked.await.unwrap_or(Err(Refusal::internal()))? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Next)
    }
}
