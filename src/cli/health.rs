//! `rowcast health`: asks a running server how it is; for containers, which have no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::terminal;
use crate::config::Need;

/// How long the server may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// More than any answer of ours.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  rowcast health                    # 0 if the server on this machine is ready, else 69
  HEALTHCHECK CMD [\"/rowcast\", \"health\"]";

/// Ask the server on this machine whether it is ready
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Health {
    /// Ask only whether it lives, not whether it is ready
    #[arg(long)]
    live: bool,
}

impl Health {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let config = options.load(Need::Nothing)?;
        let path = if self.live {
            "/api/health"
        } else {
            "/api/ready"
        };
        let address = reachable(config.listen);
        let unavailable = |why: String| {
            Failure::new(
                failure::UNAVAILABLE,
                format!("http://{address}{path}: {why}"),
            )
        };
        let answer = match timeout(DEADLINE, ask(address, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unavailable(error.to_string())),
            Err(_) => return Err(unavailable("no answer within 5s".to_owned())),
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) != Some("200") {
            let status = head.lines().next().unwrap_or("no answer");
            return Err(unavailable(format!("{status} {}", body.trim())));
        }
        terminal::result(body.trim());
        Ok(())
    }
}

/// The address to ask where a server listens on all of them.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// One request by hand, as HTTP/1.0: the answer ends with the connection and is never chunked.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
