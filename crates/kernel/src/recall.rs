//! Folding a session's record again: what memory lacks after a restart, or because another node has
//! seen it.
//!
//! A gate alone looks once in a session's life here; a node of a fleet each time something depends
//! on it, since others add to it. What is known already costs one look at which calls there are.

use crate::Kernel;
use crate::flow::Remembering;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use crate::reverse::Origin;
use lockgate_core::World;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::flow::{self, Happened};
use lockgate_store::{Recalled, Remembered};
use lockgate_types::{Json, Micros, SessionId};

/// How often a session is folded anew because something was added meanwhile.
const ROUNDS_MAX: u32 = 3;

impl Kernel {
    /// Has a session remember all that is recorded of it.
    pub(crate) async fn recall(
        &self,
        world: &World,
        origin: &Origin,
        session: &SessionId,
    ) -> Result<(), Refusal> {
        let store = &self.parts.store;
        let slot = self.remembering(session);
        if slot.lock().is_whole && !store.is_shared() {
            return Ok(());
        }
        for round in 1..=ROUNDS_MAX {
            let before = slot.lock().changes;
            let there = store.remembered(session).await.map_err(|error| not_recorded(&error))?;
            if is_known(&mut slot.lock(), &there) {
                return Ok(());
            }
            let recalled = store.recall(&origin.identity, session).await;
            let happened = happened(recalled.map_err(|error| not_recorded(&error))?);
            let memory = flow::fold(world, origin.conversation(), happened);
            let is_done = self.parts.flows.change(&slot, |held| {
                // What was added meanwhile is in the record by now, or will be taken again.
                let is_still = held.changes == before;
                if is_still || round == ROUNDS_MAX {
                    let (known, changes) = (Default::default(), held.changes + 1);
                    *held = Remembering { memory, known, is_whole: is_still, changes };
                    there.iter().for_each(|it| held.knows(&it.call, false));
                    let ended = there.iter().filter(|it| it.is_ended);
                    ended.for_each(|it| held.knows(&it.call, true));
                }
                is_still
            });
            if is_done {
                break;
            }
        }
        Ok(())
    }
}

/// Whether everything that is there is known already.
fn is_known(held: &mut Remembering, there: &[Remembered]) -> bool {
    let has = |it: &Remembered| held.has(&it.call, it.is_ended);
    let is_known = there.iter().all(has);
    held.is_whole |= is_known;
    is_known
}

/// What was said and what came back, as far as it is kept.
fn happened(recalled: Vec<Recalled>) -> Vec<(Micros, Happened)> {
    let mut happened = Vec::new();
    for Recalled { call, at, heard, ended } in recalled {
        // Only what an application has told is remembered of the gate's own.
        let is_own = call.upstream.as_str() == RESERVED;
        let said = match is_own {
            true => told(call.arguments().and_then(|arguments| arguments.get("words"))),
            false => heard,
        };
        if !said.is_empty() {
            happened.push((at, Happened::Said(said)));
        }
        if let (Some((ended_at, Some(result))), false) = (ended, is_own) {
            happened.push((ended_at, Happened::Came(Box::new(call), result)));
        }
    }
    happened
}

/// What an application has told: by an operation that takes nothing but believed words.
fn told(words: Option<&Json>) -> Vec<String> {
    let words = words.and_then(Json::as_array).unwrap_or_default();
    words.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}
