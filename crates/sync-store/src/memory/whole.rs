//! Everything of a user or a space: exported, and erased in one batch.

use std::convert::Infallible;

use sync_protocol::{Audience, ClientId, SpaceId, UserId};

use super::{Inner, Row};
use crate::{
    Erased, Erasure, Export, Exported, Item, Place, Position, RecordState, Regrant, Scope,
    StoreError, whole,
};

impl Inner {
    pub(super) fn export(&self, export: &Export) -> Exported {
        let of = &export.of;
        let behind = |item: Item, parked: i64| {
            let place = export.after.behind(&item, of, parked);
            (item, place)
        };
        let mut found: Vec<(Item, Place)> = match &export.after {
            Place::Grants(_) => {
                let grants = self.grants.iter().filter(|((user, space), _)| match of {
                    Audience::User(whose) => user == whose,
                    Audience::Space(whose) => space == whose,
                });
                let items =
                    grants.map(|((user, _), grant)| Item::Grant(user.clone(), grant.clone()));
                items.map(|item| behind(item, 0)).collect()
            }
            Place::Parked(_) => {
                let own = (1..).zip(&self.parked);
                let own = own.filter(|(_, (user, ..))| Audience::User(user.clone()) == *of);
                let items = own.map(|(place, (_, app, parked))| {
                    (place, Item::Parked(app.clone(), parked.clone()))
                });
                items.map(|(place, item)| behind(item, place)).collect()
            }
            Place::Written(_) | Place::Live(_) | Place::Dead(_) => {
                let scope = whole(of);
                let is_meant = |row: &&Row| match &export.after {
                    Place::Live(_) => row.dead_since.is_none() && row.entry.scope == scope,
                    Place::Dead(_) => row.dead_since.is_some() && row.entry.scope == scope,
                    _ => Audience::User(row.entry.user.clone()) == *of,
                };
                let rows = self.log.values().filter(is_meant);
                let item = |row: &Row| Item::Change(Box::new(row.entry.clone()), row.dead_since);
                rows.map(|row| behind(item(row), 0)).collect()
            }
        };
        found.retain(|(_, place)| *place > export.after);
        found.sort_by(|(_, one), (_, other)| one.cmp(other));
        let Ok(page) = Exported::fill(export, found.into_iter().map(Ok::<_, Infallible>));
        page
    }

    pub(super) fn erase(&mut self, erasure: &Erasure) -> Result<Erased, StoreError> {
        let scope = whole(&erasure.of);
        let mut erased = match &erasure.of {
            Audience::User(user) => self.forget_user(user, erasure)?,
            Audience::Space(space) => self.end_space(space, erasure),
        };
        let records = self.records.len();
        self.records.retain(|(_, key), _| key.scope != scope);
        erased.records = records - self.records.len();
        erased.rows = self.remove_rows(&scope);
        Ok(erased)
    }

    fn remove_rows(&mut self, scope: &Scope) -> usize {
        let before = self.log.len();
        let Self { log, events, .. } = self;
        log.retain(|_, Row { entry, .. }| {
            let stays = entry.scope != *scope;
            if !stays {
                events.remove(&(entry.user.clone(), entry.event_id));
            }
            stays
        });
        before - log.len()
    }

    fn forget_user(&mut self, user: &UserId, erasure: &Erasure) -> Result<Erased, StoreError> {
        let mut erased = Erased::default();
        let before = (self.grants.len(), self.parked.len());
        self.grants.retain(|(member, _), _| member != user);
        self.parked.retain(|(owner, ..)| owner != user);
        self.uploads.retain(|(owner, ..), _| owner != user);
        erased.grants = before.0 - self.grants.len();
        erased.parked = before.1 - self.parked.len();
        for Row { entry, .. } in self.log.values_mut() {
            if entry.user == *user && entry.scope.space().is_some() {
                self.events.remove(&(user.clone(), entry.event_id));
                entry.user = erasure.pseudonym.clone();
                entry.client = ClientId::nameless();
                entry.actor = None;
                self.events.insert((entry.user.clone(), entry.event_id));
                erased.renamed += 1;
            }
        }
        let shared = self.records.iter_mut();
        for (_, kept) in shared.filter(|((_, key), _)| key.scope.space().is_some()) {
            if let Some(text) = RecordState::without_claims(&kept.state.state, user)? {
                kept.state.state = text;
                erased.claims += 1;
            }
        }
        Ok(erased)
    }

    fn end_space(&mut self, space: &SpaceId, erasure: &Erasure) -> Erased {
        let mut erased = Erased::default();
        let members: Vec<UserId> = self.grants.keys().map(|(user, _)| user.clone()).collect();
        for user in members {
            let regrant = Regrant::away(&self.grants(&user), Some(space), erasure.now);
            if regrant.is_empty() || erased.left.contains(&user) {
                continue;
            }
            let base: Position = self.draw(regrant.positions(), erasure.now);
            for grant in regrant.grants(base).0 {
                self.grants.insert((user.clone(), space.clone()), grant);
            }
            erased.grants += 1;
            erased.left.push(user);
        }
        erased
    }
}
