//! An upload and a download of the rows dialect, each inside one transaction.

use rusqlite::Connection;
use sync_protocol::AppId;
use sync_protocol::rows::DownloadPage;
use sync_store::{
    Download, DownloadBegun, FoundRow, Loaded, Position, Scope, Upload, UploadDecision,
    UploadIntake, UploadLoaded, Uploaded, Wanted, personal,
};

use crate::exchange::load_record;
use crate::failure::Outcome;
use crate::tables::{clock, import, log, parked, records, rows, uploads};

/// Takes an upload.
pub(crate) fn upload(connection: &Connection, upload: Upload) -> Outcome<Uploaded> {
    import::ended(connection)?;
    let intake = UploadIntake::new(upload);
    let loaded = load(connection, &intake)?;
    let decision = intake.decide(&loaded)?;
    let base = clock::draw(connection, decision.positions(), decision.now())?;
    write(connection, &decision, base)?;
    Ok(decision.answer(base))
}

fn load(connection: &Connection, intake: &UploadIntake) -> Outcome<UploadLoaded> {
    let mut loaded = UploadLoaded::default();
    for (app, keys) in intake.keys() {
        let mut of_app = Loaded::default();
        for key in keys {
            load_record(connection, app, key, &mut of_app)?;
        }
        loaded.records.insert(app.clone(), of_app);
    }
    let caller = &intake.upload().caller;
    loaded.logged = uploads::find(connection, caller, &intake.change_ids())?;
    let apps = rows::apps(connection, intake.scope())?;
    loaded.greatest = rows::newest(connection, intake.scope(), &apps)?;
    Ok(loaded)
}

fn write(connection: &Connection, decision: &UploadDecision, base: Position) -> Outcome<()> {
    let (caller, now) = (decision.caller(), decision.now());
    let scope = personal(&caller.user);
    let writes = decision.writes(base);
    for (app, writes) in &writes.apps {
        for entry in &writes.entries {
            log::append(connection, entry)?;
        }
        for position in &writes.dead {
            log::bury(connection, app, &scope, position.0, now)?;
        }
        for (key, state) in &writes.records {
            records::write(connection, app, key, state, state.deleted.then_some(now))?;
        }
        parked::keep(connection, &caller.user, app, &writes.parked, now)?;
    }
    uploads::keep(connection, caller, &writes.logged, now)
}

/// Answers a download.
pub(crate) fn download(connection: &Connection, download: Download) -> Outcome<DownloadPage> {
    import::ended(connection)?;
    let scope = personal(&download.caller.user);
    let apps = match &download.app {
        Some(app) => vec![app.clone()],
        None => rows::apps(connection, &scope)?,
    };
    let horizon = rows::newest(connection, &scope, &apps)?;
    let mut begun = DownloadBegun::new(download);
    while let Some(wanted) = begun.wanted() {
        let (found, is_cut) = find(connection, &scope, &apps, wanted, begun.left_out())?;
        begun.take(found, is_cut)?;
    }
    loop {
        let missing = begun.missing_parents();
        if missing.is_empty() {
            return Ok(begun.answer(horizon));
        }
        let mut parents = Vec::new();
        for (app, keys) in missing {
            for key in keys {
                parents.extend(rows::find_by_key(connection, &app, key)?);
            }
        }
        begun.take_parents(parents)?;
    }
}

/// What is wanted of several apps, in order of position.
fn find(
    connection: &Connection,
    scope: &Scope,
    apps: &[AppId],
    wanted: Wanted,
    left_out: Option<&str>,
) -> Outcome<(Vec<FoundRow>, bool)> {
    let (mut all, mut end) = (Vec::new(), None);
    for app in apps {
        let (found, is_cut) = rows::find(connection, scope, app, wanted, left_out)?;
        if is_cut {
            let last = found.last().map(|row| row.position);
            end = last.into_iter().chain(end).min();
        }
        all.extend(found);
    }
    all.sort_by_key(|row| row.position);
    // Behind where one of them is cut, that one may have more.
    all.retain(|row| end.is_none_or(|end| row.position <= end));
    all.truncate(wanted.rows);
    Ok((all, end.is_some()))
}
