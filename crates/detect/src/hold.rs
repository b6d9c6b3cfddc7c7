//! How much of a text may be passed on while more of it is to come.
//!
//! A detector that is shown half of a secret finds nothing. So of a text that arrives in pieces the
//! end is held back, from where something could have begun that is not over: a word, since tokens,
//! passwords, mailboxes and addresses have no space in them; numbers in groups; a private key; a
//! link or a tag around an address. Whatever was passed on is then apart
//! from whatever follows: no finding stands across, and none that begins in what was passed on can
//! still come to be. Nothing here says what is found: what is passed on has to be looked at, with
//! `CONTEXT_BYTES` of what was before it.

use std::ops::ControlFlow;

/// Bytes of a text that are held back at most: two private keys of the largest size that is looked
/// for. What is longer cannot be looked at in time, and who asked is told so.
pub const HOLD_BYTES_MAX: usize = 32 * 1024;
/// Bytes before a piece by which detectors know what it is: the name of a password, the word before
/// a number, the label of a link.
pub const CONTEXT_BYTES: usize = 512;
/// Bytes of a label or a tag in which an address is looked for.
const MARKUP_BYTES_MAX: usize = 1024;
/// Bytes after the beginning of a private key in which its end is looked for, and its frame.
const KEY_BYTES_MAX: usize = 4 * 4096 + 128;

/// What may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The text up to this byte.
    To(usize),
    /// More would have to be held back than is: the text must not be passed on any further.
    Exceeded,
}

/// Says how much of a text may be passed on, of which the bytes up to `from` were. The text may
/// begin later than what it is of, at a byte up to which something was passed on, if
/// `CONTEXT_BYTES` before `from` are kept.
pub fn release(text: &str, from: usize, is_final: bool) -> Release {
    if is_final {
        return Release::To(text.len());
    }
    let to = boundary(text, from).max(from);
    if text.len() - to > HOLD_BYTES_MAX { Release::Exceeded } else { Release::To(to) }
}

/// The last place at which nothing is under way.
fn boundary(text: &str, from: usize) -> usize {
    let mut at = word(text, from);
    // Each may move it to the front, into something that another one knows.
    loop {
        let before = at;
        for earlier in [numbers, key, markup] {
            if at <= from {
                return from;
            }
            at = earlier(text, from, at).min(at);
        }
        if at == before {
            return at;
        }
        at = word_start(text, from, at);
    }
}

/// Behind the last space: what follows may go on.
fn word(text: &str, from: usize) -> usize {
    wide(text, word_start(text, from, text.len()))
}

/// Where the word begins that holds a byte, or ends before it.
fn word_start(text: &str, from: usize, at: usize) -> usize {
    let held = text.get(from..at).unwrap_or_default();
    let last = held.char_indices().rev().find(|(_, it)| it.is_whitespace());
    last.map_or(from, |(at, space)| from + at + space.len_utf8())
}

/// Marks of scripts that write no spaces. They stand in no word that a detector knows, if there is
/// nothing but such a script around them.
const WIDE_MARKS: &str = "，、；：！？）」』》】…";
/// Words behind a number by which it is known for one of a telephone.
const NUMBER_NAMES: &[&str] = &["office", "mobile", "fax", "cell", "desk", "home"];
/// Tags with addresses.
#[rustfmt::skip]
const TAGS: &[&str] = &[
    "a", "area", "audio", "base", "body", "button", "embed", "form", "frame", "iframe", "image",
    "img", "input", "link", "meta", "object", "script", "source", "style", "svg", "table", "td",
    "track", "use", "video",
];

