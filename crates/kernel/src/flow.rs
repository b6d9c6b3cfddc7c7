//! What sessions have seen that can be relied upon, kept in memory, and the facts that follow.
//!
//! It is this node's, and gone after a restart: what is not remembered is established by nothing,
//! and of an application that tells its person's words they are missed where none are known. So
//! forgetting asks people more often and lets nothing pass.

use crate::Kernel;
use lockgate_core::World;
use lockgate_core::flow::{self, Memory};
use lockgate_types::call::{Call, WORDS_META};
use lockgate_types::facts::Facts;
use lockgate_types::flow::Provenance;
use lockgate_types::identity::Identity;
use lockgate_types::{Json, Object, SessionId};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions that are remembered.
pub const SESSIONS_REMEMBERED_MAX: usize = 4096;
/// Bytes of what all of them remember. Beyond, the one that was quiet for longest is forgotten.
pub const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Texts of a person that one call may tell.
const HEARD_MAX: usize = 64;

/// What sessions remember.
pub(crate) struct Flows {
    sessions: Mutex<Sessions>,
}

struct Sessions {
    by_id: LruCache<SessionId, Arc<Mutex<Memory>>>,
    bytes: usize,
}

/// What the result of a call will be remembered as.
pub(crate) struct Watched {
    world: Arc<World>,
    call: Call,
    session: SessionId,
}

impl Default for Flows {
    fn default() -> Self {
        let max = NonZeroUsize::new(SESSIONS_REMEMBERED_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { sessions: Mutex::new(Sessions { by_id: LruCache::new(max), bytes: 0 }) }
    }
}

impl Flows {
    fn memory(&self, session: &SessionId) -> Arc<Mutex<Memory>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = sessions.by_id.get(session) {
            return Arc::clone(memory);
        }
        let memory = Arc::<Mutex<Memory>>::default();
        if let Some((_, forgotten)) = sessions.by_id.push(session.clone(), Arc::clone(&memory)) {
            sessions.bytes = sessions.bytes.saturating_sub(bytes(&forgotten));
        }
        memory
    }

    /// Changes what a session remembers, and makes room.
    fn change<T>(&self, session: &SessionId, change: impl FnOnce(&mut Memory) -> T) -> T {
        let memory = self.memory(session);
        let (answer, before, after) = {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let before = memory.bytes();
            let answer = change(&mut memory);
            (answer, before, memory.bytes())
        };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.bytes = sessions.bytes.saturating_add(after).saturating_sub(before);
        while sessions.bytes > REMEMBERED_BYTES_MAX && sessions.by_id.len() > 1 {
            let Some((_, forgotten)) = sessions.by_id.pop_lru() else { break };
            sessions.bytes = sessions.bytes.saturating_sub(bytes(&forgotten));
        }
        answer
    }
}

fn bytes(memory: &Mutex<Memory>) -> usize {
    memory.lock().unwrap_or_else(PoisonError::into_inner).bytes()
}

impl Kernel {
    /// Where the values of a call came from, as facts. Nothing where no policy asks.
    pub(crate) fn provenance(
        &self,
        world: &World,
        facts: &Facts,
        heard: &[String],
    ) -> Option<Provenance> {
        if !world.policies.asks_flow() {
            return None;
        }
        let Some(declared) = world.operations.get(&facts.call.operation) else {
            return Some(Provenance::default());
        };
        Some(self.parts.flows.change(&facts.session.id, |memory| {
            memory.belongs_to(facts.identity.own.iter().map(String::as_str));
            let mut provenance = memory.trace(declared, &facts.call, links);
            provenance.heard = heard.to_vec();
            // What was forgotten is not as if nobody had told it.
            provenance.has_words |= tells_words(world, &facts.identity);
            provenance
        }))
    }

    /// Adds what a person has said to what the session remembers. Callers without a session share
    /// one for all their conversations: there, new words begin anew.
    pub(crate) fn hear_person(
        &self,
        world: &World,
        (session, has_id): (&SessionId, bool),
        heard: &[String],
    ) {
        if heard.is_empty() || !world.policies.asks_flow() {
            return;
        }
        self.parts.flows.change(session, |memory| {
            if !has_id && heard.iter().any(|text| !memory.has_heard(text)) {
                memory.begin_anew();
            }
            heard.iter().for_each(|text| memory.hear(text));
        });
    }

