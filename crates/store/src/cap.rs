//! Caps: what calls take of them, reserved in the transaction of the intent (I7).
//!
//! What is counted in windows has a counter. Calls under way have a place each, which names the
//! call: it is free again in the transaction that gives that call an outcome, whoever writes it, so
//! that nothing leaks when a gate dies.

use crate::db::{DbError, values};
use crate::effect_key::{Name, short};
use crate::error::StoreError;
use crate::leaf;
use crate::permit::OpenCall;
use crate::shard::Whose;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_core::caps::{Charge, Settles, Until};
use lockgate_types::facts::Exhausted;
use lockgate_types::{CallId, Micros};

/// How long a counter is kept after its window: the clocks of nodes differ, and none may begin it
/// anew while another still counts.
const KEPT_US: i64 = 60 * 60 * 1_000_000;
/// Counters forgotten in one go.
const SWEEP_MAX: u32 = 256;

/// What a call takes of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// The cap's name.
    pub(crate) cap: String,
    /// Whose counter: derived, so that the database does not say.
    pub(crate) key: Name,
    pub(crate) amount: i64,
    pub(crate) max: i64,
    pub(crate) until: Until,
    /// What says afterwards how much it really was.
    pub(crate) settles: Option<Settles>,
    /// How much it really was.
    pub(crate) actual: Option<i64>,
    /// How much is used when somebody is told.
    pub(crate) alert_at: Option<i64>,
}

/// That a counter has come as far as somebody wants to be told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alert<'a> {
    /// The cap's name.
    pub(crate) cap: &'a str,
    /// The call by which it has.
    pub(crate) call: &'a CallId,
    pub(crate) used: i64,
    pub(crate) alert_at: i64,
    pub(crate) max: i64,
    pub(crate) resets_at: Micros,
}

/// That a counter has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Which of the reservations.
    pub(crate) at: usize,
    /// How much of it is used.
    pub(crate) used: i64,
}

impl Store {
    pub(crate) fn reservation(&self, charge: &Charge) -> Reservation {
        let window = match charge.until {
            Until::Window(resets_at) => resets_at.0.to_string(),
            Until::Outcome => "under way".to_owned(),
        };
        Reservation {
            cap: charge.cap.clone(),
            key: short(&self.memory().subjects.remembered(&[
                "cap",
                &charge.cap,
                &charge.scope,
                &window,
            ])),
            amount: charge.amount,
            max: charge.max,
            until: charge.until,
            settles: charge.settles.clone(),
            actual: None,
            alert_at: charge.alert_at,
        }
    }
}

impl Store {
    /// How much is used of each of these counters.
    pub async fn used(&self, counters: &[Charge]) -> Result<Vec<i64>, StoreError> {
        let of: Vec<Reservation> = counters.iter().map(|it| self.reservation(it)).collect();
        self.read(move |writer| of.iter().map(|of| writer.used_of(of)).collect()).await
    }
}

/// That a cap has no room, as a fact.
pub(crate) fn exhausted(charge: &Charge, used: i64) -> Exhausted {
    Exhausted { cap: charge.cap.clone(), used: Some(used), resets_at: charge.until.resets_at() }
}

impl Reservation {
    /// How much it takes where so much is used. `None`: there is no room for it.
    fn taken(&self, used: i64) -> Option<i64> {
        match self.settles {
            // All that is left, until it is known how much it was.
            Some(Settles::Rows) => {
                let left = self.max.saturating_sub(used);
                (left > 0).then_some(self.amount.min(left))
            }
            Some(Settles::Field { .. } | Settles::Bytes | Settles::Tokens | Settles::Spend(_))
            | None => {
                let has_room = used.saturating_add(self.amount) <= self.max;
                has_room.then_some(self.amount)
            }
        }
    }
}

impl Writer {
    /// How much is taken of each of the counters, or which of them has no room.
    pub(crate) fn room(
        &self,
        reservations: &[Reservation],
    ) -> Result<Result<Vec<i64>, Full>, StoreError> {
        let mut taken = Vec::with_capacity(reservations.len());
        for (at, reservation) in reservations.iter().enumerate() {
            let used = self.used_of(reservation)?;
            match reservation.taken(used) {
                Some(amount) => taken.push(amount),
                None => return Ok(Err(Full { at, used })),
            }
        }
        Ok(Ok(taken))
    }

