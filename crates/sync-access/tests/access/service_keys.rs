//! Which other service calls is told by its key, and the key is told to nobody (threats I45, I46).

use sync_access::{DevelopmentKeys, MAX_SERVICE_KEYS, ServiceKeys, SetupError};

const BILLING: &str = "billing-0123456789abcdef";
const OLD: &str = "old-0123456789abcdef";
const NEW: &str = "new:0123456789#abcdef";

fn parse(text: &str) -> Result<ServiceKeys, SetupError> {
    ServiceKeys::parse(text, DevelopmentKeys::Refused)
}

fn keys(text: &str) -> ServiceKeys {
    parse(text).unwrap()
}

fn who(keys: &ServiceKeys, presented: &str) -> Option<String> {
    let name = keys.identify(presented.as_bytes())?;
    Some(name.as_str().to_owned())
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_service_is_told_by_any_of_its_keys_written_in_lines_or_with_commas() {
    let lines =
        format!("# ours\r\nbilling:{BILLING}\n\n  auth.v2 : {OLD}  \n# auth:x\nauth.v2:{NEW}\n");
    let commas = format!("billing:{BILLING}, auth.v2:{OLD},auth.v2:{NEW},");
    for text in [lines, commas] {
        let keys = keys(&text);
        assert_eq!(who(&keys, BILLING).as_deref(), Some("billing"), "{text}");
        assert_eq!(who(&keys, OLD).as_deref(), Some("auth.v2"), "{text}");
        assert_eq!(who(&keys, NEW).as_deref(), Some("auth.v2"), "{text}");
    }
}

#[test]
fn what_is_not_the_whole_key_is_nobodys() {
    let keys = keys(&format!("billing:{BILLING}"));
    let longer = format!("{BILLING} ");
    for presented in [
        "",
        &BILLING[1..],
        &BILLING[..20],
        &longer,
        &BILLING.to_uppercase(),
    ] {
        assert_eq!(who(&keys, presented), None, "{presented}");
    }
    assert_eq!(keys.identify(&[0xff; 24]), None);
    assert_eq!(who(&ServiceKeys::none(), ""), None);
    assert!(parse("# nothing\n").unwrap().is_empty() && ServiceKeys::none().is_empty());
}

#[test]
fn keys_that_are_replaced_count_no_more() {
    let current = keys(&format!("auth:{OLD}\nbilling:{BILLING}"));
    assert!(current.replace(keys(&format!("auth:{OLD}\nauth:{NEW}"))));
    assert!(!current.replace(keys(&format!("auth:{OLD}\nauth:{NEW}"))));
    assert_eq!(who(&current, BILLING), None);
    assert_eq!(who(&current, OLD), who(&current, NEW));
    assert!(current.replace(keys(&format!("auth:{NEW}"))));
    assert_eq!(who(&current, OLD), None);
    assert_eq!(who(&current, NEW).as_deref(), Some("auth"));
}

#[test]
fn an_error_names_the_line_and_not_the_key() {
    let short = "0123456789abcde";
    let spaced = "0123456789 abcdef";
    let foreign = "0123456789äbcdef";
    for (text, says) in [
        (
            format!("a:{BILLING}\nb {OLD}"),
            "line 2: an entry is a name, a colon and a key",
        ),
        (format!("#\n\n:{OLD}"), "line 3: a name is 1 to 64"),
        (format!("a b:{OLD}"), "line 1: a name is 1 to 64"),
        (
            format!("{}:{OLD}", "a".repeat(65)),
            "line 1: a name is 1 to 64",
        ),
        ("a:".to_owned(), "line 1: a key has at least 16 bytes"),
        (
            format!("a:{BILLING},b:{short}"),
            "line 1: a key has at least 16 bytes",
        ),
        (format!("a:{spaced}"), "line 1: a key is printable ASCII"),
        (format!("a:{foreign}"), "line 1: a key is printable ASCII"),
        (
            format!("a:{OLD}\n\nb:{OLD}"),
            "line 3: the key is there already, by another name",
        ),
    ] {
        let said = refusal(&text);
        assert!(said.contains(says), "{text}: {said}");
        for key in [BILLING, OLD, short, spaced, foreign] {
            assert!(!said.contains(key), "{said}");
        }
    }
    assert!(parse(&format!("{}:{OLD}", "a".repeat(64))).is_ok());
    assert!(parse("a:0123456789abcdef").is_ok());
}

#[test]
fn the_same_entry_again_counts_once() {
    let twice = keys(&format!("auth:{OLD}\nbilling:{BILLING},auth:{OLD}"));
    assert_eq!(twice.names().len(), 2);
    assert_eq!(who(&twice, OLD).as_deref(), Some("auth"));
}

#[test]
fn keys_that_everybody_knows_count_in_development_only() {
    for key in [
        "dev-service-key",
        "dev-service-key-change-me",
        "CHANGEME-CHANGEME",
    ] {
        let text = format!("auth:{key}");
        let said = refusal(&text);
        assert!(
            said.contains("line 1: the key is one for development"),
            "{said}"
        );
        assert!(!said.contains(key), "{said}");
        let keys = ServiceKeys::parse(&text, DevelopmentKeys::Allowed).unwrap();
        assert_eq!(who(&keys, key).as_deref(), Some("auth"));
    }
    let short = ServiceKeys::parse("auth:short", DevelopmentKeys::Allowed);
    assert!(short.is_err(), "{short:?}");
}

#[test]
fn there_is_a_bound_to_keys() {
    let text = |count: usize| {
        let lines: Vec<String> = (0..count)
            .map(|number| format!("auth:0123456789abcdef{number}"))
            .collect();
        lines.join("\n")
    };
    assert!(parse(&text(MAX_SERVICE_KEYS)).is_ok());
    assert!(refusal(&text(MAX_SERVICE_KEYS + 1)).contains("line 101: there are too many keys"));
}

#[test]
fn names_are_shown_and_keys_are_not() {
    let keys = keys(&format!("auth:{OLD}\nauth:{NEW}\nbilling:{BILLING}"));
    assert_eq!(
        format!("{keys:?}"),
        r#"ServiceKeys(["auth", "auth", "billing"])"#
    );
}
