//! Answers in place of a model, when none answers: by what a recorded one is known, and whom it may
//! be given.
//!
//! A recorded answer is for one prompt, all of it, and for callers who may do what the one may for
//! whom it was made: tenant, environment, task, agent, groups and roles. Who that was is no part of
//! it.

use lockgate_types::identity::Identity;
use lockgate_types::{Digest, Json, Object};

/// The argument of the gate's own operation that says what answers.
pub const KIND: &str = "kind";
/// The words of a person.
pub const PERSON: &str = "person";
/// An answer that somebody has approved.
pub const RECORDED: &str = "recorded";
/// The argument that says what whoever is answered may do.
pub const RIGHTS: &str = "rights";
/// The argument that says until when a recorded answer holds, in microseconds.
pub const EXPIRES_AT: &str = "expires_at";

/// Members of a request that say nothing of what is asked: by which name, in which form, and what
/// its provider keeps books by.
const BESIDE: [&str; 9] = [
    "metadata",
    "model",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "user",
];

/// What a prompt is known by: everything of its request that an answer may depend on.
pub fn prompt(method: &str, body: &Object) -> Digest {
    let asks = body.iter().filter(|(name, _)| !BESIDE.contains(name));
    let asks: Object = asks.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    Json::from(Object::new().with("asks", asks).with("method", method)).digest()
}

/// What somebody may do, as far as it follows from who they are: the same for all who may the same.
pub fn rights(identity: &Identity) -> Digest {
    let rights = Object::new()
        .with("agent", identity.agent.as_str())
        .with("agent_groups", texts(identity.agent_groups.iter().map(|it| it.as_str())))
        .with("environment", identity.environment.as_str())
        .with("groups", texts(identity.subject_groups.iter().map(|it| it.as_str())))
        .with("roles", texts(identity.subject_roles.iter().map(|it| it.as_str())))
        .with_some("task", identity.task.as_ref().map(|task| task.as_str()))
        .with("tenant", identity.tenant.as_str());
    Json::from(rights).digest()
}

fn texts<'a>(all: impl Iterator<Item = &'a str>) -> Vec<Json> {
    all.map(Json::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn known_by(text: &str) -> Digest {
        let body = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        prompt("messages", body.as_object().unwrap())
    }

    #[test]
    fn a_prompt_is_known_by_all_that_an_answer_may_depend_on() {
        let asked = known_by(r#"{"model":"a","stream":true,"messages":["x"],"max_tokens":9}"#);
        assert_eq!(asked, known_by(r#"{"max_tokens":9,"messages":["x"],"user":"u"}"#));
        for other in [
            r#"{"messages":["y"],"max_tokens":9}"#,
            r#"{"messages":["x"],"max_tokens":8}"#,
            r#"{"messages":["x"],"max_tokens":9,"system":"s"}"#,
            r#"{"messages":["x"],"max_tokens":9,"tools":[]}"#,
        ] {
            assert_ne!(asked, known_by(other), "{other}");
        }
        let body = Object::new().with("messages", vec![Json::from("x")]).with("max_tokens", 9);
        assert_ne!(asked, prompt("chat/completions", &body));
    }
}
