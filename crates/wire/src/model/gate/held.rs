//! What is held of calls until somebody has decided about them.

use super::super::items::is_name;
use super::super::scan::{Proposed, odd};
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::{Json, Object};

/// A call on its way.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Its index among the calls of a choice; `None` for the form before there were several.
    pub(super) place: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) key: u32,
    pub(super) is_refused: bool,
}

/// An event that belongs to a call.
#[derive(Debug)]
pub(super) struct Piece {
    /// Which of the choice's calls.
    pub(super) call: usize,
    pub(super) event: SseEvent,
}

impl Call {
    /// Takes a piece of a call of the chat API. Strings are joined, names and ids too: so do the
    /// SDKs, and what they make of it is what is decided about.
    pub(super) fn take_chat(&mut self, piece: &Json) -> Result<(), Box<Refusal>> {
        let Some(object) = piece.as_object() else {
            return Err(odd("a call of a delta is not an object"));
        };
        if self.place.is_none() {
            return self.take_function(object, "arguments");
        }
        self.id.push_str(string(object, "id")?);
        for (name, arguments) in [("function", "arguments"), ("custom", "input")] {
            match object.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::Object(function)) => self.take_function(function, arguments)?,
                Some(_) => return Err(odd("a function of a call is not an object")),
            }
        }
        Ok(())
    }

    fn take_function(&mut self, object: &Object, arguments: &str) -> Result<(), Box<Refusal>> {
        self.name.push_str(string(object, "name")?);
        self.arguments.push_str(string(object, arguments)?);
        Ok(())
    }

    pub(super) fn proposed(&self, choice: u64) -> Proposed {
        Proposed {
            key: self.key,
            choice,
            id: (!self.id.is_empty()).then(|| self.id.clone()),
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            hosted: None,
            server: None,
        }
    }
}

fn string<'a>(object: &'a Object, name: &str) -> Result<&'a str, Box<Refusal>> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(""),
        Some(Json::String(text)) => Ok(text),
        Some(_) => Err(odd("a part of a call is not a string")),
    }
}

/// Whether there is a text in it.
pub(in crate::model) fn has_string(value: &Json) -> bool {
    match value {
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => items.iter().any(has_string),
        Json::Object(object) => object.iter().any(|(_, value)| has_string(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Every string in these, and all of the same name joined.
pub(in crate::model) fn join_strings<'a>(values: impl Iterator<Item = &'a Json>) -> Vec<String> {
    let (mut all, mut joined) = (Vec::new(), Vec::new());
    for value in values {
        strings(value, "", &mut all, &mut joined);
    }
    all.extend(joined.into_iter().map(|(_, text)| text));
    all
}

fn strings(value: &Json, name: &str, all: &mut Vec<String>, joined: &mut Vec<(String, String)>) {
    match value {
        Json::String(text) => {
            all.push(text.clone());
            match joined.iter_mut().find(|(it, _)| it == name) {
                Some((_, whole)) => whole.push_str(text),
                None => joined.push((name.to_owned(), text.clone())),
            }
        }
        Json::Array(items) => items.iter().for_each(|it| strings(it, name, all, joined)),
        Json::Object(object) => {
            let members = object.iter().filter(|(name, _)| !is_name(name));
            members.for_each(|(name, value)| strings(value, name, all, joined));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
