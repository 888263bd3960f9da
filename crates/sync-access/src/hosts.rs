//! Which machines keys may come from: the rule for an address, and a resolver that holds to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The one name that stands for this machine.
const LOCALHOST: &str = "localhost";

/// What an operator does about a refusal; the server's setting is the one that sets [`KeyHosts`].
const ALLOW: &str = "SYNC_JWKS_HOSTS=anywhere allows it";

/// Which hosts key sets may come from. The head of this crate says why it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyHosts {
    /// Public addresses by https, and this machine (`localhost`, `127.0.0.0/8`, `[::1]`) also by
    /// http. Private networks are refused, written in the address or found behind its name.
    #[default]
    Guarded,
    /// Any host, by https or http: for private networks whose operator answers for them.
    Anywhere,
}

impl KeyHosts {
    /// Whether keys may be fetched from this http or https address, as far as one can tell without
    /// resolving its name.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the operator.
    pub(crate) fn admit(self, url: &Url) -> Result<(), String> {
        if self == Self::Anywhere {
            return Ok(());
        }
        let host = url.host_str().unwrap_or("");
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let literal: Option<IpAddr> = literal.parse().ok();
        let is_here = literal.map_or(host == LOCALHOST, is_loopback);
        if literal.is_some_and(is_private) {
            return Err(format!("is in a private network ({ALLOW})"));
        }
        if url.scheme() != "https" && !is_here {
            return Err(format!(
                "is plain http to another machine: use https ({ALLOW})"
            ));
        }
        Ok(())
    }

    /// What resolves names, given what would without a guard.
    pub(crate) fn guard(self, names: Arc<dyn Resolve>) -> Arc<dyn Resolve> {
        match self {
            Self::Guarded => Arc::new(GuardedNames(names)),
            Self::Anywhere => names,
        }
    }
}

