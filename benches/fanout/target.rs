//! Who is measured: our server, a baseline, or somebody else's server.

use std::net::{SocketAddr, ToSocketAddrs};

use serde_json::json;

use crate::Error;
use crate::baseline::{Baseline, Kind};
use crate::options::Options;
use crate::process::Process;
use crate::site::{Row, Site};

/// One server that takes changes and has clients.
pub enum Target {
    /// Ours.
    Rowcast(Box<Site>),
    /// What it is compared with.
    Baseline(Kind, Baseline),
    /// Another server that speaks PocketBase's protocol.
    Peer(Peer),
}

/// A server that somebody else has started.
pub struct Peer {
    http: reqwest::Client,
    records: String,
    token: String,
    address: SocketAddr,
    process: Option<Process>,
    collection: String,
    next: u32,
}

impl Peer {
    /// As the options say, if they do.
    pub fn of(options: &Options) -> Result<Option<Self>, Error> {
        let Some(url) = &options.peer else {
            return Ok(None);
        };
        let host = url.host_str().ok_or("--peer: a URL with a host, please")?;
        let port = url.port_or_known_default().unwrap_or(80);
        let address = (host, port).to_socket_addrs()?.find(SocketAddr::is_ipv4);
        let collection = options.peer_collection.clone();
        Ok(Some(Self {
            http: reqwest::Client::new(),
            records: url
                .join(&format!("/api/collections/{collection}/records"))?
                .into(),
            token: options.peer_token.clone(),
            address: address.ok_or("--peer: a host with an IPv4 address, please")?,
            process: options.peer_pid.map(Process),
            collection,
            next: 1,
        }))
    }

    async fn create(&self, row: &Row) -> Result<(), Error> {
        let record = json!({
            "n": row.n, "owner": row.owner, "slot": row.slot, "status": "public",
            "title": "What a row costs when many are told of it", "body": "x".repeat(100),
        });
        let request = self.http.post(&self.records).json(&record);
        let answer = request.header("Authorization", &self.token).send().await?;
        let status = answer.status();
        if !status.is_success() {
            let text = answer.text().await.unwrap_or_default();
            return Err(format!("the peer refused a record with {status}: {text}").into());
        }
        Ok(())
    }
}

impl Target {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rowcast(_) => "rowcast",
            Self::Baseline(Kind::Bare, _) => "bare sockets",
            Self::Baseline(Kind::Axum, _) => "axum stream",
            Self::Peer(_) => "peer",
        }
    }

    /// A baseline begins anew: it keeps the sockets of clients that have gone.
    pub fn refresh(&mut self) -> Result<(), Error> {
        if let Self::Baseline(kind, baseline) = self {
            *baseline = Baseline::start(*kind)?;
        }
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Rowcast(site) => site.address(),
            Self::Baseline(_, baseline) => baseline.address(),
            Self::Peer(peer) => peer.address,
        }
    }

    /// Its process, if it is known.
    pub fn process(&self) -> Result<Option<Process>, Error> {
        match self {
            Self::Rowcast(site) => site.process().map(Some),
            Self::Baseline(_, baseline) => Ok(Some(baseline.process())),
            Self::Peer(peer) => Ok(peer.process),
        }
    }

    /// Subscriptions for every change; none where every stream is about everything.
    pub fn topics(&self) -> Vec<String> {
        match self {
            Self::Rowcast(_) => vec!["items/*".to_owned()],
            Self::Baseline(..) => Vec::new(),
            Self::Peer(peer) => vec![format!("{}/*", peer.collection)],
        }
    }

    /// The number of the next change.
    pub fn take_number(&mut self) -> u32 {
        match self {
            Self::Rowcast(site) => site.take_number(),
            Self::Baseline(_, baseline) => baseline.take_number(),
            Self::Peer(peer) => {
                peer.next += 1;
                peer.next - 1
            }
        }
    }

    /// Makes a change, and returns when it is committed.
    pub async fn write(&mut self, row: &Row) -> Result<(), Error> {
        match self {
            Self::Rowcast(site) => site.write(row).await,
            Self::Baseline(_, baseline) => baseline.publish(row.n),
            Self::Peer(peer) => peer.create(row).await,
        }
    }
}
