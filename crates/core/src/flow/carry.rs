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
    let name = at.split(['.', '[']).next().unwrap_or(at);
    if let Some(value) = arguments.get_mut(name) {
        walk(value, link);
    }
}

fn walk(json: &mut Json, link: &str) {
    match json {
        Json::String(text) if text.contains(link) => *text = text.replace(link, REMOVED),
        Json::Array(items) => items.iter_mut().for_each(|item| walk(item, link)),
        Json::Object(members) => members.iter_mut().for_each(|(_, value)| walk(value, link)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}
