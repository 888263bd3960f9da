//! Which roles write into a space.

use crate::device::edit_in;
use crate::world::{Place, World};

const CLUB: &str = "club";

#[tokio::test]
async fn which_roles_write_is_for_the_operator_to_say() {
    let settings = [("SYNC_WRITE_ROLES", "editor, chief editor")];
    let world = World::with(Place::File, &settings).await;
    for (role, writes) in [
        ("editor", true),
        ("chief editor", true),
        ("owner", false),
        ("Editor", false),
    ] {
        world.services.set_memberships(role, &[(CLUB, role)]);
        let mut device = world.device(role, "phone");
        let change = [edit_in(CLUB, role, "title", role, 0)];
        if writes {
            device.writes(&change).await;
        } else {
            device.is_denied(&change).await;
        }
    }
    let mut reader = world.device("owner", "tablet");
    reader.pull().await;
    assert_eq!(
        reader.held.ids(Some(CLUB)),
        ["chief editor", "editor", "owner"]
    );
}