    /// Takes from every counter.
    pub(crate) fn reserve(
        &self,
        call: &CallId,
        reservations: &[Reservation],
        taken: &[i64],
    ) -> Result<(), StoreError> {
        // What approvals let through goes beyond every sum, and no further than what can be kept.
        let add = "INSERT INTO cap (key, used, until) VALUES (?1, ?2, ?3)
                   ON CONFLICT (key) DO UPDATE SET used = CASE
                       WHEN cap.used > 9223372036854775807 - ?2 THEN 9223372036854775807
                       ELSE cap.used + ?2 END";
        let place = "INSERT INTO under_way (key, call) VALUES (?1, ?2)";
        for (Reservation { key, until, .. }, amount) in reservations.iter().zip(taken) {
            let reserved = match until {
                Until::Window(until) => self.db.execute(add, values![key, *amount, until.0]),
                Until::Outcome => self.db.execute(place, values![key, call.as_str()]),
            };
            reserved.map_err(StoreError::database("reserving what a cap allows"))?;
        }
        Ok(())
    }

    fn used_of(&self, reservation: &Reservation) -> Result<i64, StoreError> {
        match reservation.until {
            Until::Window(_) => self.used(&reservation.key),
            Until::Outcome => self.under_way(&reservation.key),
        }
    }

    fn used(&self, key: &Name) -> Result<i64, StoreError> {
        let select = "SELECT used FROM cap WHERE key = ?1";
        let used = self.db.row(select, values![key], |row| row.get(0));
        let used = used.map_err(StoreError::database("reading what a cap allows"))?;
        Ok(used.unwrap_or(0))
    }

    fn under_way(&self, key: &Name) -> Result<i64, StoreError> {
        let count = "SELECT count(*) FROM under_way WHERE key = ?1";
        let count = self.db.row(count, values![key], |row| row.get(0));
        let count = count.map_err(StoreError::database("counting calls under way"))?;
        Ok(count.unwrap_or(0))
    }

    /// What the end of a call means for what it has taken: places are free, what never left is
    /// given back, and estimates become what it was.
    pub(crate) fn settle_caps(
        &mut self,
        open: &OpenCall,
        has_never_left: bool,
    ) -> Result<(), StoreError> {
        self.settle_counters(open, has_never_left)?;
        for reservation in &open.reservations {
            self.alert(open, reservation)?;
        }
        Ok(())
    }

    /// Tells, once in each window, that a counter has come as far as somebody wants to be told of:
    /// in the log of whose call it was, and to webhooks.
    fn alert(&mut self, open: &OpenCall, of: &Reservation) -> Result<(), StoreError> {
        let (Some(alert_at), Until::Window(resets_at)) = (of.alert_at, of.until) else {
            return Ok(());
        };
        let used = self.used(&of.key)?;
        if used < alert_at {
            return Ok(());
        }
        let failed = || StoreError::database::<DbError>("telling how much of a cap is used");
        // Whoever sets it tells of it: of the calls and nodes that come by together, one.
        let first = "UPDATE cap SET alerted = 1 WHERE key = ?1 AND alerted = 0";
        if self.db.execute(first, values![&of.key]).map_err(failed())? == 0 {
            return Ok(());
        }
        let (cap, call, max) = (of.cap.as_str(), &open.call, of.max);
        let alert = Alert { cap, call, used, alert_at, max, resets_at };
        let now = self.now();
        let receipt =
            self.append(Whose::Tenant(&open.tenant), &leaf::budget::budget(&alert, now), now)?;
        self.set_budget_news(&of.key, receipt.place, now)
    }

    fn settle_counters(&self, open: &OpenCall, has_never_left: bool) -> Result<(), StoreError> {
        let failed = || StoreError::database::<DbError>("settling what a cap allows");
        for reservation in &open.reservations {
            let Reservation { key, amount, until, actual, .. } = reservation;
            if *until == Until::Outcome {
                let delete = "DELETE FROM under_way WHERE key = ?1 AND call = ?2";
                self.db.execute(delete, values![key, open.call.as_str()]).map_err(failed())?;
                continue;
            }
            let really = if has_never_left { Some(0) } else { *actual };
            let Some(really) = really.filter(|really| really != amount) else { continue };
            let used = self.used(key)?.saturating_sub(*amount).max(0).saturating_add(really);
            let update = "UPDATE cap SET used = ?2 WHERE key = ?1";
            self.db.execute(update, values![key, used]).map_err(failed())?;
        }
        Ok(())
    }

    /// Frees the places of a call that nobody performs any more.
    pub(crate) fn free_places(&self, call: &str) -> Result<(), StoreError> {
        let freed = self.db.execute("DELETE FROM under_way WHERE call = ?1", values![call]);
        freed.map(drop).map_err(StoreError::database("freeing the places of a call"))
    }

    /// Forgets counters whose window is over, a few at a time.
    pub(crate) fn sweep_caps(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM cap WHERE key IN
            (SELECT key FROM cap WHERE until < ?1 LIMIT ?2)";
        let over = now.0.saturating_sub(KEPT_US);
        self.db.execute(delete, values![over, SWEEP_MAX]).map(drop)
    }
}
