//! Server-Sent Events, read as the bytes come: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::collections::VecDeque;
use std::mem;

/// How much of one event is held, in bytes: a page of a stream is about 4 MiB, and a single change 10 MiB at most.
const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// The mark that a text may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What stands between two blank lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; empty if it has none.
    pub(crate) name: String,
    /// Its data lines, with a line feed between two of them. An event without any is none to the standard, but its id
    /// counts, so it is handed out if it has one.
    pub(crate) data: Option<String>,
    /// The id that it carries itself; empty takes the last one back.
    pub(crate) id: Option<String>,
}

/// Why the bytes are no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    /// One event is larger than any that a server means to send.
    #[error("an event of over {MAX_EVENT_BYTES} bytes")]
    TooLarge,
    /// The bytes are no UTF-8. The standard would replace them; a change must not be altered in silence.
    #[error("an event that is no UTF-8")]
    NoText,
}

/// Takes bytes in pieces of any size and gives events. After an error there is nothing more.
#[derive(Default)]
pub(crate) struct Parser {
    events: VecDeque<Result<Event, SseError>>,
    is_broken: bool,
    has_begun: bool,
    is_after_cr: bool,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    id: Option<Vec<u8>>,
}

impl Parser {
    /// The next event that is complete.
    pub(crate) fn next(&mut self) -> Option<Result<Event, SseError>> {
        self.events.pop_front()
    }

    /// Takes what came. A line ends with LF, CR LF or CR.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first()
            && !self.is_broken
        {
            if mem::take(&mut self.is_after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.lengthen(bytes);
                return;
            };
            self.lengthen(&bytes[..end]);
            self.is_after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line();
        }
    }

    fn lengthen(&mut self, bytes: &[u8]) {
        let id = self.id.as_ref().map_or(0, Vec::len);
        let held = self.line.len() + self.name.len() + self.data.len() + id;
        if held + bytes.len() > MAX_EVENT_BYTES {
            *self = Self {
                events: mem::take(&mut self.events),
                is_broken: true,
                ..Self::default()
            };
            self.events.push_back(Err(SseError::TooLarge));
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.end_event();
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        self.field(field, value.strip_prefix(b" ").unwrap_or(value));
    }

    /// Comments have an empty name and are passed over like unknown fields. So is `retry`: how to wait is the caller's.
    fn field(&mut self, field: &[u8], value: &[u8]) {
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"id" if !value.contains(&0) => self.id = Some(value.to_vec()),
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let name = mem::take(&mut self.name);
        let mut data = mem::take(&mut self.data);
        let has_data = data.pop().is_some();
        let id = self.id.take();
        if !has_data && id.is_none() {
            return;
        }
        let event = event(name, has_data.then_some(data), id);
        self.is_broken = event.is_err();
        self.events.push_back(event);
    }
}

fn event(name: Vec<u8>, data: Option<Vec<u8>>, id: Option<Vec<u8>>) -> Result<Event, SseError> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| SseError::NoText);
    Ok(Event {
        name: text(name)?,
        data: data.map(text).transpose()?,
        id: id.map(text).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Event, SseError>> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece);
            events.extend(std::iter::from_fn(|| parser.next()));
        }
        events
    }

    fn event(name: &str, data: Option<&str>, id: Option<&str>) -> Result<Event, SseError> {
        Ok(Event {
            name: name.to_owned(),
            data: data.map(str::to_owned),
            id: id.map(str::to_owned),
        })
    }

    #[test]
    fn an_event_has_a_name_data_and_an_id() {
        let text = b"event: changes\nid: 7\ndata: {\"a\": 1}\n\n";
        assert_eq!(
            parse([text.as_slice()]),
            [event("changes", Some("{\"a\": 1}"), Some("7"))]
        );
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf_or_cr() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["event: a", "data: 1", "", "data: 2", "data: 3", "", ""].join(end);
            let expected = [event("a", Some("1"), None), event("", Some("2\n3"), None)];
            assert_eq!(parse([text.as_bytes()]), expected, "{end:?}");
        }
    }

    #[test]
    fn one_space_after_the_colon_is_no_part_of_the_value() {
        let text = b"data:a\ndata: b\ndata:  c\ndata\ndata:\n\n";
        assert_eq!(
            parse([text.as_slice()]),
            [event("", Some("a\nb\n c\n\n"), None)]
        );
    }

    #[test]
    fn comments_unknown_fields_and_a_byte_order_mark_are_passed_over() {
        let text = "\u{feff}data: 1\n: hello\nretry: 5\nDATA: x\n data: y\n:\n: data: z\ndata: 2\n\n: alone\n\n";
        assert_eq!(parse([text.as_bytes()]), [event("", Some("1\n2"), None)]);
    }

    #[test]
    fn an_id_counts_without_data_and_half_an_event_does_not() {
        let text = b"id: 7\n\nevent: changes\n\nid: 1\0\ndata: 8\n\nid: 9\ndata: 9\n";
        assert_eq!(
            parse([text.as_slice()]),
            [event("", None, Some("7")), event("", Some("8"), None)]
        );
    }

    #[test]
    fn an_event_without_end_is_given_up_and_those_before_it_are_not() {
        let piece = vec![b'x'; 1024 * 1024];
        let pieces = std::iter::once(b"data: 1\n\ndata: ".as_slice())
            .chain(std::iter::repeat_n(piece.as_slice(), 40));
        let events = parse(pieces);
        assert_eq!(
            events,
            [event("", Some("1"), None), Err(SseError::TooLarge)]
        );
    }

    #[test]
    fn an_event_of_many_lines_is_bounded_too() {
        let piece = [b"data: ".as_slice(), &[b'x'; 1024 * 1024], b"\n"].concat();
        let events = parse(std::iter::repeat_n(piece.as_slice(), 40));
        assert_eq!(events, [Err(SseError::TooLarge)]);
    }

    #[test]
    fn what_is_no_text_is_an_error_and_ends_it() {
        let text = b"data: \xff\n\ndata: 1\n\n";
        assert_eq!(parse([text.as_slice()]), [Err(SseError::NoText)]);
    }

    /// The same by the letter of the standard, on the whole text at once.
    fn by_the_letter(text: &str) -> Vec<Result<Event, SseError>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut events = Vec::new();
        let (mut name, mut data, mut id) = ("", String::new(), None);
        let lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        for line in lines.split('\n').filter(|_| text.contains('\n')) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => {
                    if !data.is_empty() || id.is_some() {
                        events.push(event(name, data.strip_suffix('\n'), id));
                    }
                    (name, data, id) = ("", String::new(), None);
                }
                "event" => name = value,
                "data" => data = data + value + "\n",
                "id" => id = Some(value),
                _ => {}
            }
        }
        events
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_the_bytes_are_cut(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "data", "event", "id", "retry", "data: ", "event: ", "id: ", ":", " ", "\n", "\n", "\n\n", "\r",
                    "\r\n", "\r\n\r\n", "x", "{}", "é", "\u{feff}",
                ]),
                0..40,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let text = words.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]);
            let expected = by_the_letter(&text);
            prop_assert_eq!(parse([text.as_bytes()]), expected.clone());
            prop_assert_eq!(parse(pieces), expected.clone());
            prop_assert_eq!(parse(text.as_bytes().chunks(1)), expected);
        }
    }
}