/// Behind the last mark of the text's end, where it is all of a script without spaces.
fn wide(text: &str, start: usize) -> usize {
    let head = text.get(..start).unwrap_or_default().trim_end();
    // What is called a password may be of any characters.
    let is_named = head.ends_with([':', '=', '>', '|', ',', '?', '"', '\'', '`'])
        || head.get(head.len().saturating_sub(2)..).is_some_and(|it| it.eq_ignore_ascii_case("is"));
    if is_named {
        return start;
    }
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.find(|it: char| it.is_ascii()).unwrap_or(rest.len());
    let stretch = rest.get(..length).unwrap_or_default();
    let last = stretch.char_indices().rev().find(|(_, it)| WIDE_MARKS.contains(*it));
    last.map_or(start, |(at, mark)| start + at + mark.len_utf8())
}

/// The beginning of numbers in groups that end at a byte, if what follows may belong to them.
fn numbers(text: &str, from: usize, at: usize) -> usize {
    let next = text.get(at..).unwrap_or_default();
    if !goes_on(next) {
        return at;
    }
    // From the last word to the front, as long as each may be of a number.
    let mut groups: Vec<(usize, &str)> = Vec::new();
    let mut end = at;
    while let Some(head) = text.get(from..end) {
        let trimmed = head.trim_end_matches(' ');
        if trimmed.is_empty() || head.len() - trimmed.len() > 3 {
            break;
        }
        let start = word_start(text, from, from + trimmed.len());
        let group = text.get(start..from + trimmed.len()).unwrap_or_default();
        if group.is_empty() || !is_group(group) && !ends_in_letters(group) {
            break;
        }
        groups.push((start, group));
        if !is_group(group) {
            break;
        }
        end = start;
    }
    // A number begins with a digit, or with letters that stand directly before one.
    let has_digit = |group: &str| group.bytes().any(|it| it.is_ascii_digit());
    let mut first = at;
    let mut before_digit = next.is_empty() || next.starts_with(|it: char| it.is_ascii_digit());
    for (start, group) in groups {
        if has_digit(group) || ends_in_letters(group) && before_digit {
            first = start;
        }
        before_digit = has_digit(group);
    }
    first
}

/// Whether a word ends in two capitals that may begin a number.
fn ends_in_letters(word: &str) -> bool {
    let head = word.trim_end_matches(|it: char| it.is_ascii_uppercase());
    word.len() - head.len() == 2
        && !head.ends_with(|it: char| it.is_ascii_alphanumeric() || it == '_')
}

/// Whether a word may be of a number: it has digits, or is of capitals or of separators alone.
fn is_group(word: &str) -> bool {
    word.bytes().any(|it| it.is_ascii_digit())
        || word.bytes().all(|it| it.is_ascii_uppercase())
        || word.bytes().all(|it| b"./()-+".contains(&it))
}

/// Whether what follows a group of a number may belong to it.
fn goes_on(next: &str) -> bool {
    let Some(first) = next.chars().next() else { return true };
    let is_part =
        |it: char| it.is_ascii_digit() || it.is_ascii_uppercase() || "./()-+ ".contains(it);
    let word: String = next.chars().take(8).collect::<String>().to_ascii_lowercase();
    is_part(first)
        || NUMBER_NAMES.iter().any(|name| name.starts_with(&word) || word.starts_with(name))
}

/// The beginning of a private key that is not over at a byte.
fn key(text: &str, from: usize, at: usize) -> usize {
    let mut free = from;
    while let Some(found) = text.get(free..at).and_then(|it| it.find("-----")) {
        let start = free + found;
        match key_at(text, start) {
            Some(end) if end > at => return start,
            Some(end) => free = end,
            None => free = start + 1,
        }
    }
    at
}

