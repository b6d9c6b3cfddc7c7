//! What sessions have seen that can be relied upon, held in memory, and the facts that follow.
//!
//! Memory is a cache of the record: what it lacks (after a restart, because another node has seen
//! it, or because it had to make room) is folded again from there (`recall.rs`), before anything is
//! decided that depends on it. What is beyond the bounds is established by nothing, which asks
//! people more often and lets nothing pass.

use crate::Kernel;
use crate::port::Refusal;
use crate::reverse::Origin;
use crate::words::tells_words;
use lockgate_core::World;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::flow::{Conversation, Memory};
use lockgate_core::world::Operation;
use lockgate_types::call::{Call, Effect};
use lockgate_types::facts::Facts;
use lockgate_types::flow::Provenance;
use lockgate_types::{CallId, Json, SessionId};
use lru::LruCache;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions that are remembered.
pub const SESSIONS_REMEMBERED_MAX: usize = 4096;
/// Bytes of what all of them remember. Beyond, the one that was quiet for longest is forgotten.
pub const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Calls that one session is known to remember.
const KNOWN_MAX: usize = 4096;
/// Bytes that it takes to know that a call is remembered.
const KNOWN_BYTES: usize = 16;

/// What sessions remember.
#[derive(Default)]
pub(crate) struct Flows {
    sessions: Mutex<Sessions>,
}

struct Sessions {
    by_id: LruCache<SessionId, Arc<Slot>>,
    bytes: usize,
    /// How often somebody had been erased: what was remembered before that is let go.
    forgotten: u64,
}

/// What one session remembers.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Remembering>);

/// The fold of a session, as far as it is known here.
#[derive(Default)]
pub(crate) struct Remembering {
    pub(crate) memory: Memory,
    /// The calls in it, and those that have ended: by a digest. Only looked up.
    pub(crate) known: HashSet<u64>,
    /// Whether everything was in it that the record has, when it was last held against that.
    pub(crate) is_whole: bool,
    /// Grows when something is added.
    pub(crate) changes: u64,
}

/// What the result of a call will be remembered as.
pub(crate) struct Watched {
    world: Arc<World>,
    call: Call,
    session: SessionId,
}

impl Default for Sessions {
    fn default() -> Self {
        let max = NonZeroUsize::new(SESSIONS_REMEMBERED_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { by_id: LruCache::new(max), bytes: 0, forgotten: 0 }
    }
}

impl Slot {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Remembering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembering {
    fn bytes(&self) -> usize {
        self.memory.bytes() + self.known.len() * KNOWN_BYTES
    }

    /// Notes that a call is in it, or that what it brought is.
    pub(crate) fn knows(&mut self, call: &CallId, is_ended: bool) {
        // Who forgets what is known looks once more.
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(name(call, is_ended));
    }

