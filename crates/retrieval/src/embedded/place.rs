//! What was told of places, as the file has it.

use super::{Embedded, write};
use crate::corpus::{CorpusError, PLACES_READ_MAX, Permissions};
use crate::relation::{self, Layer};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

impl Embedded {
    pub(crate) fn told(
        &self,
        source: &str,
        layer: Layer,
        place: &str,
    ) -> Result<Permissions, CorpusError> {
        let of = self.held.source(source)?;
        self.held.read(|db| relation::told(db, of.number, place, layer.number()))
    }

    pub(crate) fn say(
        &self,
        source: &str,
        place: &str,
        change: &mut dyn FnMut(Permissions) -> Result<Permissions, CorpusError>,
    ) -> Result<Option<Permissions>, CorpusError> {
        let failed = || CorpusError::database("reading permissions");
        let mut db = self.held.writer();
        let of = write::known_source(&db, source)?;
        if !has_place(&db, of.number, place).map_err(failed())? {
            return Ok(None);
        }
        let layer = Layer::Declared;
        let before = relation::told(&db, of.number, place, layer.number()).map_err(failed())?;
        let said = change(before)?;
        self.held.tell(&mut db, &of, layer, &[(place.to_owned(), said.clone())])?;
        Ok(Some(said))
    }

    pub(crate) fn all_told(
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

    /// The places of which the source has told to whom they are shared.
    pub(crate) fn places_told(&self, source: &str) -> Result<BTreeSet<String>, CorpusError> {
        let of = self.held.source(source)?;
        self.held.read(|db| {
            let query = "SELECT place FROM told WHERE source = ?1 AND layer = 0";
            db.prepare_cached(query)?.query_map([of.number], |row| row.get(0))?.collect()
        })
    }

    pub(crate) fn has_place(&self, source: &str, place: &str) -> Result<bool, CorpusError> {
        let of = self.held.source(source)?;
        self.held.read(|db| has_place(db, of.number, place))
    }
}

fn has_place(db: &Connection, source: i64, place: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM told WHERE source = ?1 AND place = ?2 AND layer = 0)
                 OR EXISTS (SELECT 1 FROM version WHERE source = ?1 AND id = ?2)";
    db.prepare_cached(query)?.query_row(params![source, place], |row| row.get(0))
}
