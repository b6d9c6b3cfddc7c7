//! The names by which objects of a session's results go, and which of them the person has said.

use super::OBJECTS_MAX;
use super::text::{Named, name_key, stem_key};
use lockgate_types::flow::Source;
use std::collections::HashMap;

/// Names of objects that a session remembers, those without the endings of files included.
const NAMES_MAX: usize = 4 * OBJECTS_MAX;

/// How an object is established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    pub(super) source: Source,
    /// By one plain word alone. Somebody may have called theirs by a word that people say anyway:
    /// good enough to act on the object, not to follow what stands in it.
    pub(super) is_plain: bool,
}

/// A table of names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// By kind, field and words.
    // order-free: only looked up
    at: HashMap<(u16, u16, String), u32>,
    names: Vec<Name>,
}

/// A name that objects of one kind have in one field.
#[derive(Clone, Debug)]
struct Name {
    folded: String,
    /// The one object that has it. `None`: several have.
    only: Option<String>,
    /// The place of the same name without the ending of a file.
    stem: Option<u32>,
    /// How the person has said it.
    said: Option<(Named, Standing)>,
}

/// Whether there is room for so many bytes, which takes it, and how a name was said.
type Beside<'a> = (&'a mut dyn FnMut(usize) -> bool, &'a dyn Fn(&str) -> Option<(Named, Standing)>);

impl Names {
    /// The place of a name in the table. Another object of the name takes it from both, however it
    /// writes it: `Launch plan`, `launch-plan.` and, where people leave that out, `Launch plan.md`.
    pub(super) fn intern(
        &mut self,
        of: (u16, u16),
        name: &str,
        id: &str,
        (has_room, said): Beside<'_>,
    ) -> Option<u32> {
        let stem = stem_key(name);
        let stem = stem.and_then(|stem| self.place(of, (&stem, &stem, None), id, (has_room, said)));
        self.place(of, (&name_key(name), name, stem), id, (has_room, said))
    }

    fn place(
        &mut self,
        (kind, field): (u16, u16),
        (key, name, stem): (&str, &str, Option<u32>),
        id: &str,
        (has_room, said): Beside<'_>,
    ) -> Option<u32> {
        let key = (kind, field, key.to_owned());
        if let Some(at) = self.at.get(&key).copied() {
            let known = self.names.get_mut(usize::try_from(at).ok()?)?;
            if known.only.as_deref() != Some(id) {
                known.only = None;
            }
            return Some(at);
        }
        if self.names.len() >= NAMES_MAX || !has_room(name.len()) {
            return None;
        }
        let at = u32::try_from(self.names.len()).ok()?;
        let (folded, only) = (name.to_owned(), Some(id.to_owned()));
        self.names.push(Name { folded, only, stem, said: said(name) });
        self.at.insert(key, at);
        Some(at)
    }

    /// Looks for all of them anew.
    pub(super) fn look(&mut self, said: &dyn Fn(&str) -> Option<(Named, Standing)>) {
        for name in &mut self.names {
            name.said = said(&name.folded);
        }
    }

    /// Whether one of these names was given, and is that of one object only: somebody may have put
    /// another of the name there.
    pub(super) fn named(&self, names: &[u32]) -> Option<Standing> {
        let known = |at: u32| self.names.get(usize::try_from(at).ok()?);
        let only = |at: u32| known(at).filter(|name| name.only.is_some());
        names
            .iter()
            .filter_map(|at| only(*at))
            .filter_map(|name| match name.said? {
                (Named::Whole, standing) => Some(standing),
                (Named::WithoutEnding, standing) => only(name.stem?).map(|_| standing),
            })
            .min_by_key(|it| (it.is_plain, it.source))
    }
}
