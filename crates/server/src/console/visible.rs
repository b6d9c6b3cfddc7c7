//! Text as it really is: what would be invisible, or would move what stands beside it, is shown as
//! a mark with its number.

use lockgate_types::appearance::is_hidden;
use maud::{Markup, html};

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
}
