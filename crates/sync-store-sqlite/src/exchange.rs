//! A push and a pull, each inside one transaction: what a store does around the pure middle that all of them share.

use std::collections::HashMap;

use rusqlite::Connection;
use sync_protocol::Answer;
use sync_store::{
    Decision, Intake, Loaded, Pull, Push, Pushed, Reach, Rules, Scope, Writes, pull_answer,
};

use crate::failure::{Failure, Outcome};
use crate::tables::{clock, grants, log, parked, records, window};

/// Takes a push. The one writer has every lock there is, so all that the caller may write counts as locked for writing.
pub(crate) fn push(connection: &Connection, push: Push, rules: Rules) -> Outcome<Pushed> {
    let user = &push.caller.user;
    let reach = Reach::new(user, &grants::of(connection, user)?);
    let written = reach.writable().cloned().collect();
    let intake = Intake::new(push, reach, &written);
    let known = load(connection, &intake)?;
    let scopes: Vec<_> = intake.reach().readable().cloned().collect();
    let decision = intake
        .decide(&known.loaded, rules)?
        .map_err(|missing| Failure::fault(format!("scopes are not locked: {:?}", missing.0)))?;
    let asked = decision.push();
    let delta = log::delta(connection, &asked.app, &scopes, asked.since)?;
    let base = clock::draw(connection, decision.positions(), asked.now)?;
    write(connection, &decision, decision.writes(base), &known.scopes)?;
    let page = window::page(connection, &decision.window(delta.horizon))?;
    Ok(decision.answer(&page, delta, base))
}

/// Answers a pull.
pub(crate) fn pull(connection: &Connection, pull: &Pull, rules: Rules) -> Outcome<Answer> {
    let user = &pull.caller.user;
    let reach = Reach::new(user, &grants::of(connection, user)?);
    let scopes: Vec<_> = reach.readable().cloned().collect();
    let delta = log::delta(connection, &pull.app, &scopes, pull.since)?;
    let page = window::page(connection, &pull.window(scopes, delta.horizon))?;
    Ok(pull_answer(pull, &page, delta, rules))
}

/// What is known of the records of a push.
#[derive(Default)]
struct Known {
    loaded: Loaded,
    /// The scope of each live row.
    scopes: HashMap<i64, Scope>,
}

fn load(connection: &Connection, intake: &Intake) -> Outcome<Known> {
    let push = intake.push();
    let mut known = Known::default();
    for key in intake.keys() {
        let Some(record) = records::find(connection, &push.app, &key)? else {
            continue;
        };
        for position in record.rows {
            let loaded = &mut known.loaded;
            log::load_fields(connection, &push.app, &key.scope, position, loaded)?;
            known.scopes.insert(position, key.scope.clone());
        }
        known.loaded.record(key, record.state, record.version);
    }
    for event_id in intake.event_ids() {
        if log::event_is_taken(connection, &push.caller.user, event_id)? {
            known.loaded.event(event_id);
        }
    }
    Ok(known)
}

fn write(
    connection: &Connection,
    decision: &Decision,
    writes: Writes,
    scopes: &HashMap<i64, Scope>,
) -> Outcome<()> {
    let Push {
        caller, app, now, ..
    } = decision.push();
    for entry in &writes.entries {
        log::append(connection, entry)?;
    }
    for position in &writes.dead {
        let scope = scopes
            .get(&position.0)
            .ok_or_else(|| Failure::fault(format!("row {} was not loaded", position.0)))?;
        log::bury(connection, app, scope, position.0, *now)?;
    }
    for (key, state) in &writes.records {
        let deleted_since = state.deleted.then_some(*now);
        records::write(connection, app, key, state, deleted_since)?;
    }
    parked::keep(connection, &caller.user, app, &writes.parked, *now)
}
