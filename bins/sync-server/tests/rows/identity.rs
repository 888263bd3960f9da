//! Identity and transport (cases 1 to 8).

use serde_json::{Value, json};

use crate::change::{applied, new, pk};
use crate::device::row;
use crate::world::{Place, World, hs256, signed};

on_both! {
    without_a_token_nothing_is_answered_or_stored,
    a_bad_token_is_refused_on_every_route,
    a_change_is_of_the_device_of_its_token_whatever_the_body_says,
    users_have_rows_of_one_name_side_by_side,
    a_body_that_cannot_be_read_is_refused_and_unknown_members_are_not,
    a_wrong_method_is_405,
    who_signs_in_without_a_device_is_given_one,
}

const ROUTES: [(&str, &str); 5] = [
    ("POST", "/sync/upload"),
    ("GET", "/sync/download"),
    ("GET", "/sync/schema-version"),
    ("GET", "/admin/materialize-failures"),
    ("POST", "/admin/materialize-failures/retry?id=1"),
];

fn body(change: Value) -> String {
    json!({ "changes": [change] }).to_string()
}

// Case 1.
async fn without_a_token_nothing_is_answered_or_stored(place: Place) {
    let world = World::start(place).await;
    let upload = world.request("POST", "/sync/upload");
    let upload = upload.body(body(new(1, &pk(1), "A"))).send().await;
    assert_eq!(upload.unwrap().status(), 401);
    let download = world.request("GET", "/sync/download").send().await;
    assert_eq!(download.unwrap().status(), 401);
    assert_eq!(world.device("anna", "phone").all().await, [] as [Value; 0]);
}

// Case 2.
async fn a_bad_token_is_refused_on_every_route(place: Place) {
    let world = World::start(place).await;
    let good = world.claims("anna", "phone");
    let saying = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        hs256(&claims)
    };
    let lacking = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        hs256(&claims)
    };
    let expired = good["iat"].as_i64().unwrap() - 3600;
    let none = signed("none", "any secret", &good);
    let (unsigned, _) = none.rsplit_once('.').unwrap();
    for token in [
        signed("HS256", "another secret of more than 32 bytes", &good),
        saying("exp", json!(expired)),
        lacking("exp"),
        format!("{unsigned}."),
        none,
        lacking("did"),
        saying("did", json!("")),
        lacking("sub"),
        saying("sub", json!("")),
    ] {
        for (method, path) in ROUTES {
            let request = world.request(method, path).bearer_auth(&token);
            let response = request.body(body(new(1, &pk(1), "A"))).send().await;
            assert_eq!(response.unwrap().status(), 401, "{path} {token}");
        }
    }
    assert_eq!(world.device("anna", "phone").all().await, [] as [Value; 0]);
}

// Case 3.
async fn a_change_is_of_the_device_of_its_token_whatever_the_body_says(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let change = crate::change::with(new(1, &pk(1), "A"), "source_id", "other");
    let body = json!({"source_id": "other", "user_id": "ben", "changes": [change]});
    let response = phone.upload_text(body.to_string()).await;
    assert_eq!(response.status(), 200);
    let rows = world.device("anna", "other").others().await;
    assert_eq!(row(&rows, &pk(1))["source_id"], "phone");
    assert_eq!(phone.others().await, [] as [Value; 0]);
    assert_eq!(world.device("ben", "phone").all().await, [] as [Value; 0]);
}

// Case 4.
async fn users_have_rows_of_one_name_side_by_side(place: Place) {
    let world = World::start(place).await;
    let devices = ["anna", "ben"].map(|user| (user, world.device(user, "phone")));
    for (user, device) in &devices {
        assert_eq!(device.status(new(1, &pk(1), user)).await, applied(1, 1));
    }
    for (user, device) in &devices {
        let rows = device.all().await;
        let only = row(&rows, &pk(1));
        assert_eq!(rows.len(), 1);
        assert_eq!(only["payload"]["name"], *user);
        assert_eq!(only["server_version"], 1);
    }
}

// Case 5.
async fn a_body_that_cannot_be_read_is_refused_and_unknown_members_are_not(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    for body in [
        "",
        "[]",
        "{\"changes\":[",
        r#"{"changes":{}}"#,
        r#"{"changes":[{"source_change_id":1.5}]}"#,
        r#"{"changes":[{"server_version":"1"}]}"#,
        r#"{"last_server_seq_seen":9223372036854775808}"#,
    ] {
        let response = phone.upload_text(body.to_owned()).await;
        assert_eq!(response.status(), 400, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"], "invalid_request", "{body}");
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
    let change = crate::change::with(new(1, &pk(1), "A"), "unknown", json!([1]));
    let body = json!({"unknown": {"a": 1}, "changes": [change]});
    let response = phone.upload_text(body.to_string()).await;
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["statuses"], json!([applied(1, 1)]));
}

// Case 6.
async fn a_wrong_method_is_405(place: Place) {
    let world = World::start(place).await;
    for (method, path) in [
        ("GET", "/sync/upload"),
        ("PUT", "/sync/upload"),
        ("POST", "/sync/download"),
        ("HEAD", "/sync/download"),
        ("POST", "/sync/schema-version"),
        ("DELETE", "/admin/materialize-failures"),
        ("GET", "/admin/materialize-failures/retry"),
        ("GET", "/dummy-signin"),
    ] {
        let token = hs256(&world.claims("anna", "phone"));
        let response = world.request(method, path).bearer_auth(token).send().await;
        assert_eq!(response.unwrap().status(), 405, "{method} {path}");
    }
}

// Case 7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_hears_that_the_server_is_well() {
    let world = World::start(Place::Sqlite).await;
    let response = world.request("GET", "/health").send().await.unwrap();
    assert_eq!(response.status(), 200);
}

// Case 8.
async fn who_signs_in_without_a_device_is_given_one(place: Place) {
    let world = World::start(place).await;
    let sign_in = |body: &'static str| world.request("POST", "/dummy-signin").body(body).send();
    for body in [r#"{"user":"anna"}"#, r#"{"user":"anna","device":""}"#] {
        let response = sign_in(body).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        let (device, token) = (&answer["device"], answer["token"].as_str().unwrap());
        assert!(device.as_str().unwrap().starts_with("device-"), "{answer}");
        assert_eq!(answer["user"], "anna");
        assert!(answer["expires_in"].as_i64().unwrap() >= 300);
        let claims = token.split('.').nth(1).unwrap();
        let claims = claims.replace('-', "+").replace('_', "/");
        let padded = format!("{claims:=<0$}", claims.len().next_multiple_of(4));
        let claims = openssl::base64::decode_block(&padded).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(&claims["did"], device);
        let asked = world.request("GET", "/sync/schema-version");
        let asked = asked.bearer_auth(token).send().await.unwrap();
        assert_eq!(asked.text().await.unwrap(), r#"{"schema_version":1}"#);
    }
    for body in ["{}", r#"{"user":""}"#, "nonsense"] {
        let response = sign_in(body).await.unwrap();
        assert_eq!(response.status(), 400, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"], "invalid_request", "{body}");
    }
}
