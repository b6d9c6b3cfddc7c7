//! What leaves: the call as it was decided, without what an obligation takes out of it.

use lockgate_types::call::Call;
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::facts::Facts;
use lockgate_types::{Json, Object};

/// Stands where a link was.
const REMOVED: &str = "[link removed]";

/// The call that leaves, of a decision and its facts: the same for every replay.
pub fn carried(decision: &Decision, facts: Facts) -> Call {
    let mut call = facts.call;
    let Some(flow) = &facts.flow else { return call };
    if !decision.obligations.contains(&Obligation::Links) {
        return call;
    }
    let Some(arguments) = call.params.get_mut("arguments").and_then(Json::as_object_mut) else {
        return call;
    };
    // The longest first: one link may be the beginning of another.
    let mut links = flow.links.clone();
    links.sort_by_key(|(_, link)| std::cmp::Reverse(link.len()));
    for (at, link) in &links {
        strip(arguments, at, link);
    }
    call
}

fn strip(arguments: &mut Object, at: &str, link: &str) {
    // A name may have a bracket of its own: `parts[]`.
    let is_in = |name: &str| {
        at.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let names = arguments.iter_mut().filter(|(name, _)| is_in(name));
    if let Some((_, value)) = names.max_by_key(|(name, _)| name.len()) {
        walk(value, link);
    }
}

fn walk(json: &mut Json, link: &str) {
    match json {
        Json::String(text) if text.contains(link) => *text = text.replace(link, REMOVED),
        Json::Array(items) => items.iter_mut().for_each(|item| walk(item, link)),
        Json::Object(members) => {
            let names = members.iter().map(|(name, _)| name).filter(|name| name.contains(link));
            let names: Vec<String> = names.map(str::to_owned).collect();
            for name in names {
                if let Some(value) = members.remove(&name) {
                    members.set(name.replace(link, REMOVED), value);
                }
            }
            members.iter_mut().for_each(|(_, value)| walk(value, link));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn links_are_taken_out_wherever_they_stand() {
        let link = "http://b.example/x";
        for (at, given, left) in [
            ("body", r#"{"body":"a http://b.example/x"}"#, r#"{"body":"a [link removed]"}"#),
            (
                "parts[][0]",
                r#"{"parts[]":["http://b.example/x"],"parts":"http://b.example/x"}"#,
                r#"{"parts[]":["[link removed]"],"parts":"http://b.example/x"}"#,
            ),
            (
                "body.http://b.example/x",
                r#"{"body":{"a":1,"http://b.example/x":{"b":"http://b.example/x"}}}"#,
                r#"{"body":{"a":1,"[link removed]":{"b":"[link removed]"}}}"#,
            ),
        ] {
            let json = |text: &str| Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
            let mut arguments = json(given).as_object().unwrap().clone();
            strip(&mut arguments, at, link);
            assert_eq!(Json::from(arguments), json(left), "{at}");
        }
    }
}
