//! Rates: what is asked for too often is refused before anything is gathered for it.
//!
//! A gate alone has its buckets in memory, and is exact until it is restarted. A node of a fleet
//! takes slices of buckets that all nodes share, and spends what it has taken: at most the burst,
//! the rate times the time, and a slice for each node get through.

use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::caps::Whose;
use lockgate_core::rate::{self, Bucket, Toll};
use lockgate_types::call::Call;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Micros, Retry, SessionId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Buckets that are not full. Beyond that whoever has none waits.
const BUCKETS_MAX: usize = 65_536;
/// Between two looks for full ones where there is no room.
const LOOK_EVERY_US: i64 = 1_000_000;

/// What is left of rates here.
#[derive(Default)]
pub(crate) struct Rates(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    held: HashMap<Toll, Held>,
    looked_at: i64,
}

/// A bucket, or what a node has of one.
enum Held {
    Own(Bucket),
    Slice {
        tokens: u32,
        /// Until then there is none for anybody.
        empty_until: Micros,
        /// Who takes the next slice: others wait for it.
        taking: Arc<tokio::sync::Mutex<()>>,
    },
}

/// That a rate lets nothing through yet.
struct Reached {
    toll: Toll,
    wait_us: i64,
}

impl Kernel {
    /// Pays what the rates ask of a call, or says when it can be paid. All of them, or none.
    pub(crate) async fn pay_rates(
        &self,
        identity: &Arc<Identity>,
        session: Option<&SessionId>,
        call: &Call,
    ) -> Result<(), Refusal> {
        let Some(world) = self.world().filter(|world| !world.gate.rate.is_empty()) else {
            return Ok(());
        };
        let session = match session {
            Some(session) => session.to_string(),
            None => format!("{}\n{}\n{}", identity.issuer, identity.subject, identity.agent),
        };
        let tolls = rate::tolls(&world, Whose { identity, session: &session, call });
        let paid = match self.parts.store.is_shared() {
            false => self.parts.rates.pay(&tolls, self.parts.clock.now()),
            true => Box::pin(self.pay_of_slices(&tolls)).await?,
        };
        let Err(Reached { toll, wait_us }) = paid else { return Ok(()) };
        let wait_ms = wait_us.saturating_add(999) / 1000;
        let mut refusal = Refusal::of(Code::RateReached);
        let pace = toll.pace.to_words();
        refusal.reason =
            format!("the rate `{}` lets through {pace}: the next in {wait_ms} ms", toll.rate);
        refusal.retry = Retry::AfterMs(u32::try_from(wait_ms).unwrap_or(u32::MAX));
        Err(Box::pin(self.undecided(identity, refusal)).await)
    }

    async fn pay_of_slices(&self, tolls: &[Toll]) -> Result<Result<(), Reached>, Refusal> {
        let rates = &self.parts.rates;
        for (at, toll) in tolls.iter().enumerate() {
            let paid = self.pay_of_slice(toll).await;
            if !matches!(paid, Ok(Ok(()))) {
                tolls.iter().take(at).for_each(|paid| rates.give_back(paid));
                return paid;
            }
        }
        Ok(Ok(()))
    }

    async fn pay_of_slice(&self, toll: &Toll) -> Result<Result<(), Reached>, Refusal> {
        let rates = &self.parts.rates;
        let now = || self.parts.clock.now();
        let taking = match rates.spend(toll, now()) {
            Spent::Paid => return Ok(Ok(())),
            Spent::Reached(reached) => return Ok(Err(reached)),
            Spent::Nothing(taking) => taking,
        };
        // One slice at a time: else a crowd would take the whole bucket.
        let _turn = taking.lock().await;
        match rates.spend(toll, now()) {
            Spent::Paid => return Ok(Ok(())),
            Spent::Reached(reached) => return Ok(Err(reached)),
            Spent::Nothing(_) => {}
        }
        let slice = self.parts.store.lease_rate(toll).await;
        Ok(match slice.map_err(|error| not_recorded(&error))? {
            Ok(tokens) => {
                rates.keep(toll, tokens.saturating_sub(1));
                Ok(())
            }
            Err(wait_us) => {
                rates.rest(toll, Micros(now().0.saturating_add(wait_us)));
                Err(Reached { toll: toll.clone(), wait_us })
            }
        })
    }
}

/// What came of spending a token that a node has.
enum Spent {
    Paid,
    Reached(Reached),
    Nothing(Arc<tokio::sync::Mutex<()>>),
}

