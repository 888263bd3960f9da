//! Grants, and what they let out of the personal scope.

use std::ops::Bound;

use sync_protocol::{Millis, UserId};

use super::Inner;
use crate::{
    Denied, Grant, Membership, Promoted, Promotion, Reach, Regrant, Regranted, Rules, StoreError,
    imported,
};

impl Inner {
    pub(super) fn promote(
        &mut self,
        promotion: &Promotion,
        rules: Rules,
    ) -> Result<Promoted, StoreError> {
        imported(self.import.until())?;
        let reach = self.reach(&promotion.user);
        let denied = self.denied(promotion, &reach);
        let Some((intake, next)) = promotion.intake(reach, &denied) else {
            return Ok(Promoted::default());
        };
        let app = intake.push().app.clone();
        let pushed = self.take(intake, rules)?.map_err(|missing| {
            StoreError::fault(format!("a promotion lacks scopes: {:?}", missing.0))
        })?;
        let touched = Some((app, pushed.touched)).filter(|(_, touched)| !touched.is_empty());
        Ok(Promoted { touched, next })
    }

    fn denied(&self, promotion: &Promotion, reach: &Reach) -> Vec<Denied> {
        let behind = (Bound::Excluded(promotion.after), Bound::Unbounded);
        let found = self.log.range(behind).filter_map(|(_, row)| {
            let entry = &row.entry;
            let space = entry.space.as_ref()?;
            let is_denied = row.dead_since.is_none()
                && entry.scope == *reach.personal()
                && entry.received >= promotion.received_since()
                && reach.writable_space(space).is_some();
            is_denied.then(|| Denied {
                position: entry.position,
                app: entry.app.clone(),
                table: entry.table.clone(),
                record: entry.record.clone(),
                space: space.clone(),
            })
        });
        found.take(promotion.limit).collect()
    }

    pub(super) fn regrant(&mut self, membership: &Membership, now: Millis) -> Regranted {
        let user = &membership.user;
        let regrant = Regrant::new(&self.grants(user), membership);
        let base = self.draw(regrant.positions(), now);
        let (grants, outcome) = regrant.grants(base);
        for grant in grants {
            let key = (user.clone(), grant.space.clone());
            self.grants.insert(key, grant);
        }
        outcome
    }

    pub(super) fn reach(&self, user: &UserId) -> Reach {
        Reach::new(user, &self.grants(user))
    }

    pub(super) fn grants(&self, user: &UserId) -> Vec<Grant> {
        let own = self.grants.iter().filter(|((member, _), _)| member == user);
        own.map(|(_, grant)| grant.clone()).collect()
    }
}
