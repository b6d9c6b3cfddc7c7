//! A definition as lines that people read and compare: one for each value, in an order of their
//! own, with a mark for every character that is not seen.

use lockgate_types::Json;
use lockgate_types::appearance::marked;

/// Lines of each side that are held against each other one by one. Longer ones are shown whole.
const COMPARED_LINES_MAX: usize = 2000;

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 2;

/// Levels that get lines of their own.
const DEPTH_MAX: usize = 64;

/// The members that a pin covers.
const MEMBERS: [&str; 6] =
    ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Same(String),
    Gone(String),
    New(String),
    /// So many unchanged lines are not shown.
    Left(usize),
}

/// What of a tool's definition is pinned.
pub(super) fn of_definition(definition: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    for member in MEMBERS {
        if let Some(value) = definition.get(member) {
            write(member, value, 0, &mut lines);
        }
    }
    lines
}

/// Instructions of a server.
pub(super) fn of_text(text: Option<&str>) -> Vec<String> {
    match text {
        Some(text) => text.split('\n').map(marked).collect(),
        None => Vec::new(),
    }
}

fn write(path: &str, value: &Json, depth: usize, lines: &mut Vec<String>) {
    match value {
        Json::Object(members) if !members.is_empty() && depth < DEPTH_MAX => {
            let mut members: Vec<(&str, &Json)> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            for (name, member) in members {
                write(&format!("{path}.{}", marked(name)), member, depth + 1, lines);
            }
        }
        Json::Array(items) if depth < DEPTH_MAX && items.iter().any(is_nested) => {
            for (at, item) in items.iter().enumerate() {
                write(&format!("{path}[{at}]"), item, depth + 1, lines);
            }
        }
        Json::String(text) if text.contains('\n') => {
            lines.push(format!("{path}:"));
            lines.extend(text.split('\n').map(|line| format!("    {}", marked(line))));
        }
        Json::String(text) => lines.push(format!("{path}: {}", marked(text))),
        other => lines.push(format!("{path}: {}", marked(&other.to_string()))),
    }
}

fn is_nested(value: &Json) -> bool {
    matches!(value, Json::Object(_) | Json::Array(_))
}

/// The lines of both, in order, with what is gone before what is new; unchanged ones only around
/// changes.
pub(super) fn compare(old: &[String], new: &[String]) -> Vec<Line> {
    let gone = |lines: &[String]| lines.iter().cloned().map(Line::Gone).collect::<Vec<_>>();
    let fresh = |lines: &[String]| lines.iter().cloned().map(Line::New).collect::<Vec<_>>();
    if old.len() > COMPARED_LINES_MAX || new.len() > COMPARED_LINES_MAX {
        return [gone(old), fresh(new)].concat();
    }
    shortened(aligned(old, new))
}

/// By the longest sequence of lines that both have.
fn aligned(old: &[String], new: &[String]) -> Vec<Line> {
    let width = new.len() + 1;
    // How many lines both have in common from here on.
    let mut common = vec![0_u16; (old.len() + 1) * width];
    let at = |common: &[u16], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, left) in old.iter().enumerate().rev() {
        for (j, right) in new.iter().enumerate().rev() {
            let longest = match left == right {
                true => at(&common, i + 1, j + 1) + 1,
                false => at(&common, i + 1, j).max(at(&common, i, j + 1)),
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = longest;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(left), Some(right)) if left == right => {
                lines.push(Line::Same(left.clone()));
                (i, j) = (i + 1, j + 1);
            }
            (Some(left), right)
                if right.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) =>
            {
                lines.push(Line::Gone(left.clone()));
                i += 1;
            }
            (_, Some(right)) => {
                lines.push(Line::New(right.clone()));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

fn shortened(lines: Vec<Line>) -> Vec<Line> {
    let changed: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Same(_)))
        .map(|(at, _)| at)
        .collect();
    let is_near = |at: usize| changed.iter().any(|change| change.abs_diff(at) <= CONTEXT_LINES);
    let mut out = Vec::new();
    let mut left = 0;
    for (at, line) in lines.into_iter().enumerate() {
        if is_near(at) {
            if left > 0 {
                out.push(Line::Left(left));
                left = 0;
            }
            out.push(line);
        } else {
            left += 1;
        }
    }
    if left > 0 && !out.is_empty() {
        out.push(Line::Left(left));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn lines(text: &str) -> Vec<String> {
        of_definition(&Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap())
    }

    #[test]
    fn only_what_changed_is_shown_and_nothing_is_hidden() {
        let old = r#"{"name":"add","description":"Adds.\nTwo numbers.","inputSchema":
            {"properties":{"b":{"type":"number"},"a":{"type":"number"}}}}"#;
        let new = "{\"inputSchema\":{\"properties\":{\"a\":{\"type\":\"number\"},\"b\":\
            {\"type\":\"number\",\"enum\":[1,2.0]}}},\"description\":\"Adds.\\nTwo \
            num\u{200b}bers.\",\"name\":\"add\",\"_meta\":1}";
        let shown = compare(&lines(old), &lines(new));
        assert_eq!(
            shown,
            [
                Line::Left(1),
                Line::Same("description:".into()),
                Line::Same("    Adds.".into()),
                Line::Gone("    Two numbers.".into()),
                Line::New("    Two num<U+200B>bers.".into()),
                Line::Same("inputSchema.properties.a.type: number".into()),
                Line::New("inputSchema.properties.b.enum: [1,2.0]".into()),
                Line::Same("inputSchema.properties.b.type: number".into()),
            ]
        );
        assert_eq!(compare(&lines(old), &lines(old)), []);
    }

    #[test]
    fn long_ones_are_shown_whole() {
        let long: Vec<String> = (0..=COMPARED_LINES_MAX).map(|at| at.to_string()).collect();
        assert_eq!(compare(&long, &[]).len(), long.len());
        let changed = [&["x".to_owned()], &long[1..40]].concat();
        let shown = compare(&long[..40], &changed);
        assert_eq!(shown.len(), 2 + CONTEXT_LINES + 1);
        assert_eq!(shown.last(), Some(&Line::Left(39 - CONTEXT_LINES)));
    }
}
