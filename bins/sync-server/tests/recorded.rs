//! The recorded exchanges of the replaced service, replayed against ours on both stores: the same answers, but for what each
//! story lists as a difference (`recorded/README.md`).

mod replay;

use replay::{Store, Story, files, rehearse, replay as replay_story};

/// One test a story and store.
macro_rules! stories {
    ($($name:ident: $file:literal,)*) => {
        const REPLAYED: &[&str] = &[$($file),*];

        mod sqlite {
            $(#[test] fn $name() { super::replay_story($file, super::Store::Sqlite); })*
        }

        mod postgres {
            $(#[test] fn $name() { super::replay_story($file, super::Store::Postgres); })*
        }
    };
}

stories! {
    push_insert_pull: "01-push-insert-pull.json",
    sync_flow: "02-sync-flow.json",
    health_and_metrics: "03-health-and-metrics.json",
    insert_update_delete: "04-insert-update-delete.json",
    delta_and_order: "05-delta-and-order.json",
    field_time_spellings: "06-field-time-spellings.json",
    data_or_fields: "07-data-or-fields.json",
    empty_writes: "08-empty-writes.json",
    deletes: "09-deletes.json",
    superseded_changes: "10-superseded-changes.json",
    actor_and_origin: "11-actor-and-origin.json",
    schema_version: "12-schema-version.json",
    event_id: "13-event-id.json",
    space_id_places: "14-space-id-places.json",
    echo_suppression: "15-echo-suppression.json",
    since_values: "16-since-values.json",
    pull_parameters: "17-pull-parameters.json",
    text_values: "18-text-values.json",
    number_values: "19-number-values.json",
    structured_values: "20-structured-values.json",
    invalid_changes: "21-invalid-changes.json",
    malformed_bodies: "22-malformed-bodies.json",
    body_size_and_coding: "23-body-size-and-coding.json",
    limits: "24-limits.json",
    methods: "25-methods.json",
    unknown_paths: "26-unknown-paths.json",
    tokens: "28-tokens.json",
    key_service_down: "29-key-service-down.json",
    users_and_apps_isolated: "30-users-and-apps-isolated.json",
    cors: "31-cors.json",
    billing_inactive: "32-billing-inactive.json",
    billing_service_down: "33-billing-service-down.json",
    space_shared: "34-space-shared.json",
    space_outsider: "35-space-outsider.json",
    membership_service_down: "36-membership-service-down.json",
    retry: "37-retry.json",
    older_write: "38-older-write.json",
    equal_times: "39-equal-times.json",
    clock_ahead: "40-clock-ahead.json",
    pages: "41-pages.json",
    stream_initial: "42-stream-initial.json",
    stream_live: "43-stream-live.json",
    stream_heartbeat: "44-stream-heartbeat.json",
    stream_pages: "45-stream-pages.json",
    socket: "46-socket.json",
    socket_notices: "47-socket-notices.json",
    socket_sign_in: "48-socket-sign-in.json",
    socket_messages: "49-socket-messages.json",
    space_notices: "50-space-notices.json",
}

#[test]
fn every_recorded_story_can_be_read_and_its_differences_apply() {
    let files = files().unwrap();
    assert_eq!(files.len(), 50);
    for file in files {
        let story = Story::load(&file).unwrap();
        assert!(!story.steps.is_empty(), "{file}");
    }
}

#[test]
fn every_recorded_story_that_needs_no_pages_is_replayed() {
    let ready = |file: &String| Story::load(file).unwrap().can_be_replayed();
    let files: Vec<String> = files().unwrap().into_iter().filter(ready).collect();
    assert_eq!(files, REPLAYED);
}

#[test]
fn every_story_fits_answers_of_its_own_making_and_no_others() {
    for file in REPLAYED {
        rehearse(file).unwrap();
    }
}
