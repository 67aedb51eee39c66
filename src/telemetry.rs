//! What operators see: logs, metrics, and whether the river flows.

mod json_lines;
mod log_control;
mod logging;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;
use tokio::time::Instant;

pub use log_control::{LogControl, LogState};
pub use logging::{LogFilter, LogFormat, LogOptionError, LogOptions, init_logging};

/// Every counter and gauge of the process; cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Changes read from the log.
    pub changes: Counter,
    /// Custom messages read from the log.
    pub messages: Counter,
    /// Gaps reported, by reason.
    pub gaps: Family<ReasonLabel, Counter>,
    /// Reads of the log.
    pub log_reads: Counter,
    /// Notifications heard.
    pub rings: Counter,
    /// Capture sessions that ended with an error.
    pub capture_failures: Counter,
    /// 1 while changes are not recorded, for want of room.
    pub log_closed: Gauge,
    /// From a change being read to its being in every mailbox, in seconds.
    pub fanout_seconds: Histogram,
    /// Frames put into mailboxes.
    pub deliveries: Counter,
    /// How often rules and filters were asked about a row, for one subscriber or several at once.
    pub decisions: Counter,
    /// Connected subscribers.
    pub subscribers: Gauge,
    /// Subscriptions of all subscribers.
    pub subscriptions: Gauge,
    /// Subscribers let go by the server, by reason.
    pub disconnects: Family<ReasonLabel, Counter>,
    /// Streams or requests turned away at the door, by reason.
    pub rejections: Family<ReasonLabel, Counter>,
    /// Denials because a rule could not be decided, by reason.
    pub rule_errors: Family<ReasonLabel, Counter>,
    /// Names left out of records' `expand`, by reason.
    pub expand_missing: Family<ReasonLabel, Counter>,
    /// Lookups of rows of other collections, by outcome.
    pub related_fetches: Family<OutcomeLabel, Counter>,
    /// How long such lookups take, in seconds: all at once that a batch of changes needs.
    pub related_fetch_seconds: Histogram,
    /// Rules of the policy that cannot be used, and deny.
    pub broken_rules: Gauge,
    /// Requests for another issuer's key set, by outcome.
    pub key_set_fetches: Family<ReasonLabel, Counter>,
    /// Frames that could not be written without breaking a stream.
    pub unwritable_frames: Counter,
    /// Templates that could not be rendered, by reason; each time something was not told.
    pub template_failures: Family<ReasonLabel, Counter>,
    /// Subscribers who were told what they had missed, by outcome.
    pub resumes: Family<OutcomeLabel, Counter>,
    /// Resume keys that are not remembered, by whose limit: the subscriber's or the server's.
    pub resume_keys_refused: Family<ReasonLabel, Counter>,
    /// Snapshots that were asked for, by outcome.
    pub snapshots: Family<OutcomeLabel, Counter>,
    /// Hooks that did not do what they were asked, by stage and how they failed.
    pub hook_failures: Family<HookFailureLabel, Counter>,
    /// Body bytes given to streams.
    pub stream_bytes: Counter<u64, AtomicU64>,
}

/// A reason, as a metric label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// One of a fixed set of words.
    pub reason: &'static str,
}

/// An outcome, as a metric label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// One of a fixed set of words.
    pub outcome: &'static str,
}

