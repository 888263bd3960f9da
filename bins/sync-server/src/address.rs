//! Whether a setting is the address of a service, so that a slip is told at start and not at the first call.

/// The address of a service on the web, or none.
///
/// # Errors
///
/// A sentence that names the setting, without its value: it may hold a password.
pub(crate) fn web(setting: &str, address: Option<&str>) -> Result<(), String> {
    match address {
        Some(address) if !is_url(address, &["http", "https"]) => Err(format!(
            "{setting} is no URL: it must be like https://service.example.org"
        )),
        _ => Ok(()),
    }
}

/// The addresses of NATS servers, separated by commas, or none.
///
/// # Errors
///
/// As for [`web`].
pub(crate) fn nats(setting: &str, addresses: Option<&str>) -> Result<(), String> {
    let is_good = |address: &str| is_url(address.trim(), &["nats", "tls"]);
    match addresses {
        Some(addresses) if !addresses.split(',').all(is_good) => Err(format!(
            "{setting} is no URL: it must be like nats://nats.example.org:4222"
        )),
        _ => Ok(()),
    }
}

/// Whether this is `scheme://host`, with or without a user, a port and what follows.
fn is_url(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let place = authority.rsplit('@').next().unwrap_or("");
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    schemes
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        && !text.contains(|odd: char| odd.is_whitespace() || odd.is_control())
        && is_host(host)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !text.is_empty() && !text.contains([':', '[', ']', '\\']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_host_by_a_known_scheme_is_no_address_of_a_service() {
        for good in [
            "https://auth.example.org",
            "http://auth:3001/",
            "HTTP://127.0.0.1:3001/base?x=1",
            "http://[::1]:3001",
            "http://[::1]",
            "https://user:p@ss@auth.example.org",
        ] {
            assert_eq!(web("X", Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "auth",
            "auth:3001",
            "//auth",
            "https://",
            "https:///path",
            "https://:3001",
            "https://auth:port",
            "https://auth:70000",
            "https://[::1",
            "https://[auth]",
            "https://au th",
            "nats://auth",
        ] {
            let said = web("X", Some(bad)).expect_err(bad);
            assert!(said.starts_with("X is no URL"), "{said}");
        }
        assert_eq!(web("X", None), Ok(()));
    }

    #[test]
    fn nats_servers_may_be_several() {
        let good = "nats://one:4222, tls://user:secret@two.example.org";
        assert_eq!(nats("X", Some(good)), Ok(()));
        for bad in ["nats://one,two", "nats://one,", "http://one"] {
            assert!(nats("X", Some(bad)).is_err(), "{bad}");
        }
    }
}
