//! What every handler needs at hand.

use std::ops::Deref;
use std::sync::Arc;

use super::cors::Origins;
use super::login_limit::LoginLimit;
use super::options::HttpOptions;
use crate::auth::{Authenticate, Login};
use crate::hooks::Hooks;
use crate::hub::HubHandle;
use crate::messages::Messenger;
use crate::telemetry::{HealthMonitor, LogControl, Metrics};
use crate::templates::Templates;

/// What the HTTP side asks of other rooms.
#[derive(Clone)]
pub struct Neighbours {
    /// The way into the hub.
    pub hub: HubHandle,
    /// Who is asked and told what happens to streams.
    pub hooks: Hooks,
    /// Who says whose token it is.
    pub authenticator: Arc<dyn Authenticate>,
    /// Lets auth records in.
    pub login: Login,
    /// How capture is doing.
    pub health: HealthMonitor,
    /// Where to count.
    pub metrics: Metrics,
    /// What may change which events are logged; `None` where logging is the application's own.
    pub log: Option<LogControl>,
    /// The way of messages into the log.
    pub messenger: Messenger,
    /// What makes HTML of messages.
    pub templates: Templates,
}

/// The state of the router; cheap to clone.
#[derive(Clone)]
pub(super) struct Room(Arc<Inner>);

pub(super) struct Inner {
    pub(super) neighbours: Neighbours,
    pub(super) origins: Origins,
    pub(super) login_limit: LoginLimit,
    pub(super) options: HttpOptions,
}

impl Room {
    pub(super) fn new(neighbours: Neighbours, options: HttpOptions) -> Self {
        Self(Arc::new(Inner {
            neighbours,
            origins: Origins::new(options.allowed_origins.clone()),
            login_limit: LoginLimit::new(options.login_rate),
            options,
        }))
    }
}

impl Deref for Room {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
