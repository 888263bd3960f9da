//! A push, a pull, a promotion and a change of grants, each inside one transaction: what a store does around the pure
//! middle that all of them share.

use std::collections::HashMap;

use rusqlite::Connection;
use sync_protocol::{Answer, AppId, Millis, UserId};
use sync_store::{
    Decision, Intake, Loaded, Membership, Promoted, Promotion, Pull, Push, Pushed, Reach,
    RecordKey, Regrant, Regranted, Rules, Scope, Writes, pull_answer,
};

use crate::failure::{Failure, Outcome};
use crate::tables::{clock, grants, import, log, parked, records, window};

/// Takes a push. The one writer has every lock there is, so all that the caller may write counts as locked for writing.
pub(crate) fn push(connection: &Connection, push: Push, rules: Rules) -> Outcome<Pushed> {
    let push = Push {
        since: push.since.after_import(import::ended(connection)?),
        ..push
    };
    let reach = reach(connection, &push.caller.user)?;
    let written = reach.writable().cloned().collect();
    take(connection, Intake::new(push, reach, &written), rules)
}

fn take(connection: &Connection, intake: Intake, rules: Rules) -> Outcome<Pushed> {
    let known = load(connection, &intake)?;
    let decision = intake
        .decide(&known.loaded, rules)?
        .map_err(|missing| Failure::fault(format!("scopes are not locked: {:?}", missing.0)))?;
    let asked = decision.push();
    let scopes: Vec<_> = decision.readable().cloned().collect();
    let delta = log::delta(connection, &asked.app, &scopes, asked.since)?;
    let base = clock::draw(connection, decision.positions(), asked.now)?;
    write(connection, &decision, decision.writes(base), &known.scopes)?;
    let window = decision.window(delta.horizon);
    let page = window::page(connection, &window)?;
    Ok(decision.answer((&window, &page), delta, base))
}

/// Answers a pull.
pub(crate) fn pull(connection: &Connection, pull: &Pull, rules: Rules) -> Outcome<Answer> {
    let pull = &Pull {
        since: pull.since.after_import(import::ended(connection)?),
        ..pull.clone()
    };
    let reach = reach(connection, &pull.caller.user)?;
    let scopes: Vec<_> = reach.readable().cloned().collect();
    let delta = log::delta(connection, &pull.app, &scopes, pull.since)?;
    let window = pull.window(&reach, delta.horizon);
    let page = window::page(connection, &window)?;
    Ok(pull_answer(pull, &reach, (&window, &page), delta, rules))
}

/// Whether a promotion would find anything.
pub(crate) fn has_denied(connection: &Connection, promotion: &Promotion) -> Outcome<bool> {
    let reach = reach(connection, &promotion.user)?;
    Ok(!log::denied(connection, promotion, &reach)?.is_empty())
}

/// Moves a batch of what was denied into the spaces that it is about.
pub(crate) fn promote(
    connection: &Connection,
    promotion: &Promotion,
    rules: Rules,
) -> Outcome<Promoted> {
    let reach = reach(connection, &promotion.user)?;
    let denied = log::denied(connection, promotion, &reach)?;
    let Some((intake, next)) = promotion.intake(reach, &denied) else {
        return Ok(Promoted::default());
    };
    let app = intake.push().app.clone();
    let touched = take(connection, intake, rules)?.touched;
    let touched = Some((app, touched)).filter(|(_, touched)| !touched.is_empty());
    Ok(Promoted { touched, next })
}

/// Takes over what was said of a user's spaces.
pub(crate) fn regrant(
    connection: &Connection,
    membership: &Membership,
    now: Millis,
) -> Outcome<Regranted> {
    let user = &membership.user;
    let regrant = Regrant::new(&grants::of(connection, user)?, membership);
    let base = clock::draw(connection, regrant.positions(), now)?;
    let (changed, outcome) = regrant.grants(base);
    for grant in &changed {
        grants::write(connection, user, grant)?;
    }
    Ok(outcome)
}

fn reach(connection: &Connection, user: &UserId) -> Outcome<Reach> {
    Ok(Reach::new(user, &grants::of(connection, user)?))
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
        for position in load_record(connection, &push.app, &key, &mut known.loaded)? {
            known.scopes.insert(position, key.scope.clone());
        }
    }
    for event_id in intake.event_ids() {
        if log::event_is_taken(connection, &push.caller.user, event_id)? {
            known.loaded.event(event_id);
        }
    }
    Ok(known)
}

/// Loads a record, if there is one: the positions of its live rows.
pub(crate) fn load_record(
    connection: &Connection,
    app: &AppId,
    key: &RecordKey,
    loaded: &mut Loaded,
) -> Outcome<Vec<i64>> {
    let Some(record) = records::find(connection, app, key)? else {
        return Ok(Vec::new());
    };
    for position in &record.rows {
        log::load_fields(connection, app, &key.scope, *position, loaded)?;
    }
    loaded.record(key.clone(), record.state, record.version);
    Ok(record.rows)
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
    for key in &writes.gone {
        records::forget(connection, app, key)?;
    }
    parked::keep(connection, &caller.user, app, &writes.parked, *now)
}