    /// What has to be known to remember the result of a call.
    pub(crate) fn watched(&self, world: &Arc<World>, facts: &Facts) -> Option<Box<Watched>> {
        let is_tool = facts.call.tool().is_some();
        (is_tool && world.policies.asks_flow()).then(|| {
            let (call, session) = (facts.call.clone(), facts.session.id.clone());
            Box::new(Watched { world: Arc::clone(world), call, session })
        })
    }

    /// Remembers what can be relied upon of a result, as the caller gets it.
    pub(crate) fn remember(&self, watched: &Watched, result: &Json) {
        let Watched { world, call, session } = watched;
        let Some(declared) = world.operations.get(&call.operation) else { return };
        let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
        let reliable = flow::reliable(result).filter(|_| !is_error);
        self.parts.flows.change(session, |memory| match reliable {
            Some(value) => memory.observe(declared, call, value),
            None => memory.overhear(result),
        });
    }
}

/// Takes off what an application says that its person has said. Only those are believed that the
/// bundle names.
pub(crate) fn take_words(world: &World, identity: &Identity, params: &mut Object) -> Vec<String> {
    let Some(meta) = params.get_mut("_meta").and_then(Json::as_object_mut) else {
        return Vec::new();
    };
    let Some(words) = meta.remove(WORDS_META) else { return Vec::new() };
    if !tells_words(world, identity) {
        return Vec::new();
    }
    let texts = match &words {
        Json::String(text) => vec![text.clone()],
        Json::Array(texts) => {
            texts.iter().filter_map(Json::as_str).map(str::to_owned).take(HEARD_MAX).collect()
        }
        _ => Vec::new(),
    };
    let mut room = flow::WORDS_BYTES_MAX;
    let fits = |text: &String| {
        let fits = text.len() <= room;
        room -= if fits { text.len() } else { 0 };
        fits
    };
    texts.into_iter().filter(fits).collect()
}

/// Whether the bundle names an agent as an application that tells what its person says.
fn tells_words(world: &World, identity: &Identity) -> bool {
    let agent = world.principals.agent.get(identity.agent.as_str());
    agent.is_some_and(|agent| agent.relays_user_words)
}

/// Links in a text: where each stands. `None`: there may be more than are looked for.
pub fn links(text: &str) -> Option<Vec<Range<usize>>> {
    let links = lockgate_detect::links(text);
    let is_whole = links.len() < lockgate_detect::LINKS_MAX;
    is_whole.then(|| links.into_iter().map(|link| link.start..link.end).collect())
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
            assert_eq!(heard, believed, "{agent} {words}");
            let left = Json::from(params).to_bytes();
            assert_eq!(left, br#"{"name":"x","_meta":{"a":1}}"#, "{agent} {words}");
        }
        assert_eq!(identity(&world, "bot").own.len(), 1);
        let long = "a".repeat(flow::WORDS_BYTES_MAX + 1);
        let text = format!(r#"{{"_meta":{{"dev.lockgate/user-words":["{long}","b"]}}}}"#);
        let heard = take_words(&world, &identity(&world, "app"), &mut params(&text));
        assert_eq!(heard, ["b"]);
    }

    #[test]
    fn all_sessions_together_remember_so_much() {
        let flows = Flows::default();
        let id = |at: usize| SessionId::new(&format!("s-{at}")).unwrap();
        for at in 0..SESSIONS_REMEMBERED_MAX + 10 {
            flows.change(&id(at), |memory| memory.hear("x"));
        }
        let sessions = flows.sessions.lock().unwrap();
        assert_eq!(sessions.by_id.len(), SESSIONS_REMEMBERED_MAX);
        assert!(
            !sessions.by_id.contains(&id(0)),
            "the one that was quiet for longest is forgotten"
        );
    }
}