    /// Whether a call is in it, and what it brought if it has ended.
    pub(crate) fn has(&self, call: &CallId, is_ended: bool) -> bool {
        self.known.contains(&name(call, is_ended))
    }
}

/// FNV-1a: who takes one call for another asks people once more.
fn name(call: &CallId, is_ended: bool) -> u64 {
    let bytes = call.as_str().bytes().chain([u8::from(is_ended)]);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Flows {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a session remembers. `forgotten`: how often somebody was erased.
    pub(crate) fn slot(&self, session: &SessionId, forgotten: u64) -> Arc<Slot> {
        let mut sessions = self.lock();
        if sessions.forgotten != forgotten {
            *sessions = Sessions { forgotten, ..Sessions::default() };
        }
        if let Some(slot) = sessions.by_id.get(session) {
            return Arc::clone(slot);
        }
        let slot = Arc::<Slot>::default();
        if let Some((_, gone)) = sessions.by_id.push(session.clone(), Arc::clone(&slot)) {
            sessions.bytes = sessions.bytes.saturating_sub(gone.lock().bytes());
        }
        slot
    }

    /// Changes what a session remembers, and makes room.
    pub(crate) fn change<T>(&self, slot: &Slot, change: impl FnOnce(&mut Remembering) -> T) -> T {
        let (answer, before, after) = {
            let mut held = slot.lock();
            let before = held.bytes();
            let answer = change(&mut held);
            (answer, before, held.bytes())
        };
        let mut sessions = self.lock();
        sessions.bytes = sessions.bytes.saturating_add(after).saturating_sub(before);
        while sessions.bytes > REMEMBERED_BYTES_MAX && sessions.by_id.len() > 1 {
            let Some((_, gone)) = sessions.by_id.pop_lru() else { break };
            sessions.bytes = sessions.bytes.saturating_sub(gone.lock().bytes());
        }
        answer
    }

    /// Forgets a session here: the record knows more of it now.
    pub(crate) fn forget(&self, session: &SessionId) {
        let mut sessions = self.lock();
        if let Some(gone) = sessions.by_id.pop(session) {
            sessions.bytes = sessions.bytes.saturating_sub(gone.lock().bytes());
        }
    }
}

impl Kernel {
    /// Hears what the person says with a call, and tells where its values came from, as facts.
    /// Nothing where no policy asks.
    pub(crate) async fn provenance(
        &self,
        world: &World,
        origin: &Origin,
        facts: &Facts,
    ) -> Result<Option<Provenance>, Refusal> {
        if !world.policies.asks_flow() {
            return Ok(None);
        }
        let Some(declared) = world.operations.get(&facts.call.operation) else {
            return Ok(Some(Provenance::default()));
        };
        if facts.call.upstream.as_str() != RESERVED && self.depends(world, declared, facts) {
            Box::pin(self.recall(world, origin, &facts.session.id)).await?;
        }
        Ok(Some(self.trace(world, declared, origin, facts)))
    }

    /// Whether it matters that all is remembered here which the record has: where values are
    /// traced, since what is missing may be what makes a name ambiguous, or a line nobody's word;
    /// and where no words are known.
    fn depends(&self, world: &World, declared: &Operation, facts: &Facts) -> bool {
        if declared.effect != Effect::Read {
            return true;
        }
        let slot = self.remembering(&facts.session.id);
        let has_words = slot.lock().memory.has_words();
        let mut agents = world.principals.agent.values();
        !has_words && agents.any(|agent| agent.relays_user_words)
    }

    fn trace(
        &self,
        world: &World,
        declared: &Operation,
        origin: &Origin,
        facts: &Facts,
    ) -> Provenance {
        let slot = self.remembering(&facts.session.id);
        let heard = origin.heard.texts();
        self.parts.flows.change(&slot, |held| {
            if heard.iter().any(|text| !held.memory.has_heard(text)) {
                held.memory.listen(origin.conversation(), heard);
                held.changes += 1;
            }
            if !heard.is_empty() || facts.call.tool().is_some() {
                held.knows(&facts.call.id, false);
            }
            held.memory.belongs_to(facts.identity.own.iter().map(String::as_str));
            let mut provenance = held.memory.trace(declared, &facts.call, links);
            provenance.heard = heard.to_vec();
            // What was forgotten is not as if nobody had told it.
            provenance.has_words |= tells_words(world, &facts.identity);
            provenance
        })
    }

    pub(crate) fn remembering(&self, session: &SessionId) -> Arc<Slot> {
        self.parts.flows.slot(session, self.parts.store.forgotten())
    }

    /// What has to be known to remember the result of a call.
    pub(crate) fn watched(&self, world: &Arc<World>, facts: &Facts) -> Option<Box<Watched>> {
        let is_tool = facts.call.tool().is_some();
        (is_tool && world.policies.asks_flow()).then(|| {
            let (call, session) = (facts.call.clone(), facts.session.id.clone());
            Box::new(Watched { world: Arc::clone(world), call, session })
        })
    }

    /// Remembers what can be relied upon of a result, as the caller gets it. `None`: there is none.
    pub(crate) fn remember(&self, watched: &Watched, result: Option<&Json>) {
        let Watched { world, call, session } = watched;
        let slot = self.remembering(session);
        self.parts.flows.change(&slot, |held| {
            // It may have been folded from the record already.
            if held.has(&call.id, true) {
                return;
            }
            held.knows(&call.id, true);
            held.changes += 1;
            if let Some(result) = result {
                held.memory.take(world, call, result);
            }
        });
    }
}

impl Origin {
    /// Whether what its session remembers belongs to one conversation.
    pub(crate) fn conversation(&self) -> Conversation {
        if self.session.is_some() { Conversation::One } else { Conversation::Many }
    }
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

    #[test]
    fn all_sessions_together_remember_so_much() {
        let flows = Flows::default();
        let id = |at: usize| SessionId::new(&format!("s-{at}")).unwrap();
        for at in 0..SESSIONS_REMEMBERED_MAX + 10 {
            let slot = flows.slot(&id(at), 0);
            flows.change(&slot, |held| held.memory.hear("x"));
        }
        let sessions = flows.sessions.lock().unwrap();
        assert_eq!(sessions.by_id.len(), SESSIONS_REMEMBERED_MAX);
        assert!(
            !sessions.by_id.contains(&id(0)),
            "the one that was quiet for longest is forgotten"
        );
    }

    #[test]
    fn nothing_is_remembered_across_an_erasure() {
        let flows = Flows::default();
        let id = SessionId::new("s-1").unwrap();
        flows.change(&flows.slot(&id, 0), |held| held.memory.hear("pay Bob"));
        assert!(flows.slot(&id, 0).lock().memory.has_heard("pay Bob"));
        assert!(!flows.slot(&id, 1).lock().memory.has_heard("pay Bob"));
        assert!(!flows.slot(&id, 1).lock().is_whole);
    }
}
