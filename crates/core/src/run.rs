//! Runs: the model proposes, this decides what happens next, and when it stops.
//!
//! A run is what its journal says. [`RunState::apply`] takes one entry after the other, each a fact
//! that somebody else has found out, and `next` says of the state what is to be done: the same
//! journal under the same bundle at the same moment gives the same step. Nothing is done here, and
//! nothing remembered elsewhere, so that a run goes on exactly where its journal ends.
//!
//! A call is named by the turn that proposed it and its place among that turn's. What it came to
//! is taken once: after that nothing asks for it again, and until then it is asked for under the
//! same key, so that it happens once however often it is tried.

mod agree;
mod ask;
mod check;
mod entry;
mod fork;
mod limits;
mod next;
mod prompt;
mod state;
mod verify;
mod workflow;

pub use check::{Finding, rule_check};
pub use entry::{
    Answered, Asked, Entry, Event, Over, Parked, Performed, Proposal, Purpose, Started,
};
pub use fork::{Differs, fork};
pub use limits::Left;
pub use next::{Ask, Called, Moment, Perform, Step, Wait, next};
pub use prompt::OUTCOME_BYTES_MAX;
pub use state::{Fault, Outcome, RunState, Turn};
pub use workflow::{Condition, Place, Source, Stage, Workflow};

use crate::declare;
use lockgate_types::{Json, OperationName, TaskName, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of one journal.
pub const ENTRIES_MAX: usize = 8192;
/// Calls that one answer of a model may propose; what is more is refused.
pub const PROPOSALS_MAX: usize = 32;
/// How often a run is taken up again: one that ends its gate each time is not for ever.
pub const RESUMES_MAX: u32 = 256;
/// How often in a row no model may answer.
pub const FAILURES_MAX: u32 = 3;
/// Runs within runs: how deep.
pub const DEPTH_MAX: u32 = 3;
/// What stands before a task in the name of the tool that starts a run within a run.
pub const CHILD_PREFIX: &str = "run__";

/// How a task is run, compiled.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As declared.
    pub declared: declare::Run,
    /// The name by which the model is asked for. Empty: no model is.
    pub model: String,
    /// The tools that may be called, by the name under which models call them.
    pub tools: BTreeMap<String, Tool>,
    /// The tasks of which runs may be started within it, with what each is for.
    pub children: BTreeMap<TaskName, String>,
    /// The steps, if they are declared.
    pub workflow: Option<Workflow>,
}

/// A tool that a run may call.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The operation.
    pub operation: OperationName,
    /// Its upstream.
    pub upstream: UpstreamName,
    /// As its upstream calls it.
    pub tool: String,
    /// What it is for, as it was accepted.
    pub description: Option<String>,
    /// The schema of its arguments.
    pub schema: Json,
}

/// What is left of the limits of the run within which another is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How often models may be asked.
    pub steps: i64,
    /// Tokens.
    pub tokens: i64,
    /// In units of [`crate::model::SPEND_UNITS`].
    pub spend: Option<i64>,
    /// Microseconds of work.
    pub time_us: i64,
    /// The tools, by operation: no others.
    pub tools: BTreeSet<String>,
    /// How deep it is.
    pub depth: u32,
}

#[cfg(test)]
mod tests;
