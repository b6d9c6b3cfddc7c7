//! What is looked for in texts of upstreams.

use lockgate_detect::pii::{Kind, find};
use lockgate_detect::{SCORE_MAX, SIGNALS_MAX, links, scan};

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

/// Signals stand in order at whole characters and are bounded, and the same text has the same.
pub fn signals(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let signals = scan(text);
    assert!(signals.len() <= SIGNALS_MAX);
    assert!(signals.windows(2).all(|two| two[0].start <= two[1].start), "{signals:?}");
    for signal in &signals {
        assert!(signal.start < signal.end && signal.score <= SCORE_MAX, "{signal:?}");
        assert!(text.get(signal.start..signal.end).is_some(), "half a character: {signal:?}");
    }
    assert_eq!(scan(text), signals);
    !signals.is_empty()
}

/// Addresses stand in order and apart, at whole characters.
pub fn addresses(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut end = 0;
    let found = links(text);
    for link in &found {
        assert!(link.start >= end && link.start < link.end, "{link:?}");
        assert!(text.get(link.start..link.end).is_some(), "half a character: {link:?}");
        end = link.end;
    }
    !found.is_empty()
}
