//! A business table into which many rows do not fit; and users who ask for those, and retry those of each other.

use std::collections::BTreeMap;

use sync_protocol::rows::is_row_name;
use sync_protocol::{AppId, FieldName, TableName};
use sync_store::{BusinessTable, RowTable, RowTables};

use crate::acts::{Actor, Asked};
use crate::model::Route;
use crate::names::{APPS, Names, ROW_APPS, SHARED_TABLES};
use crate::walls::Source;

/// It is written as rows of the first app and table. A title does not fit if the number of its mark ends so.
pub(crate) const BUSINESS: &str = "\
create table public.business_tasks (
    owner text not null,
    id text not null,
    title text check (title !~ '[0-4]~ of'),
    unique (owner, id)
);
grant select, insert, update, delete on public.business_tasks to sync_app;";

/// All tables that rows clients can name.
pub(crate) fn tables(names: &Names) -> RowTables {
    let named = names.tables.iter().filter(|table| is_row_name(table));
    let named: Vec<_> = named.map(|name| TableName::new(name).unwrap()).collect();
    let apps = ROW_APPS.map(|app| AppId::new(APPS[app]).unwrap());
    let keys = apps
        .iter()
        .flat_map(|app| named.iter().map(|table| (app.clone(), table.clone())));
    let mut described: BTreeMap<_, _> = keys.map(|key| (key, RowTable::default())).collect();
    let first = (
        apps[0].clone(),
        TableName::new(SHARED_TABLES[0]).expect("it is a name"),
    );
    let title = FieldName::new("title").expect("it is a name");
    let business = BusinessTable {
        schema: "public".to_owned(),
        name: "business_tasks".to_owned(),
        user: "owner".to_owned(),
        key: "id".to_owned(),
        columns: BTreeMap::from([(title, "title".to_owned())]),
    };
    described.entry(first).or_default().business = Some(business);
    RowTables {
        described: Some(described),
        ..RowTables::default()
    }
}

impl Source {
    /// What the business table holds: user and title.
    pub(crate) async fn business(&self) -> Vec<(String, String)> {
        let Self::Postgres(database) = self else {
            return Vec::new();
        };
        let all = "select owner, coalesce(title, '') from public.business_tasks";
        let rows = database.client.query(all, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

impl Actor {
    /// Asks for the rows that did not fit.
    pub(crate) async fn failures(&mut self, user: usize) -> Route {
        let mut url = self.url(&["admin", "materialize-failures"]);
        self.add_another_user(&mut url);
        let device = self.client(user);
        let token = self.world.device_token(user, &device);
        let asked = Asked {
            route: Route::Failures,
            reader: Some(user),
            app: None,
            own: Vec::new(),
            text: url.to_string(),
            request: self.world.http.get(url).bearer_auth(token),
        };
        let (_, said) = self.ask(asked).await;
        for failure in said.as_array().into_iter().flatten() {
            let number = failure["id"].as_i64().unwrap_or_default();
            let known = format!("{number} {}", self.world.names.users[user]);
            self.world.failures.put(&mut self.chance, &known);
        }
        Route::Failures
    }

    /// Retries one of somebody's.
    pub(crate) async fn retry(&mut self, user: usize) -> Route {
        let Some(known) = self.world.failures.any(&mut self.chance) else {
            return self.failures(user).await;
        };
        let (number, owner) = known.split_once(' ').unwrap();
        let user = match self.chance.percent(40) {
            true => self.world.names.user(owner).unwrap_or(user),
            false => user,
        };
        let mut url = self.url(&["admin", "materialize-failures", "retry"]);
        url.query_pairs_mut().append_pair("id", number);
        self.add_another_user(&mut url);
        let device = self.client(user);
        let token = self.world.device_token(user, &device);
        let asked = Asked {
            route: Route::Retry,
            reader: Some(user),
            app: None,
            own: Vec::new(),
            text: known.clone(),
            request: self.world.http.post(url).bearer_auth(token),
        };
        self.ask(asked).await;
        Route::Retry
    }
}
