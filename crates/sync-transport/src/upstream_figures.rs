//! The metrics of the services that are asked: billing and memberships.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sync_access::{Billing, BillingFigures, Calls, MembershipFigures, Memberships};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCall {
    service: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByService {
    service: &'static str,
}

/// What is counted of calls to other services.
#[derive(Default)]
pub(crate) struct UpstreamFigures {
    calls: Family<ByCall, Counter>,
    remembered: Family<ByService, Counter>,
    left_alone: Family<ByService, Gauge>,
    users: Family<ByService, Gauge>,
    failed_open: Counter,
    not_taken: Counter,
    passed_over: Counter,
    announcements: Counter,
}

impl UpstreamFigures {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let calls = "Calls to other services, by what became of them";
        registry.register("sync_upstream_calls", calls, self.calls.clone());
        let remembered = "Questions that were answered from what was remembered";
        registry.register(
            "sync_upstream_remembered",
            remembered,
            self.remembered.clone(),
        );
        let alone = "Whether a service is left alone for a while, since it failed too often";
        registry.register("sync_upstream_left_alone", alone, self.left_alone.clone());
        let users = "Users about whom an answer is remembered";
        registry.register("sync_upstream_users", users, self.users.clone());
        let open = "Requests let through since billing did not say whether to";
        registry.register("sync_billing_failed_open", open, self.failed_open.clone());
        let taken = "Answers about memberships that the store did not take";
        registry.register("sync_memberships_not_taken", taken, self.not_taken.clone());
        let passed = "Memberships of organizations that can be no space";
        registry.register(
            "sync_memberships_passed_over",
            passed,
            self.passed_over.clone(),
        );
        let announced = "Changes of memberships that the service announced";
        registry.register(
            "sync_memberships_announced",
            announced,
            self.announcements.clone(),
        );
    }

    pub(crate) fn look_at(&self, billing: Option<&Billing>, memberships: Option<&Memberships>) {
        if let Some(figures) = billing.map(Billing::figures) {
            let BillingFigures {
                calls,
                from_memory,
                failed_open,
                breaker_open,
                users_remembered,
            } = figures;
            self.look_at_service(
                "billing",
                &calls,
                (from_memory, breaker_open, users_remembered),
            );
            stand(&self.failed_open, failed_open);
        }
        if let Some(figures) = memberships.map(Memberships::figures) {
            let MembershipFigures {
                calls,
                from_memory,
                not_taken,
                passed_over,
                announcements,
                breaker_open,
                users_remembered,
            } = figures;
            let kept = (from_memory, breaker_open, users_remembered);
            self.look_at_service("memberships", &calls, kept);
            stand(&self.not_taken, not_taken);
            stand(&self.passed_over, passed_over);
            stand(&self.announcements, announcements);
        }
    }

    fn look_at_service(
        &self,
        service: &'static str,
        calls: &Calls,
        (from_memory, breaker_open, users): (u64, bool, usize),
    ) {
        for (outcome, total) in [
            ("success", calls.successful),
            ("unaskable", calls.unaskable),
            ("left_alone", calls.left_alone),
            ("unreachable", calls.unreachable),
            ("timed_out", calls.timed_out),
            ("server_error", calls.server_errors),
            ("refused", calls.refusals),
            ("nonsense", calls.nonsense),
        ] {
            let by_call = ByCall { service, outcome };
            stand(&self.calls.get_or_create(&by_call), total);
        }
        let by_service = ByService { service };
        stand(&self.remembered.get_or_create(&by_service), from_memory);
        let alone = self.left_alone.get_or_create(&by_service);
        alone.set(i64::from(breaker_open));
        let remembered = self.users.get_or_create(&by_service);
        remembered.set(i64::try_from(users).unwrap_or(i64::MAX));
    }
}

fn stand(counter: &Counter, total: u64) {
    counter.inner().store(total, Ordering::Relaxed);
}
