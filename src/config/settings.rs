//! The settings by name: what they mean, what is allowed, and where they go.

use std::time::Duration;

use super::Config;
use super::values::{
    Kind, as_usize, bytes, count, duration, list, or_none, parsed, path, secret, share, switch,
    text, url, word,
};
use crate::auth::ForeignAlgorithm;
use crate::capture::Bell;
use crate::http::ProxyPosition;
use crate::hub::TokenExpiry;
use crate::telemetry::LogFormat;

/// One setting.
pub(super) struct Setting {
    /// The key in the file; `ROWCAST_` and the same in capitals is the variable.
    pub(super) name: &'static str,
    /// What it means.
    pub(super) about: &'static str,
    set: Box<Set>,
    show: Box<Show>,
}

type Set = dyn Fn(&mut Config, &str) -> Result<(), String>;
type Show = dyn Fn(&Config) -> String;

impl Setting {
    fn new<T: 'static>(
        name: &'static str,
        about: &'static str,
        kind: Kind<T>,
        get: fn(&Config) -> &T,
        get_mut: fn(&mut Config) -> &mut T,
    ) -> Self {
        let Kind { read, write } = kind;
        Self {
            name,
            about,
            set: Box::new(move |config, text| {
                *get_mut(config) = read(text)?;
                Ok(())
            }),
            show: Box::new(move |config| write(get(config))),
        }
    }

    /// Reads the value from text and puts it where it belongs.
    pub(super) fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.set)(config, text)
    }

    /// The value as text, secrets masked.
    pub(super) fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Whether there is no value, not even a default.
    pub(super) fn is_unset(&self, config: &Config) -> bool {
        self.show(config).is_empty()
    }
}

