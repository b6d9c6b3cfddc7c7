//! The catalogues of one upstream: one for each set of capabilities that callers declare, of which
//! one caller may bring only so many.

use super::{Shelf, ShelfState};
use crate::credential::Who;
use crate::trouble::{EffectError, Trouble};
use lockgate_types::Code;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Catalogues of one upstream: sets of capabilities that callers declare.
const CATALOGUES_MAX: usize = 64;
/// Of these, how many one caller may have brought lately: each may start a process. Half of them:
/// clients that try a server out declare something else for every call.
const CATALOGUES_PER_IDENTITY_MAX: usize = CATALOGUES_MAX / 2;
/// How long one that nobody asks for any more counts for who brought it.
const BROUGHT_FOR: Duration = Duration::from_secs(10 * 60);

/// The catalogues of one upstream.
pub(crate) struct Catalogues(Mutex<HashMap<String, Arc<Shelf>>>);

impl Catalogues {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    pub(super) fn known(&self, key: &str) -> Option<Arc<Shelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The catalogue of that key, which may be new. `by`: who asks; `None` is the gate itself.
    pub(super) fn shelf(&self, key: &str, by: Option<Who>) -> Result<Arc<Shelf>, EffectError> {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get(key) {
            return Ok(Arc::clone(shelf));
        }
        let now = Instant::now();
        let is_theirs = |shelf: &&Arc<Shelf>| {
            let used = shelf.lock().used;
            shelf.by == by && used.is_none_or(|at| now.duration_since(at) < BROUGHT_FOR)
        };
        if by.is_some() && shelves.values().filter(is_theirs).count() >= CATALOGUES_PER_IDENTITY_MAX
        {
            let detail = "too many sets of client capabilities of one caller";
            return Err(Trouble::before(Code::ShareTaken, detail).into());
        }
        if shelves.len() >= CATALOGUES_MAX {
            let oldest = shelves.iter().min_by_key(|(_, shelf)| shelf.lock().used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                shelves.remove(&oldest);
            }
        }
        let state = Mutex::new(ShelfState::default());
        let shelf = Arc::new(Shelf { state, fetched: Notify::new(), by });
        shelves.insert(key.to_owned(), Arc::clone(&shelf));
        Ok(shelf)
    }
}
