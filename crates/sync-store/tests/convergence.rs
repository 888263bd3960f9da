//! P3, P4 and P5 with a model of the existing web client: whatever happens on the way, everybody ends with the same.

mod web_client;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sync_protocol::{Millis, SpaceId, UserId};
use sync_store::{MemoryStore, Role, Rules, Store};
use web_client::{InProcess, Scenario, World};

fn world(scenario: Scenario, seed: u64) -> World<InProcess> {
    let store = Arc::new(MemoryStore::new(Rules::default()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    if scenario.space {
        for user in ["anna", "ben"] {
            let user = UserId::new(user).expect("an identifier");
            let space = SpaceId::new("club").expect("an identifier");
            let grant = store.set_grant(user, space, Some(Role::Writer), Millis(0));
            runtime.block_on(grant).expect("a grant");
        }
    }
    World::new(InProcess::new(store), scenario, seed)
}

/// Runs so many stories; of the first that fails it prints the seed and, as short as it fails, what happened.
fn tell(scenario: Scenario, seeds: u64) {
    for seed in 0..seeds {
        if fails(scenario, seed, None).is_some() {
            let shorter = |steps| fails(Scenario { steps, ..scenario }, seed, Some(Vec::new()));
            let story = (0..=scenario.steps).find_map(shorter).flatten();
            let story = story.unwrap_or_default().join("\n");
            panic!("seed {seed} of {scenario:?}\n{story}");
        }
    }
}

/// Whether a story fails, and what has happened if somebody wants to know.
fn fails(scenario: Scenario, seed: u64, story: Option<Vec<String>>) -> Option<Option<Vec<String>>> {
    let mut world = world(scenario, seed);
    world.story = story;
    let run = catch_unwind(AssertUnwindSafe(|| world.run()));
    run.is_err().then_some(world.story)
}

#[test]
fn web_clients_converge_whatever_happens_on_the_way() {
    tell(Scenario::PLAIN, 600);
}

#[test]
fn web_clients_of_two_users_converge_in_a_space() {
    let scenario = Scenario {
        space: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 200);
}

#[test]
fn a_clock_far_ahead_keeps_its_own_values_and_nothing_else() {
    let scenario = Scenario {
        ahead: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn timeless_inserts_hide_older_edits_and_nothing_else() {
    let scenario = Scenario {
        timeless: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn programs_with_other_habits_do_not_disturb_web_clients() {
    let scenario = Scenario {
        program: true,
        flights: 1,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn web_clients_converge_though_pages_and_corrections_overflow() {
    let scenario = Scenario {
        steps: 60,
        fat: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 8);
}
