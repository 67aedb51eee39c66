//! Where a request comes from: the peer, or what a trusted proxy says of it (section 2.4).

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::HeaderMap;
use http::request::Parts;

use super::options::{HttpOptions, ProxyPosition};
use super::room::Room;

/// The address of the client behind a request, IPv4 in its own form even where it came by IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl FromRequestParts<Room> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, room: &Room) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self::of(
            peer.map(|ConnectInfo(peer)| peer.ip()),
            &parts.headers,
            &room.options,
        ))
    }
}

impl ClientAddress {
    /// `peer` is unknown only where an embedding application serves the router by other means; all
    /// its clients then share one address.
    fn of(peer: Option<IpAddr>, headers: &HeaderMap, options: &HttpOptions) -> Self {
        let told = options.trusted_proxy_headers.iter().find_map(|name| {
            // The last line is the one that the nearest proxy has written.
            let list = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            pick(list, options.trusted_proxy_position)
        });
        let address = told.or(peer).unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Self(address.to_canonical())
    }
}

fn pick(list: &str, position: ProxyPosition) -> Option<IpAddr> {
    let mut addresses = list.split(',').filter_map(|item| item.trim().parse().ok());
    match position {
        ProxyPosition::Leftmost => addresses.next(),
        ProxyPosition::Rightmost => addresses.next_back(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn seen(trusted: &[&'static str], position: ProxyPosition, lines: &[(&str, &str)]) -> String {
        let options = HttpOptions {
            trusted_proxy_headers: trusted
                .iter()
                .map(|name| HeaderName::from_static(name))
                .collect(),
            trusted_proxy_position: position,
            ..HttpOptions::default()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::try_from(*name).expect("a name"),
                HeaderValue::try_from(*value).expect("a value"),
            );
        }
        let peer = "::ffff:10.0.0.9".parse().ok();
        ClientAddress::of(peer, &headers, &options).0.to_string()
    }

    #[test]
    fn address_is_the_peer_unless_a_trusted_header_says_otherwise() {
        use ProxyPosition::{Leftmost, Rightmost};
        const XFF: &str = "x-forwarded-for";
        const REAL: &str = "x-real-ip";
        let both: &[&str] = &[REAL, XFF];
        for (trusted, position, lines, address) in [
            (&[][..], Rightmost, &[(XFF, "1.1.1.1")][..], "10.0.0.9"),
            (&[XFF], Rightmost, &[], "10.0.0.9"),
            (&[XFF], Rightmost, &[(XFF, "1.1.1.1")], "1.1.1.1"),
            (&[XFF], Rightmost, &[(XFF, "1.1.1.1, 2.2.2.2")], "2.2.2.2"),
            (&[XFF], Leftmost, &[(XFF, "1.1.1.1, 2.2.2.2")], "1.1.1.1"),
            (&[XFF], Rightmost, &[(XFF, "1.1.1.1, unknown")], "1.1.1.1"),
            (&[XFF], Rightmost, &[(XFF, "x, y")], "10.0.0.9"),
            (&[XFF], Rightmost, &[(XFF, "")], "10.0.0.9"),
            (
                &[XFF],
                Rightmost,
                &[(XFF, "1.1.1.1"), (XFF, "2.2.2.2")],
                "2.2.2.2",
            ),
            (
                &[XFF],
                Rightmost,
                &[(XFF, "1.1.1.1"), (XFF, "x")],
                "10.0.0.9",
            ),
            (&[XFF], Rightmost, &[(XFF, "1.1.1.1:80")], "10.0.0.9"),
            (
                &[XFF],
                Rightmost,
                &[(XFF, "2001:DB8:0:0::1")],
                "2001:db8::1",
            ),
            (&[XFF], Rightmost, &[(XFF, "::ffff:1.1.1.1")], "1.1.1.1"),
            (
                both,
                Rightmost,
                &[(XFF, "1.1.1.1"), (REAL, "3.3.3.3")],
                "3.3.3.3",
            ),
            (both, Rightmost, &[(XFF, "1.1.1.1"), (REAL, "x")], "1.1.1.1"),
        ] {
            assert_eq!(
                seen(trusted, position, lines),
                address,
                "{trusted:?} {position:?} {lines:?}"
            );
        }
    }
}
