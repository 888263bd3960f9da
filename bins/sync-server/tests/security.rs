//! What `docs/SECURITY.md` names as a proof is there: each entry `path: name, name` is a test, or a clause of the contract of
//! stores, in the file of that path.

use std::fs;
use std::path::Path;

const SECURITY: &str = include_str!("../../../docs/SECURITY.md");
const CONTRACT: &str = include_str!("../../../crates/sync-store/src/contract/mod.rs");
/// How many lines above a function its `#[test]` may stand.
const ABOVE: usize = 4;

/// The path and the name of each entry, which is code that may go on in the next line.
fn entries() -> Vec<(String, String)> {
    let flat: String = SECURITY.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = flat.split('`').skip(1).step_by(2);
    let named = code.filter_map(|code| code.split_once(".rs: "));
    let each = |(path, names): (&str, &str)| {
        let of = |name: &str| (format!("{path}.rs"), name.trim().to_owned());
        names.split(',').map(of).collect::<Vec<_>>()
    };
    named.flat_map(each).collect()
}

/// Why the entry proves nothing.
fn fault(path: &str, name: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(text) = fs::read_to_string(root.join(path)) else {
        return Some(format!("there is no file {path}"));
    };
    let lines: Vec<&str> = text.lines().collect();
    let head = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.contains(&head)) else {
        return Some(format!("{path} has no {name}"));
    };
    let above = &lines[at.saturating_sub(ABOVE)..at];
    let is_test = above.iter().any(|line| {
        let line = line.trim();
        line == "#[test]" || line.starts_with("#[tokio::test")
    });
    let is_clause = path.starts_with("crates/sync-store/src/contract/")
        && CONTRACT.lines().any(|line| line.trim() == name);
    // There it is a test for each store.
    let is_on_both = path.starts_with("bins/sync-server/tests/rows/")
        && text.contains("on_both! {")
        && lines.iter().any(|line| line.trim() == format!("{name},"));
    (!is_test && !is_clause && !is_on_both).then(|| format!("{name} of {path} is no test"))
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let entries = entries();
    let faults: Vec<_> = entries
        .iter()
        .filter_map(|(path, name)| fault(path, name))
        .collect();
    assert_eq!(faults, Vec::<String>::new());
    assert!(entries.len() > 80, "{}", entries.len());
}

#[test]
fn every_item_of_the_list_has_its_place() {
    let expected = [12..=20, 27..=33, 40..=48].into_iter().flatten();
    let missing: Vec<_> = expected
        .filter(|number| !SECURITY.contains(&format!("\n**{number}. ")))
        .collect();
    assert_eq!(missing, Vec::<i32>::new());
    let lines = SECURITY.lines().count();
    assert!(lines < 200, "{lines} lines");
}