/// Resolves names to addresses that keys may come from. Each connection asks it, so that a name
/// cannot be public when it is looked at and private when it is used.
struct GuardedNames(Arc<dyn Resolve>);

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let found = self.0.resolve(name);
        Box::pin(async move {
            let (good, bad): (Vec<_>, Vec<_>) = found
                .await?
                .partition(|address| may_be_called(&host, address.ip()));
            match bad.first() {
                Some(bad) if good.is_empty() => Err(refusal(&host, bad.ip()).into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

/// What the system says to a name.
pub(crate) struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is set by the connection.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Since `localhost` may be asked without TLS, it has to be this machine.
fn may_be_called(host: &str, address: IpAddr) -> bool {
    if host == LOCALHOST {
        is_loopback(address)
    } else {
        !is_private(address)
    }
}

fn refusal(host: &str, address: IpAddr) -> io::Error {
    let what = if host == LOCALHOST {
        "is not this machine"
    } else {
        "is in a private network"
    };
    io::Error::other(format!("{host} is {address}, which {what} ({ALLOW})"))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether an address leads into somebody's own network, or to no machine in particular.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => is_private_v4(address),
            None => {
                address.is_unspecified()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    first == 0 || address.is_private() || address.is_link_local() || is_shared
}

/// The IPv4 address that an IPv6 address leads to: mapped (`::ffff:0:0/96`), or translated on the
/// way (`64:ff9b::/96`).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::source::{Source, client};

    /// The first and last of each range, and forms of IPv6 that lead there.
    const PRIVATE: [&str; 22] = [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "100.64.0.0",
        "100.127.255.255",
        "0.0.0.0",
        "0.255.255.255",
        "::",
        "fc00::",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "::ffff:10.0.0.7",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::10.0.0.7",
        "64:ff9b::192.168.0.1",
    ];

    /// Their neighbours.
    const PUBLIC: [&str; 14] = [
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "1.0.0.0",
        "2001:db8::1",
        "fec0::1",
        "::ffff:11.0.0.7",
    ];

    const LOOPBACK: [&str; 4] = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn url(scheme: &str, host: &str) -> Url {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        Url::parse(&format!("{scheme}://{host}:3001/jwks")).expect("a URL")
    }

    /// Answers to each question the next of these.
    struct Answers(Mutex<Vec<&'static [&'static str]>>);

    impl Resolve for Answers {
        fn resolve(&self, _: Name) -> Resolving {
            let next = self.0.lock().unwrap().remove(0);
            let found = next.iter().map(|text| SocketAddr::new(address(text), 0));
            let found: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Box::pin(async move { Ok(found) })
        }
    }

    fn answering(answers: &[&'static [&'static str]]) -> Arc<dyn Resolve> {
        Arc::new(Answers(Mutex::new(answers.to_vec())))
    }

    fn guarded(answers: &[&'static [&'static str]]) -> Arc<dyn Resolve> {
        KeyHosts::Guarded.guard(answering(answers))
    }

    async fn resolved(names: &Arc<dyn Resolve>, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = names.resolve(host.parse().unwrap()).await;
        found
            .map(|found| found.map(|address| address.ip()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_in_a_private_network_is_refused_by_whatever_scheme_unless_it_is_allowed() {
        for host in PRIVATE {
            for scheme in ["https", "http"] {
                let (url, text) = (url(scheme, host), format!("{scheme} {host}"));
                let refusal = "is in a private network (SYNC_JWKS_HOSTS=anywhere allows it)";
                let refused = Err(refusal.to_owned());
                assert_eq!(KeyHosts::Guarded.admit(&url), refused, "{text}");
                assert_eq!(KeyHosts::Anywhere.admit(&url), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn a_public_address_is_for_https_alone_and_this_machine_for_both() {
        for host in PUBLIC
            .into_iter()
            .chain(["keys.example", "127.0.0.1.example"])
        {
            assert_eq!(
                KeyHosts::Guarded.admit(&url("https", host)),
                Ok(()),
                "{host}"
            );
            assert!(
                KeyHosts::Guarded.admit(&url("http", host)).is_err(),
                "{host}"
            );
            assert_eq!(
                KeyHosts::Anywhere.admit(&url("http", host)),
                Ok(()),
                "{host}"
            );
        }
        for host in LOOPBACK.into_iter().chain(["localhost", "0x7f.1"]) {
            assert_eq!(
                KeyHosts::Guarded.admit(&url("https", host)),
                Ok(()),
                "{host}"
            );
            assert_eq!(
                KeyHosts::Guarded.admit(&url("http", host)),
                Ok(()),
                "{host}"
            );
        }
        assert!(
            KeyHosts::Guarded
                .admit(&url("http", "localhost.example"))
                .is_err()
        );
        assert!(
            KeyHosts::Guarded.admit(&url("https", "0xa.1")).is_err(),
            "it is 10.0.0.1"
        );
    }

    #[tokio::test]
    async fn a_name_that_moves_into_a_private_network_after_it_was_public_is_refused() {
        let names = guarded(&[&["203.0.113.1"], &["10.0.0.7"], &["2001:db8::1"]]);
        let public = Ok(vec![address("203.0.113.1")]);
        assert_eq!(resolved(&names, "keys.example").await, public);
        let refusal = "keys.example is 10.0.0.7, which is in a private network \
                       (SYNC_JWKS_HOSTS=anywhere allows it)";
        assert_eq!(
            resolved(&names, "keys.example").await,
            Err(refusal.to_owned())
        );
        let public = Ok(vec![address("2001:db8::1")]);
        assert_eq!(resolved(&names, "keys.example").await, public);
    }

    #[tokio::test]
    async fn of_the_addresses_of_a_name_the_private_ones_are_left_out() {
        let names = guarded(&[&["10.0.0.7", "203.0.113.1", "fd00::1"], &["127.0.0.1"]]);
        let public = Ok(vec![address("203.0.113.1")]);
        assert_eq!(resolved(&names, "keys.example").await, public);
        let here = Ok(vec![address("127.0.0.1")]);
        assert_eq!(resolved(&names, "keys.example").await, here);
    }

    #[tokio::test]
    async fn localhost_is_this_machine_or_nobody() {
        let names = guarded(&[&["203.0.113.1"], &["203.0.113.1", "::1"]]);
        let refusal = "localhost is 203.0.113.1, which is not this machine \
                       (SYNC_JWKS_HOSTS=anywhere allows it)";
        assert_eq!(resolved(&names, "localhost").await, Err(refusal.to_owned()));
        assert_eq!(
            resolved(&names, "localhost").await,
            Ok(vec![address("::1")])
        );
    }

    #[tokio::test]
    async fn a_fetch_from_a_name_in_a_private_network_fails_and_says_which_setting_allows_it() {
        let failure = async |hosts, answers| {
            let client = client(hosts, answering(answers)).unwrap();
            let source = Source::new("https://keys.example:9/jwks", hosts).unwrap();
            source.fetch(&client).await.err().unwrap()
        };
        let refusal = "keys.example is 192.168.0.7, which is in a private network \
                       (SYNC_JWKS_HOSTS=anywhere allows it)";
        let why = failure(KeyHosts::Guarded, &[&["192.168.0.7"]]).await;
        assert!(why.contains(refusal), "{why}");
        // The unspecified address is no public one, and whoever calls it reaches this machine.
        let why = failure(KeyHosts::Anywhere, &[&["0.0.0.0"]]).await;
        assert!(why.contains("Connection refused"), "{why}");
    }
}
