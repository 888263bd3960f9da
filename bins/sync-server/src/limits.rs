//! Settings of how many connections there may be, and how often users and addresses may ask.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;
use sync_transport::{Limits, Loopback, Proxies};

#[derive(Clone, Debug, Args)]
pub(crate) struct LimitSettings {
    /// Connections of clients at a time
    #[arg(long, env = "SYNC_MAX_CONNECTIONS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..), global = true, hide_env_values = true)]
    pub(crate) sync_max_connections: u32,
    /// Streams and sockets of one user at a time, on one node
    #[arg(long, env = "SYNC_LIVE_PER_USER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..), global = true, hide_env_values = true)]
    pub(crate) sync_live_per_user: u16,
    /// Requests of one user in a minute, on one node; 0: no limit [default: 3000; where none of these three is set, programs on
    /// this machine have no limits]
    #[arg(
        long,
        env = "SYNC_RATE_PER_USER",
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_rate_per_user: Option<u32>,
    /// Requests from one address in a minute, on one node; 0: no limit [default: 30000]
    #[arg(
        long,
        env = "SYNC_RATE_PER_ADDRESS",
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_rate_per_address: Option<u32>,
    /// Connections of one address at a time, to one node; 0: no limit [default: 2000]
    #[arg(
        long,
        env = "SYNC_CONNECTIONS_PER_ADDRESS",
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_connections_per_address: Option<u32>,
    /// Addresses and networks (CIDR) of proxies that are believed who their clients are, separated by commas
    #[arg(
        long,
        env = "SYNC_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true,
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_trusted_proxies: String,
}

/// What holds where nothing is set.
const RATE_PER_USER: u32 = 3000;
const RATE_PER_ADDRESS: u32 = 30_000;
const CONNECTIONS_PER_ADDRESS: u32 = 2000;

impl LimitSettings {
    /// Whoever sets a limit means it for everybody; until then measurements, tests and other programs on this machine are
    /// spared.
    fn loopback(&self) -> Loopback {
        let set = [
            self.sync_rate_per_user,
            self.sync_rate_per_address,
            self.sync_connections_per_address,
        ];
        match set {
            [None, None, None] => Loopback::Spared,
            _ => Loopback::Limited,
        }
    }

    /// How many connections there may be.
    pub(crate) fn connections(&self) -> usize {
        size(self.sync_max_connections)
    }

    /// The proxies that are believed.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub(crate) fn proxies(&self) -> Result<Proxies, String> {
        Proxies::parse(&self.sync_trusted_proxies)
            .map_err(|error| format!("SYNC_TRUSTED_PROXIES: {error}"))
    }

    /// Others, and those of each user and each address.
    pub(crate) fn for_each(&self, others: Limits) -> Limits {
        Limits {
            user_rate: NonZeroU32::new(self.sync_rate_per_user.unwrap_or(RATE_PER_USER)),
            address_rate: NonZeroU32::new(self.sync_rate_per_address.unwrap_or(RATE_PER_ADDRESS)),
            address_connections: NonZeroUsize::new(size(
                self.sync_connections_per_address
                    .unwrap_or(CONNECTIONS_PER_ADDRESS),
            )),
            loopback: self.loopback(),
            ..others
        }
    }
}

fn size(setting: u32) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        limits: LimitSettings,
    }

    fn limits(arguments: &[&str]) -> [Option<usize>; 3] {
        let all = ["x"].iter().chain(arguments);
        let arguments = Arguments::try_parse_from(all).expect("good arguments");
        let limits = arguments.limits.for_each(Limits::default());
        let rate = |rate: Option<NonZeroU32>| rate.map(|rate| rate.get() as usize);
        [
            rate(limits.user_rate),
            rate(limits.address_rate),
            limits.address_connections.map(NonZeroUsize::get),
        ]
    }

    #[test]
    fn there_are_limits_unless_they_are_nought() {
        assert_eq!(limits(&[]), [Some(3000), Some(30_000), Some(2000)]);
        let none = [
            "--sync-rate-per-user=0",
            "--sync-rate-per-address=0",
            "--sync-connections-per-address=0",
        ];
        assert_eq!(limits(&none), [None; 3]);
    }

    #[test]
    fn who_sets_a_limit_means_it_for_this_machine_too() {
        let loopback = |arguments: &[&str]| {
            let all = ["x"].iter().chain(arguments);
            let arguments = Arguments::try_parse_from(all).expect("good arguments");
            arguments.limits.for_each(Limits::default()).loopback
        };
        assert_eq!(loopback(&[]), Loopback::Spared);
        for setting in [
            "rate-per-user",
            "rate-per-address",
            "connections-per-address",
        ] {
            let set = format!("--sync-{setting}=0");
            assert_eq!(loopback(&[&set]), Loopback::Limited);
        }
    }
}
