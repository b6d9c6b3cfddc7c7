//! A run begun anew from another's journal: what models and tools said then is said again, nothing
//! is asked and nothing done twice.

use super::{Entry, Event, Moment, RunState, Started, Step, next};
use crate::world::World;
use lockgate_types::{CallId, Micros};

/// Why a journal does not come to the same again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Differs {
    /// At this entry something else would be done now.
    #[error("the bundle that rules now would do something else at entry {at}: {what}")]
    Here {
        /// The entry, from 0.
        at: usize,
        /// What.
        what: String,
    },
    /// It is no journal.
    #[error("the journal cannot be read at entry {at}")]
    Unreadable {
        /// The entry, from 0.
        at: usize,
    },
}

/// The journal of a fork: that of another run up to a turn, or all of it, with what models and
/// tools came to then. Each prompt is made again and has to be the same bytes. From the turn on it
/// is for whoever drives it, with other input if there is some.
///
/// Waiting, pauses and interruptions are left out: they belong to how it went then.
pub fn fork(
    world: &World,
    run: &CallId,
    journal: &[Entry],
    until_turn: Option<u32>,
    (input, at): (Option<&str>, Micros),
) -> Result<Vec<Entry>, Differs> {
    let mut state = RunState::default();
    let mut forked = Vec::new();
    for (number, entry) in journal.iter().enumerate() {
        let event = match &entry.event {
            Event::Started(started) => Event::Started(Box::new(Started {
                fork_of: Some(run.clone()),
                ..Started::clone(started)
            })),
            Event::Parked(_) | Event::Resumed { .. } | Event::Unanswered { .. } => continue,
            event => event.clone(),
        };
        if until_turn.is_some_and(|until| begins(&event, until)) {
            break;
        }
        if let Event::Over(_) = event {
            // How it ends is decided anew: limits are those that hold now.
            break;
        }
        same(world, &state, &event, number)?;
        let entry = Entry { at, event };
        state.apply(&entry).map_err(|_| Differs::Unreadable { at: number })?;
        forked.push(entry);
    }
    if let Some(input) = input.filter(|input| *input != state.input) {
        forked.push(Entry { at, event: Event::Changed { input: input.to_owned() } });
    }
    Ok(forked)
}

/// Whether an event is the first of a turn, or of one behind it.
fn begins(event: &Event, until: u32) -> bool {
    match event {
        Event::Asked(asked) => asked.turn >= until,
        Event::Proposed { turn, .. } => *turn >= until,
        Event::Over(_) => true,
        _ => false,
    }
}

/// That the same would be done now.
fn same(world: &World, state: &RunState, event: &Event, at: usize) -> Result<(), Differs> {
    let differs = |what: String| Err(Differs::Here { at, what });
    match event {
        // What somebody else has found out is taken as it was.
        Event::Started(_)
        | Event::Answered(_)
        | Event::Performed(_)
        | Event::Refused { .. }
        | Event::Changed { .. }
        | Event::Unanswered { .. }
        | Event::Parked(_)
        | Event::Resumed { .. }
        | Event::Over(_) => Ok(()),
        Event::Asked(asked) => match next(world, state, &Moment::default()) {
            Step::Ask(ask) if ask.asked == *asked => Ok(()),
            // Asked again, after nobody has answered.
            _ if state.open_turn().is_some_and(|(turn, _)| turn == asked.turn) => Ok(()),
            Step::Ask(_) => differs("another prompt would be made".to_owned()),
            _ => differs("no model would be asked".to_owned()),
        },
        Event::Proposed { .. } | Event::Verified { .. } => {
            match next(world, state, &Moment::default()) {
                Step::Record(step) if *step == *event => Ok(()),
                _ => differs(format!("it would not be {}", event.kind())),
            }
        }
    }
}
