//! Caps: what calls take of them, reserved in the transaction of the intent (I7).

use crate::db::{DbError, values};
use crate::effect_key::Name;
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_core::caps::Charge;
use lockgate_types::Micros;

/// How long a counter is kept after its window: the clocks of nodes differ, and none may begin it
/// anew while another still counts.
const KEPT_US: i64 = 60 * 60 * 1_000_000;
/// Counters forgotten in one go.
const SWEEP_MAX: u32 = 256;

/// What a call takes of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Whose counter: derived, so that the database does not say.
    pub(crate) key: Name,
    pub(crate) amount: i64,
    pub(crate) max: i64,
    /// When the counter begins anew.
    pub(crate) until: Micros,
}

impl Store {
    /// What has been taken of the counters that these charges are for.
    pub async fn taken(&self, charges: &[Charge]) -> Result<Vec<i64>, StoreError> {
        let keys: Vec<Name> = charges.iter().map(|charge| self.reservation(charge).key).collect();
        self.read(move |writer| keys.iter().map(|key| writer.used(key)).collect()).await
    }
}

impl Writer {
    /// Which of the counters has no room, if one has none.
    pub(crate) fn without_room(
        &self,
        reservations: &[Reservation],
    ) -> Result<Option<usize>, StoreError> {
        for (at, reservation) in reservations.iter().enumerate() {
            let used = self.used(&reservation.key)?;
            if used.saturating_add(reservation.amount) > reservation.max {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Takes from every counter.
    pub(crate) fn reserve(&self, reservations: &[Reservation]) -> Result<(), StoreError> {
        let insert = "INSERT INTO cap (key, used, until) VALUES (?1, ?2, ?3)
                      ON CONFLICT (key) DO UPDATE SET used = cap.used + ?2";
        for Reservation { key, amount, until, .. } in reservations {
            self.db
                .execute(insert, values![key, *amount, until.0])
                .map_err(StoreError::database("reserving what a cap allows"))?;
        }
        Ok(())
    }

    fn used(&self, key: &Name) -> Result<i64, StoreError> {
        let select = "SELECT used FROM cap WHERE key = ?1";
        let used = self.db.row(select, values![key], |row| row.get(0));
        let used = used.map_err(StoreError::database("reading what a cap allows"))?;
        Ok(used.unwrap_or(0))
    }

    /// Gives back what a call took that never left.
    pub(crate) fn give_back_reserved(
        &self,
        reservations: &[Reservation],
    ) -> Result<(), StoreError> {
        let update = "UPDATE cap SET used = used - ?2 WHERE key = ?1";
        for Reservation { key, amount, .. } in reservations {
            self.db
                .execute(update, values![key, *amount])
                .map_err(StoreError::database("giving back what a cap allows"))?;
        }
        Ok(())
    }

    /// Forgets counters whose window is over, a few at a time.
    pub(crate) fn sweep_caps(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM cap WHERE key IN
            (SELECT key FROM cap WHERE until < ?1 LIMIT ?2)";
        let over = now.0.saturating_sub(KEPT_US);
        self.db.execute(delete, values![over, SWEEP_MAX]).map(drop)
    }
}
