//! What is looked for in texts of upstreams.

use lockgate_detect::pii::{Kind, find};

/// What is found stands in order and apart, at whole characters; and what one kind finds alone is
/// found among all the others, too.
pub fn personal_data(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let spans = find(text, &Kind::ALL);
    let mut end = 0;
    for span in &spans {
        assert!(span.bytes.start >= end && !span.bytes.is_empty());
        assert!(text.get(span.bytes.clone()).is_some(), "half a character");
        end = span.bytes.end;
    }
    for kind in Kind::ALL {
        for alone in find(text, &[kind]) {
            let is_found = |at: &usize| spans.iter().any(|span| span.bytes.contains(at));
            assert!(alone.bytes.clone().all(|at| is_found(&at)), "{alone:?}");
        }
    }
    !spans.is_empty()
}