impl Rates {
    fn lock(&self) -> std::sync::MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a token of every bucket, if all have one.
    fn pay(&self, tolls: &[Toll], now: Micros) -> Result<(), Reached> {
        let mut buckets = self.lock();
        let mut after = Vec::with_capacity(tolls.len());
        for toll in tolls {
            let mut bucket = match buckets.held.get(toll) {
                Some(Held::Own(bucket)) => *bucket,
                Some(Held::Slice { .. }) | None => Bucket::full(&toll.pace, now),
            };
            let taken = bucket.take(&toll.pace, 1, now);
            taken.map_err(|wait_us| Reached { toll: toll.clone(), wait_us })?;
            after.push((toll, bucket));
        }
        for (toll, _) in &after {
            buckets.make_room(toll, now)?;
        }
        for (toll, bucket) in after {
            buckets.held.insert(toll.clone(), Held::Own(bucket));
        }
        Ok(())
    }

    fn spend(&self, toll: &Toll, now: Micros) -> Spent {
        let mut buckets = self.lock();
        if let Err(reached) = buckets.make_room(toll, now) {
            return Spent::Reached(reached);
        }
        let none =
            || Held::Slice { tokens: 0, empty_until: Micros(i64::MIN), taking: Arc::default() };
        match buckets.held.entry(toll.clone()).or_insert_with(none) {
            Held::Slice { tokens: 0, empty_until, .. } if now < *empty_until => {
                let wait_us = empty_until.0.saturating_sub(now.0);
                Spent::Reached(Reached { toll: toll.clone(), wait_us })
            }
            Held::Slice { tokens: 0, taking, .. } => Spent::Nothing(Arc::clone(taking)),
            Held::Slice { tokens, .. } => {
                *tokens -= 1;
                Spent::Paid
            }
            // A gate does not become a node while it runs.
            Held::Own(_) => Spent::Nothing(Arc::default()),
        }
    }

    fn keep(&self, toll: &Toll, more: u32) {
        if let Some(Held::Slice { tokens, .. }) = self.lock().held.get_mut(toll) {
            *tokens = tokens.saturating_add(more);
        }
    }

    fn give_back(&self, toll: &Toll) {
        self.keep(toll, 1);
    }

    fn rest(&self, toll: &Toll, until: Micros) {
        if let Some(Held::Slice { empty_until, .. }) = self.lock().held.get_mut(toll) {
            *empty_until = until;
        }
    }
}

impl Buckets {
    /// Room for one more bucket, if this one is not there. Full ones are forgotten, and slices that
    /// are used up.
    fn make_room(&mut self, toll: &Toll, now: Micros) -> Result<(), Reached> {
        if self.held.len() < BUCKETS_MAX || self.held.contains_key(toll) {
            return Ok(());
        }
        let since_us = now.0.saturating_sub(self.looked_at);
        if !(0..LOOK_EVERY_US).contains(&since_us) {
            self.looked_at = now.0;
            let is_needed = |toll: &Toll, held: &Held| match held {
                Held::Own(bucket) => bucket.full_at(&toll.pace) > now,
                Held::Slice { tokens, empty_until, taking } => {
                    *tokens > 0 || now < *empty_until || Arc::strong_count(taking) > 1
                }
            };
            self.held.retain(|toll, held| is_needed(toll, held));
        }
        match self.held.len() < BUCKETS_MAX {
            true => Ok(()),
            false => Err(Reached { toll: toll.clone(), wait_us: LOOK_EVERY_US }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_core::declare::{CapScope, Rate};
    use lockgate_core::rate::Pace;

    fn toll(scope: usize) -> Toll {
        let rate = Rate {
            name: "some".to_owned(),
            per: CapScope::Subject,
            operations: Vec::new(),
            reads: false,
            per_second: Some(2),
            amount: None,
            interval_s: None,
            burst: None,
        };
        Toll { rate: rate.name.clone(), scope: scope.to_string(), pace: Pace::of(&rate) }
    }

    #[test]
    fn all_are_paid_or_none() {
        let rates = Rates::default();
        let (one, other) = (toll(1), toll(2));
        for _ in 0..2 {
            assert!(rates.pay(std::slice::from_ref(&one), Micros(0)).is_ok());
        }
        for _ in 0..3 {
            assert!(rates.pay(&[other.clone(), one.clone()], Micros(0)).is_err());
        }
        assert!(rates.pay(std::slice::from_ref(&other), Micros(0)).is_ok());
        assert!(rates.pay(&[other, one], Micros(500_000)).is_ok());
    }

    #[test]
    fn full_buckets_are_forgotten_and_others_are_not() {
        let rates = Rates::default();
        let pay = |scope, at| rates.pay(&[toll(scope)], Micros(at));
        assert!((0..BUCKETS_MAX).all(|scope| pay(scope, 0).is_ok()));
        let Err(reached) = pay(BUCKETS_MAX, 0) else { panic!("more than there is room for") };
        assert_eq!(reached.wait_us, LOOK_EVERY_US);
        // Those that are there go on.
        assert!(pay(0, 0).is_ok());
        assert!(pay(BUCKETS_MAX, 1_000_000).is_ok());
        assert_eq!(rates.lock().held.len(), 1);
    }
}