/// How a hook failed, as metric labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HookFailureLabel {
    /// The stage, such as `connect`.
    pub stage: &'static str,
    /// One of a fixed set of words.
    pub failure: &'static str,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("rowcast");
        let mut metrics = Self {
            registry: Arc::default(),
            changes: Counter::default(),
            messages: Counter::default(),
            gaps: Family::default(),
            log_reads: Counter::default(),
            rings: Counter::default(),
            capture_failures: Counter::default(),
            log_closed: Gauge::default(),
            fanout_seconds: Histogram::new(exponential_buckets(0.000_01, 4.0, 10)),
            deliveries: Counter::default(),
            decisions: Counter::default(),
            subscribers: Gauge::default(),
            subscriptions: Gauge::default(),
            disconnects: Family::default(),
            rejections: Family::default(),
            rule_errors: Family::default(),
            expand_missing: Family::default(),
            related_fetches: Family::default(),
            related_fetch_seconds: Histogram::new(exponential_buckets(0.000_1, 4.0, 9)),
            broken_rules: Gauge::default(),
            key_set_fetches: Family::default(),
            resumes: Family::default(),
            resume_keys_refused: Family::default(),
            snapshots: Family::default(),
            unwritable_frames: Counter::default(),
            template_failures: Family::default(),
            hook_failures: Family::default(),
            stream_bytes: Counter::default(),
        };
        let m = &metrics;
        registry.register("changes", "Changes read from the log", m.changes.clone());
        registry.register(
            "messages",
            "Custom messages read from the log",
            m.messages.clone(),
        );
        registry.register("gaps", "Gaps reported to subscribers", m.gaps.clone());
        registry.register("log_reads", "Reads of the change log", m.log_reads.clone());
        registry.register("rings", "Notifications heard", m.rings.clone());
        registry.register(
            "capture_failures",
            "Capture sessions that ended with an error",
            m.capture_failures.clone(),
        );
        registry.register(
            "log_closed",
            "1 while changes are not recorded for want of room below the log",
            m.log_closed.clone(),
        );
        registry.register_with_unit(
            "fanout",
            "From a change being read to its being in every mailbox",
            Unit::Seconds,
            m.fanout_seconds.clone(),
        );
        registry.register(
            "deliveries",
            "Frames put into mailboxes",
            m.deliveries.clone(),
        );
        registry.register(
            "decisions",
            "Times that rules and filters were asked about a row, for one subscriber or several at once",
            m.decisions.clone(),
        );
        registry.register(
            "subscribers",
            "Connected subscribers",
            m.subscribers.clone(),
        );
        registry.register(
            "subscriptions",
            "Subscriptions of all subscribers",
            m.subscriptions.clone(),
        );
        registry.register(
            "disconnects",
            "Subscribers let go by the server",
            m.disconnects.clone(),
        );
        registry.register(
            "rejections",
            "Requests turned away at the door",
            m.rejections.clone(),
        );
        registry.register(
            "rule_errors",
            "Denials because a rule could not be decided",
            m.rule_errors.clone(),
        );
        registry.register(
            "expand_missing",
            "Names left out of expand because the records could not be had or were too many",
            m.expand_missing.clone(),
        );
        registry.register(
            "related_fetches",
            "Lookups of rows of other collections",
            m.related_fetches.clone(),
        );
        registry.register_with_unit(
            "related_fetch",
            "How long lookups of rows of other collections take",
            Unit::Seconds,
            m.related_fetch_seconds.clone(),
        );
        registry.register(
            "broken_rules",
            "Rules of the policy that cannot be used, and deny",
            m.broken_rules.clone(),
        );
        registry.register(
            "key_set_fetches",
            "Requests for another issuer's key set",
            m.key_set_fetches.clone(),
        );
        registry.register(
            "resumes",
            "Subscribers who came back and were told what they had missed, or to load afresh",
            m.resumes.clone(),
        );
        registry.register(
            "resume_keys_refused",
            "Resume keys that are not remembered because the subscriber or the server has too many",
            m.resume_keys_refused.clone(),
        );
        registry.register(
            "snapshots",
            "Snapshots of collections that subscribers asked for",
            m.snapshots.clone(),
        );
        registry.register(
            "unwritable_frames",
            "Frames that could not be written without breaking a stream",
            m.unwritable_frames.clone(),
        );
        registry.register(
            "template_failures",
            "Templates that could not be rendered, so that something was not told",
            m.template_failures.clone(),
        );
        registry.register(
            "hook_failures",
            "Hooks and webhooks that did not do what they were asked",
            m.hook_failures.clone(),
        );
        registry.register_with_unit(
            "stream",
            "Body bytes given to streams",
            Unit::Bytes,
            m.stream_bytes.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string cannot fail");
        text
    }

    /// Counts one more for `reason` in a family.
    pub fn count(family: &Family<ReasonLabel, Counter>, reason: &'static str) {
        Self::count_by(family, reason, 1);
    }

    /// Counts several more for `reason` in a family.
    pub fn count_by(family: &Family<ReasonLabel, Counter>, reason: &'static str, count: u64) {
        family.get_or_create(&ReasonLabel { reason }).inc_by(count);
    }

    /// Counts one more for `outcome` in a family.
    pub fn count_outcome(family: &Family<OutcomeLabel, Counter>, outcome: &'static str) {
        family.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts lookups of rows of other collections.
    pub fn count_related(&self, outcome: &'static str, lookups: usize) {
        let counter = self
            .related_fetches
            .get_or_create(&OutcomeLabel { outcome });
        counter.inc_by(lookups as u64);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// How capture is doing, as last said by capture itself.
#[derive(Debug, Clone)]
pub struct CaptureHealth {
    /// What it is doing.
    pub state: CaptureState,
    /// Since when.
    pub since: Instant,
    /// When the database last answered; `None` before the first time.
    pub last_contact: Option<Instant>,
    /// Whether capture has a place in the log, so that nothing after it can be missed.
    pub placed: bool,
}

/// What capture is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureState {
    /// Not connected yet, or not any more.
    Disconnected,
    /// Connected, and behind: reading what happened meanwhile.
    CatchingUp,
    /// Connected, nothing unread.
    Live,
}

/// A rule that cannot be used, and denies; in words that may be shown to whoever reaches the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRule {
    /// The collection it is about.
    pub collection: Arc<str>,
    /// Which of its rules, as the policy says it.
    pub kind: Arc<str>,
    /// Why, as in the metric `rule_errors`.
    pub error: &'static str,
}

