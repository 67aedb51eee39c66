//! How often one address may try to log in.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::options::LoginRate;

/// Counts logins by address.
pub(super) struct LoginLimit {
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    checks: AtomicU32,
}

impl LoginLimit {
    /// After so many logins those are forgotten who may log in as often as anybody.
    const CHECKS_BETWEEN_SWEEPS: u32 = 1024;

    pub(super) fn new(rate: Option<LoginRate>) -> Self {
        let quota = rate.map(|LoginRate(rate)| Quota::per_second(rate));
        Self {
            limiter: quota.map(RateLimiter::keyed),
            checks: AtomicU32::new(0),
        }
    }

    /// Counts one login and says whether it may be tried.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        let Some(limiter) = &self.limiter else {
            return true;
        };
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks % Self::CHECKS_BETWEEN_SWEEPS == Self::CHECKS_BETWEEN_SWEEPS - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(&household(address)).is_ok()
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn each_address_has_its_own_share_and_off_has_none() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let limit = LoginLimit::new(NonZeroU32::new(2).map(LoginRate));
        for (from, admitted) in [
            ("10.0.0.1", true),
            ("10.0.0.1", true),
            ("10.0.0.1", false),
            ("10.0.0.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::3", true),
        ] {
            assert_eq!(limit.admits(address(from)), admitted, "{from}");
        }
        let off = LoginLimit::new(None);
        assert!((0..100).all(|_| off.admits(address("10.0.0.1"))));
    }
}
