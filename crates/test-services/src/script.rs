//! A play written down as JSON: who is in which space, who has not paid, and how the services feel when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::mood::{Mood, Service};

/// The moods that a script can name, for the one who has named another.
const MOODS: &str = "well, slow, hold, down, flapping, status, redirect, body, wrong_json, another_user, padded, \
                     endless, cut";

/// What [`Services::play`](crate::Services::play) plays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The spaces of each user, each with a role.
    pub memberships: BTreeMap<String, Vec<(String, String)>>,
    /// Users whose sync is not paid for.
    pub inactive: Vec<String>,
    /// What changes, in order of time.
    pub moods: Vec<Cue>,
}

/// When a service comes into which mood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    /// How long after the start.
    pub after: Duration,
    /// Which service.
    pub service: Service,
    /// Towards whom; `None` is everybody.
    pub user: Option<String>,
    /// How it behaves from then on.
    pub mood: Mood,
}

/// What is wrong with a script, for the one who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    memberships: BTreeMap<String, Vec<WrittenMembership>>,
    #[serde(default)]
    inactive: Vec<String>,
    #[serde(default)]
    moods: Vec<WrittenCue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenMembership {
    organization_id: String,
    role: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCue {
    #[serde(default)]
    after_seconds: f64,
    service: Service,
    user: Option<String>,
    mood: String,
    seconds: Option<f64>,
    status: Option<u16>,
    location: Option<String>,
    body: Option<String>,
    bytes: Option<usize>,
}

impl Script {
    /// Reads a script:
    ///
    /// ```
    /// let script = test_services::Script::parse(
    ///     r#"{ "memberships": { "anna": [{ "organizationId": "club", "role": "owner" }] },
    ///          "inactive": ["carl"],
    ///          "moods": [{ "after_seconds": 10, "service": "billing", "mood": "slow", "seconds": 3 },
    ///                    { "after_seconds": 20, "service": "billing", "user": "anna", "mood": "down" }] }"#,
    /// );
    /// assert_eq!(script.map(|script| script.moods.len()), Ok(2));
    /// ```
    ///
    /// Moods are named like those of [`Mood`], in small letters. `slow` takes `seconds`, `status` a `status`, `redirect` a
    /// `location`, `body` a `body`, `padded` a number of `bytes`.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which line or mood.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| ScriptError(error.to_string()))?;
        let cues = written.moods.into_iter().enumerate().map(|(index, cue)| {
            let cue = cue.read();
            cue.map_err(|why| ScriptError(format!("moods[{index}]: {why}")))
        });
        let mut moods: Vec<Cue> = cues.collect::<Result<_, _>>()?;
        moods.sort_by_key(|cue| cue.after);
        let pair = |one: WrittenMembership| (one.organization_id, one.role);
        let spaces = written.memberships.into_iter();
        let spaces = spaces.map(|(user, list)| (user, list.into_iter().map(pair).collect()));
        Ok(Self {
            memberships: spaces.collect(),
            inactive: written.inactive,
            moods,
        })
    }
}

impl WrittenCue {
    fn read(mut self) -> Result<Cue, String> {
        let mood = self.take_mood()?;
        self.nothing_is_left()?;
        Ok(Cue {
            after: duration("after_seconds", self.after_seconds)?,
            service: self.service,
            user: self.user,
            mood,
        })
    }

    fn take_mood(&mut self) -> Result<Mood, String> {
        let mood = self.mood.clone();
        let needs = |what: &str| format!("{mood} needs \"{what}\"");
        Ok(match mood.as_str() {
            "well" => Mood::Well,
            "slow" => {
                let seconds = self.seconds.take().ok_or_else(|| needs("seconds"))?;
                Mood::Slow(duration("seconds", seconds)?)
            }
            "hold" => Mood::Hold,
            "down" => Mood::Down,
            "flapping" => Mood::Flapping,
            "status" => Mood::Status(status(self.status.take().ok_or_else(|| needs("status"))?)?),
            "redirect" => Mood::Redirect(self.location.take().ok_or_else(|| needs("location"))?),
            "body" => Mood::Body(self.body.take().ok_or_else(|| needs("body"))?),
            "wrong_json" => Mood::WrongJson,
            "another_user" => Mood::AnotherUser,
            "padded" => Mood::Padded(self.bytes.take().ok_or_else(|| needs("bytes"))?),
            "endless" => Mood::Endless,
            "cut" => Mood::Cut,
            other => return Err(format!("there is no mood {other:?}, but: {MOODS}")),
        })
    }

    /// What the mood has not taken was meant for another one.
    fn nothing_is_left(&self) -> Result<(), String> {
        let given = [
            ("seconds", self.seconds.is_some()),
            ("status", self.status.is_some()),
            ("location", self.location.is_some()),
            ("body", self.body.is_some()),
            ("bytes", self.bytes.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(format!("{} takes no \"{name}\"", self.mood)),
            None => Ok(()),
        }
    }
}

fn duration(name: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("\"{name}\" must be a number of seconds from 0 up"))
}

fn status(status: u16) -> Result<u16, String> {
    if (200..600).contains(&status) {
        Ok(status)
    } else {
        Err("\"status\" must be from 200 to 599".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        match Script::parse(text) {
            Ok(script) => panic!("it was taken: {script:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn moods_come_in_order_of_their_time() {
        let text = r#"{"moods":[{"after_seconds":1.5,"service":"billing","mood":"status","status":503},
            {"service":"memberships","user":"anna","mood":"down"}]}"#;
        let cue = |after, service, user: Option<&str>, mood| Cue {
            after: Duration::from_millis(after),
            service,
            user: user.map(str::to_owned),
            mood,
        };
        let moods = vec![
            cue(0, Service::Memberships, Some("anna"), Mood::Down),
            cue(1500, Service::Billing, None, Mood::Status(503)),
        ];
        assert_eq!(Script::parse(text).map(|script| script.moods), Ok(moods));
        assert_eq!(Script::parse("{}"), Ok(Script::default()));
    }

    #[test]
    fn what_is_wrong_with_a_script_is_said() {
        let mood = |fields: &str| format!(r#"{{"moods":[{{"service":"billing",{fields}}}]}}"#);
        for (text, says) in [
            (String::new(), "EOF"),
            (r#"{"mood":[]}"#.to_owned(), "unknown field `mood`"),
            (
                r#"{"moods":[{"service":"shop","mood":"well"}]}"#.to_owned(),
                "unknown variant `shop`, expected `billing` or `memberships`",
            ),
            (
                mood(r#""mood":"sad""#),
                r#"moods[0]: there is no mood "sad", but: well, slow"#,
            ),
            (
                mood(r#""mood":"slow""#),
                r#"moods[0]: slow needs "seconds""#,
            ),
            (
                mood(r#""mood":"well","status":500"#),
                r#"moods[0]: well takes no "status""#,
            ),
            (mood(r#""mood":"status","status":99"#), "from 200 to 599"),
            (
                mood(r#""mood":"slow","seconds":-1"#),
                r#""seconds" must be a number"#,
            ),
            (
                r#"{"memberships":{"anna":[{"organizationId":"club"}]}}"#.to_owned(),
                "missing field `role` at line 1",
            ),
        ] {
            let said = wrong(&text);
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
