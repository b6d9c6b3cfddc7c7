//! What a person has said: believed of applications that the bundle names, and of nobody else.
//!
//! There is one way in. A face that hears of a person's words (in `_meta` of a call, when an
//! application opens a session, or as the messages of a model call) hands what it was told to
//! [`Words::told`], with who told it, and puts the answer into its [`Proposal`](crate::Proposal) or
//! gives it to [`Kernel::open_session`](crate::Kernel::open_session). What a model, a tool or a
//! retrieval produced earlier is not to be handed over: an application may only speak for its
//! person. Lines that results of the session had before are dropped all the same, where they are
//! remembered.

use lockgate_core::{World, flow};
use lockgate_types::call::WORDS_META;
use lockgate_types::identity::Identity;
use lockgate_types::{Json, Object};

/// Texts of a person that are told at once.
pub const TEXTS_MAX: usize = 64;

/// What a person has said, of an application that is believed. Nobody else can make one that says
/// anything.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// What somebody says that their person has said: a text, or several. `None`: the bundle does
    /// not say that they are believed. What is beyond the bounds is left out.
    pub fn told(world: &World, by: &Identity, told: &Json) -> Option<Self> {
        if !tells_words(world, by) {
            return None;
        }
        let texts: Vec<String> = match told {
            Json::String(text) => vec![text.clone()],
            Json::Array(texts) => {
                texts.iter().filter_map(Json::as_str).map(str::to_owned).take(TEXTS_MAX).collect()
            }
            _ => Vec::new(),
        };
        let mut room = flow::WORDS_BYTES_MAX;
        let fits = |text: &String| {
            let fits = text.len() <= room;
            room -= if fits { text.len() } else { 0 };
            fits
        };
        Some(Self(texts.into_iter().filter(fits).collect()))
    }

    /// Text by text.
    pub fn texts(&self) -> &[String] {
        &self.0
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and then those.
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
}

/// Whether the bundle names an agent as an application that tells what its person says.
pub(crate) fn tells_words(world: &World, identity: &Identity) -> bool {
    let agent = world.principals.agent.get(identity.agent.as_str());
    agent.is_some_and(|agent| agent.relays_user_words)
}

/// Takes off what a call's `_meta` says that a person has said.
pub(crate) fn take_words(world: &World, identity: &Identity, params: &mut Object) -> Words {
    let meta = params.get_mut("_meta").and_then(Json::as_object_mut);
    let Some(told) = meta.and_then(|meta| meta.remove(WORDS_META)) else { return Words::default() };
    Words::told(world, identity, &told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_core::world::Files;
    use lockgate_types::JsonLimits;
    use lockgate_types::identity::Claims;

    fn world() -> World {
        let gate = "environment = \"dev\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                    [development]\nusers = [\"ann\"]\n";
        let principals = "[user.ann]\nown = [\"ann@acme.example\"]\n\
                          [agent.app]\nenvironments = [\"dev\"]\nrelays_user_words = true\n\
                          [agent.bot]\nenvironments = [\"dev\"]\n";
        let files = [("lockgate.toml", gate), ("principals.toml", principals)];
        let files: Files = files
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            .collect();
        World::load(&files).unwrap()
    }

    fn identity(world: &World, agent: &str) -> Identity {
        let act = Object::new().with("sub", agent);
        let claims = Object::new().with("sub", "ann").with("act", act);
        let claims = Claims { issuer: "development".to_owned(), claims };
        lockgate_core::identify::identify(world, &claims).unwrap()
    }

    fn params(text: &str) -> Object {
        let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        json.as_object().unwrap().clone()
    }

    #[test]
    fn words_are_believed_of_the_applications_that_the_bundle_names_and_go_nowhere() {
        let world = world();
        for (agent, words, believed) in [
            ("app", r#""pay Bob""#, vec!["pay Bob"]),
            ("app", r#"["pay","Bob",7]"#, vec!["pay", "Bob"]),
            ("app", r#"{"role":"user"}"#, vec![]),
            ("bot", r#""pay Bob""#, vec![]),
        ] {
            let text =
                format!(r#"{{"name":"x","_meta":{{"a":1,"dev.lockgate/user-words":{words}}}}}"#);
            let mut params = params(&text);
            let heard = take_words(&world, &identity(&world, agent), &mut params);
            assert_eq!(heard.texts(), believed, "{agent} {words}");
            let left = Json::from(params).to_bytes();
            assert_eq!(left, br#"{"name":"x","_meta":{"a":1}}"#, "{agent} {words}");
        }
        assert_eq!(identity(&world, "bot").own.len(), 1);
        assert!(Words::told(&world, &identity(&world, "bot"), &"pay Bob".into()).is_none());
        let long = "a".repeat(flow::WORDS_BYTES_MAX + 1);
        let told = Json::Array(vec![long.into(), "b".into()]);
        let heard = Words::told(&world, &identity(&world, "app"), &told).unwrap();
        assert_eq!(heard.texts(), ["b"]);
    }
}