/// Where the key ends whose frame begins here; the end of the text and more, if that is not known.
fn key_at(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let frame = rest.trim_start_matches('-');
    let dashes = rest.len() - frame.len();
    let is_head = |it: char| it.is_ascii_alphanumeric() || matches!(it, ' ' | '_' | '-');
    let length = frame.find(|it: char| !is_head(it)).unwrap_or(frame.len());
    let head = frame.get(..length)?.to_ascii_uppercase();
    let is_open = length == frame.len() && length <= 64;
    let is_begin = head.starts_with("BEGIN") || is_open && "BEGIN".starts_with(&head);
    if !is_begin {
        return None;
    }
    let Some(named) = head.find("PRIVATE KEY").filter(|it| *it <= 48) else {
        return is_open.then_some(usize::MAX);
    };
    let body = start + dashes + named;
    let whole = text.get(body..)?;
    let until = whole.ceil_char_boundary(whole.len().min(KEY_BYTES_MAX));
    let end = whole.get(..until)?.find("-----END").and_then(|at| {
        let tail = whole.get(at + 8..)?;
        Some(at + 8 + tail.find("-----")? + 5)
    });
    match end {
        Some(end) => Some(body + end),
        None if whole.len() < KEY_BYTES_MAX => Some(usize::MAX),
        None => Some(body + until),
    }
}

/// The beginning of a link or a tag that is not over at a byte.
fn markup(text: &str, from: usize, at: usize) -> usize {
    let mut free = from;
    while let Some(found) = text.get(free..at).and_then(|it| it.find(['[', '<'])) {
        let start = free + found;
        let rest = text.get(start..).unwrap_or_default();
        let end = if rest.starts_with('[') { link_end(rest) } else { tag_end(rest) };
        match end {
            ControlFlow::Break(length) if start + length > at => {
                let is_image = text.get(from..start).is_some_and(|it| it.ends_with('!'));
                return start - usize::from(is_image);
            }
            ControlFlow::Continue(()) | ControlFlow::Break(_) => free = start + 1,
        }
    }
    at
}

/// How many bytes a link has: more than there are, if it is not over. `Continue`: it is none.
fn link_end(rest: &str) -> ControlFlow<usize> {
    let open = ControlFlow::Break(usize::MAX / 2);
    let Some(label) = closed(rest, '[', ']') else {
        let is_label = rest.len() <= MARKUP_BYTES_MAX && !rest.contains('\n');
        return if is_label { open } else { ControlFlow::Continue(()) };
    };
    if label > MARKUP_BYTES_MAX || rest.get(..label).is_some_and(|it| it.contains('\n')) {
        return ControlFlow::Continue(());
    }
    let tail = rest.get(label..).unwrap_or_default();
    let (inner, close) = match tail.chars().next() {
        None => return open,
        Some('(') => ('(', ')'),
        Some('[') => ('[', ']'),
        Some(':') => {
            let address = tail.get(1..).unwrap_or_default();
            let word = address.trim_start();
            return match word.find(char::is_whitespace) {
                None if tail.len() <= MARKUP_BYTES_MAX => open,
                None => ControlFlow::Continue(()),
                Some(length) => {
                    ControlFlow::Break(label + 1 + (address.len() - word.len()) + length)
                }
            };
        }
        Some(_) => return ControlFlow::Continue(()),
    };
    match closed(tail, inner, close) {
        Some(length) => ControlFlow::Break(label + length),
        None if tail.len() <= MARKUP_BYTES_MAX => open,
        None => ControlFlow::Continue(()),
    }
}

/// How many bytes there are from an opening bracket to its closing one.
fn closed(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + character.len_utf8());
            }
        }
        if at > MARKUP_BYTES_MAX {
            break;
        }
    }
    None
}

/// How many bytes a tag with an address has, as `link_end`.
fn tag_end(rest: &str) -> ControlFlow<usize> {
    let body = rest.get(1..).unwrap_or_default();
    let length = body.find(|it: char| !it.is_ascii_alphanumeric()).unwrap_or(body.len());
    let name = body.get(..length).unwrap_or_default().to_ascii_lowercase();
    let is_open = length == body.len();
    if !TAGS.iter().any(|tag| *tag == name || is_open && tag.starts_with(&name)) {
        return ControlFlow::Continue(());
    }
    match rest.find('>') {
        Some(at) => ControlFlow::Break(at + 1),
        None if rest.len() <= MARKUP_BYTES_MAX => ControlFlow::Break(usize::MAX / 2),
        None => ControlFlow::Continue(()),
    }
}
