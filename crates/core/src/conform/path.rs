//! Where a walk is, and how a violation says so.

use super::Violation;

/// Characters of a member's name in a report: names come from callers.
const NAME_CHARS_MAX: usize = 128;

/// Where the walk is: a list on the stack, written out only when something is reported.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

/// A violation at a place.
pub(super) fn violation(path: &Path<'_>, rule: &'static str, what: &str) -> Violation {
    let mut text = String::new();
    write_path(path, &mut text);
    Violation { path: text, rule, what: what.to_owned(), expected: Vec::new() }
}

fn write_path(path: &Path<'_>, out: &mut String) {
    match path {
        Path::Root => {}
        Path::Name(parent, name) => {
            write_path(parent, out);
            match name.char_indices().nth(NAME_CHARS_MAX) {
                None => push_segment(out, name),
                Some((end, _)) => push_segment(out, name.get(..end).unwrap_or_default()),
            }
        }
        Path::Index(parent, at) => {
            write_path(parent, out);
            push_segment(out, &at.to_string());
        }
    }
}

/// Appends one segment of a JSON pointer (RFC 6901).
pub(super) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
}
