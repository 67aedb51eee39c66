//! Before subscriptions are replaced.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::{Chain, Flow, Refusal, Subscriber};
use crate::auth::Principal;
use crate::telemetry::Metrics;
use crate::topic::Subscription;

/// A request to replace subscriptions that has passed all checks.
#[non_exhaustive]
pub struct Subscribe {
    /// Whose they are.
    pub subscriber: Subscriber,
    /// Who the request has proved to be: the stream's principal from now on.
    pub principal: Principal,
    /// The request's headers; of a stream that names its subscriptions itself, that request's.
    pub headers: HeaderMap,
    /// What replaces the subscriptions so far; may be changed. The client listens for what it wrote
    /// itself, byte for byte.
    pub subscriptions: Vec<Subscription>,
}

/// What is asked: reject with a [`Refusal`], replace the subscriptions with [`Flow::Next`], or with
/// [`Flow::Stop`] answer 200 and leave everything as it was.
pub type SubscribeHook =
    Arc<dyn for<'a> Fn(&'a mut Subscribe) -> BoxFuture<'a, Result<Flow, Refusal>> + Send + Sync>;

impl Subscribe {
    /// A request.
    pub fn new(
        subscriber: Subscriber,
        principal: Principal,
        headers: HeaderMap,
        subscriptions: Vec<Subscription>,
    ) -> Self {
        Self {
            subscriber,
            principal,
            headers,
            subscriptions,
        }
    }
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("subscriber", &self.subscriber)
            .field("subscriptions", &self.subscriptions.len())
            .finish_non_exhaustive()
    }
}

impl Chain<SubscribeHook> {
    /// Binds a hook, or replaces the one with this id. It may wait; the request waits with it, no
    /// longer than any request may take.
    pub fn bind<F>(&self, id: &str, priority: i32, hook: F)
    where
        F: for<'a> Fn(&'a mut Subscribe) -> BoxFuture<'a, Result<Flow, Refusal>>
            + Send
            + Sync
            + 'static,
    {
        self.insert(id, priority, Arc::new(hook));
    }

    /// Asks all, until one says no or stops.
    pub(crate) async fn run(
        &self,
        subscribe: &mut Subscribe,
        metrics: &Metrics,
    ) -> Result<Flow, Refusal> {
        for bound in self.bound().iter() {
            let asked = bound.call_async("subscribe", metrics, async {
                (bound.hook)(subscribe).await
            });
            if asked.await.unwrap_or(Err(Refusal::internal()))? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Next)
    }
}
