//! What travels between nodes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sync_notify::{MAX_NOTICE_BYTES, News, Notice, Writer, decode, encode};
use sync_protocol::{AppId, Audience, ClientId, SpaceId, TableName, UserId};

use crate::support::{app, by, notice, table, tables, to_space, to_user, user};

/// Names that are awkward to write: quotes, backslashes, what JSON may escape, what has several bytes, up to 256 of them.
fn name() -> impl Strategy<Value = String> {
    let any = prop::collection::vec(
        prop::sample::select(vec![
            "\"", "\\", "/", "a", " ", "ä", "€", "😀", "\u{2028}", "\u{feff}", "[", "}", ",", "<",
        ]),
        1..300,
    );
    let longest = prop::sample::select(vec!["\"", "\\", "x", "ä", "😀"])
        .prop_map(|text| vec![text; 256 / text.len()]);
    prop_oneof![2 => any, 1 => longest, 2 => Just(vec!["t"])].prop_map(|parts| {
        let mut text = String::new();
        for part in parts {
            if text.len() + part.len() <= 256 {
                text.push_str(part);
            }
        }
        text
    })
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        name().prop_map(|name| Audience::User(UserId::new(&name).unwrap())),
        name().prop_map(|name| Audience::Space(SpaceId::new(&name).unwrap())),
    ]
}

fn writer() -> impl Strategy<Value = Writer> {
    let client = prop_oneof![name(), Just(String::new())];
    (name(), client).prop_map(|(name, client)| Writer {
        user: UserId::new(&name).unwrap(),
        client: ClientId::new(&client).unwrap(),
    })
}

fn news() -> impl Strategy<Value = News> {
    let notice = (
        audience(),
        name(),
        prop::collection::btree_set(name(), 1..20),
        prop::option::of(writer()),
        any::<i64>(),
    );
    let changes = notice.prop_map(|(audience, name, names, writer, position)| {
        let names = names.iter();
        News::Changes(Notice {
            audience,
            app: AppId::new(&name).unwrap(),
            tables: names.map(|name| TableName::new(name).unwrap()).collect(),
            writer,
            position,
        })
    });
    prop_oneof![
        4 => changes,
        1 => name().prop_map(|name| News::Access(UserId::new(&name).unwrap())),
        1 => name().prop_map(|name| News::Gone(UserId::new(&name).unwrap())),
    ]
}

/// Puts the parts of each notice together again: those that follow each other and differ in their tables alone.
fn joined(pieces: Vec<News>, expected: &[News]) -> Vec<News> {
    let mut pieces = pieces.into_iter().peekable();
    let mut joined = Vec::new();
    for whole in expected {
        let Some(mut piece) = pieces.next() else {
            break;
        };
        if let (News::Changes(whole), News::Changes(piece)) = (whole, &mut piece) {
            while piece.tables.len() < whole.tables.len() {
                match pieces
                    .next_if(|next| matches!(next, News::Changes(next) if same(next, piece)))
                {
                    Some(News::Changes(next)) => piece.tables.extend(next.tables),
                    _ => break,
                }
            }
        }
        joined.push(piece);
    }
    joined.extend(pieces);
    joined
}

fn same(one: &Notice, other: &Notice) -> bool {
    let tables = other.tables.clone();
    Notice {
        tables,
        ..one.clone()
    } == *other
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_is_read_whatever_the_names_and_however_small_the_texts(
        news in prop::collection::vec(news(), 0..12),
        limit in prop_oneof![Just(MAX_NOTICE_BYTES), Just(usize::MAX), MAX_NOTICE_BYTES..40_000],
    ) {
        let texts = encode(&news, limit);
        let mut read = Vec::new();
        for text in &texts {
            prop_assert!(text.len() <= limit, "{} bytes", text.len());
            read.extend(decode(text).unwrap());
        }
        prop_assert_eq!(joined(read, &news), news);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = decode(&text);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        news in prop::collection::vec(news(), 1..4),
        place in any::<prop::sample::Index>(),
        with in any::<char>(),
    ) {
        let mut text: Vec<char> = encode(&news, usize::MAX).concat().chars().collect();
        let place = place.index(text.len());
        text[place] = with;
        let _ = decode(&text.into_iter().collect::<String>());
    }
}

#[test]
fn the_largest_notice_of_one_table_fits() {
    for text in ["\"", "\\", "😀"] {
        let longest = text.repeat(256 / text.len());
        let news = News::Changes(Notice {
            audience: Audience::Space(SpaceId::new(&longest).unwrap()),
            app: app(&longest),
            tables: tables(&[&longest]),
            writer: by(&longest, &longest),
            position: i64::MIN,
        });
        let texts = encode(std::slice::from_ref(&news), MAX_NOTICE_BYTES);
        assert_eq!(texts.len(), 1);
        assert_eq!(decode(&texts[0]).unwrap(), [news]);
    }
}

