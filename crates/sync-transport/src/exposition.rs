//! From the OpenMetrics text that the metrics library writes to the older text format, which every scraper reads.
//!
//! They differ in little: here a counter is declared under the name that its samples have, a help text has no full stop
//! added to it, and there is no mark at the end.

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same figures in the older format.
pub(crate) fn from_open_metrics(text: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut written = String::with_capacity(text.len());
    while let Some(line) = lines.next() {
        let counts =
            lines.peek().is_some_and(|next| is_counter_type(next)) || is_counter_type(line);
        match line.split_once(' ').filter(|(mark, _)| *mark == "#") {
            Some((_, declared)) => declaration(declared, counts, &mut written),
            None => {
                written.push_str(line);
                written.push('\n');
            }
        }
    }
    written
}

fn is_counter_type(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter")
}

/// Writes a `HELP` or a `TYPE`; there is nothing else that the older format knows.
fn declaration(declared: &str, of_counter: bool, written: &mut String) {
    let mut parts = declared.splitn(3, ' ');
    let (Some(kind @ ("HELP" | "TYPE")), Some(name), Some(rest)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let suffix = if of_counter { "_total" } else { "" };
    let rest = rest.strip_suffix('.').unwrap_or(rest);
    written.push_str(&format!("# {kind} {name}{suffix} {rest}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_declared_under_the_name_of_their_samples() {
        let open = "# HELP a Counted things.\n# TYPE a counter\na_total{b=\"# c\"} 1\n\
                    # HELP d_total Old gauge.\n# TYPE d_total gauge\nd_total 0\n# EOF\n";
        let older = "# HELP a_total Counted things\n# TYPE a_total counter\na_total{b=\"# c\"} 1\n\
                     # HELP d_total Old gauge\n# TYPE d_total gauge\nd_total 0\n";
        assert_eq!(from_open_metrics(open), older);
    }
}
