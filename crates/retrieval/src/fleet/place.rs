//! What was told of places, as a fleet has it.

use super::audience::{Told, permissions_of};
use super::session::{Given, Session, column};
use super::{FleetCorpus, known_source, tell, whole};
use crate::corpus::{CorpusError, PLACES_READ_MAX, Permissions, can_be};
use crate::relation::Layer;
use std::collections::BTreeSet;

impl FleetCorpus {
    pub(crate) fn told(
        &self,
        source: &str,
        layer: Layer,
        place: &str,
    ) -> Result<Permissions, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            told(session, of.number, layer, place)
        })
    }

    pub(crate) fn say(
        &self,
        source: &str,
        place: &str,
        change: &mut dyn FnMut(Permissions) -> Result<Permissions, CorpusError>,
    ) -> Result<Option<Permissions>, CorpusError> {
        self.held.sessions.change(|session| {
            let of = known_source(session, source)?;
            if !has_place(session, of.number, place)? {
                return Ok(None);
            }
            let layer = Layer::Declared;
            let said = change(told(session, of.number, layer, place)?)?;
            tell(session, &of, layer, &[(place.to_owned(), said.clone())])?;
            Ok(Some(said))
        })
    }

    pub(crate) fn all_told(
        &self,
        source: &str,
        layer: Layer,
    ) -> Result<Vec<(String, Permissions)>, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            let query = "SELECT place, is_alone, shares, denials FROM told
                WHERE source = $1 AND layer = $2 ORDER BY place COLLATE \"C\" LIMIT $3";
            let most = whole(PLACES_READ_MAX as u64);
            let given = [of.number, layer.number(), most].map(Given::Int);
            let rows = session.rows(query, given.into())?;
            rows.iter().map(|row| Ok((column(row, 0)?, permissions_of(row, 1)?))).collect()
        })
    }

    /// The places of which the source has told to whom they are shared.
    pub(crate) fn places_told(&self, source: &str) -> Result<BTreeSet<String>, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            let query = "SELECT place FROM told WHERE source = $1 AND layer = $2";
            let given = [of.number, Layer::Synced.number()].map(Given::Int);
            session.rows(query, given.into())?.iter().map(|row| column(row, 0)).collect()
        })
    }

    pub(crate) fn has_place(&self, source: &str, place: &str) -> Result<bool, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            has_place(session, of.number, place)
        })
    }
}

fn told(
    session: &mut Session,
    source: i64,
    layer: Layer,
    place: &str,
) -> Result<Permissions, CorpusError> {
    if !can_be(place) {
        return Ok(Permissions::Unknown);
    }
    let told = Told::read(session, BTreeSet::from([(source, place.to_owned())]))?;
    Ok(told.of(source, place, layer.number()))
}

fn has_place(session: &mut Session, source: i64, place: &str) -> Result<bool, CorpusError> {
    if !can_be(place) {
        return Ok(false);
    }
    let query = "SELECT EXISTS (SELECT 1 FROM told WHERE source = $1 AND place = $2 AND layer = $3)
        OR EXISTS (SELECT 1 FROM version WHERE source = $1 AND id = $2)";
    let layer = Given::Int(Layer::Synced.number());
    let row = session.row(query, vec![Given::Int(source), Given::text(place), layer])?;
    row.map_or(Ok(false), |row| column(&row, 0))
}
