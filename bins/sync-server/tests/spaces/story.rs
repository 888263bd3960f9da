//! What friends do with a space: found it, invite, write the same fields, demote, remove, come back, leave; whatever the
//! membership service says by mistake in between.

use std::collections::BTreeSet;

use sync_client::NewChange;

use crate::device::{Device, Given, edit, edit_in, note_in};
use crate::ear::{Ear, Heard};
use crate::world::{Place, World};

const CLUB: &str = "club";
const CHOIR: &str = "choir";
/// What is in the club before anybody is invited.
const OLD: usize = 3_000;
/// How many of it are pushed at once.
const AT_ONCE: usize = 1_000;

everywhere! {
    friends_share_a_space_and_whoever_leaves_it_is_told,
}

async fn friends_share_a_space_and_whoever_leaves_it_is_told(place: Place) {
    let mut story = Story::begin(place).await;
    story.anna_founds_a_space().await;
    story.ben_is_invited_and_gets_what_is_there().await;
    story.both_write_the_same_fields().await;
    story.carl_writes_into_it_and_is_not_seen().await;
    story
        .ben_becomes_a_viewer_and_what_he_writes_stays_with_him()
        .await;
    story.the_service_answers_an_empty_list_by_mistake().await;
    story
        .ben_becomes_a_member_again_and_what_he_wrote_goes_in()
        .await;
    story
        .ben_is_removed_while_he_listens_and_while_he_is_away()
        .await;
    story.ben_comes_back().await;
    story.anna_leaves_and_both_of_her_devices_are_told().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn friends_share_a_space_on_nodes_that_do_not_hear_each_other() {
    Box::pin(friends_share_a_space_and_whoever_leaves_it_is_told(
        Place::Apart,
    ))
    .await;
}

/// Who takes part. Phones write, tablets read; the phones of anna and ben listen, too.
struct Story {
    world: World,
    anna_phone: Device,
    anna_tablet: Device,
    anna_hears: Ear,
    ben_phone: Device,
    ben_tablet: Device,
    ben_hears: Ear,
    carl_phone: Device,
    carl_tablet: Device,
}

impl Story {
    async fn begin(place: Place) -> Self {
        let world = World::start(place).await;
        let both = [(CLUB, "owner"), (CHOIR, "owner")];
        world.services.set_memberships("anna", &both);
        // Those who listen are devices of their own, so that they hear of their people's writes, too.
        let ear = |user| world.device(user, &format!("{user}-watch")).stream();
        Self {
            anna_hears: ear("anna").at_the_head().await,
            ben_hears: ear("ben").at_the_head().await,
            anna_phone: world.device("anna", "anna-phone"),
            anna_tablet: world.device("anna", "anna-tablet"),
            ben_phone: world.device("ben", "ben-phone"),
            ben_tablet: world.device("ben", "ben-tablet"),
            carl_phone: world.device("carl", "carl-phone"),
            carl_tablet: world.device("carl", "carl-tablet"),
            world,
        }
    }

    async fn anna_founds_a_space(&mut self) {
        let notes: Vec<_> = ids().map(|id| note_in(CLUB, &id)).collect();
        for part in notes.chunks(AT_ONCE) {
            self.anna_phone.writes(part).await;
        }
        self.anna_phone.writes(&[note_in(CHOIR, "song")]).await;
        self.anna_hears.hears_of("song").await;
        let given = self.anna_tablet.pull().await;
        assert_eq!(given.changes, OLD + 1);
        assert_eq!(self.anna_tablet.held.ids(Some(CLUB)).len(), OLD);
        // There is somebody whom it does not concern.
        assert_eq!(self.ben_tablet.pull().await, Given::default());
    }

    async fn ben_is_invited_and_gets_what_is_there(&mut self) {
        self.world.moves("ben", &[(CLUB, "member")]).await;
        let heard = self.ben_hears.hears(|heard| heard.ids.len() >= OLD).await;
        assert_eq!(heard.removed, [""; 0]);
        let heard: BTreeSet<String> = heard.ids.into_iter().collect();
        assert_eq!(heard, ids().collect());
        let given = self.ben_tablet.pull().await;
        assert_eq!((given.changes, given.removed), (OLD, Vec::new()));
        self.both_hold_the_same().await;
    }

    async fn both_write_the_same_fields(&mut self) {
        let ben = [edit_in(CLUB, "note-0", "title", "ben's", 6_000)];
        self.ben_phone.writes(&ben).await;
        let anna = [
            edit_in(CLUB, "note-0", "title", "anna's", 5_000),
            edit_in(CLUB, "note-0", "color", "red", 5_000),
        ];
        let answer = self.anna_phone.push(&anna).await;
        let lost = answer.conflicts.iter();
        let lost: Vec<_> = lost
            .map(|lost| {
                (
                    lost.field.as_str(),
                    lost.server_value.as_ref().unwrap().as_str(),
                )
            })
            .collect();
        assert_eq!(lost, [("title", r#""ben's""#)]);
        self.both_hear_of("note-0", 2).await;
        self.anna_tablet.pull().await;
        self.both_hold_the_same().await;
        let text = |field| self.anna_tablet.held.text(Some(CLUB), "note-0", field);
        assert_eq!(text("title").as_deref(), Some("ben's"));
        assert_eq!(text("color").as_deref(), Some("red"));
    }

    async fn carl_writes_into_it_and_is_not_seen(&mut self) {
        let changes = [
            edit_in(CLUB, "note-1", "title", "carl's", 9_000),
            edit_in(CLUB, "from-carl", "title", "carl's", 9_000),
        ];
        let answer = self.carl_phone.is_denied(&changes).await;
        assert_eq!(answer.server_changes, []);
        // It is kept for him, and he sees nothing else.
        self.carl_tablet.pull().await;
        assert_eq!(
            self.carl_tablet.held.ids(Some(CLUB)),
            ["from-carl", "note-1"]
        );
        self.nobody_has_heard_anything("behind-carl").await;
    }

    async fn ben_becomes_a_viewer_and_what_he_writes_stays_with_him(&mut self) {
        self.world.moves("ben", &[(CLUB, "viewer")]).await;
        let changes = [
            edit_in(CLUB, "note-2", "title", "ben's secret", 10_000),
            edit_in(CLUB, "from-ben", "title", "ben's secret", 10_000),
        ];
        self.ben_phone.is_denied(&changes).await;
        // His other devices have it; those of others do not. He reads on.
        self.ben_hears.hears_of("from-ben").await;
        self.nobody_has_heard_anything("behind-ben").await;
        self.ben_tablet.pull().await;
        let secret = self.ben_tablet.held.text(Some(CLUB), "from-ben", "title");
        assert_eq!(secret.as_deref(), Some("ben's secret"));
    }

    async fn the_service_answers_an_empty_list_by_mistake(&mut self) {
        self.anna_tablet.pull().await;
        for (anna, ben) in [
            (&[][..], &[][..]),
            (&[(CLUB, "owner"), (CHOIR, "owner")], &[(CLUB, "viewer")]),
        ] {
            self.world.services.set_memberships("anna", anna);
            self.world.services.set_memberships("ben", ben);
            // Nodes that know nothing by heart ask.
            self.world.restart().await;
            assert_eq!(self.anna_tablet.pull().await, Given::default());
            assert_eq!(self.ben_tablet.pull().await, Given::default());
            let sentinel = format!("after-{}", anna.len());
            self.nobody_has_heard_anything(&sentinel).await;
            self.anna_tablet.pull().await;
            self.ben_tablet.pull().await;
        }
    }

    async fn ben_becomes_a_member_again_and_what_he_wrote_goes_in(&mut self) {
        self.world.moves("ben", &[(CLUB, "member")]).await;
        let heard = self.anna_hears.hears(|heard| heard.ids.len() >= 2).await;
        assert_eq!(heard, Heard::only(&["note-2", "from-ben"]));
        self.anna_tablet.pull().await;
        let text = |id| self.anna_tablet.held.text(Some(CLUB), id, "title");
        assert_eq!(text("note-2").as_deref(), Some("ben's secret"));
        assert_eq!(text("from-ben").as_deref(), Some("ben's secret"));
        self.both_hold_the_same().await;
    }

    async fn ben_is_removed_while_he_listens_and_while_he_is_away(&mut self) {
        self.ben_hears.hears_of("from-ben").await;
        self.world.moves("ben", &[]).await;
        assert_eq!(self.ben_hears.hears_a_removal().await, Heard::removed(CLUB));
        self.anna_phone
            .writes(&[edit_in(CLUB, "unseen", "title", "anna's", 0)])
            .await;
        assert_eq!(
            self.anna_hears.hears_of("unseen").await,
            Heard::only(&["unseen"])
        );
        // He hears of what comes behind it.
        self.ben_phone
            .writes(&[edit("diary", "title", "alone", 0)])
            .await;
        assert_eq!(
            self.ben_hears.hears_of("diary").await,
            Heard::only(&["diary"])
        );

        let pending = [
            edit_in(CLUB, "note-3", "title", "ben, away", 20_000),
            edit_in(CLUB, "from-away", "title", "ben, away", 20_000),
        ];
        let answer = self.ben_tablet.is_denied(&pending).await;
        let removed: Vec<_> = answer
            .removed_spaces
            .iter()
            .map(|space| space.as_str())
            .collect();
        assert_eq!(removed, [CLUB]);
        assert_eq!(self.ben_tablet.held.ids(Some(CLUB)), [""; 0]);
        assert_eq!(self.ben_tablet.pull().await, Given::default());
        assert_eq!(self.ben_tablet.held.ids(None), ["diary"]);
        self.anna_phone
            .writes(&[edit_in(CLUB, "still-unseen", "title", "anna's", 0)])
            .await;
        let heard = self.anna_hears.hears_of("still-unseen").await;
        assert_eq!(heard, Heard::only(&["still-unseen"]));
    }

    async fn ben_comes_back(&mut self) {
        self.world.moves("ben", &[(CLUB, "admin")]).await;
        let heard = self.anna_hears.hears(|heard| heard.ids.len() >= 2).await;
        assert_eq!(heard, Heard::only(&["note-3", "from-away"]));
        self.anna_tablet.pull().await;
        assert_eq!(self.ben_tablet.pull().await.removed, [""; 0]);
        self.both_hold_the_same().await;
        let heard = self.ben_hears.hears(|heard| {
            let all: BTreeSet<&String> = heard.ids.iter().collect();
            all.len() >= self.anna_tablet.held.ids(Some(CLUB)).len()
        });
        assert_eq!(heard.await.removed, [""; 0]);
        let both = [edit_in(CLUB, "note-3", "title", "ben, back", 30_000)];
        self.ben_phone.writes(&both).await;
        self.both_hear_of("note-3", 1).await;
    }

    async fn anna_leaves_and_both_of_her_devices_are_told(&mut self) {
        self.anna_tablet.pull().await;
        let club = self.anna_tablet.held.only(CLUB);
        assert_eq!(self.anna_tablet.held.ids(Some(CHOIR)), ["song"]);
        self.world.moves("anna", &[(CLUB, "owner")]).await;
        assert_eq!(
            self.anna_hears.hears_a_removal().await,
            Heard::removed(CHOIR)
        );
        // The tablet wakes later.
        self.anna_phone
            .writes(&[edit("diary", "title", "alone", 0)])
            .await;
        assert_eq!(
            self.anna_hears.hears_of("diary").await,
            Heard::only(&["diary"])
        );
        let given = self.anna_tablet.pull().await;
        assert_eq!((given.changes, given.removed), (1, vec![CHOIR.to_owned()]));
        assert_eq!(self.anna_tablet.held.ids(Some(CHOIR)), [""; 0]);
        assert_eq!(self.anna_tablet.held.only(CLUB), club);
        assert_eq!(self.anna_tablet.pull().await, Given::default());
    }

    /// Anna writes a new record: it is the next that anybody hears of.
    async fn nobody_has_heard_anything(&mut self, id: &str) {
        let change: [NewChange; 1] = [edit_in(CLUB, id, "title", id, 0)];
        self.anna_phone.writes(&change).await;
        assert_eq!(self.anna_hears.hears_of(id).await, Heard::only(&[id]));
        assert_eq!(self.ben_hears.hears_of(id).await, Heard::only(&[id]));
    }

    /// Those who listen hear of a record so many times, and of nothing else.
    async fn both_hear_of(&mut self, id: &str, times: usize) {
        let all = Heard::only(&vec![id; times]);
        for ear in [&mut self.anna_hears, &mut self.ben_hears] {
            assert_eq!(ear.hears(|heard| heard.ids.len() >= times).await, all);
        }
    }

    async fn both_hold_the_same(&mut self) {
        self.ben_tablet.pull().await;
        let (anna, ben) = (&self.anna_tablet.held, &self.ben_tablet.held);
        assert!(anna.only(CLUB) == ben.only(CLUB), "anna's club is ben's");
    }
}

/// The records that are there first.
fn ids() -> impl Iterator<Item = String> {
    (0..OLD).map(|number| format!("note-{number}"))
}
