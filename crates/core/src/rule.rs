//! The unforgeable result of a decision.
//!
//! `Allowed` is the beginning of every effect: only `rule` makes one, nothing clones it, and the
//! store takes it by value to turn it into a permit (I1).
//!
//! Nobody else can make one:
//! ```compile_fail,E0451
//! use lockgate_types::{decision::Decision, facts::Facts};
//! fn forge(decision: Decision, facts: Box<Facts>) {
//!     let _ = lockgate_core::rule::Allowed { decision, facts };
//! }
//! ```
//! nor copy one:
//! ```compile_fail,E0277
//! fn must_clone<T: Clone>() {}
//! must_clone::<lockgate_core::rule::Allowed>();
//! ```
//! nor turn a refusal into one:
//! ```compile_fail,E0308
//! fn launder(refused: lockgate_core::rule::Refused) -> lockgate_core::rule::Allowed {
//!     refused
//! }
//! ```

use crate::decide::decide;
use crate::risk::{self, Event, Raise, Rules};
use crate::world::World;
use lockgate_types::decision::{Decision, Verdict};
use lockgate_types::facts::Facts;
use std::sync::Arc;

/// Decides a call, and keeps the facts with the answer. They stay where they are: they are large,
/// and handed on many times.
pub fn rule(world: &World, facts: Box<Facts>) -> Ruling {
    let decision = decide(world, &facts);
    match decision.verdict {
        Verdict::Allow => Ruling::Allowed(Allowed { decision, facts, held: None }),
        Verdict::Deny | Verdict::RequireApproval | Verdict::RequirePlan => {
            let held = held(world, &decision, &facts);
            Ruling::Refused(Refused { decision, facts, held })
        }
    }
}

/// An answer.
#[must_use]
#[derive(Debug)]
pub enum Ruling {
    /// It may be done, once it is recorded.
    Allowed(Allowed),
    /// It may not, or not yet.
    Refused(Refused),
}

/// A call that a decision allows. It is worth nothing until the store has recorded it.
#[must_use = "an allowed call has no effect until it is committed"]
#[derive(Debug)]
pub struct Allowed {
    decision: Decision,
    facts: Box<Facts>,
    held: Option<Raise>,
}

/// A call that a decision refuses, or lets wait for a person.
#[must_use = "a refusal must be recorded"]
#[derive(Debug)]
pub struct Refused {
    decision: Decision,
    facts: Box<Facts>,
    held: Option<Raise>,
}

/// What a refusal is held against its session as: nothing of the gate's own, and nothing that an
/// upstream asks.
fn held(world: &World, decision: &Decision, facts: &Facts) -> Option<Raise> {
    let rules = world.risk.as_ref()?;
    if !risk::is_held(&facts.call) {
        return None;
    }
    let events = vec![risk::of_refusal(decision)?];
    Some(Raise { rules: Arc::clone(rules), events })
}

macro_rules! parts {
    ($type:ty) => {
        impl $type {
            /// The decision.
            pub const fn decision(&self) -> &Decision {
                &self.decision
            }

            /// What it was decided from.
            pub fn facts(&self) -> &Facts {
                &self.facts
            }

            /// What is held against the session with it.
            pub const fn held(&self) -> Option<&Raise> {
                self.held.as_ref()
            }

            /// Holds against the session what has come out besides.
            pub fn hold(&mut self, rules: &Arc<Rules>, events: Vec<Event>) {
                let new = || Raise { rules: Arc::clone(rules), events: Vec::new() };
                if !events.is_empty() {
                    self.held.get_or_insert_with(new).events.extend(events);
                }
            }

            /// Both, and the end of this value.
            pub fn into_parts(self) -> (Decision, Box<Facts>) {
                (self.decision, self.facts)
            }
        }
    };
}

parts!(Allowed);
parts!(Refused);
