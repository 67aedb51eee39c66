//! The whole service in this process, on a port of its own.

use std::net::SocketAddr;
use std::time::Duration;

use rowcast::app::{App, AppOptions, PartEnded};
use rowcast::capture::Bell;
use rowcast::db::DatabaseOptions;
use rowcast::hooks::{Disconnect, Hooks};
use rowcast::hub::HubHandle;
use rowcast::messages::Messenger;
use rowcast::shutdown::Shutdown;
use rowcast::telemetry::{HealthMonitor, Metrics};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::wait::{DEADLINE, within};
use super::{Sse, TestDatabase};

/// A running service; dropping it stops it at once, [`stop`](Self::stop) in good order.
pub struct Server {
    /// Its address, such as `http://127.0.0.1:8090`.
    pub base: String,
    pub metrics: Metrics,
    pub health: HealthMonitor,
    pub hub: HubHandle,
    pub messenger: Messenger,
    pub hooks: Hooks,
    pub shutdown: Shutdown,
    running: JoinHandle<Result<(), PartEnded>>,
}

/// The options tests start from: the bell rings although the test server allows prepared
/// transactions, so that the usual path is the one under test.
pub fn options(url: &str) -> AppOptions {
    let mut options = AppOptions::new(DatabaseOptions::new(url));
    options.capture.bell = Bell::On;
    options.capture.reconnect_delay_min = Duration::from_millis(20);
    options.capture.reconnect_delay_max = Duration::from_millis(500);
    options.http.reconnect_delay_min = Duration::from_millis(10);
    options
}

impl Server {
    /// Starts the service and waits until it is live.
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(options(&database.url)).await
    }

    /// Starts the service with these options and waits until it is live.
    pub async fn start_with(options: AppOptions) -> Self {
        let server = Self::start_unready(options, ([127, 0, 0, 1], 0).into()).await;
        let mut health = server.health.clone();
        within(DEADLINE, "the feed to be live", health.live()).await;
        server
    }

    /// Starts the service at an address without waiting for the database.
    pub async fn start_unready(options: AppOptions, address: SocketAddr) -> Self {
        log_if_asked();
        let app = App::new(options).expect("valid options");
        let listener = TcpListener::bind(address).await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = Shutdown::new();
        Self {
            base,
            metrics: app.metrics().clone(),
            health: app.health(),
            hub: app.hub().clone(),
            messenger: app.messenger().clone(),
            hooks: app.hooks().clone(),
            running: tokio::spawn(app.run(listener, shutdown.clone())),
            shutdown,
        }
    }

    /// Opens a stream with these subscriptions, as a guest.
    pub async fn subscribe(&self, topics: &[&str]) -> Sse {
        let stream = Sse::connect(&self.base).await;
        stream.subscribe(topics).await;
        stream
    }

    /// Every end of a stream from now on.
    pub fn ends(&self) -> UnboundedReceiver<Disconnect> {
        let (sender, receiver) = unbounded_channel();
        self.hooks.disconnect.bind("the test", 0, move |end| {
            // A test may have seen enough.
            let _ = sender.send(end.clone());
            Box::pin(async {})
        });
        receiver
    }

    /// Stops in good order and waits for it.
    pub async fn stop(mut self) {
        self.shutdown.soft.cancel();
        let ended = within(DEADLINE, "the service to stop", &mut self.running).await;
        ended.expect("no panic").expect("a clean end");
    }
}

/// With `ROWCAST_TEST_LOG=rowcast=debug` a failing test shows the service's log.
fn log_if_asked() {
    if let Ok(filter) = std::env::var("ROWCAST_TEST_LOG") {
        // Another test of this process may have been first.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.soft.cancel();
        self.shutdown.hard.cancel();
        self.running.abort();
    }
}
