//! Flow: where every value came from, and what a session has read.
//!
//! [`Declared`] is what an operation says of its arguments and results. [`Memory`] is what a
//! session has seen that can be relied upon; it tells, of each value of a call, how it is
//! established where it came from. Nothing is decided here: those are facts, and policies say which
//! ways are enough.

mod carry;
mod fold;
mod given;
mod intent;
mod memory;
mod names;
mod read;
mod text;
mod trace;

pub use carry::carried;
pub use fold::{Conversation, Happened, fold};
pub use memory::{ECHOES_MAX, MEMORY_BYTES_MAX, Memory, OBJECTS_MAX, VALUE_BYTES_MAX, VALUES_MAX};
pub use read::reliable;
pub use text::WORDS_BYTES_MAX;
pub use trace::{FindLinks, LINKS_MAX, TRACED_MAX};

use lockgate_types::flow::{Author, Role};
use lockgate_types::label::Confidentiality;
use std::collections::BTreeSet;

/// What an operation declares of its arguments and results. Without it: no argument has a role, and
/// what is returned is anybody's words.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// What arguments are for: paths of names.
    pub roles: Vec<(Vec<String>, Role)>,
    /// What comes back.
    pub returns: Returns,
}

/// What an operation returns.
#[derive(Clone, Debug)]
pub struct Returns {
    /// Whose words.
    pub author: Author,
    /// Who may see it.
    pub confidentiality: Confidentiality,
    /// Who may read it. Empty: whoever may see what is of its confidentiality.
    pub readers: BTreeSet<String>,
    /// Fields whose values the backing system guarantees.
    pub guaranteed: Vec<String>,
    /// The objects that it is a list of.
    pub object: Option<ObjectShape>,
    /// Whether they were made by the call.
    pub is_owned: bool,
}

impl Default for Returns {
    fn default() -> Self {
        Self {
            author: Author::Anyone,
            confidentiality: Confidentiality::Public,
            readers: BTreeSet::new(),
            guaranteed: Vec::new(),
            object: None,
            is_owned: false,
        }
    }
}

/// How objects in a result are told apart.
#[derive(Clone, Debug)]
pub struct ObjectShape {
    /// The field that identifies one.
    pub id: String,
    /// The fields by which a person names one.
    pub named_by: Vec<String>,
}
