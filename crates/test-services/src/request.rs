//! A request as it arrived.

use percent_encoding::percent_decode_str;

use crate::mood::Service;

const BILLING: &str = "/api/v1/internal/sync/status/";
const USERS: &str = "/api/v1/internal/users/";
const MEMBERSHIPS: &str = "/memberships";

/// What was asked, with nothing decoded or tidied up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path as sent, with a query if there was one.
    pub path: String,
    /// Every header in its order: name as sent, value without the white space around it.
    pub headers: Vec<(String, String)>,
    /// Which service was asked; `None` if the path is neither's.
    pub service: Option<Service>,
    /// About whom, decoded; `None` if the path is neither's.
    pub user: Option<String>,
}

impl Request {
    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a head: request line and headers, without the empty line.
    pub(crate) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let (service, user) = addressee(&path).unzip();
        Some(Self {
            headers: headers.collect(),
            service,
            user,
            method,
            path,
        })
    }
}

/// Which service a path asks, and about whom: the user is exactly one segment of it.
fn addressee(path: &str) -> Option<(Service, String)> {
    let (service, segment) = if let Some(user) = path.strip_prefix(BILLING) {
        (Service::Billing, user)
    } else {
        let user = path.strip_prefix(USERS)?.strip_suffix(MEMBERSHIPS)?;
        (Service::Memberships, user)
    };
    if segment.is_empty() || segment.contains(['/', '?', '#']) {
        return None;
    }
    let user = percent_decode_str(segment).decode_utf8().ok()?;
    Some((service, user.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_services_only_if_the_user_is_one_segment() {
        let billing = |user: &str| Some((Service::Billing, user.to_owned()));
        assert_eq!(addressee(&format!("{BILLING}anna")), billing("anna"));
        assert_eq!(addressee(&format!("{BILLING}a%2Fb")), billing("a/b"));
        for path in ["a/b", "a?b", ""] {
            assert_eq!(addressee(&format!("{BILLING}{path}")), None, "{path}");
        }
        let memberships = Some((Service::Memberships, "ä".to_owned()));
        assert_eq!(
            addressee(&format!("{USERS}%C3%A4{MEMBERSHIPS}")),
            memberships
        );
        assert_eq!(addressee(&format!("{USERS}anna")), None);
    }
}
