//! What an operation of an HTTP API is: a method, a path, and where each argument goes; and the one
//! request that a call makes of it.
//!
//! Pure: the same arguments make the same bytes, before the decision (to see whether they make any)
//! and after it (to send them). Host, scheme and port are not in here, so that no argument can
//! reach them. Knows nothing of what an operation does, and nothing of answers.

mod assemble;
mod path;

pub use assemble::{Assembled, HEADER_VALUE_BYTES_MAX, QUERY_ITEMS_MAX, TARGET_BYTES_MAX};
pub use path::{Piece, parse};

use crate::declare::MethodWord;
use lockgate_types::Json;
use std::collections::BTreeMap;

/// Arguments of one endpoint.
pub const ARGUMENTS_MAX: usize = 256;

/// An endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The method.
    pub method: MethodWord,
    /// The path below the API's address, as it is declared: with `{name}` where something stands.
    pub path: String,
    /// The same, taken apart: by the names of arguments.
    pub pieces: Vec<Piece>,
    /// Where each argument goes.
    pub fields: BTreeMap<String, Field>,
    /// The media type of its body.
    pub content_type: String,
    /// Whether a body is sent that has no members.
    pub needs_body: bool,
    /// The schema of its arguments.
    pub schema: Json,
    /// What it is for, as models read it, its target included.
    pub description: String,
}

/// Where an argument goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The place.
    pub place: Spot,
    /// What it is called there.
    pub name: String,
    /// Whether nothing can be sent without it.
    pub is_required: bool,
}

/// A place in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A part of the path.
    Path,
    /// The query. A list is its name once for each item.
    Query,
    /// The query, a list with commas between its items.
    QueryList,
    /// A header.
    Header,
    /// A member of the body.
    Member,
    /// The whole body.
    Body,
}

impl Endpoint {
    /// What the record says that a call is sent to: method and path as declared.
    pub fn target(&self) -> String {
        format!("{} {}", self.method.as_str(), self.path)
    }
}

#[cfg(test)]
mod tests;
