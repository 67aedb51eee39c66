//! Joins the rooms with channels, runs them, and empties the house in order.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::audit::Auditor;
use crate::auth::{Authenticator, ForeignTokens, KeySetKeeper, Login};
use crate::capture::{Capture, CaptureOptions, Past, Retention};
use crate::db::{Database, DatabaseConfigError, DatabaseOptions};
use crate::event::FeedItem;
use crate::hooks::Hooks;
use crate::http::{self, HttpOptions, Neighbours, Router};
use crate::hub::{Hub, HubHandle, HubOptions, LoginJudge};
use crate::messages::Messenger;
use crate::points::{Keeper, PointsOptions};
use crate::related::{DatabaseLibrary, DatabaseTables, Library};
use crate::shutdown::Shutdown;
use crate::telemetry::{HealthMonitor, LogControl, Metrics, health};
use crate::templates::Templates;
use crate::webhooks::{WebhookOptions, Webhooks};

pub use crate::http::listen;

/// Feed items that may wait for the hub; then capture waits, and the log keeps everything.
const FEED_ITEMS: usize = 1024;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// Where the database is.
    pub database: DatabaseOptions,
    /// How the log is read and kept.
    pub capture: CaptureOptions,
    /// Limits of the fan-out.
    pub hub: HubOptions,
    /// How long clients with keys are remembered.
    pub points: PointsOptions,
    /// Timers and limits of the HTTP side.
    pub http: HttpOptions,
    /// Whose tokens are believed beside our own.
    pub foreign_tokens: Option<ForeignTokens>,
    /// What superusers may change the log by.
    pub log: Option<LogControl>,
    /// Who is asked and told over HTTP what happens to streams.
    pub webhooks: Vec<WebhookOptions>,
    /// The folder with templates, if there are any.
    pub templates: Option<PathBuf>,
}

impl AppOptions {
    /// The defaults, for one database.
    pub fn new(database: DatabaseOptions) -> Self {
        Self {
            database,
            capture: CaptureOptions::default(),
            hub: HubOptions::default(),
            points: PointsOptions::default(),
            http: HttpOptions::default(),
            foreign_tokens: None,
            log: None,
            webhooks: Vec::new(),
            templates: None,
        }
    }
}

/// The whole feed, built and not yet running.
pub struct App {
    capture: Capture,
    retention: Retention,
    keeper: Option<KeySetKeeper>,
    point_keeper: Keeper,
    webhooks: Webhooks,
    /// Boxed, because this is part of futures that are moved about.
    hub: Box<Hub>,
    auditor: Auditor,
    feed: mpsc::Receiver<FeedItem>,
    neighbours: Neighbours,
    http: HttpOptions,
}

/// A part ended that should have run as long as the process.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part} ended unexpectedly; this is a defect in rowcast, please report it with the log above"
)]
pub struct PartEnded {
    /// Which.
    pub part: &'static str,
}

impl App {
    /// Builds all parts; connects to nothing yet. The schema must have been migrated
    /// ([`crate::db::migrate`]).
    ///
    /// # Errors
    /// If the database's address cannot be understood.
    pub fn new(options: AppOptions) -> Result<Self, DatabaseConfigError> {
        let database = Database::new(&options.database)?;
        let metrics = Metrics::new();
        let (reporter, monitor) = health();
        let rule_reporter = reporter.rules();
        let recording = reporter.recording();
        let (changes, feed) = mpsc::channel(FEED_ITEMS);
        let library = DatabaseLibrary::new(database.clone(), metrics.clone());
        let library = library.reporting(reporter.lookups());
        let library: Arc<dyn Library> = Arc::new(library);
        let hooks = Hooks::new();
        let templates = Templates::new(options.templates, metrics.clone());
        let (hub, handle) = Hub::new(options.hub, Arc::clone(&library), metrics.clone());
        let past = Past::new(database.clone(), &options.capture);
        let recent = past.clone();
        let (point_keeper, points) = Keeper::new(database.clone(), options.points);
        let hub = hub
            .with_recent(Arc::new(move |changes| recent.recent(changes)))
            .with_past(Arc::new(move |position| past.since(position)))
            .with_hooks(&hooks)
            .with_templates(templates.clone())
            .with_points(points.clone())
            .with_tables(Arc::new(DatabaseTables::new(database.clone())));
        let handle = handle.with_points(points);
        let capture = Capture::new(
            database.clone(),
            options.capture.clone(),
            changes,
            reporter,
            metrics.clone(),
        );
        let auditor = Auditor::new(hub.catalogs(), rule_reporter, metrics.clone());
        let foreign = options.foreign_tokens.as_ref();
        let keeper = foreign.and_then(|foreign| foreign.keeper(metrics.clone()));
        let authenticator = Authenticator::new(database.clone());
        let messenger = Messenger::new(database.clone());
        let authenticator = authenticator.believing(options.foreign_tokens);
        Ok(Self {
            capture,
            retention: Retention::new(database, options.capture, recording, metrics.clone()),
            keeper,
            point_keeper,
            webhooks: Webhooks::bind(options.webhooks, &hooks, &metrics),
            hub: Box::new(hub),
            auditor,
            feed,
            neighbours: Neighbours {
                hub: handle,
                hooks,
                login: Login::new(
                    authenticator.clone(),
                    LoginJudge::new(Arc::clone(&library), metrics.clone()),
                ),
                authenticator: Arc::new(authenticator),
                health: monitor,
                metrics,
                log: options.log,
                messenger,
                templates,
            },
            http: options.http,
        })
    }

