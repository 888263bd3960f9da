//! Where a request comes from, as far as limits tell: the address of the peer, or what a trusted proxy says of it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{Extensions, HeaderMap, HeaderName};

/// The part of an IPv6 address that names a network: a household has at least one whole network for itself.
const NETWORK: u128 = u128::MAX << 64;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection; it travels in the extensions of each request on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Peer {
    /// That of the connection of a request, if it came on one.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// Whether it is a program on this machine.
    pub(crate) fn is_here(self) -> bool {
        self.0.to_canonical().is_loopback()
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 network (/64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            address => address,
        })
    }
}

/// An IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many bits of it count.
    bits: u8,
}

/// The proxies of `SYNC_TRUSTED_PROXIES`, whose word on where a request comes from is believed. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// An entry of `SYNC_TRUSTED_PROXIES` that is no address, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an IP address nor a network like 10.0.0.0/8: name each, separated by commas"
)]
pub struct ProxyError(String);

impl Proxies {
    /// Reads a list of addresses and networks (CIDR), separated by commas; empty entries are passed over.
    ///
    /// # Errors
    ///
    /// The first entry that is neither.
    pub fn parse(list: &str) -> Result<Self, ProxyError> {
        let entries = list.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let networks =
            entries.map(|entry| network(entry).ok_or_else(|| ProxyError(entry.to_owned())));
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address is that of one of them.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }

    /// Where a request comes from that this peer brings. Each proxy appends whom it has the request from, so the list is read
    /// from its end, and only as far as trusted proxies have written it: what stands before that, the client may have made up.
    pub(crate) fn source(&self, peer: Peer, headers: &HeaderMap) -> Source {
        let mut nearest = peer.0;
        let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut earlier = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        while self.trust(nearest) {
            match earlier.next().map(address) {
                Some(Some(address)) => nearest = address,
                // The rest says nothing: all that this proxy brings counts as one.
                Some(None) | None => break,
            }
        }
        Source::new(nearest)
    }

    /// Whether a request is that of a program on this machine, and not brought for somebody else.
    pub(crate) fn is_from_here(&self, extensions: &Extensions, headers: &HeaderMap) -> bool {
        let is_own = |peer: Peer| peer.is_here() && !self.trust(peer.0);
        Peer::of(extensions).is_some_and(is_own) && !headers.contains_key(X_FORWARDED_FOR)
    }

    /// Whether a request says where it comes from, and is not believed.
    pub(crate) fn distrust(&self, peer: Peer, headers: &HeaderMap) -> bool {
        headers.contains_key(X_FORWARDED_FOR) && !self.trust(peer.0)
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

fn network(entry: &str) -> Option<Network> {
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().ok()?)),
        None => (entry, None),
    };
    // An IPv4 address in the clothes of IPv6 would match nothing: addresses are compared without them.
    let address: IpAddr = address
        .parse()
        .ok()
        .filter(|it: &IpAddr| *it == it.to_canonical())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits: u8 = bits.unwrap_or(most);
    (bits <= most).then_some(Network { address, bits })
}

/// An entry of the list; some proxies add the port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim();
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip());
    entry.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn source(peer: &str, forwarded: &[&'static str]) -> Source {
        let proxies = Proxies::parse("10.0.0.0/8, 192.0.2.1,,fd00::/8").unwrap();
        let pair = |value: &&'static str| (X_FORWARDED_FOR, HeaderValue::from_static(value));
        let headers = forwarded.iter().map(pair).collect();
        proxies.source(Peer(ip(peer)), &headers)
    }

    #[test]
    fn a_household_is_one_source_whatever_it_calls_itself() {
        for (one, other, are_one) in [
            ("198.51.100.1", "198.51.100.1", true),
            ("198.51.100.1", "198.51.100.2", false),
            ("198.51.100.1", "::ffff:198.51.100.1", true),
            ("::ffff:198.51.100.1", "::ffff:198.51.100.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            let are_equal = Source::new(ip(one)) == Source::new(ip(other));
            assert_eq!(are_equal, are_one, "{one} {other}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_wrote_itself() {
        for (peer, forwarded, expected) in [
            // Whoever is no proxy speaks for itself.
            ("198.51.100.1", vec!["203.0.113.9"], "198.51.100.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", vec!["203.0.113.9"], "203.0.113.9"),
            // What the client wrote itself stands on the left.
            ("10.0.0.1", vec!["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["10.9.9.9,203.0.113.9"], "203.0.113.9"),
            // Several proxies, one behind the other.
            (
                "10.0.0.1",
                vec!["1.1.1.1, 203.0.113.9 ,192.0.2.1", "fd00::1"],
                "203.0.113.9",
            ),
            ("10.0.0.1", vec!["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
            // With a port, and what is no address.
            ("10.0.0.1", vec!["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", vec!["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", vec!["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.9,"], "10.0.0.1"),
        ] {
            let found = source(peer, &forwarded);
            assert_eq!(found, Source::new(ip(expected)), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, address, has) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.2.3/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let proxies = Proxies::parse(network).unwrap();
            assert_eq!(proxies.trust(ip(address)), has, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in [
            "proxy",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/-1",
            "::ffff:10.0.0.0/104",
        ] {
            let said = Proxies::parse(&format!("10.0.0.1, {bad}"));
            assert_eq!(said, Err(ProxyError(bad.to_owned())));
        }
        assert_eq!(Proxies::parse(""), Ok(Proxies::default()));
    }
}
