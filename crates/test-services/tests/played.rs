//! What the services do, as any HTTP client sees it.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use test_services::{Mood, Script, Service, Services};

const STATUS: &str = "/api/v1/internal/sync/status/anna";
const MEMBERSHIPS: &str = "/api/v1/internal/users/anna/memberships";

fn client() -> Client {
    let client = Client::builder().no_proxy();
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("there is a client")
}

async fn get(services: &Services, path: &str) -> Result<(u16, String), reqwest::Error> {
    let answer = client()
        .get(format!("{}{path}", services.url()))
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn body(services: &Services, path: &str) -> String {
    let (status, body) = get(services, path).await.expect("it answers");
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn said(services: &Services, path: &str) -> Value {
    let body = body(services, path).await;
    serde_json::from_str(&body).expect("it is JSON")
}

#[tokio::test]
async fn everybody_is_active_and_in_no_space_until_told_otherwise() {
    let services = Services::start().await.expect("they start");
    let active = json!({"userId": "anna", "active": true});
    assert_eq!(said(&services, STATUS).await, active);
    let nowhere = json!({"userId": "anna", "memberships": []});
    assert_eq!(said(&services, MEMBERSHIPS).await, nowhere);
    services.set_inactive("anna");
    services.set_memberships("anna", &[("club", "owner")]);
    let inactive = json!({"userId": "anna", "active": false});
    assert_eq!(said(&services, STATUS).await, inactive);
    let club = json!([{"organizationId": "club", "role": "owner"}]);
    assert_eq!(said(&services, MEMBERSHIPS).await["memberships"], club);
    services.set_active("anna");
    assert_eq!(said(&services, STATUS).await, active);
}

#[tokio::test]
async fn requests_are_written_down_as_they_were_sent() {
    let services = Services::start().await.expect("they start");
    services.require_key("the-key");
    let path = "/api/v1/internal/sync/status/a%2fb%20c";
    let sent = client().get(format!("{}{path}", services.url()));
    let answer = sent.header("X-Service-Key", "the-key").send().await;
    assert_eq!(answer.expect("it answers").status(), StatusCode::OK);
    assert_eq!(get(&services, STATUS).await.expect("it answers").0, 401);
    assert_eq!(
        get(&services, "/else?where").await.expect("it answers").0,
        404
    );
    let seen: Vec<_> = services
        .requests()
        .into_iter()
        .map(|request| {
            let key = request.header("x-service-key").map(str::to_owned);
            (request.path, request.user, request.service, key)
        })
        .collect();
    let billing = Some(Service::Billing);
    let expected = [
        (path, Some("a/b c"), billing, Some("the-key")),
        (STATUS, Some("anna"), billing, None),
        ("/else?where", None, None, None),
    ];
    let expected = expected.map(|(path, user, service, key)| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        (path.to_owned(), owned(user), service, owned(key))
    });
    assert_eq!(seen, expected);
    assert_eq!(services.count(Service::Billing), 2);
}

#[tokio::test]
async fn moods_are_of_a_service_or_of_a_user_towards_it() {
    let services = Services::start().await.expect("they start");
    services.mood(Service::Billing, Mood::Flapping);
    services.mood_of(Service::Memberships, "anna", Mood::Status(503));
    for expected in [200, 500, 200, 500] {
        let (status, _) = get(&services, STATUS).await.expect("it answers");
        assert_eq!(status, expected);
    }
    let (status, _) = get(&services, MEMBERSHIPS).await.expect("it answers");
    assert_eq!(status, 503);
    let bens = MEMBERSHIPS.replace("anna", "ben");
    assert!(body(&services, &bens).await.contains(r#""userId":"ben""#));
}

#[tokio::test]
async fn what_goes_wrong_goes_wrong() {
    let services = Services::start().await.expect("they start");
    let mood = |mood| services.mood(Service::Memberships, mood);
    mood(Mood::Down);
    assert!(get(&services, MEMBERSHIPS).await.is_err());
    mood(Mood::Cut);
    assert!(get(&services, MEMBERSHIPS).await.is_err());
    mood(Mood::AnotherUser);
    assert!(body(&services, MEMBERSHIPS).await.contains("somebody-else"));
    mood(Mood::Body("<html>".to_owned()));
    assert_eq!(body(&services, MEMBERSHIPS).await, "<html>");
    mood(Mood::Padded(100_000));
    assert_eq!(body(&services, MEMBERSHIPS).await.len(), 100_000);
    mood(Mood::Redirect("http://elsewhere/".to_owned()));
    assert_eq!(
        get(&services, MEMBERSHIPS).await.expect("it answers").0,
        302
    );
    mood(Mood::Endless);
    let url = format!("{}{MEMBERSHIPS}", services.url());
    let mut answer = client().get(url).send().await.expect("it answers");
    let mut read = 0;
    while read < 1_000_000 {
        let chunk = answer.chunk().await.expect("it goes on");
        read += chunk.expect("it goes on").len();
    }
}

#[tokio::test]
async fn a_held_answer_is_the_one_of_when_it_was_asked_for() {
    let services = Services::start().await.expect("they start");
    services.mood(Service::Billing, Mood::Hold);
    let (held, ()) = tokio::join!(said(&services, STATUS), async {
        services.asked(Service::Billing, 1).await;
        services.set_inactive("anna");
        services.release(Service::Billing);
    });
    assert_eq!(held["active"], true);
}

#[tokio::test]
async fn stopped_services_refuse_and_come_back_on_the_same_port() {
    let mut services = Services::start().await.expect("they start");
    let url = services.url();
    services.stop().await;
    let refused = get(&services, STATUS).await.expect_err("nobody is there");
    assert!(refused.is_connect(), "{refused}");
    services.start_again().await.expect("the port is free");
    assert_eq!(services.url(), url);
    body(&services, STATUS).await;
}

#[tokio::test(start_paused = true)]
async fn a_script_is_played_at_its_times() {
    let services = Services::start().await.expect("they start");
    let script = r#"{"memberships":{"anna":[{"organizationId":"club","role":"owner"}]},"inactive":["anna"],
        "moods":[{"after_seconds":60,"service":"billing","mood":"status","status":404}]}"#;
    let started = tokio::time::Instant::now();
    services
        .play(&Script::parse(script).expect("it is a script"))
        .await;
    assert_eq!(started.elapsed(), Duration::from_secs(60));
    assert_eq!(get(&services, STATUS).await.expect("it answers").0, 404);
    assert!(body(&services, MEMBERSHIPS).await.contains("club"));
}
