//! Hooks for those who run the binary: each stage as a signed HTTP request to an address of theirs.
//!
//! *Owns* what such requests and their answers look like, their signatures, limits and retries.
//! *Takes* the settings of each webhook.
//! *Gives* hooks to the chains of [`Hooks`], and a task that delivers what nobody waits for.
//! *Never* lets an address that hangs or talks nonsense disturb more than the requests that asked for it.

mod answer;
mod call;
mod deliver;
mod options;
mod payload;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::hooks::{Flow, Hooks, MessageFlow};
use crate::telemetry::{HookFailureLabel, Metrics};

use answer::Decision;
use call::Caller;
use deliver::{Courier, Notice};
pub use options::{
    Failure, SecretError, Stage, UrlError, WebhookOptions, WebhookSecret, WebhookUrl,
};

/// Webhooks ask before an application's own hooks of priority 0, and are told after them.
const ASKS_FIRST: i32 = -1_000;
const TOLD_LAST: i32 = 1_000;

/// All webhooks of a feed.
pub struct Webhooks {
    couriers: Vec<Courier>,
}

impl Webhooks {
    /// Binds a hook for every stage of every webhook. Connects to nothing yet.
    pub fn bind(options: Vec<WebhookOptions>, hooks: &Hooks, metrics: &Metrics) -> Self {
        let bound = options.into_iter().enumerate();
        let couriers = bound.filter_map(|(n, options)| {
            let id = format!("webhook {n}");
            let courier = bind(&id, options, hooks, metrics);
            courier.tells_anything().then_some(courier)
        });
        Self {
            couriers: couriers.collect(),
        }
    }

    /// Delivers until told to stop, and then what is still to be told, as far as there is time.
    pub async fn run(self, hooks: Hooks, drain: Duration, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for courier in self.couriers {
            tasks.spawn(courier.run(hooks.farewells().clone(), drain, stop.clone()));
        }
        stop.cancelled().await;
        tasks.join_all().await;
    }
}

fn bind(id: &str, options: WebhookOptions, hooks: &Hooks, metrics: &Metrics) -> Courier {
    let options = Arc::new(options);
    let caller = Caller::new(Arc::clone(&options));
    // When full, what is to be told is left out and counted: streams must not wait.
    let (notices, waiting) = mpsc::channel(options.queue);
    let stages = options.on.clone();
    if stages.contains(&Stage::Connect) {
        bind_connect(id, caller.clone(), hooks, metrics.clone());
    }
    if stages.contains(&Stage::Subscribe) {
        bind_subscribe(id, caller.clone(), hooks, metrics.clone());
    }
    if stages.contains(&Stage::Disconnect) {
        let (notices, metrics) = (notices.clone(), metrics.clone());
        hooks.disconnect.bind(id, TOLD_LAST, move |end| {
            put(&notices, Notice::disconnect(end), "disconnect", &metrics);
            Box::pin(async {})
        });
    }
    if stages.contains(&Stage::Message) {
        let (notices, metrics) = (notices.clone(), metrics.clone());
        let of_interest = options.topics.clone();
        hooks.message.bind(id, TOLD_LAST, move |message| {
            let topic = message.name.split('?').next().unwrap_or_default();
            if of_interest.iter().any(|one| one == topic) {
                put(&notices, Notice::message(message), "message", &metrics);
            }
            MessageFlow::Next
        });
    }
    Courier::new(caller, waiting, metrics.clone())
}

fn put(notices: &mpsc::Sender<Notice>, notice: Notice, stage: &'static str, metrics: &Metrics) {
    if notices.try_send(notice).is_err() {
        count(metrics, stage, "queue_full");
    }
}

fn count(metrics: &Metrics, stage: &'static str, failure: &'static str) {
    let label = HookFailureLabel { stage, failure };
    metrics.hook_failures.get_or_create(&label).inc();
}

fn bind_connect(id: &str, caller: Caller, hooks: &Hooks, metrics: Metrics) {
    hooks.connect.bind(id, ASKS_FIRST, move |connect| {
        let (caller, metrics) = (caller.clone(), metrics.clone());
        Box::pin(async move {
            let asked = payload::connect(connect, &caller.options().forward_headers);
            match caller.ask("connect", &asked, &metrics).await? {
                Decision::Open => {}
                Decision::Said(said) => said.set_terms(connect),
            }
            Ok(Flow::Next)
        })
    });
}

fn bind_subscribe(id: &str, caller: Caller, hooks: &Hooks, metrics: Metrics) {
    hooks.subscribe.bind(id, ASKS_FIRST, move |subscribe| {
        let (caller, metrics) = (caller.clone(), metrics.clone());
        Box::pin(async move {
            let asked = payload::subscribe(subscribe, &caller.options().forward_headers);
            match caller.ask("subscribe", &asked, &metrics).await? {
                Decision::Open => {}
                Decision::Said(said) => said.set_subscriptions(subscribe),
            }
            Ok(Flow::Next)
        })
    });
}