/// A setting that lives at a path of fields in [`Config`].
macro_rules! setting {
    ($name:literal, $about:literal, $kind:expr, $($field:ident).+) => {
        Setting::new(
            $name,
            $about,
            $kind,
            |config| &config.$($field).+,
            |config| &mut config.$($field).+,
        )
    };
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// All settings, in the order in which they are shown.
pub(super) fn settings() -> Vec<Setting> {
    let rooms = [
        process(),
        database(),
        capture(),
        hub(),
        http(),
        server(),
        foreign(),
    ];
    rooms.into_iter().flatten().collect()
}

fn process() -> Vec<Setting> {
    let address = parsed(
        "is no address with a port; write it like 127.0.0.1:8090, or 0.0.0.0:8090 for all addresses",
    );
    let filter = parsed("is no filter; write levels for targets, like info or rowcast=debug,warn");
    let formats = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    vec![
        setting!(
            "listen",
            "Address and port to serve HTTP on.",
            address,
            listen
        ),
        setting!(
            "log",
            "What is logged: levels (error, warn, info, debug, trace) by target.",
            filter,
            log.filter
        ),
        setting!(
            "log_format",
            "text or json; auto is text on a terminal and json elsewhere.",
            or_none("auto", word(formats)),
            log.format
        ),
        setting!(
            "migrate",
            "Whether serve creates or updates the schema rowcast when it starts.",
            switch(),
            migrate
        ),
        setting!(
            "templates",
            "The folder with templates that make HTML of messages and records.",
            or_none("", path()),
            templates
        ),
    ]
}

fn database() -> Vec<Setting> {
    vec![
        setting!(
            "database_url",
            "The database: postgres://user:password@host:5432/name?sslmode=…, or host=… user=….",
            url(),
            database.url
        ),
        setting!(
            "database_direct_url",
            "The same database around a transaction pooler, for listening and migrations.",
            or_none("", url()),
            database.direct_url
        ),
        setting!(
            "database_pool_size_max",
            "Connections for queries at one time; one more listens.",
            count(1..=1_000),
            database.pool_size_max
        ),
        setting!(
            "database_connect_timeout",
            "How long opening a connection may take.",
            duration(SECOND..=5 * MINUTE),
            database.connect_timeout
        ),
        setting!(
            "database_statement_deadline",
            "How long a query for a request may take.",
            duration(100 * MILLISECOND..=5 * MINUTE),
            database.statement_deadline
        ),
    ]
}

fn capture() -> Vec<Setting> {
    let bells = &[("auto", Bell::Auto), ("on", Bell::On), ("off", Bell::Off)];
    vec![
        setting!(
            "bell",
            "Whether writers notify a sleeping reader: auto, on, or off (the reader polls).",
            word(bells),
            capture.bell
        ),
        setting!(
            "poll_interval",
            "Pause between two reads of the log while changes come in.",
            duration(MILLISECOND..=SECOND),
            capture.poll_interval
        ),
        setting!(
            "poll_interval_max",
            "Longest pause between two reads where nobody notifies.",
            duration(MILLISECOND..=MINUTE),
            capture.poll_interval_max
        ),
        setting!(
            "retention_age",
            "How long changes stay in the log, for clients that come back.",
            duration(MINUTE..=365 * DAY),
            capture.retention_age
        ),
        setting!(
            "retention_changes",
            "How many changes stay in the log, about.",
            count(1_000..=1_000_000_000),
            capture.retention_changes
        ),
        setting!(
            "log_bytes_max",
            "How large the log may grow in the database, about.",
            bytes(16 * MIB..=1024 * GIB),
            capture.log_bytes_max
        ),
        setting!(
            "log_reserve",
            "Room that must be left on the log's disk: with less, recording stops and writes go on; 0 never looks.",
            bytes(0..=64 * GIB),
            capture.log_reserve
        ),
        setting!(
            "truncate_rows_max",
            "Up to how many rows TRUNCATE is reported record by record.",
            count(0..=1_000_000),
            capture.truncate_rows_max
        ),
    ]
}

fn hub() -> Vec<Setting> {
    let expiries = &[("end", TokenExpiry::End), ("ignore", TokenExpiry::Ignore)];
    vec![
        setting!(
            "subscribers_max",
            "Streams at one time.",
            count(1..=10_000_000),
            hub.subscribers_max
        ),
        setting!(
            "subscribers_per_address_max",
            "Streams at one time from one address.",
            count(1..=10_000_000),
            hub.subscribers_per_address_max
        ),
        setting!(
            "mailbox_frames",
            "Events that may wait for one slow client before it is let go.",
            count(1..=1_000_000),
            hub.mailbox_frames
        ),
        setting!(
            "history_frames",
            "Events remembered for clients that were away for a short while; older ones are read from the log.",
            count(1..=100_000_000),
            hub.history_frames
        ),
        setting!(
            "history_bytes",
            "How much memory they may take, about.",
            bytes(MIB..=1024 * GIB),
            hub.history_bytes
        ),
        setting!(
            "resume_retention",
            "How long a client's resume key is remembered after it was used last.",
            duration(MINUTE..=365 * DAY),
            points.retention
        ),
        setting!(
            "resume_points_max",
            "How many subscriptions with resume keys are remembered.",
            count(1..=10_000_000),
            points.rows_max
        ),
        setting!(
            "snapshot_rows_max",
            "Records that a snapshot may hold; who may see more is told to load them otherwise.",
            count(1..=1_000_000),
            hub.snapshot_rows_max
        ),
        setting!(
            "wildcard",
            "Whether the topic * delivers all collections the client may list.",
            switch(),
            hub.wildcard
        ),
        setting!(
            "strict_subscriptions",
            "Whether subscriptions that could never fire are refused with a reason.",
            switch(),
            hub.strict_subscriptions
        ),
        setting!(
            "token_expiry",
            "What becomes of a stream when its token ends: end, or ignore as PocketBase does.",
            word(expiries),
            hub.token_expiry
        ),
    ]
}

fn http() -> Vec<Setting> {
    let positions = &[
        ("leftmost", ProxyPosition::Leftmost),
        ("rightmost", ProxyPosition::Rightmost),
    ];
    let header = || parsed("is no header's name; write it like X-Forwarded-For");
    vec![
        setting!(
            "idle_timeout",
            "How long a stream may go without an event before it is closed.",
            duration(SECOND..=DAY),
            http.idle_timeout
        ),
        setting!(
            "max_lifetime",
            "How long a stream may live at most.",
            duration(SECOND..=7 * DAY),
            http.lifetime_max
        ),
        setting!(
            "lifetime_jitter",
            "Share of max_lifetime by which streams may end earlier at random; 0 is exact.",
            share(),
            http.lifetime_jitter
        ),
        setting!(
            "heartbeat",
            "How long a stream may be silent before a comment keeps proxies from closing it, or off.",
            or_none("off", duration(SECOND..=HOUR)),
            http.heartbeat
        ),
        setting!(
            "reconnect_delay_min",
            "How long a refusal waits, to slow down clients that come back at once.",
            duration(Duration::ZERO..=MINUTE),
            http.reconnect_delay_min
        ),
        setting!(
            "body_bytes_max",
            "Largest request body.",
            as_usize(bytes(KIB..=GIB)),
            http.body_bytes_max
        ),
        setting!(
            "request_timeout",
            "How long a request other than a stream may take.",
            duration(SECOND..=10 * MINUTE),
            http.request_timeout
        ),
        setting!(
            "allowed_origins",
            "Origins that browsers may call from, with commas in between; * is all.",
            list(text()),
            http.allowed_origins
        ),
        setting!(
            "trusted_proxy_headers",
            "Headers that hold the client's address because a proxy of yours sets them.",
            list(header()),
            http.trusted_proxy_headers
        ),
        setting!(
            "trusted_proxy_position",
            "Which address of such a header counts: rightmost or leftmost.",
            word(positions),
            http.trusted_proxy_position
        ),
        setting!(
            "login_rate",
            "How many logins one address may try, like 5/s, or off.",
            or_none("off", parsed("is no rate; write it like 5/s")),
            http.login_rate
        ),
        setting!(
            "ready_behind_max",
            "How long the log's reader may be behind before /api/ready says no.",
            duration(SECOND..=HOUR),
            http.ready_behind_max
        ),
        setting!(
            "ready_silence_max",
            "How long the database may be silent before /api/ready says no.",
            duration(SECOND..=HOUR),
            http.ready_silence_max
        ),
    ]
}

fn server() -> Vec<Setting> {
    vec![
        setting!(
            "connections_max",
            "Connections at one time; further ones wait.",
            count(1..=10_000_000),
            http.server.connections_max
        ),
        setting!(
            "header_read_timeout",
            "How long a client may take to send a request's head.",
            duration(SECOND..=10 * MINUTE),
            http.server.header_read_timeout
        ),
        setting!(
            "write_stall_max",
            "How long a client may accept nothing while events wait for it.",
            duration(SECOND..=HOUR),
            http.server.write_stall_max
        ),
        setting!(
            "drain",
            "How long streams may take to end when the process is asked to stop.",
            duration(Duration::ZERO..=HOUR),
            http.server.drain
        ),
    ]
}

fn foreign() -> Vec<Setting> {
    let algorithms = &[
        ("HS256", ForeignAlgorithm::Hs256),
        ("RS256", ForeignAlgorithm::Rs256),
        ("ES256", ForeignAlgorithm::Es256),
        ("EdDSA", ForeignAlgorithm::EdDsa),
    ];
    vec![
        setting!(
            "jwt_algorithm",
            "How another issuer's tokens are signed: HS256, RS256, ES256 or EdDSA; auto is as each key says.",
            or_none("auto", word(algorithms)),
            foreign.algorithm
        ),
        setting!(
            "jwt_secret",
            "The secret shared with that issuer, for HS256.",
            or_none("", secret()),
            foreign.secret
        ),
        setting!(
            "jwt_public_key",
            "A file with that issuer's public key as PEM.",
            or_none("", path()),
            foreign.public_key
        ),
        setting!(
            "jwt_jwks",
            "A file with that issuer's JSON Web Key Set; it is read again when it changes.",
            or_none("", path()),
            foreign.jwks
        ),
        setting!(
            "jwt_jwks_url",
            "The https URL of such a set, which is fetched again and again.",
            or_none("", text()),
            foreign.jwks_url
        ),
        setting!(
            "jwt_jwks_refresh",
            "How long a fetched set is used where the issuer sends no max-age.",
            duration(SECOND..=DAY),
            foreign.jwks_refresh
        ),
        setting!(
            "jwt_jwks_refetch",
            "How soon after a fetch a token that names an unknown key may cause another.",
            duration(SECOND..=HOUR),
            foreign.jwks_refetch
        ),
        setting!(
            "jwt_jwks_http",
            "Whether that URL may be http, unencrypted, for other hosts than this machine.",
            switch(),
            foreign.jwks_http
        ),
        setting!(
            "jwt_issuer",
            "What the claim iss must be, with commas in between; nothing is any.",
            list(text()),
            foreign.issuer
        ),
        setting!(
            "jwt_audience",
            "What the claim aud must hold one of, with commas in between; nothing is any.",
            list(text()),
            foreign.audience
        ),
        setting!(
            "jwt_leeway",
            "By how much that issuer's clock may differ.",
            duration(Duration::ZERO..=5 * MINUTE),
            foreign.leeway
        ),
        setting!(
            "jwt_id_claim",
            "Which claim is the principal's id.",
            text(),
            foreign.id_claim
        ),
        setting!(
            "jwt_roles_claim",
            "Which claim lists the principal's roles; dots lead inside, like realm_access.roles.",
            text(),
            foreign.roles_claim
        ),
        setting!(
            "jwt_collection",
            "An auth collection whose records the ids name; without one the claims are all there is.",
            or_none("", text()),
            foreign.collection
        ),
    ]
}
