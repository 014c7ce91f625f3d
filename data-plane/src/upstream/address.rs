//! Addresses that no provider may live at: where clouds hand out credentials, and
//! where nothing answers. Private networks and loopback are normal homes of models.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside of link-local.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
/// `fd00:ec2::/32`
const METADATA_V6: [u16; 2] = [0xfd00, 0x0ec2];
/// `64:ff9b::/96`, which carries an IPv4 address in its last 32 bits.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

pub(crate) fn is_denied(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_denied_v4(address),
        IpAddr::V6(address) => is_denied_v6(address),
    }
}

fn is_denied_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
}

fn is_denied_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || parts[..2] == METADATA_V6
        || embedded(address).is_some_and(is_denied_v4)
}

/// The IPv4 address inside a mapped, compatible or translated one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    if parts[..6] == NAT64 || (parts[..6] == [0; 6] && !address.is_loopback()) {
        let [.., a, b, c, d] = address.octets();
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_nowhere_are_denied_in_every_form() {
        for address in [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
        ] {
            assert!(is_denied(address.parse().unwrap()), "{address}");
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
            "fd12::1",
            "8.8.8.8",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_denied(address.parse().unwrap()), "{address}");
        }
    }
}
