//! How the answer of the membership service is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sync_protocol::{SpaceId, UserId};

use crate::upstream::More;

/// The most memberships in an answer; one with more is of no use.
pub const MAX_MEMBERSHIPS: usize = 10_000;

/// What a personal scope is called where a space is named: no organization can be that.
const PERSONAL: &str = "_personal:";

/// A good answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) spaces: BTreeMap<SpaceId, BTreeSet<String>>,
    /// How many of its memberships are in no space.
    pub(crate) passed_over: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    user_id: String,
    memberships: Vec<Entry>,
    #[serde(flatten)]
    _more: More,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    organization_id: String,
    role: String,
    #[serde(flatten)]
    _more: More,
}

/// Reads an answer about this very user. One membership that cannot be read spoils the whole, since
/// what is missing from an answer is taken away; one that is in no space does not.
pub(crate) fn read(body: &[u8], user: &UserId) -> Result<Answer, &'static str> {
    let document: Document =
        serde_json::from_slice(body).map_err(|_| "it is no list of memberships")?;
    if document.user_id != user.as_str() {
        return Err("it is about another user");
    }
    if document.memberships.len() > MAX_MEMBERSHIPS {
        return Err("it holds too many memberships");
    }
    let mut answer = Answer {
        spaces: BTreeMap::new(),
        passed_over: 0,
    };
    for entry in document.memberships {
        answer.add(entry);
    }
    Ok(answer)
}

impl Answer {
    fn add(&mut self, entry: Entry) {
        match space(&entry.organization_id) {
            Some(space) => {
                self.spaces.entry(space).or_default().insert(entry.role);
            }
            None => self.passed_over += 1,
        }
    }
}

fn space(organization: &str) -> Option<SpaceId> {
    let is_personal = organization.starts_with(PERSONAL);
    SpaceId::new(organization).ok().filter(|_| !is_personal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_about_anna(text: &str) -> Result<Answer, &'static str> {
        read(text.as_bytes(), &UserId::new("anna").expect("it is an id"))
    }

    fn spaces(given: &[(&str, &[&str])]) -> BTreeMap<SpaceId, BTreeSet<String>> {
        let roles = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
        let space = |space: &str| SpaceId::new(space).expect("it is an id");
        let pairs = given.iter().map(|(name, all)| (space(name), roles(all)));
        pairs.collect()
    }

    fn one(organization: &str) -> String {
        serde_json::json!({"userId": "anna", "memberships": [
            {"organizationId": "club", "role": "owner"},
            {"organizationId": organization, "role": "member"},
        ]})
        .to_string()
    }

    #[test]
    fn what_else_an_answer_says_is_of_no_matter() {
        let text = r#"{"userId":"anna","at":1,"memberships":[{"role":"","organizationId":"club","since":null}]}"#;
        let answer = Answer {
            spaces: spaces(&[("club", &[""])]),
            passed_over: 0,
        };
        assert_eq!(read_about_anna(text), Ok(answer));
    }

    #[test]
    fn a_space_named_twice_has_both_roles() {
        let answer = Answer {
            spaces: spaces(&[("club", &["member", "owner"])]),
            passed_over: 0,
        };
        assert_eq!(read_about_anna(&one("club")), Ok(answer));
    }

    #[test]
    fn what_can_be_no_space_is_passed_over_and_the_others_count() {
        for organization in ["", "a\nb", "__proto__", "_personal:anna", &"a".repeat(257)] {
            let answer = Answer {
                spaces: spaces(&[("club", &["owner"])]),
                passed_over: 1,
            };
            assert_eq!(read_about_anna(&one(organization)), Ok(answer));
        }
    }

    #[test]
    fn an_answer_that_is_wrong_anywhere_is_of_no_use() {
        let no_list = Err("it is no list of memberships");
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"userId":"anna"}"#,
            r#"{"memberships":[]}"#,
            r#"{"userId":"anna","memberships":null}"#,
            r#"["anna",[]]"#,
            r#"{"userId":"anna","memberships":[["club","owner"]]}"#,
            r#"{"userId":"anna","memberships":[]} x"#,
            r#"{"userId":"anna","userId":"anna","memberships":[]}"#,
            r#"{"userId":"anna","memberships":[{"organizationId":"club"}]}"#,
            r#"{"userId":"anna","memberships":[{"organizationId":"club","role":null}]}"#,
            r#"{"userId":"anna","memberships":[{"organizationId":7,"role":"owner"}]}"#,
            r#"{"userId":"anna","memberships":[{"organizationId":"a","organizationId":"b","role":"owner"}]}"#,
        ] {
            assert_eq!(read_about_anna(text), no_list, "{text}");
        }
    }

    #[test]
    fn an_answer_is_about_the_very_user_or_of_no_use() {
        for user in ["Anna", "anna ", "ann", ""] {
            let text = format!(r#"{{"userId":"{user}","memberships":[]}}"#);
            assert_eq!(read_about_anna(&text), Err("it is about another user"));
        }
    }

    #[test]
    fn there_is_a_bound_to_memberships() {
        let text = |count: usize| {
            let entry = r#"{"organizationId":"club","role":"owner"}"#;
            let entries = vec![entry; count].join(",");
            format!(r#"{{"userId":"anna","memberships":[{entries}]}}"#)
        };
        assert!(read_about_anna(&text(MAX_MEMBERSHIPS)).is_ok());
        let too_many = Err("it holds too many memberships");
        assert_eq!(read_about_anna(&text(MAX_MEMBERSHIPS + 1)), too_many);
    }
}
