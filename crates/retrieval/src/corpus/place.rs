//! What was told of places, for whoever wants to know or change it.

use super::{Corpus, CorpusError, Kept, Permissions, check_changes, either};
use crate::connect::folders_of;
use crate::relation::Layer;
use std::collections::BTreeSet;

/// Places that are read at once.
pub const PLACES_READ_MAX: usize = 1000;

impl Corpus {
    /// What was told of a folder or document. [`Permissions::Unknown`]: nothing.
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn told(
        &self,
        source: &str,
        layer: Layer,
        place: &str,
    ) -> Result<Permissions, CorpusError> {
        either!(self, half => half.told(source, layer, place))
    }

    /// Changes what people have said of a place, from what they have said until then: nobody says
    /// anything of it between. It is in force when this returns, as with [`permit`](Self::permit).
    /// `None`: the source has no such place.
    ///
    /// # Errors
    ///
    /// If there is no such source, or what is said is beyond a bound: then what was said before
    /// holds.
    pub fn say(
        &self,
        source: &str,
        place: &str,
        change: &mut dyn FnMut(Permissions) -> Permissions,
    ) -> Result<Option<Permissions>, CorpusError> {
        let mut checked = |before| {
            let said = [(place.to_owned(), change(before))];
            check_changes(&said)?;
            let [(_, said)] = said;
            Ok(said)
        };
        either!(self, half => half.say(source, place, &mut checked))
    }

    /// The places of which something was told, in order, with what that is: the first
    /// [`PLACES_READ_MAX`].
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn all_told(
        &self,
        source: &str,
        layer: Layer,
    ) -> Result<Vec<(String, Permissions)>, CorpusError> {
        either!(self, half => half.all_told(source, layer))
    }

    /// The folders of which the source has told to whom they are shared: the places that others of
    /// which it has told lie in.
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn folders_told(&self, source: &str) -> Result<Vec<String>, CorpusError> {
        let told: BTreeSet<String> = either!(self, half => half.places_told(source))?;
        let around = told.iter().flat_map(|place| folders_of(place));
        let folders: BTreeSet<String> = around.filter(|folder| told.contains(folder)).collect();
        Ok(folders.into_iter().collect())
    }

    /// Whether the source has a folder or a document of that name, in whatever snapshot.
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn has_place(&self, source: &str, place: &str) -> Result<bool, CorpusError> {
        either!(self, half => half.has_place(source, place))
    }
}
