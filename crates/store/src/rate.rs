//! Rates in a fleet: the nodes share each bucket, and take a slice of it at a time.
//!
//! Nothing of it is evidence: there is no entry, and a bucket that is full is not remembered.

use crate::db::{DbError, values};
use crate::effect_key::Name;
use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::store::{Store, failed, unexpected};
use crate::writer::Writer;
use lockgate_core::rate::{Bucket, Pace, Toll};
use lockgate_types::Micros;

/// How long a full bucket is kept: the clocks of nodes differ.
const KEPT_US: i64 = 60 * 60 * 1_000_000;
/// Buckets forgotten in one go.
const SWEEP_MAX: u32 = 256;

/// A slice that is asked for.
pub(crate) struct Slice {
    /// Of which bucket: derived, so that the database does not say.
    pub(crate) key: Name,
    pub(crate) pace: Pace,
}

impl Store {
    /// Whether this gate is a node of a fleet.
    pub fn is_shared(&self) -> bool {
        self.ruling().is_some()
    }

    /// Takes a slice of the bucket that the nodes of a fleet share: how many tokens it has. `Err`
    /// within: there is none, and the first comes after so many microseconds.
    pub async fn lease_rate(&self, toll: &Toll) -> Result<Result<u32, i64>, StoreError> {
        let pace = toll.pace.to_words();
        let key = self.derive(&["rate", &toll.rate, &toll.scope, &pace]);
        match self.write(Change::Slice(Slice { key, pace: toll.pace })).await {
            Ok(Written::Sliced(slice)) => Ok(slice),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }
}

impl Writer {
    pub(crate) fn slice(&self, slice: &Slice) -> Result<Result<Written, Rejected>, StoreError> {
        let (Slice { key, pace }, now) = (slice, self.now());
        let select = "SELECT level, at FROM rate WHERE key = ?1";
        let read = |row: &crate::db::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found: Option<(i64, i64)> = self
            .db
            .row(select, values![key], read)
            .map_err(StoreError::database("reading what a rate has left"))?;
        let mut bucket = match found {
            Some((level, at)) => Bucket { level, at: Micros(at) },
            None => Bucket::full(pace, now),
        };
        let taken = bucket.take(pace, pace.slice(), now);
        if taken.is_ok() {
            let insert = "INSERT INTO rate (key, level, at, until) VALUES (?1, ?2, ?3, ?4)
                          ON CONFLICT (key) DO UPDATE SET level = excluded.level,
                              at = excluded.at, until = excluded.until";
            let given = values![key, bucket.level, bucket.at.0, bucket.full_at(pace).0];
            let taken = self.db.execute(insert, given);
            taken.map_err(StoreError::database("taking a slice of a rate"))?;
        }
        Ok(Ok(Written::Sliced(taken)))
    }

    /// Forgets buckets that have long been full, a few at a time.
    pub(crate) fn sweep_rates(&self, now: Micros) -> Result<(), DbError> {
        if self.db.shared().is_none() {
            return Ok(());
        }
        let delete = "DELETE FROM rate WHERE until < ?1 AND key IN
            (SELECT key FROM rate WHERE until < ?1 LIMIT ?2)";
        let over = now.0.saturating_sub(KEPT_US);
        self.db.execute(delete, values![over, SWEEP_MAX]).map(drop)
    }
}
