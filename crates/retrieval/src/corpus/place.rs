//! What was told of places, for whoever wants to know or change it.

use super::{Corpus, CorpusError, Permissions};
use crate::connect::folders_of;
use crate::relation::{self, Layer};
use rusqlite::{Connection, params};
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
        let of = self.held.source(source)?;
        self.held.read(|db| relation::told(db, of.number, place, layer.number()))
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
        let of = self.held.source(source)?;
        self.held.read(|db| {
            let query = "SELECT place FROM told WHERE source = ?1 AND layer = ?2
                         ORDER BY place LIMIT ?3";
            let given = params![of.number, layer.number(), PLACES_READ_MAX];
            let places: Vec<String> = db
                .prepare_cached(query)?
                .query_map(given, |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let with = |place: String| {
                let told = relation::told(db, of.number, &place, layer.number())?;
                Ok((place, told))
            };
            places.into_iter().map(with).collect()
        })
    }

    /// The folders of which the source has told to whom they are shared: the places that others of
    /// which it has told lie in.
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn folders_told(&self, source: &str) -> Result<Vec<String>, CorpusError> {
        let of = self.held.source(source)?;
        let told: BTreeSet<String> = self.held.read(|db| {
            let query = "SELECT place FROM told WHERE source = ?1 AND layer = 0";
            db.prepare_cached(query)?.query_map([of.number], |row| row.get(0))?.collect()
        })?;
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
        let of = self.held.source(source)?;
        self.held.read(|db| has_place(db, of.number, place))
    }
}

fn has_place(db: &Connection, source: i64, place: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM told WHERE source = ?1 AND place = ?2 AND layer = 0)
                 OR EXISTS (SELECT 1 FROM version WHERE source = ?1 AND id = ?2)";
    db.prepare_cached(query)?.query_row(params![source, place], |row| row.get(0))
}
