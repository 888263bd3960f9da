//! An upload and a download of the rows dialect, each inside one transaction.

use rusqlite::Connection;
use sync_protocol::rows::DownloadPage;
use sync_store::{
    Download, DownloadBegun, Loaded, Merged, Position, Upload, UploadDecision, UploadIntake,
    UploadLoaded, Uploaded, personal,
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
        let mut merged = Merged::new(wanted);
        for app in &apps {
            let found = rows::find(connection, &scope, app, wanted, begun.left_out())?;
            merged.add(found.0, found.1);
        }
        let (found, is_cut) = merged.finish();
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
