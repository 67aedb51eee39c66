//! The hooks of one stage, in order.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio::sync::watch;

use crate::telemetry::{HookFailureLabel, Metrics};

/// The hooks of one stage; cloning shares them.
pub struct Chain<H>(Arc<Shared<H>>);

struct Shared<H> {
    /// Whether there are any: all that a stage without hooks costs.
    is_used: AtomicBool,
    /// Replaced as a whole, so that whoever goes through it is in nobody's way.
    bound: watch::Sender<Arc<[Bound<H>]>>,
}

/// One hook in its place.
pub(crate) struct Bound<H> {
    id: Arc<str>,
    priority: i32,
    pub(crate) hook: H,
}

/// A hook has panicked; it has been logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

impl<H: Clone> Chain<H> {
    /// Whether no hook is bound.
    pub fn is_empty(&self) -> bool {
        !self.0.is_used.load(Ordering::Acquire)
    }

    /// The ids of the hooks, in the order in which they are asked.
    pub fn ids(&self) -> Vec<Arc<str>> {
        let bound = self.bound();
        bound.iter().map(|bound| Arc::clone(&bound.id)).collect()
    }

    /// Takes a hook out; says whether there was one of this id.
    pub fn unbind(&self, id: &str) -> bool {
        self.0.bound.send_if_modified(|list| {
            let left: Arc<[_]> = list
                .iter()
                .filter(|bound| &*bound.id != id)
                .cloned()
                .collect();
            let found = left.len() < list.len();
            *list = left;
            self.0.is_used.store(!list.is_empty(), Ordering::Release);
            found
        })
    }

    /// Puts a hook in its place: that of the hook with the same id, which it replaces, if there is one
    /// of its priority; otherwise behind all of its priority.
    pub(super) fn insert(&self, id: &str, priority: i32, hook: H) {
        let hook = Bound {
            id: id.into(),
            priority,
            hook,
        };
        self.0.bound.send_modify(|list| {
            let mut hooks: Vec<_> = list.to_vec();
            match hooks.iter_mut().find(|bound| &*bound.id == id) {
                Some(place) => *place = hook,
                None => hooks.push(hook),
            }
            hooks.sort_by_key(|bound| bound.priority);
            *list = hooks.into();
            self.0.is_used.store(true, Ordering::Release);
        });
    }

    /// The hooks as of now.
    pub(crate) fn bound(&self) -> Arc<[Bound<H>]> {
        Arc::clone(&self.0.bound.borrow())
    }
}

impl<H> Bound<H> {
    /// Calls a hook that does not wait.
    pub(super) fn call<T>(
        &self,
        stage: &'static str,
        metrics: &Metrics,
        call: impl FnOnce(&H) -> T,
    ) -> Result<T, Panicked> {
        let outcome = catch_unwind(AssertUnwindSafe(|| call(&self.hook)));
        outcome.map_err(|panic| self.panicked(stage, metrics, &*panic))
    }

    /// Calls a hook that may wait.
    pub(super) async fn call_async<T>(
        &self,
        stage: &'static str,
        metrics: &Metrics,
        call: impl Future<Output = T>,
    ) -> Result<T, Panicked> {
        // What a panic leaves half-changed is dropped with the request or told to nobody.
        let outcome = AssertUnwindSafe(call).catch_unwind().await;
        outcome.map_err(|panic| self.panicked(stage, metrics, &*panic))
    }

    /// Notes that a hook did not do what it was asked.
    pub(super) fn failed(&self, stage: &'static str, failure: &'static str, metrics: &Metrics) {
        let label = HookFailureLabel { stage, failure };
        metrics.hook_failures.get_or_create(&label).inc();
    }

    fn panicked(
        &self,
        stage: &'static str,
        metrics: &Metrics,
        panic: &(dyn std::any::Any + Send),
    ) -> Panicked {
        self.failed(stage, "panic", metrics);
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        tracing::error!(
            hook.id = &*self.id,
            stage,
            panic = words.unwrap_or("without words"),
            "a hook panicked"
        );
        Panicked
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl<H: Clone> Clone for Bound<H> {
    fn clone(&self) -> Self {
        Self {
            id: Arc::clone(&self.id),
            priority: self.priority,
            hook: self.hook.clone(),
        }
    }
}

impl<H> Clone for Chain<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H> Default for Chain<H> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            is_used: AtomicBool::new(false),
            bound: watch::Sender::new(Arc::new([])),
        }))
    }
}

impl<H> fmt::Debug for Chain<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.0.bound.borrow();
        let ids = bound.iter().map(|bound| (&bound.id, bound.priority));
        f.debug_list().entries(ids).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(chain: &Chain<u8>) -> Vec<(String, u8)> {
        let bound = chain.bound();
        let each = bound.iter().map(|bound| (bound.id.to_string(), bound.hook));
        each.collect()
    }

    #[test]
    fn hooks_stand_by_priority_and_then_as_they_were_bound() {
        let chain = Chain::default();
        assert!(chain.is_empty());
        for (id, priority, hook) in [("c", 5, 1), ("a", 0, 2), ("b", 0, 3), ("d", -1, 4)] {
            chain.insert(id, priority, hook);
        }
        let named = |hooks: &[(&str, u8)]| -> Vec<(String, u8)> {
            hooks
                .iter()
                .map(|(id, hook)| ((*id).to_owned(), *hook))
                .collect()
        };
        assert_eq!(
            ids(&chain),
            named(&[("d", 4), ("a", 2), ("b", 3), ("c", 1)])
        );
        // The same id replaces, in its place.
        chain.insert("a", 0, 9);
        assert_eq!(
            ids(&chain),
            named(&[("d", 4), ("a", 9), ("b", 3), ("c", 1)])
        );
        chain.insert("a", 7, 8);
        assert_eq!(
            ids(&chain),
            named(&[("d", 4), ("b", 3), ("c", 1), ("a", 8)])
        );
        assert!(!chain.is_empty());
        assert!(!chain.unbind("x"));
        for id in ["a", "b", "c", "d"] {
            assert!(chain.unbind(id), "{id}");
        }
        assert!(chain.is_empty() && chain.ids().is_empty());
    }
}
