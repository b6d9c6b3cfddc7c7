//! Text as it really is: what would be invisible, or would move what stands beside it, is shown as
//! a mark with its number.

use maud::{Markup, html};

/// What a browser shows as nothing, as a space, or in another order: inclusive ranges.
const HIDDEN: [(u32, u32); 35] = [
    (0x00, 0x1f),
    (0x7f, 0xa0),
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x8e2, 0x8e2),
    (0x115f, 0x1160),
    (0x1680, 0x1680),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x2000, 0x200f),
    (0x2028, 0x202f),
    (0x205f, 0x206f),
    (0x2800, 0x2800),
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    // Private use: whatever a font makes of it.
    (0xe000, 0xf8ff),
    (0xfdd0, 0xfdef),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0xfffe, 0xffff),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d159, 0x1d159),
    (0x1d173, 0x1d17a),
    (0x1fffe, 0x1ffff),
    // Tags, which spell text that nobody sees.
    (0xe0000, 0xe0fff),
    (0xf0000, 0x10_ffff),
];

/// Whether a character is not seen for what it is.
pub(super) fn is_hidden(character: char) -> bool {
    let number = u32::from(character);
    HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&number))
}

/// The text, with a mark for every character that is not seen.
pub(super) fn visible(text: &str) -> Markup {
    let runs = runs(text);
    html! {
        @for (shown, hidden) in runs {
            (shown)
            @if let Some(hidden) = hidden {
                span.mark { (format!("U+{:04X}", u32::from(hidden))) }
            }
        }
    }
}

/// How many characters of it are not seen.
pub(super) fn hidden_in(text: &str) -> usize {
    text.chars().filter(|character| is_hidden(*character)).count()
}

/// What can be shown as it is, and the hidden character after it.
fn runs(text: &str) -> Vec<(&str, Option<char>)> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some((at, hidden)) = rest.char_indices().find(|(_, it)| is_hidden(*it)) {
        let (shown, after) = rest.split_at(at);
        runs.push((shown, Some(hidden)));
        rest = after.strip_prefix(hidden).unwrap_or_default();
    }
    runs.push((rest, None));
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_becomes_a_mark_and_markup_stays_text() {
        let shown = visible("a\u{202e}<b>\u{200b}é\u{e0041}").into_string();
        let mark = |number: &str| format!("<span class=\"mark\">U+{number}</span>");
        let (bidi, zero, tag) = (mark("202E"), mark("200B"), mark("E0041"));
        assert_eq!(shown, format!("a{bidi}&lt;b&gt;{zero}é{tag}"));
        assert_eq!(hidden_in("a\u{202e}\u{200b}"), 2);
        for plain in ['a', ' ', 'é', '中', 'א', '😀', '"'] {
            assert!(!is_hidden(plain), "{plain}");
        }
    }

    #[test]
    fn ranges_are_in_order() {
        assert!(HIDDEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
