//! PocketBase's realtime API for the Postgres you already have.
//!
//! Triggers note every row change in a change log inside the user's own database; a listener reads
//! the log in commit order, decides per subscriber who may see what, and delivers the changes as
//! server-sent events that PocketBase's SDKs understand unmodified.
//!
//! ```text
//!  writers' transactions
//!        │ statement triggers: append row images to rowcast.changes; ring only if a reader sleeps
//!        ▼
//!  ┌───────────┐  mpsc<FeedItem>  ┌───────────┐  one mailbox per subscriber   ┌───────────┐
//!  │  capture  │ ───────────────► │    hub    │ ─────────────────────────────► │   http    │ ──► SSE
//!  └───────────┘  bounded, waits  └─────▲─────┘  bounded, never waits          └─────┬─────┘
//!                                       └─────────── HubHandle ◄─────────────────────┘
//! ```
//!
//! | Room | Its business |
//! | --- | --- |
//! | [`policy`] | who may see what: roles, and the rules that apply to them |
//! | [`catalog`] | what can be watched |
//! | [`event`] | what happened |
//! | [`topic`] | what is asked for |
//! | [`auth`] | who asks |
//! | [`record`] | a row image as PocketBase's record JSON |
//! | [`related`] | the rows of other collections that rules reach |
//! | [`rules`] | the rule language: who may see what, said in text |
//! | [`hooks`] | the seams that an application may take hold of |
//! | [`webhooks`] | the same seams over HTTP |
//! | [`audit`] | which rules are broken or doubtful |
//! | [`frame`] | the bytes of one server-sent event |
//! | [`capture`] | Postgres in: the change log, the doorbell, retention |
//! | [`templates`] | HTML instead of JSON |
//! | [`hub`] | fan-out: who receives which event |
//! | [`messages`] | how the application's own messages come into the log |
//! | [`points`] | where clients that name themselves by a key go on |
//! | [`http`] | SSE out, and the endpoints around it |
//! | [`follow`] | a client of a running server, for `rowcast tail` |
//! | [`db`] | connections, TLS, migrations |
//! | [`embedded`] | a private Postgres for the demo and the tests |
//! | [`telemetry`], [`shutdown`] | logs and metrics; how the process ends |
//! | [`app`] | joins the rooms and runs them |
//! | [`config`], [`cli`] | settings and commands |
//!
//! `ARCHITECTURE.md` says who may import whom, and `tests/it/architecture.rs` holds us to it.

pub mod policy;

pub mod catalog;
pub mod event;
pub mod topic;

pub mod auth;
pub mod record;
pub mod related;
pub mod rules;

pub mod audit;

pub mod frame;
pub mod hooks;
pub mod templates;

pub mod capture;
pub mod http;
pub mod hub;
pub mod messages;
pub mod points;

pub mod follow;

pub mod db;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod shutdown;
pub mod telemetry;
pub mod webhooks;

pub mod app;
pub mod cli;
pub mod config;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
