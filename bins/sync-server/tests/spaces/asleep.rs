//! Devices that sleep, or are in the middle of something, while their person leaves a space and comes back.

use crate::device::{Device, Given, delete_in, edit, edit_in, note_in};
use crate::ear::Heard;
use crate::world::{Place, World};

const CLUB: &str = "club";
/// Three pages.
const OLD: usize = 2_500;

everywhere! {
    a_device_that_slept_while_its_person_was_away_has_all_that_happened,
    a_device_whose_person_leaves_while_it_reads_begins_anew,
    whichever_way_a_device_wakes_it_is_told_that_its_person_left,
}

struct Club {
    world: World,
    anna: Device,
    anna_tablet: Device,
    ben: Device,
}

impl Club {
    /// With so many notes, and ben in it.
    async fn of(notes: usize, place: Place) -> Self {
        let world = World::start(place).await;
        world.services.set_memberships("anna", &[(CLUB, "owner")]);
        world.services.set_memberships("ben", &[(CLUB, "member")]);
        let mut anna = world.device("anna", "anna-phone");
        let notes: Vec<_> = (0..notes)
            .map(|number| note_in(CLUB, &format!("note-{number}")))
            .collect();
        anna.writes(&notes).await;
        Self {
            anna,
            anna_tablet: world.device("anna", "anna-tablet"),
            ben: world.device("ben", "ben-phone"),
            world,
        }
    }

    /// What happens while ben is away.
    async fn goes_on(&mut self) {
        let changes = [
            edit_in(CLUB, "note-0", "title", "changed", 1_000),
            delete_in(CLUB, "note-1", 1_000),
            edit_in(CLUB, "new", "title", "new", 1_000),
        ];
        self.anna.writes(&changes).await;
    }

    async fn both_hold_the_same(&mut self) {
        self.anna_tablet.pull().await;
        let (anna, ben) = (&self.anna_tablet.held, &self.ben.held);
        assert!(anna.only(CLUB) == ben.only(CLUB), "anna's club is ben's");
        let title = self.ben.held.text(Some(CLUB), "note-0", "title");
        assert_eq!(title.as_deref(), Some("changed"));
    }
}

async fn a_device_that_slept_while_its_person_was_away_has_all_that_happened(place: Place) {
    let mut club = Club::of(3, place).await;
    assert_eq!(club.ben.pull().await.changes, 3);
    club.anna_tablet.pull().await;
    club.world.moves("ben", &[]).await;
    club.goes_on().await;
    club.world.moves("ben", &[(CLUB, "member")]).await;

    assert_eq!(club.ben.pull().await.removed, [""; 0]);
    club.both_hold_the_same().await;
    assert_eq!(club.ben.pull().await, Given::default());
}

async fn a_device_whose_person_leaves_while_it_reads_begins_anew(place: Place) {
    let mut club = Club::of(OLD, place).await;
    assert!(club.ben.pull_a_page().await);
    assert_eq!(club.ben.held.ids(Some(CLUB)).len(), 1_000);
    club.world.moves("ben", &[]).await;
    club.goes_on().await;
    let told = club.ben.pull().await;
    assert_eq!((told.changes, told.removed), (0, vec![CLUB.to_owned()]));
    assert_eq!(club.ben.held.ids(Some(CLUB)), [""; 0]);

    // Twice: the second time it hears nothing of it in between.
    for _ in 0..2 {
        club.world.moves("ben", &[(CLUB, "member")]).await;
        assert!(club.ben.pull_a_page().await);
        club.world.moves("ben", &[]).await;
    }
    club.world.moves("ben", &[(CLUB, "member")]).await;
    assert_eq!(club.ben.pull().await.removed, [""; 0]);
    club.both_hold_the_same().await;
}

async fn whichever_way_a_device_wakes_it_is_told_that_its_person_left(place: Place) {
    let mut club = Club::of(3, place).await;
    let names = ["pulls", "streams", "pushes", "sends-nothing"];
    let mut devices = names.map(|name| club.world.device("ben", name));
    for device in &mut devices {
        assert_eq!(device.pull().await.changes, 3);
    }
    club.world.moves("ben", &[]).await;
    club.goes_on().await;

    let [pulls, streams, pushes, silent] = &mut devices;
    assert_eq!(pulls.pull().await.removed, [CLUB]);
    let mut ear = streams.stream();
    assert_eq!(ear.hears_a_removal().await, Heard::removed(CLUB));
    let diary = [edit("diary", "title", "alone", 0)];
    for (device, changes) in [(pushes, &diary[..]), (silent, &[])] {
        let answer = device.push(changes).await;
        let removed: Vec<_> = answer
            .removed_spaces
            .iter()
            .map(|left| left.as_str())
            .collect();
        assert_eq!(removed, [CLUB]);
    }
    assert_eq!(ear.hears_of("diary").await, Heard::only(&["diary"]));
    for device in &mut devices {
        // The stream's device has taken nothing of it in.
        device.pull().await;
        assert_eq!(device.held.ids(Some(CLUB)), [""; 0]);
        assert_eq!(device.pull().await, Given::default());
    }
}
