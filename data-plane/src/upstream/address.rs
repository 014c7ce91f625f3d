//! Addresses where a provider may live.
//!
//! Never where clouds hand out credentials, and never where nothing answers: nobody can
//! open these. Private networks and loopback are normal homes of models, unless the
//! operator says otherwise.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

/// Metadata services outside of link-local.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
/// `fd00:ec2::/32`
const METADATA_V6: [u16; 2] = [0xfd00, 0x0ec2];
/// `64:ff9b::/96`, which carries an IPv4 address in its last 32 bits.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
/// `64:ff9b:1::/48`, of which each network makes its own use.
const NAT64_LOCAL: [u16; 3] = [0x64, 0xff9b, 1];
/// `2002::/16`, followed by an IPv4 address.
const SIX_TO_FOUR: u16 = 0x2002;
/// `2001::/32`, with an IPv4 address in its last 32 bits, every bit turned over.
const TEREDO: [u16; 2] = [0x2001, 0];
/// `fec0::/10`, link-local's successor that never was.
const SITE_LOCAL: (u16, u16) = (0xfec0, 0xffc0);
/// `240.0.0.0/4`, nobody's.
const RESERVED_V4_FROM: u8 = 240;

/// What an operator allows and denies beyond that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Empty: everything.
    allowed: Arc<[IpNet]>,
    denied: Arc<[IpNet]>,
}

impl Rules {
    pub(crate) fn new(allowed: Vec<IpNet>, denied: Vec<IpNet>) -> Self {
        Self {
            allowed: allowed.into(),
            denied: denied.into(),
        }
    }

    /// Whether a provider may live here.
    pub(crate) fn allow(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        let is_in =
            |networks: &[IpNet], address: &IpAddr| networks.iter().any(|network| network.contains(address));
        // A gateway may lead to what it carries; what is allowed has to be said as it is.
        let carried = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => embedded(address).map(IpAddr::from),
        };
        let mut forms = [Some(address), Some(plain), carried].into_iter().flatten();
        let is_denied = is_denied(address) || forms.any(|form| is_in(&self.denied, &form));
        let is_allowed = || is_in(&self.allowed, &address) || is_in(&self.allowed, &plain);
        !is_denied && (self.allowed.is_empty() || is_allowed())
    }
}

fn is_denied(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_denied_v4(address),
        IpAddr::V6(address) => is_denied_v6(address),
    }
}

fn is_denied_v4(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first == 0
        || first >= RESERVED_V4_FROM
        || address.is_link_local()
        || address.is_multicast()
        || METADATA_V4.contains(&address)
}

fn is_denied_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || parts[0] & SITE_LOCAL.1 == SITE_LOCAL.0
        || parts[..2] == METADATA_V6
        || parts[..3] == NAT64_LOCAL
        || embedded(address).is_some_and(is_denied_v4)
}

/// The IPv4 address inside a mapped, compatible, translated or tunnelled one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let octets = address.octets();
    let [.., a, b, c, d] = octets;
    if parts[..6] == NAT64 || (parts[..6] == [0; 6] && !address.is_loopback()) {
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    if parts[..2] == TEREDO {
        return Some(Ipv4Addr::new(!a, !b, !c, !d));
    }
    if parts[0] == SIX_TO_FOUR {
        let [_, _, a, b, c, d, ..] = octets;
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed: &[&str], denied: &[&str]) -> Rules {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Rules::new(networks(allowed), networks(denied))
    }

    fn allow(rules: &Rules, address: &str) -> bool {
        rules.allow(address.parse().unwrap())
    }

    #[test]
    fn metadata_and_nowhere_are_denied_in_every_form_whatever_is_allowed() {
        let open = rules(&["0.0.0.0/0", "::/0"], &[]);
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::6464:64c8",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
            "fe80::1",
            "fec0::1",
            "fd00:ec2::254",
            "ff02::1",
        ] {
            assert!(!allow(&Rules::default(), address), "{address}");
            assert!(!allow(&open, address), "{address}");
        }
    }

    #[test]
    fn homes_of_models_are_allowed() {
        for address in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "fd12::1",
            "8.8.8.8",
            "::ffff:10.0.0.1",
            "2002:a01:203::1",
            "2600:1f18::1",
        ] {
            assert!(allow(&Rules::default(), address), "{address}");
        }
    }

    #[test]
    fn what_an_operator_closes_is_closed_in_every_form() {
        let rules = rules(&[], &["10.0.0.0/8"]);
        for address in [
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "::10.1.2.3",
            "64:ff9b::a01:203",
            "2002:a01:203::1",
            "2001:0:1:2:3:4:f5fe:fdfc",
        ] {
            assert!(!allow(&rules, address), "{address}");
        }
        for address in ["11.1.2.3", "64:ff9b::b01:203", "fd12::1"] {
            assert!(allow(&rules, address), "{address}");
        }
    }

    #[test]
    fn an_operator_closes_networks_and_opens_parts_of_the_world_only() {
        let rules = rules(&["10.0.0.0/8", "fd12::/16"], &["10.9.0.0/16"]);
        for (address, is_allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("10.9.1.1", false),
            ("::ffff:10.9.1.1", false),
            ("8.8.8.8", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(allow(&rules, address), is_allowed, "{address}");
        }
    }
}
