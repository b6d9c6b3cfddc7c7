//! What calls take of caps, on every database.

use crate::common::*;
use lockgate_core::caps::{Charge, Settles, Until};
use lockgate_core::world::World;
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState, Permit, Store, Terms};
use lockgate_types::Micros;
use lockgate_types::facts::Exhausted;
use std::sync::Arc;

pub(crate) fn places(max: i64) -> Charge {
    Charge {
        cap: "places".to_owned(),
        scope: "everybody".to_owned(),
        amount: 1,
        max,
        until: Until::Outcome,
        settles: None,
        alert_at: None,
    }
}

pub(crate) fn of_a_day(cap: &str, amount: i64, max: i64, settles: Option<Settles>) -> Charge {
    let day_us = 86_400_000_000;
    // The same for a whole test.
    let until = Until::Window(Micros(now().0.div_euclid(day_us) * day_us + 2 * day_us));
    let (cap, scope) = (cap.to_owned(), "everybody".to_owned());
    Charge { cap, scope, amount, max, until, settles, alert_at: None }
}

/// Asks for a permit until it is not the session that is in the way.
pub(crate) async fn charged(
    store: &Store,
    world: &World,
    who: &str,
    charges: &[Charge],
) -> Result<Permit, Exhausted> {
    let identity = identity(who);
    loop {
        let session = store.session(&session_key(&identity)).await.unwrap();
        let facts = facts(&identity, session, call("save"));
        let terms = Terms { charges: charges.to_vec(), ..Terms::default() };
        match store.commit(allowed(world, facts), terms).await {
            Ok(permit) => return Ok(permit),
            Err(CommitError::Moved(_)) => {}
            Err(CommitError::Exhausted(facts)) => return Err(facts.exhausted[0].clone()),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn ended(state: OutcomeState, never_left: bool) -> OutcomeRecord {
    OutcomeRecord { state, never_left, ..outcome("ended") }
}

pub(crate) async fn a_place_is_free_however_a_call_ends() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (mut store, _) = Store::open(options.clone()).unwrap();
    let world = world();
    let charges = [places(3)];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) % below
    };
    let mut open: Vec<Permit> = Vec::new();
    for step in 0..120 {
        let asked = charged(&store, &world, "alice", &charges).await;
        match (asked, open.len()) {
            (Ok(permit), 0..3) => open.push(permit),
            (Err(full), 3) => {
                let expected =
                    Exhausted { cap: "places".to_owned(), used: Some(3), resets_at: None };
                assert_eq!(full, expected);
            }
            (asked, places) => panic!("step {step}: {:?} at {places}", asked.is_ok()),
        }
        let way = roll(8);
        if way == 7 {
            // The gate dies: nobody comes to say how they ended.
            open.drain(..).for_each(|permit| match roll(2) {
                0 => std::mem::forget(permit),
                _ => std::mem::forget(permit.spend().2),
            });
            store.close().await.unwrap();
            (store, _) = reopen(&options);
            continue;
        }
        if open.is_empty() || way > 4 {
            continue;
        }
        let permit = open.swap_remove(usize::try_from(roll(open.len() as u64)).unwrap());
        let record = match way {
            0 => ended(OutcomeState::Succeeded, false),
            1 => ended(OutcomeState::Failed, false),
            2 => ended(OutcomeState::InDoubt, false),
            3 => ended(OutcomeState::Failed, true),
            _ => {
                // Nobody concludes it: its record is written by the store, before the next.
                drop(permit);
                continue;
            }
        };
        store.conclude(permit.spend().2, record).await.unwrap();
    }
    drop(open);
    verify(&store).await.unwrap();
}

pub(crate) async fn of_many_at_once_exactly_as_many_have_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = Arc::new(world());
    let callers = (0..64).map(|at| {
        let (store, world) = (store.clone(), Arc::clone(&world));
        tokio::spawn(async move {
            charged(&store, &world, &format!("user-{}", at % 7), &[places(10)]).await
        })
    });
    let mut permits = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        permits.extend(caller.await.unwrap().ok());
    }
    assert_eq!(permits.len(), 10);
    drop(permits);
    charged(&store, &world, "alice", &[places(10)]).await.map(drop).unwrap();
}

pub(crate) async fn estimates_become_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let spend = Settles::Field { path: vec!["paid".to_owned()], decimals: 0 };
    let spends = |amount| [of_a_day("spend", amount, 100, Some(spend.clone()))];
    let used = async || {
        let full = charged(&store, &world, "alice", &spends(1000)).await;
        full.map(drop).unwrap_err().used.unwrap()
    };
    for (estimate, state, never_left, actual, after) in [
        (60, OutcomeState::Succeeded, false, Some(40), 40),
        // What it does not say, and what has failed or is in doubt, stays taken.
        (10, OutcomeState::Succeeded, false, None, 50),
        (10, OutcomeState::Failed, false, None, 60),
        (10, OutcomeState::InDoubt, false, None, 70),
        (10, OutcomeState::Failed, true, Some(5), 70),
        (10, OutcomeState::Succeeded, false, Some(0), 70),
        // More than was thought: it is spent all the same, and nothing more has room.
        (30, OutcomeState::Succeeded, false, Some(80), 150),
    ] {
        let permit = charged(&store, &world, "alice", &spends(estimate)).await.unwrap();
        let mut spent = permit.spend().2;
        spent.settle(|settles| (*settles == spend).then_some(actual).flatten());
        store.conclude(spent, ended(state, never_left)).await.unwrap();
        assert_eq!(used().await, after, "{estimate} {state:?} {actual:?}");
    }
    charged(&store, &world, "alice", &spends(0)).await.map(drop).unwrap_err();
    // An approval lifts a cap, and no sum goes beyond what can be kept.
    for _ in 0..10 {
        let lifted = Charge { max: i64::MAX, ..spends(1 << 60)[0].clone() };
        charged(&store, &world, "alice", &[lifted]).await.map(std::mem::forget).unwrap();
    }
    assert_eq!(used().await, i64::MAX);
    verify(&store).await.unwrap();
}

pub(crate) async fn rows_take_what_is_left_until_it_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let rows = |at_most| [of_a_day("rows", at_most, 10, Some(Settles::Rows))];
    let first = charged(&store, &world, "alice", &rows(6)).await.unwrap();
    let left = |permit: &Permit| permit.room_for_rows().map(|room| room.max);
    assert_eq!(left(&first), Some(6));
    let second = charged(&store, &world, "alice", &rows(6)).await.unwrap();
    assert_eq!(left(&second), Some(4));
    charged(&store, &world, "alice", &rows(6)).await.map(drop).unwrap_err();
    let mut spent = first.spend().2;
    spent.settle(|_| Some(1));
    store.conclude(spent, outcome("one")).await.unwrap();
    let third = charged(&store, &world, "alice", &rows(6)).await.unwrap();
    assert_eq!(left(&third), Some(5));
    let none = charged(&store, &world, "alice", &[places(9)]).await.unwrap();
    assert_eq!(left(&none), None);
    drop((second, third, none));
}
