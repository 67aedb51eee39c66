//! Capture at work, and somebody who takes what it gives.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rowcast::app::{App, AppOptions};
use rowcast::auth::Principal;
use rowcast::capture::{Bell, Capture, CaptureOptions};
use rowcast::db::{Database, DatabaseOptions};
use rowcast::event::FeedItem;
use rowcast::hub::{Mailbox, Resume, SetTopics};
use rowcast::shutdown::Shutdown;
use rowcast::telemetry::{Metrics, health};
use rowcast::topic::Subscription;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::cost::Meter;
use crate::site::Site;

const WITHIN: Duration = Duration::from_secs(120);
/// As many as the service lets wait (`app`).
const ITEMS: usize = 1024;

/// Who takes the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A task that counts.
    Channel,
    /// The hub, for one subscriber to everything.
    Hub,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Self::Channel => "counted",
            Self::Hub => "by the hub",
        }
    }
}

enum Taker {
    Channel(mpsc::Receiver<FeedItem>),
    Hub(Box<Mailbox>),
}

/// Capture, running.
pub struct Feed<'s> {
    site: &'s Site,
    taker: Taker,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl<'s> Feed<'s> {
    /// Starts and waits until nothing written from now on is missed.
    pub async fn start(site: &'s Site, kind: Kind) -> Result<Self, Error> {
        let options = DatabaseOptions::new(&site.url);
        let capture = CaptureOptions {
            bell: Bell::On,
            ..CaptureOptions::default()
        };
        match kind {
            Kind::Channel => {
                let (sender, feed) = mpsc::channel(ITEMS);
                let (reporter, mut monitor) = health();
                let database = Database::new(&options)?;
                let capture = Capture::new(database, capture, sender, reporter, Metrics::new());
                let stop = CancellationToken::new();
                let running = tokio::spawn(capture.run(stop.clone()));
                timeout(WITHIN, monitor.placed()).await?;
                Ok(Self {
                    site,
                    taker: Taker::Channel(feed),
                    stop,
                    running,
                })
            }
            Kind::Hub => {
                let mut options = AppOptions::new(options);
                options.capture = capture;
                // Nobody is to be let go here, however far behind.
                options.hub.mailbox_frames = 10_000_000;
                let app = App::new(options)?;
                let (hub, mut monitor) = (app.hub().clone(), app.health());
                let shutdown = Shutdown::new();
                let stop = shutdown.soft.clone();
                let running = tokio::spawn(async move {
                    if let Err(error) = Box::pin(app.run_feed(shutdown)).await {
                        println!("{error}");
                    }
                });
                timeout(WITHIN, monitor.placed()).await?;
                let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let mailbox = hub.join(address).await?;
                hub.set_topics(SetTopics {
                    client_id: mailbox.id().to_string(),
                    address,
                    principal: Principal::Guest,
                    subscriptions: vec![Subscription::parse("items")],
                    expires_at: None,
                    resume: Resume::Live,
                })
                .await?;
                Ok(Self {
                    site,
                    taker: Taker::Hub(Box::new(mailbox)),
                    stop,
                    running,
                })
            }
        }
    }

    /// Begins to count what so many changes cost.
    pub async fn meter(&mut self, rows: u64) -> Result<Meter, Error> {
        Meter::start(rows, self.site.reader().await?)
    }

    /// Takes so many changes.
    pub async fn take(&mut self, rows: u64) -> Result<(), Error> {
        let mut taken = 0;
        let all = async {
            while taken < rows {
                taken += match &mut self.taker {
                    Taker::Channel(feed) => match feed.recv().await {
                        Some(item) => u64::from(matches!(item, FeedItem::Change(_))),
                        None => return false,
                    },
                    Taker::Hub(mailbox) => match mailbox.recv().await {
                        Some(_) => 1,
                        None => return false,
                    },
                };
            }
            true
        };
        match timeout(WITHIN, all).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("the feed ended after {taken} of {rows} changes").into()),
            Err(_) => Err(format!("{taken} of {rows} changes within {WITHIN:?}").into()),
        }
    }

    /// Ends capture.
    pub async fn stop(self) {
        self.stop.cancel();
        drop(self.taker);
        let _ = self.running.await;
    }
}
