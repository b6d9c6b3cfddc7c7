//! TOML and JSON as people read them, for files that are written once and then belong to their
//! reader.

use lockgate_types::Json;

/// A TOML string.
pub(super) fn string(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// A TOML key, quoted if it has to be.
pub(super) fn key(name: &str) -> String {
    toml_edit::Key::new(name).to_string()
}

/// A TOML array of strings.
pub(super) fn strings<S: AsRef<str>>(texts: &[S]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| string(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// A TOML string over several lines, literal where TOML can carry it so.
pub(super) fn block(text: &str) -> String {
    let is_control = |c: char| c.is_control() && c != '\n';
    if text.contains("'''") || text.contains(is_control) || text.ends_with('\'') {
        return string(text);
    }
    format!("'''\n{text}\n'''")
}

/// Words from elsewhere as one line of a comment: no line breaks, nothing that hides or turns text
/// around.
pub(super) fn comment(words: &str, chars_max: usize) -> String {
    let plain = |c: char| if c.is_whitespace() { ' ' } else { c };
    let is_shown = |c: &char| {
        let is_hidden = matches!(
            *c,
            '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        );
        !c.is_control() && !is_hidden
    };
    let words: String = words.chars().map(plain).filter(is_shown).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(chars_max).collect();
    line.trim_end().to_owned()
}

/// JSON over several lines, members in their order, numbers as they were written.
pub(super) fn pretty(value: &Json) -> String {
    let mut out = String::new();
    write_pretty(value, 0, &mut out);
    out
}

fn write_pretty(value: &Json, depth: usize, out: &mut String) {
    let inner = "  ".repeat(depth + 1);
    let outer = "  ".repeat(depth);
    match value {
        Json::Object(object) if !object.is_empty() => {
            out.push('{');
            for (at, (name, value)) in object.iter().enumerate() {
                out.push_str(if at > 0 { ",\n" } else { "\n" });
                out.push_str(&format!("{inner}{}: ", Json::from(name)));
                write_pretty(value, depth + 1, out);
            }
            out.push_str(&format!("\n{outer}}}"));
        }
        Json::Array(items)
            if items.iter().any(|i| matches!(i, Json::Object(_) | Json::Array(_))) =>
        {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ",\n" } else { "\n" });
                out.push_str(&inner);
                write_pretty(item, depth + 1, out);
            }
            out.push_str(&format!("\n{outer}]"));
        }
        _ => out.push_str(&value.to_string()),
    }
}
