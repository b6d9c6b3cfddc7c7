//! JSON as people read it: nested lists of names and values, whatever there is. Nothing is left
//! out silently, and nothing of it is markup. And what pages take out of it.

use super::visible::visible;
use lockgate_types::Json;
use maud::{Markup, html};

/// How deep lists are nested; below, the text is shown as it is.
const DEPTH_MAX: u32 = 8;

/// A value.
pub(super) fn shown(value: &Json) -> Markup {
    at_depth(value, 0)
}

fn at_depth(value: &Json, depth: u32) -> Markup {
    let deeper = |value: &Json| at_depth(value, depth + 1);
    match value {
        Json::Object(object) if depth < DEPTH_MAX && !object.is_empty() => html! {
            dl {
                @for (name, value) in object.iter() {
                    dt { (visible(&name.replace('_', " "))) }
                    dd { (deeper(value)) }
                }
            }
        },
        Json::Array(items) if depth < DEPTH_MAX && !items.is_empty() => html! {
            ul { @for item in items { li { (deeper(item)) } } }
        },
        Json::String(text) => html! { bdi { (visible(text)) } },
        Json::Null => html! { "none" },
        Json::Bool(is_so) => html! { (if *is_so { "yes" } else { "no" }) },
        Json::Number(_) | Json::Object(_) | Json::Array(_) => {
            html! { (visible(&value.to_string())) }
        }
    }
}

/// A text; empty where there is none.
pub(super) fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// A whole number; 0 where there is none.
pub(super) fn number(json: &Json, name: &str) -> i64 {
    json.get(name).and_then(Json::as_i64).unwrap_or(0)
}

/// The items of a list; none where there is none.
pub(super) fn items<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn everything_is_shown_and_nothing_is_markup() {
        let text = br#"{"a_b":{"c":["<i>",1.50,null,true,{}]}}"#;
        let json = Json::parse(text, &JsonLimits::OWN).unwrap();
        let items =
            "<li><bdi>&lt;i&gt;</bdi></li><li>1.50</li><li>none</li><li>yes</li><li>{}</li>";
        let list = format!("<ul>{items}</ul>");
        let expected = format!("<dl><dt>a b</dt><dd><dl><dt>c</dt><dd>{list}</dd></dl></dd></dl>");
        assert_eq!(shown(&json).into_string(), expected);
    }

    #[test]
    fn what_is_nested_deeply_is_shown_as_text() {
        let text = format!("{}1{}", "[".repeat(30), "]".repeat(30));
        let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        assert!(shown(&json).into_string().contains(&format!(
            "{}1{}",
            "[".repeat(22),
            "]".repeat(22)
        )));
    }
}
