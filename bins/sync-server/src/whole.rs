//! `export` and `erase`: everything of a user or a space, in the database itself, without a running server.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use futures_util::StreamExt;
use sync_protocol::{Audience, SpaceId, UserId};
use sync_store::{Erased, Erasure, Export, Item, Place, Store};

use crate::database;
use crate::serve::now;
use crate::settings::Settings;

/// Whose everything.
#[derive(Clone, Debug, Args)]
pub(crate) struct Whose {
    /// Whether ID is that of a user or of a space
    kind: Kind,
    /// The user, as `sub` in its tokens, or the space
    id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A user.
    User,
    /// A space.
    Space,
}

impl Whose {
    fn of(&self) -> Result<Audience, String> {
        let told = |error| format!("the id {error}");
        Ok(match self.kind {
            Kind::User => Audience::User(UserId::new(&self.id).map_err(told)?),
            Kind::Space => Audience::Space(SpaceId::new(&self.id).map_err(told)?),
        })
    }
}

/// Writes everything of a user or a space as lines of JSON, into a file that is there when it is complete, or to the
/// standard output.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn export(
    settings: &Settings,
    whose: &Whose,
    to: Option<&Path>,
) -> Result<(), String> {
    let of = whose.of()?;
    let store = database::existing(settings).await?;
    let Some(to) = to else {
        let failed = |error: io::Error| format!("the standard output: {error}");
        return write(store, of, &mut io::stdout().lock(), failed).await;
    };
    let failed = |error: io::Error| format!("{}: {error}", to.display());
    let part = part_of(to);
    let mut file = BufWriter::new(fresh(&part).map_err(failed)?);
    let written = async {
        write(store, of, &mut file, failed).await?;
        file.get_ref().sync_all().map_err(failed)?;
        fs::rename(&part, to).map_err(failed)
    };
    let written = written.await;
    if written.is_err() {
        // What is not complete is worth nothing.
        let _ = fs::remove_file(&part);
    }
    written
}

fn part_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// A new file, for nobody else to read: what is left of an earlier export, or was put there by somebody, is not written into.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Nothing else waits in this process, so that it may wait for its file.
async fn write(
    store: Arc<dyn Store>,
    of: Audience,
    out: &mut impl Write,
    failed: impl Fn(io::Error) -> String,
) -> Result<(), String> {
    let mut parts = pin!(sync_transport::export(store, of, now()));
    while let Some(part) = parts.next().await {
        out.write_all(&part.map_err(database::told)?)
            .map_err(&failed)?;
    }
    out.flush().map_err(failed)
}

/// Erases a user or a space for good; a line for each thing.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn erase(settings: &Settings, whose: &Whose) -> Result<Vec<String>, String> {
    let of = whose.of()?;
    let store = database::existing(settings).await?;
    let bits = RandomState::new().build_hasher().finish();
    let erasure = Erasure::new(of, bits, now());
    let erased = sync_store::erase(&*store, erasure, |_| {}).await;
    let Erased {
        rows,
        records,
        parked,
        grants,
        renamed,
        claims,
        ..
    } = erased.map_err(|error| {
        let told = database::told(error);
        format!("{told}; what was erased stays erased: run it again")
    })?;
    Ok(vec![
        format!("erased {rows} changes of {records} records"),
        format!("erased {parked} changes kept aside"),
        format!("ended {grants} grants"),
        format!(
            "took the name off {renamed} changes in spaces, and claims out of {claims} records"
        ),
    ])
}

/// Says what there is to erase at this moment; a line for each thing.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn would_erase(settings: &Settings, whose: &Whose) -> Result<Vec<String>, String> {
    let of = whose.of()?;
    let store = database::existing(settings).await?;
    let scope = sync_store::whole(&of);
    let (mut own, mut shared, mut parked, mut grants) = (0, 0, 0, 0);
    let mut after = Some(Place::default());
    while let Some(place) = after {
        let export = Export {
            of: of.clone(),
            after: place,
        };
        let page = store.export(export).await.map_err(database::told)?;
        for item in &page.items {
            match item {
                Item::Grant(..) => grants += 1,
                Item::Parked(..) => parked += 1,
                Item::Change(entry, _) if entry.scope == scope => own += 1,
                Item::Change(..) => shared += 1,
            }
        }
        after = page.next;
    }
    Ok(vec![
        format!("would erase {own} changes"),
        format!("would erase {parked} changes kept aside"),
        format!("would end {grants} grants"),
        format!("would take the name off {shared} changes in spaces"),
        "nothing was erased: add --yes to do it".to_owned(),
    ])
}