/// Lookups of a collection's records that are not made for now, because the last took too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowLookup {
    /// The collection.
    pub collection: Arc<str>,
    /// When they are tried again.
    pub until: Instant,
}

/// Where capture says how it is doing.
#[derive(Debug)]
pub struct HealthReporter {
    capture: watch::Sender<CaptureHealth>,
    rules: watch::Sender<Arc<[BrokenRule]>>,
    lookups: LookupReporter,
    recording: RecordingReporter,
}

/// Where it is said whether changes are recorded.
#[derive(Debug, Clone)]
pub struct RecordingReporter(watch::Sender<bool>);

/// Where it is said which rules are broken.
#[derive(Debug)]
pub struct RuleReporter(watch::Sender<Arc<[BrokenRule]>>);

/// Where it is said which lookups are held back.
#[derive(Debug, Clone, Default)]
pub struct LookupReporter(watch::Sender<Arc<[SlowLookup]>>);

/// Where others learn how capture is doing, which rules are broken and which lookups are held back.
#[derive(Debug, Clone)]
pub struct HealthMonitor {
    capture: watch::Receiver<CaptureHealth>,
    rules: watch::Receiver<Arc<[BrokenRule]>>,
    lookups: watch::Receiver<Arc<[SlowLookup]>>,
    recording: watch::Receiver<bool>,
}

/// A reporter and a monitor of the same health, disconnected at first.
pub fn health() -> (HealthReporter, HealthMonitor) {
    let (sender, receiver) = watch::channel(CaptureHealth {
        state: CaptureState::Disconnected,
        since: Instant::now(),
        last_contact: None,
        placed: false,
    });
    let (rules_sender, rules) = watch::channel(Arc::default());
    let (recording_sender, recording) = watch::channel(true);
    let reporter = HealthReporter {
        capture: sender,
        rules: rules_sender,
        lookups: LookupReporter::default(),
        recording: RecordingReporter(recording_sender),
    };
    let monitor = HealthMonitor {
        capture: receiver,
        rules,
        lookups: reporter.lookups.0.subscribe(),
        recording,
    };
    (reporter, monitor)
}

