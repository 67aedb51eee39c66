//! The seams that an embedding application, or a webhook, takes hold of.
//!
//! *Owns* the five chains of [`Hooks`], and what each of them is shown and may answer.
//! *Takes* hooks by id and priority, at any time.
//! *Gives* `http` and `hub` one call per stage; where nothing is bound that is a look at one flag.
//! *Never* lets a hook's panic out, and knows no other room's tasks.

mod chain;
mod connect;
mod disconnect;
mod enrich;
mod farewell;
mod message;
mod record;
mod refusal;
mod subscribe;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use chain::Chain;
pub use connect::{Connect, ConnectHook};
pub use disconnect::{Disconnect, DisconnectHook, DisconnectReason};
pub use enrich::{Collections, Enrich, EnrichError, EnrichHook, Enrichment};
pub use farewell::{Farewells, StreamToken};
pub use message::{Message, MessageFlow, MessageHook, Told};
pub use record::HookRecord;
pub use refusal::Refusal;
pub use subscribe::{Subscribe, SubscribeHook};

/// All hooks of one feed; cloning shares them.
///
/// Each chain is asked in order of priority, lowest first, then in the order in which its hooks were
/// bound. Hooks may be bound, replaced and unbound while the feed runs; open streams obey at once.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Before a stream is opened.
    pub connect: Chain<ConnectHook>,
    /// After a stream has ended, once for each that was asked for.
    pub disconnect: Chain<DisconnectHook>,
    /// Before subscriptions are replaced, after all checks.
    pub subscribe: Chain<SubscribeHook>,
    /// Before an event is written to one stream.
    pub message: Chain<MessageHook>,
    /// Before a record is written to one stream.
    pub enrich: Chain<EnrichHook>,
    farewells: Farewells,
}

impl Hooks {
    /// Without any hook.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who waits for streams to end and for the hooks that are told so.
    pub fn farewells(&self) -> &Farewells {
        &self.farewells
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("connect", &self.connect)
            .field("disconnect", &self.disconnect)
            .field("subscribe", &self.subscribe)
            .field("message", &self.message)
            .field("enrich", &self.enrich)
            .finish()
    }
}

/// Whether what was asked for goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// The next hook is asked; after the last one it is done.
    #[default]
    Next,
    /// It is not done, and the client is told that all is well: status 200 and nothing more.
    Stop,
}

/// Which stream is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// The client id that PB_CONNECT names.
    pub client_id: Arc<str>,
    /// Where the request came from.
    pub address: IpAddr,
}
