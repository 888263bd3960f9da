//! Event ids as PostgreSQL's `uuid`.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use sync_protocol::EventId;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// An event id on its way into or out of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uuid(pub(crate) EventId);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u128(self.0.bits());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let bits = u128::from_be_bytes(raw.try_into()?);
        Ok(Self(EventId::from_bits(bits)))
    }

    accepts!(UUID);
}