impl LookupReporter {
    /// Says which lookups are held back.
    pub fn set(&self, slow: Arc<[SlowLookup]>) {
        self.0.send_replace(slow);
    }
}

impl RecordingReporter {
    /// Says whether changes are recorded.
    pub fn set(&self, recording: bool) {
        self.0.send_replace(recording);
    }
}

impl RuleReporter {
    /// Says which rules are broken now.
    pub fn set(&self, broken: Arc<[BrokenRule]>) {
        self.0.send_replace(broken);
    }
}

impl HealthReporter {
    /// Where to say which rules are broken.
    pub fn rules(&self) -> RuleReporter {
        RuleReporter(self.rules.clone())
    }

    /// Where to say which lookups are held back.
    pub fn lookups(&self) -> LookupReporter {
        self.lookups.clone()
    }

    /// Where to say whether changes are recorded.
    pub fn recording(&self) -> RecordingReporter {
        self.recording.clone()
    }

    /// Says that the database has answered and what capture does now.
    pub fn contact(&self, state: CaptureState) {
        self.capture.send_modify(|health| {
            let now = Instant::now();
            if health.state != state {
                health.since = now;
            }
            health.state = state;
            health.last_contact = Some(now);
        });
    }

    /// Says that capture has its place in the log: from now on it will hand on every change.
    pub fn placed(&self) {
        self.capture.send_modify(|health| health.placed = true);
    }

    /// Says that the database is out of reach.
    pub fn disconnected(&self) {
        self.capture.send_modify(|health| {
            if health.state != CaptureState::Disconnected {
                health.state = CaptureState::Disconnected;
                health.since = Instant::now();
            }
        });
    }
}

impl HealthMonitor {
    /// The health as of now.
    pub fn current(&self) -> CaptureHealth {
        self.capture.borrow().clone()
    }

    /// The rules that are broken, as of now.
    pub fn broken_rules(&self) -> Arc<[BrokenRule]> {
        Arc::clone(&self.rules.borrow())
    }

    /// The lookups that are held back, as of now.
    pub fn slow_lookups(&self) -> Vec<SlowLookup> {
        let now = Instant::now();
        let slow = self.lookups.borrow();
        slow.iter().filter(|one| one.until > now).cloned().collect()
    }

    /// Waits until the broken rules are said anew. Safe to drop half-way.
    pub async fn rules_changed(&mut self) {
        // As in `live`.
        let _ = self.rules.changed().await;
    }

    /// Why the feed cannot be relied on now, or `None` if it can: `behind_max` is how long capture
    /// may be behind, and `silence_max` how long it may go without an answer from the database.
    pub fn trouble(&self, behind_max: Duration, silence_max: Duration) -> Option<&'static str> {
        let health = self.current();
        match health.state {
            CaptureState::Disconnected => Some("not connected to the database"),
            _ if !health.placed => Some("starting"),
            _ if !*self.recording.borrow() => {
                Some("changes are not recorded: there is no room for the change log")
            }
            CaptureState::CatchingUp if health.since.elapsed() > behind_max => {
                Some("behind the change log")
            }
            _ if health
                .last_contact
                .is_none_or(|at| at.elapsed() > silence_max) =>
            {
                Some("no answer from the database")
            }
            _ => None,
        }
    }

    /// Waits until capture has its place in the log: who subscribes now misses nothing that is
    /// committed from now on. Safe to drop half-way.
    pub async fn placed(&mut self) {
        // As in `live`.
        let _ = self.capture.wait_for(|health| health.placed).await;
    }

    /// Waits until capture is live. Safe to drop half-way.
    pub async fn live(&mut self) {
        // The reporter being gone means the process is ending; nobody waits much longer.
        let _ = self
            .capture
            .wait_for(|health| health.state == CaptureState::Live)
            .await;
    }
}
