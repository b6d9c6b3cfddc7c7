//! Shares: how much of an upstream one caller may have at once, so that there is some left for
//! others.

use crate::credential::Who;
use crate::trouble::Trouble;
use lockgate_types::Code;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of four places of an upstream, those that one caller may have.
const PLACES_OF_FOUR: usize = 3;

/// What each caller has of one kind of places. Who has none is not remembered.
pub(crate) struct Shares {
    max: usize,
    taken: Mutex<HashMap<Who, usize>>,
}

/// A place of a caller's. It is free again when this is gone.
pub(crate) struct Share {
    shares: Arc<Shares>,
    who: Who,
}

impl Shares {
    /// So many for each caller.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// The share that one caller has of so many places, where nobody says otherwise. One always.
    pub(crate) const fn of(places: usize) -> usize {
        places.saturating_mul(PLACES_OF_FOUR).div_ceil(4)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Who, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a caller.
    pub(crate) fn take(self: &Arc<Self>, who: Who) -> Result<Share, Trouble> {
        let mut taken = self.locked();
        let count = taken.get(&who).copied().unwrap_or(0);
        if count >= self.max {
            let detail = format!("{count} calls of one caller are on their way: more are others'");
            return Err(Trouble::before(Code::ShareTaken, detail));
        }
        taken.insert(who.clone(), count + 1);
        drop(taken);
        Ok(Share { shares: Arc::clone(self), who })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.locked();
        match taken.get_mut(&self.who) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(taken.remove(&self.who)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::who;

    #[test]
    fn a_share_leaves_some_for_others() {
        let expected = [(1, 1), (2, 2), (3, 3), (4, 3), (16, 12), (256, 192)];
        for (places, share) in expected {
            assert_eq!(Shares::of(places), share);
        }
    }

    #[test]
    fn who_has_their_share_gets_no_more_until_some_of_it_is_over() {
        let shares = Shares::new(2);
        let held = [shares.take(who("alice")).unwrap(), shares.take(who("alice")).unwrap()];
        assert_eq!(shares.take(who("alice")).map(drop).unwrap_err().code, Code::ShareTaken);
        drop(shares.take(who("bob")).unwrap());
        let [first, _second] = held;
        drop(first);
        drop(shares.take(who("alice")).unwrap());
        assert_eq!(shares.locked().len(), 1, "who has none is not remembered");
    }
}
