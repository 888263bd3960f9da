//! What a user may reach, written: a change of grants, and what it lets out of the personal scope.

use sync_protocol::{AppId, Millis, RecordId, SpaceId, TableName, UserId};
use sync_store::{
    Denied, Grant, Membership, Position, Promoted, Promotion, Reach, Regrant, Regranted,
    StoreError, personal,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::exchange::enter;
use crate::failure::Failure;
use crate::instant::instant;
use crate::page::{number, unreadable};
use crate::queries::{self, own};
use crate::session::{Acting, After, Mode, Session, answered, read_grants};
use crate::store::PostgresStore;
use crate::write::column;

impl PostgresStore {
    /// Tries once to take over what was said of a user's spaces.
    pub(crate) async fn try_regrant(
        &self,
        membership: &Membership,
        now: Millis,
    ) -> Result<Regranted, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = self.regrant_within(&session, membership, now).await;
        session.close(outcome).await
    }

    /// A change of grants is a write in the user's personal scope: the same lock, a position of its own.
    async fn regrant_within(
        &self,
        session: &Session,
        membership: &Membership,
        now: Millis,
    ) -> Result<Regranted, Failure> {
        let user = &membership.user;
        answered(session.open(Acting::Maintenance, user.as_str())).await?;
        let [lock, read] = session
            .statements([queries::LOCK_TO_WRITE, own::GRANTS])
            .await?;
        let connection = session.connection();
        let key = personal(user).lock_key();
        answered(connection.execute(&lock, &[&key])).await?;
        let known = read_grants(&answered(connection.query(&read, &[&user.as_str()])).await?)?;
        let regrant = Regrant::new(&known, membership);
        let outcome = self.write_grants(session, user, regrant, now).await?;
        session.commit().await?;
        Ok(outcome)
    }

    /// Writes what has changed of a user's grants, whose personal scope is locked.
    pub(crate) async fn write_grants(
        &self,
        session: &Session,
        user: &UserId,
        regrant: Regrant,
        now: Millis,
    ) -> Result<Regranted, Failure> {
        let base = self.drawer().draw(regrant.positions(), now).await?;
        let (grants, outcome) = regrant.grants(base);
        if !grants.is_empty() {
            let [write] = session.statements([own::REGRANT]).await?;
            let columns = Columns::of(&grants);
            let user = user.as_str();
            let parameters = columns.parameters(&user);
            answered(session.connection().execute(&write, &parameters)).await?;
        }
        Ok(outcome)
    }

    /// Tries once to move a batch of what was denied.
    pub(crate) async fn try_promote(&self, promotion: &Promotion) -> Result<Promoted, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = self.promote_within(&session, promotion).await;
        session.close(outcome).await
    }

    async fn promote_within(
        &self,
        session: &Session,
        promotion: &Promotion,
    ) -> Result<Promoted, Failure> {
        let granted = session
            .begin(&promotion.user, Mode::ToWrite, After::Nothing)
            .await?;
        let (reach, granted) = self.code_wall().reach(granted);
        let denied = find_denied(session, (&reach, granted.as_ref()), promotion).await?;
        let Some((intake, next)) = promotion.intake(reach, &denied) else {
            session.commit().await?;
            return Ok(Promoted::default());
        };
        let app = intake.push().app.clone();
        let reaches = (granted, self.imported());
        let pushed = self.take(session, intake, reaches).await?;
        let touched = Some((app, pushed.touched)).filter(|(_, touched)| !touched.is_empty());
        Ok(Promoted { touched, next })
    }
}

async fn find_denied(
    session: &Session,
    (reach, granted): (&Reach, Option<&Reach>),
    promotion: &Promotion,
) -> Result<Vec<Denied>, Failure> {
    let spaces: Vec<&str> = reach
        .writable()
        .filter_map(|scope| scope.space().map(SpaceId::as_str))
        .collect();
    if spaces.is_empty() {
        return Ok(Vec::new());
    }
    let [find] = session.statements([queries::moves::DENIED]).await?;
    let parameters: [&(dyn ToSql + Sync); 5] = [
        &reach.personal().key(),
        &promotion.after.0,
        &spaces,
        &instant(promotion.received_since()),
        &number(promotion.limit),
    ];
    // The other scopes are locked once it is known which of them are written.
    let found = answered(async {
        enter(session, granted.unwrap_or(reach), Vec::new()).await?;
        session.connection().query(&find, &parameters).await
    });
    let found = found.await?;
    Ok(found.iter().map(denied).collect::<Result<_, _>>()?)
}

fn denied(row: &Row) -> Result<Denied, StoreError> {
    let text = |column| row.get::<_, &str>(column);
    Ok(Denied {
        position: Position(row.get(0)),
        app: AppId::new(text(1)).map_err(unreadable)?,
        table: TableName::new(text(2)).map_err(unreadable)?,
        record: RecordId::new(text(3)).map_err(unreadable)?,
        space: SpaceId::new(text(4)).map_err(unreadable)?,
    })
}

/// Grants, one array per column.
struct Columns<'a> {
    spaces: Vec<&'a str>,
    roles: Vec<Option<&'static str>>,
    positions: Vec<i64>,
    asked: Vec<std::time::SystemTime>,
    doubted: Vec<Option<std::time::SystemTime>>,
}

impl<'a> Columns<'a> {
    fn of(grants: &'a [Grant]) -> Self {
        Self {
            spaces: column(grants, |grant| grant.space.as_str()),
            roles: column(grants, |grant| grant.role.map(sync_store::Role::as_str)),
            positions: column(grants, |grant| grant.position.0),
            asked: column(grants, |grant| instant(grant.asked)),
            doubted: column(grants, |grant| grant.doubted.map(instant)),
        }
    }

    fn parameters<'b>(&'b self, user: &'b (dyn ToSql + Sync)) -> [&'b (dyn ToSql + Sync); 6] {
        let Self {
            spaces,
            roles,
            positions,
            asked,
            doubted,
        } = self;
        [user, spaces, roles, positions, asked, doubted]
    }
}