    /// The endpoints, for an application that serves them itself.
    pub fn router(&self) -> Router {
        http::router(self.neighbours.clone(), self.http.clone())
    }

    /// The way into the hub.
    pub fn hub(&self) -> &HubHandle {
        &self.neighbours.hub
    }

    /// The way into the log for messages of the application's own.
    pub fn messenger(&self) -> &Messenger {
        &self.neighbours.messenger
    }

    /// What makes HTML, for messages of the application's own.
    pub fn templates(&self) -> &Templates {
        &self.neighbours.templates
    }

    /// Who is asked and told what happens to streams; hooks may be bound at any time.
    pub fn hooks(&self) -> &Hooks {
        &self.neighbours.hooks
    }

    /// How the feed is doing.
    pub fn health(&self) -> HealthMonitor {
        self.neighbours.health.clone()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.neighbours.metrics
    }

    /// Serves on `listener` until told to stop, then lets streams end cleanly and requests finish.
    ///
    /// # Errors
    /// If a part ended that should not have; everything else is stopped then.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), PartEnded> {
        let router = self.router();
        let options = self.http.clone();
        self.run_with("the HTTP server", shutdown.clone(), async move {
            http::serve(listener, router, options, shutdown).await;
        })
        .await
    }

    /// Runs everything but the HTTP server, for an application that serves [`router`](Self::router)
    /// itself.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_feed(self, shutdown: Shutdown) -> Result<(), PartEnded> {
        let stop = shutdown.soft.clone();
        self.run_with("the application", shutdown, async move {
            stop.cancelled().await
        })
        .await
    }

    async fn run_with(
        self,
        door: &'static str,
        shutdown: Shutdown,
        serve: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), PartEnded> {
        let stop = shutdown.soft.clone();
        let mut parts = JoinSet::new();
        let named = |part: &'static str| move |()| part;
        use futures_util::FutureExt as _;
        let mut names = Vec::new();
        let mut spawned = |part: AbortHandle, name| names.push((part.id(), name));
        let capture = self.capture.run(stop.clone()).map(named("capture"));
        spawned(parts.spawn(capture), "capture");
        let retention = self.retention.run(stop.clone()).map(named("retention"));
        spawned(parts.spawn(retention), "retention");
        let hub = self.hub.run(self.feed, stop.clone()).map(named("the hub"));
        spawned(parts.spawn(hub), "the hub");
        let points = self
            .point_keeper
            .run(stop.clone())
            .map(named("the keeper of resume points"));
        spawned(parts.spawn(points), "the keeper of resume points");
        let auditor = self.auditor.run(stop.clone()).map(named("the auditor"));
        spawned(parts.spawn(auditor), "the auditor");
        if let Some(keeper) = self.keeper {
            let name = "the keeper of the key set";
            spawned(parts.spawn(keeper.run(stop.clone()).map(named(name))), name);
        }
        let farewells = self.neighbours.hooks.farewells().clone();
        let farewells = farewells.run(self.http.server.drain, stop.clone());
        let name = "the disconnect hooks";
        spawned(parts.spawn(farewells.map(named(name))), name);
        let hooks = self.neighbours.hooks.clone();
        let webhooks = self
            .webhooks
            .run(hooks, self.http.server.drain, stop.clone());
        spawned(
            parts.spawn(webhooks.map(named("the webhooks"))),
            "the webhooks",
        );
        spawned(parts.spawn(serve.map(named(door))), door);
        let mut outcome = Ok(());
        loop {
            let ended = tokio::select! {
                () = shutdown.hard.cancelled() => {
                    parts.abort_all();
                    return outcome;
                }
                ended = parts.join_next() => ended,
            };
            let part = match ended {
                None => return outcome,
                Some(Ok(part)) => part,
                // A panic: its message is in the log already.
                Some(Err(error)) => names
                    .iter()
                    .find(|(id, _)| *id == error.id())
                    .map_or("a part", |(_, part)| part),
            };
            if !stop.is_cancelled() {
                tracing::error!(part, "ended unexpectedly; stopping everything");
                outcome = Err(PartEnded { part });
                stop.cancel();
            }
        }
    }
}
