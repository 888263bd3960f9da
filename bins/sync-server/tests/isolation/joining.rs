//! Users are given other spaces: it is announced, or left to be found out.

use std::sync::Arc;

use test_services::{Mood, Service};

use crate::acts::{Actor, Asked};
use crate::model::{NONE, READER, Roles, Route, WRITER};
use crate::names::{SPACES, USERS};
use crate::world::SERVICE_KEY;

impl Actor {
    /// Gives a user other spaces; says so, or leaves it to be found out.
    pub(crate) async fn change_memberships(&mut self, user: usize) -> Route {
        let world = Arc::clone(&self.world);
        let Ok(_alone) = world.changing[user].try_lock() else {
            return self.pull(user).await;
        };
        let (roles, spaces) = self.memberships();
        world.model.begin_change(user, world.now(), &roles);
        let name = world.names.users[user].clone();
        let pairs: Vec<(&str, &str)> = spaces
            .iter()
            .map(|(space, role)| (world.names.spaces[*space].as_str(), *role))
            .collect();
        world.services.set_memberships(&name, &pairs);
        if self.chance.percent(20) {
            return self.pull(user).await;
        }
        if self.chance.percent(4) {
            let mood = Mood::Status(500);
            world.services.mood_of(Service::Memberships, &name, mood);
            self.announce(user).await;
        }
        world
            .services
            .mood_of(Service::Memberships, &name, Mood::Well);
        if self.announce(user).await == 204 {
            world.model.end_change(user, world.now(), &roles);
        }
        Route::MembershipChanged
    }

    async fn announce(&mut self, user: usize) -> u16 {
        let name = self.world.names.users[user].clone();
        let url = self.url(&["internal", "memberships", &name, "changed"]);
        let request = self.world.http.post(url.clone());
        let asked = Asked {
            route: Route::MembershipChanged,
            reader: None,
            app: None,
            own: Vec::new(),
            text: url.to_string(),
            request: request.header("X-Service-Key", SERVICE_KEY),
        };
        self.ask(asked).await.0
    }

    /// Some spaces with some roles; what the service says of them.
    fn memberships(&mut self) -> ([Roles; SPACES], Vec<(usize, &'static str)>) {
        let (mut roles, mut said) = ([NONE; SPACES], Vec::new());
        for _ in 0..self.chance.below(6) {
            let space = self.chance.below(SPACES);
            let (role, word) = *self.chance.one(&[
                (WRITER, "owner"),
                (WRITER, "member"),
                (READER, "viewer"),
                (READER, "Owner"),
            ]);
            if roles[space] == NONE {
                roles[space] = role;
                said.push((space, word));
            }
        }
        (roles, said)
    }

    /// Has the spaces of everybody known before anything else.
    pub(crate) async fn introduce_everybody(&mut self) {
        for user in 0..USERS {
            let (roles, spaces) = self.memberships();
            let world = Arc::clone(&self.world);
            world.model.begin_change(user, world.now(), &roles);
            let names = &world.names;
            let pairs = spaces.iter();
            let pairs = pairs.map(|(space, role)| (names.spaces[*space].as_str(), *role));
            let pairs: Vec<(&str, &str)> = pairs.collect();
            world.services.set_memberships(&names.users[user], &pairs);
            // A machine that has much to do may be late to answer.
            while self.announce(user).await != 204 {}
            world.model.end_change(user, world.now(), &roles);
        }
    }
}
