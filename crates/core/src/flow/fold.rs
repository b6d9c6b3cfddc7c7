//! What a session remembers is the fold of what was said and what came back, in their order. Live,
//! each adds to it as it happens; after a restart, or at another node, the record is folded again,
//! by the same functions.

use super::memory::Memory;
use super::read::reliable;
use crate::World;
use lockgate_types::call::Call;
use lockgate_types::{Json, Micros};

/// Something that a session remembers.
#[derive(Clone, Debug)]
pub enum Happened {
    /// The person has said it.
    Said(Vec<String>),
    /// It came back to a call, as the caller got it.
    Came(Box<Call>, Json),
}

/// Whether what is remembered belongs to one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// It has a session of its own.
    One,
    /// Callers without a session share it for all their conversations: new words begin anew.
    Many,
}

impl Memory {
    /// Adds what the person has said.
    pub fn listen(&mut self, conversation: Conversation, texts: &[String]) {
        let is_new = texts.iter().any(|text| !self.has_heard(text));
        if conversation == Conversation::Many && is_new {
            self.begin_anew();
        }
        texts.iter().for_each(|text| self.hear(text));
    }

    /// Adds what came back to a call: what of it can be relied upon.
    pub fn take(&mut self, world: &World, call: &Call, result: &Json) {
        let Some(declared) = world.operations.get(&call.operation) else { return };
        let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
        match reliable(result).filter(|_| !is_error) {
            Some(value) => self.observe(declared, call, value),
            None => self.overhear(result),
        }
    }
}

/// Folds what a session has recorded, in the order in which it happened. What happened at the same
/// moment is in the order given.
pub fn fold(
    world: &World,
    conversation: Conversation,
    mut happened: Vec<(Micros, Happened)>,
) -> Memory {
    happened.sort_by_key(|(at, _)| *at);
    let mut memory = Memory::default();
    for (_, happened) in &happened {
        match happened {
            Happened::Said(texts) => memory.listen(conversation, texts),
            Happened::Came(call, result) => memory.take(world, call, result),
        }
    }
    memory
}
