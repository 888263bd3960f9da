//! Removing a user or a space for good, batch by batch.
//!
//! ```text
//! a user    leaves its spaces -> its records go with their rows, then its dead rows; those in spaces lose its name
//!           -> its claims go from the records of its spaces, one space after the other, each with the grant itself
//! a space   its members leave, one after the other -> its records go with their rows, then its dead rows
//! ```
//!
//! Each batch is one transaction under the locks of whatever it touches, so that readers and writers see the log before it or
//! after it. Whoever stops in the middle begins again at the beginning: what is gone is passed over. What is written while it
//! goes on is new, and may stay.

use std::ops::AddAssign;

use sync_protocol::{AppId, Audience, Millis, RecordId, SpaceId, TableName, UserId};

use crate::state::{self, Stored};
use crate::{RecordState, Store, StoreError};

/// A wish to erase one batch of a user or a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Who.
    pub of: Audience,
    /// The name under which a user's rows stay in spaces: nobody's, and another one for each erasure.
    pub pseudonym: UserId,
    /// How far it has come.
    pub stage: Stage,
    /// The time of the request.
    pub now: Millis,
}

/// How far an erasure has come: opaque to whoever asks for the next batch. The default is the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Grants are to be taken away: a user's all at once, a space's one after the other.
    #[default]
    Grants,
    /// Records of the scope are to be removed with their rows, and rows that no record has; a user's name is to be taken from
    /// rows in spaces.
    Rows,
    /// Claims of a user are to be removed from the records of a space behind this one; or, without a record, from those of the
    /// space behind it.
    Claims(Option<(SpaceId, Option<RecordPlace>)>),
}

/// The place of a record in its scope.
pub type RecordPlace = (AppId, TableName, RecordId);

/// What an erasure has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of the log that are gone.
    pub rows: usize,
    /// Records that are gone.
    pub records: usize,
    /// Changes kept aside that are gone.
    pub parked: usize,
    /// Grants that are gone, of a user; or were taken away, of a space.
    pub grants: usize,
    /// Rows in spaces that are nobody's by now.
    pub renamed: usize,
    /// Records in spaces of which a claim is gone.
    pub claims: usize,
    /// The users that may see less than before.
    pub left: Vec<UserId>,
    /// How to go on; `None` if nothing is left.
    pub next: Option<Stage>,
}

impl Erasure {
    /// The first batch, with random bits for the pseudonym.
    #[must_use]
    pub fn new(of: Audience, bits: u64, now: Millis) -> Self {
        let pseudonym = UserId::new(&format!("erased:{bits:016x}"));
        Self {
            of,
            pseudonym: pseudonym.expect("it is short, and plain"),
            stage: Stage::default(),
            now,
        }
    }
}

/// Counts together; how to go on is what the later batch says.
impl AddAssign for Erased {
    fn add_assign(&mut self, batch: Self) {
        self.rows += batch.rows;
        self.records += batch.records;
        self.parked += batch.parked;
        self.grants += batch.grants;
        self.renamed += batch.renamed;
        self.claims += batch.claims;
        self.left.extend(batch.left);
        self.next = batch.next;
    }
}

/// Erases batch by batch to the end; what each batch has done is told at once.
///
/// # Errors
///
/// [`StoreError`]; then what was erased so far stays erased, and it can be begun again.
pub async fn erase(
    store: &dyn Store,
    mut erasure: Erasure,
    mut tell: impl FnMut(&Erased) + Send,
) -> Result<Erased, StoreError> {
    let mut all = Erased::default();
    loop {
        let batch = store.erase(erasure.clone()).await?;
        tell(&batch);
        all += batch;
        match all.next.take() {
            Some(next) => erasure.stage = next,
            None => return Ok(all),
        }
    }
}

/// How the claims of a user begin in the text of a record ([`RecordState::state`]).
#[must_use]
pub fn claim_mark(user: &UserId) -> String {
    let name = serde_json::to_string(user).expect("names are always JSON");
    format!("[{name},")
}

impl RecordState {
    /// A record's text without the claims of a user; `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if the text is not what was written.
    pub fn without_claims(text: &str, user: &UserId) -> Result<Option<String>, StoreError> {
        if !text.contains(&claim_mark(user)) {
            return Ok(None);
        }
        let mut stored: Stored = state::parse(text)?;
        let before = stored.c.len();
        stored.c.retain(|claim| claim.0 != *user);
        Ok((stored.c.len() < before).then(|| state::text(&stored)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_claims_of_that_user_go() {
        let [odd, plain] = ["a\"n,[na", "anna"].map(|name| UserId::new(name).unwrap());
        let claims = r#"["a\"n,[na","phone","title",5,6,7],["anna","phone","title",5,6,7]"#;
        let text = format!(r#"{{"f":{{"title":[5,"anna",9]}},"c":[{claims}]}}"#);
        let once = RecordState::without_claims(&text, &odd).unwrap().unwrap();
        assert_eq!(
            once,
            r#"{"f":{"title":[5,"anna",9]},"c":[["anna","phone","title",5,6,7]]}"#
        );
        assert_eq!(RecordState::without_claims(&once, &odd), Ok(None));
        let twice = RecordState::without_claims(&once, &plain).unwrap().unwrap();
        assert_eq!(twice, r#"{"f":{"title":[5,"anna",9]}}"#);
        assert_eq!(RecordState::without_claims(&twice, &plain), Ok(None));
    }
}