#[test]
fn a_notice_with_many_tables_is_spread_without_losing_one() {
    let whole = Notice {
        tables: (0..1_000)
            .map(|number| table(&format!("{number}{}", "\"".repeat(200))))
            .collect(),
        writer: by("ann", "phone"),
        position: 42,
        ..notice(to_space("red"), &[])
    };
    let texts = encode(&[News::Changes(whole.clone())], MAX_NOTICE_BYTES);
    assert!(texts.len() > 100);
    let mut tables = BTreeSet::new();
    for text in texts {
        assert!(text.len() <= MAX_NOTICE_BYTES);
        for news in decode(&text).unwrap() {
            let News::Changes(mut part) = news else {
                panic!("{news:?}");
            };
            tables.append(&mut part.tables);
            assert_eq!(
                part,
                Notice {
                    tables: BTreeSet::new(),
                    ..whole.clone()
                }
            );
        }
    }
    assert_eq!(tables, whole.tables);
}

#[test]
fn no_text_is_longer_than_its_limit_by_even_a_byte() {
    let many = Notice {
        tables: (0..490).map(|number| table(&number.to_string())).collect(),
        ..notice(to_user("ann"), &[])
    };
    let small = (0..400).map(|number| News::Access(user(&number.to_string())));
    let news: Vec<_> = [News::Changes(many)].into_iter().chain(small).collect();
    // Whole, the first one has a size between these limits.
    for limit in MAX_NOTICE_BYTES..MAX_NOTICE_BYTES + 200 {
        for text in encode(&news, limit) {
            assert!(text.len() <= limit, "{} > {limit}", text.len());
        }
    }
}

#[test]
fn small_pieces_travel_together() {
    let news: Vec<_> = (0..100)
        .map(|number| News::Access(user(&format!("u{number}"))))
        .collect();
    assert_eq!(encode(&news, 10_000).len(), 1);
    assert_eq!(encode(&[], 10_000), Vec::<String>::new());
}

#[test]
#[should_panic(expected = "a notice may not fit")]
fn a_limit_below_one_notice_is_refused() {
    let _ = encode(&[], MAX_NOTICE_BYTES - 1);
}

#[test]
fn the_text_is_short_and_stays_as_it_is() {
    let news = [
        News::Access(user("ann")),
        News::Gone(user("ann")),
        News::Changes(Notice {
            writer: by("ann", ""),
            position: -7,
            ..notice(to_space("red"), &["a", "b"])
        }),
    ];
    let text = r#"[{"u":"ann","p":0},{"g":"ann","p":0},{"s":"red","a":"app","t":["a","b"],"w":["ann",""],"p":-7}]"#;
    assert_eq!(encode(&news, usize::MAX), [text]);
    assert_eq!(decode(text).unwrap(), news);
}

#[test]
fn members_that_are_not_known_are_passed_over() {
    let text = r#"[{"new":{"x":[1]},"u":"ann","a":"app","t":["t"],"p":1,"z":null}]"#;
    let expected = News::Changes(notice(to_user("ann"), &["t"]));
    assert_eq!(decode(text).unwrap(), [expected]);
}

#[test]
fn pieces_of_a_kind_that_is_not_known_are_passed_over() {
    let unknown = [
        r#"{}"#,
        r#"{"new":1}"#,
        r#"{"a":"app","t":["t"],"p":1}"#,
        r#"{"u":"ann","s":"red","a":"app","t":["t"]}"#,
        r#"{"s":"red"}"#,
        r#"{"u":"ann","a":"app"}"#,
        r#"{"u":"ann","a":"app","t":[]}"#,
        r#"{"u":"ann","a":"app","t":["t"],"w":["ann","\u0007"]}"#,
    ];
    for piece in unknown {
        let text = format!(r#"[{piece},{{"u":"ann"}}]"#);
        assert_eq!(
            decode(&text).unwrap(),
            [News::Access(user("ann"))],
            "{piece}"
        );
    }
}

#[test]
fn garbage_is_an_error() {
    let deep = "[".repeat(100_000);
    let garbage = [
        "",
        "garbage",
        "null",
        "{}",
        "[",
        r#"[{"u":"ann"}] x"#,
        &deep,
    ];
    for text in garbage {
        assert!(decode(text).is_err(), "{text:.40}");
    }
}

#[test]
fn a_piece_that_cannot_be_read_takes_no_other_with_it() {
    let long = format!(r#"{{"u":"{}"}}"#, "x".repeat(257));
    let pieces = [
        "1",
        "null",
        r#""u""#,
        r#"{"u":5}"#,
        r#"{"u":""}"#,
        r#"{"u":"__proto__"}"#,
        r#"{"u":"a\u0000"}"#,
        r#"{"u":"ann","p":1.5}"#,
        r#"{"u":"ann","a":"app","t":"t"}"#,
        r#"{"u":"ann","u":"bob"}"#,
        &long,
    ];
    for piece in pieces {
        let text = format!(r#"[{{"u":"ann"}},{piece},{{"u":"bob"}}]"#);
        let access = ["ann", "bob"].map(|name| News::Access(UserId::new(name).unwrap()));
        assert_eq!(decode(&text).unwrap(), access, "{piece:.40}");
    }
}
