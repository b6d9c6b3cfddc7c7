//! What is different when several nodes share one PostgreSQL.
//!
//! Every node has a log of its own, and all of them the same sessions, keys, approvals, caps and
//! switches. What a transaction reads in order to write it has to itself until it ends
//! ([`Touched`]), so that what one node has decided on no other has changed meanwhile. Whether a
//! transaction was committed whose answer was lost, the log says: nobody else writes it.

use crate::db::{Db, DbError, Touched, values};
use crate::error::StoreError;
use crate::job::Change;
use crate::lease::Node;
use crate::log;
use crate::payload::Prepared;
use crate::permit::OpenCall;
use crate::postgres::{self, Session};
use crate::writer::Writer;
use crate::{Options, keys, risk, schema};
use lockgate_types::call::Effect;
use lockgate_types::{CallId, Digest, Redacted, SessionId};
use std::sync::Arc;
use std::time::Duration;

/// How long a node is silent before others finish what it has left open. Longer than any lease.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Calls of a lost node that are ended in one transaction: those of this node wait for it.
const ENDED_MAX: u32 = 256;

/// Takes a node's place in the fleet: that of its origin.
pub(crate) fn join(url: &Redacted<String>, options: &Options) -> Result<Db, StoreError> {
    let session = Session::open(postgres::address(url)?)?;
    schema::migrate_shared(&session)?;
    let failed = || StoreError::database::<DbError>("joining the fleet");
    let insert = "INSERT INTO node (origin, incarnation, term, epoch, renewed, lease, under_way)
                  VALUES (?1, 0, 1, 0, 0, 0, '') ON CONFLICT (origin) DO NOTHING";
    session.execute(insert, values![&options.origin]).map_err(failed())?;
    let db = Db::postgres(session, 0);
    let select = "SELECT number FROM node WHERE origin = ?1";
    let number: Option<u64> =
        db.row(select, values![&options.origin], |row| row.get(0)).map_err(failed())?;
    let rule = "a node that has joined has a number";
    let number = number.ok_or(StoreError::Broken { rule })?;
    let db = db.of_node(number);
    let taken = db.shared().map_or(Ok(true), |session| session.wait_for_number(number));
    match taken.map_err(failed())? {
        true => Ok(db),
        false => Err(StoreError::AnotherWriter { directory: options.directory.clone() }),
    }
}

/// Begins a life of this node: another process of the name has no lease from here on. Gives what
/// tells this life from others, and its term; `None` if there is no fleet.
pub(crate) fn begin_life(db: &Db) -> Result<Option<(i64, i64)>, StoreError> {
    if db.shared().is_none() {
        return Ok(None);
    }
    let mut bytes = [0; 8];
    keys::fill_random(&mut bytes)?;
    let incarnation = i64::from_be_bytes(bytes);
    let begin = "UPDATE node SET incarnation = ?2, term = term + 1, epoch = 0, renewed = 0
                 WHERE number = ?1 RETURNING term";
    let term = db.row(begin, values![db.node(), incarnation], |row| row.get(0));
    let term = term.map_err(StoreError::database("beginning a node's life"))?;
    Ok(term.map(|term| (incarnation, term)))
}

/// A node that stops in order: nobody waits for its leases.
pub(crate) fn leave(db: &Db) -> Result<(), StoreError> {
    if db.shared().is_none() {
        return Ok(());
    }
    let left = db.execute("UPDATE node SET renewed = 0 WHERE number = ?1", values![db.node()]);
    left.map(drop).map_err(StoreError::database("leaving the fleet"))
}

/// The bundle that rules the fleet. Another cannot until the transaction ends.
pub(crate) fn ruling(db: &Db) -> Result<Option<Digest>, StoreError> {
    let found = db.meta("ruling").map_err(StoreError::database("reading which bundle rules"))?;
    let Some(found) = found else { return Ok(None) };
    let bytes = found.try_into();
    let bytes = bytes.map_err(|_| StoreError::corrupt(None, "the ruling bundle has no digest"))?;
    Ok(Some(Digest::from_bytes(bytes)))
}

/// Has a bundle rule the fleet.
pub(crate) fn publish(db: &Db, digest: &Digest) -> Result<(), StoreError> {
    if db.shared().is_none() {
        return Ok(());
    }
    let set = db.set_meta("ruling", digest.as_bytes());
    set.map_err(StoreError::database("writing which bundle rules"))
}

/// Has every node look at what holds now before it lets anything else leave; after an erasure, also
/// forget the keys of subjects that it holds in memory. The last of a transaction: all that do so
/// take turns, and a switch that is thrown waits for them.
pub(crate) fn tell(db: &Db, erasures: i64) -> Result<(), StoreError> {
    let raise = "UPDATE fleet SET epoch = epoch + 1, erasures = erasures + ?1";
    let told = db.execute(raise, values![erasures]);
    told.map(drop).map_err(StoreError::database("telling the fleet"))
}

impl Writer {
    /// What this node needs to keep its leases; `None` if there is no fleet.
    pub(crate) fn node(&self) -> Option<Node> {
        let options = self.db.shared()?.options().clone();
        let (number, lease) = (self.db.node(), self.options.lease);
        let (memory, incarnation) = (Arc::clone(&self.memory), self.incarnation);
        Some(Node { options, number, incarnation, lease, memory })
    }

    /// Makes the way to the database anew if it was lost.
    pub(crate) fn connect(&mut self) -> Result<(), StoreError> {
        let node = self.db.node();
        let Some(session) = self.db.shared().filter(|session| session.is_lost()) else {
            return Ok(());
        };
        let has_number = session.reconnect(node).map_err(StoreError::database("connecting"))?;
        if !has_number {
            session.lose();
            return Err(StoreError::AnotherWriter { directory: self.options.directory.clone() });
        }
        self.is_log_stale = true;
        Ok(())
    }

    /// Gives what lost nodes have left open an outcome: nobody else would before they come back.
    pub(crate) fn finish_lost(&mut self) -> Result<(), StoreError> {
        if self.db.shared().is_none() {
            return Ok(());
        }
        let select = "SELECT number FROM node WHERE number <> ?1 AND renewed <
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - ?2 AND EXISTS
            (SELECT 1 FROM call WHERE outcome IS NULL
                AND intent >= number << 40 AND intent < (number + 1) << 40)";
        let lost_us = i64::try_from(LOST_AFTER.as_micros()).unwrap_or(i64::MAX);
        let lost: Vec<u64> = self
            .db
            .rows(select, values![self.db.node(), lost_us], |row| row.get(0))
            .map_err(StoreError::database("looking for lost nodes"))?;
        for node in lost {
            self.begin(&Touched::default())?;
            match self
                .finish_node(node, lost_us)
                .and_then(|is_lost| if is_lost { self.commit().map(|()| true) } else { Ok(false) })
            {
                Ok(true) => {}
                // Nothing was written.
                Ok(false) => self.db.roll_back(),
                Err(error) => {
                    self.roll_back();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Ends what a node has left open; `false` if it is not lost.
    fn finish_node(&mut self, node: u64, lost_us: i64) -> Result<bool, StoreError> {
        let failed = || StoreError::database::<DbError>("finishing what a node left open");
        let borrowed = self.db.shared().map_or(Ok(false), |session| session.borrow_number(node));
        if !borrowed.map_err(failed())? {
            return Ok(false);
        }
        // First of all: should it wake up at this moment, it either has renewed before, or waits
        // for this and gets the new term, in which the permits that it still holds are worth
        // nothing.
        let raise = "UPDATE node SET term = term + 1 WHERE number = ?1 AND renewed <
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - ?2";
        if self.db.execute(raise, values![node, lost_us]).map_err(failed())? == 0 {
            return Ok(false);
        }
        // What is left comes with the next look.
        let open = self.open_calls(node, ENDED_MAX)?;
        self.end_open_calls(open)?;
        Ok(true)
    }

    /// Whether what was appended since this node had written so many entries is committed, although
    /// the database did not answer. Only this node writes its logs.
    pub(crate) fn has_committed_since(&mut self, size: u64) -> bool {
        let is_lost = self.db.shared().is_some_and(Session::is_lost);
        let has_grown = self.shards.next > size;
        // Its hash as well: should the database have been taken back to an older state, the log
        // may have the size, and be another.
        is_lost
            && has_grown
            && self.connect().is_ok()
            && self.last_leaf.is_some_and(|leaf| {
                log::ends_with(&self.db, self.shards.next, &leaf).unwrap_or(false)
            })
    }

    /// What a batch reads in order to write.
    pub(crate) fn touched(&self, changes: &[Change]) -> Touched {
        let mut touched = Touched::default();
        if self.db.shared().is_some() {
            let all = self.owed.iter().chain(changes);
            all.for_each(|change| touch(&mut touched, change));
        }
        touched
    }
}

fn touch(touched: &mut Touched, change: &Change) {
    match change {
        Change::Intent { prepared, .. } => {
            touched.reads_ruling();
            session(touched, &prepared.before.id);
            let history = prepared.history.as_deref().filter(|history| history.is_about_deeds());
            if let Some(history) = history.filter(|_| prepared.effect != Effect::Read) {
                touched.add("trail", history.group.as_bytes());
            }
            for reservation in &prepared.reservations {
                touched.add("cap", &reservation.key);
            }
            if let Some((request, proposal)) = &prepared.approval {
                touched.add("request", request.as_str().as_bytes());
                touched.add("proposal", proposal);
            }
            if let Some(key) = &prepared.key {
                touched.add("effect", &key.name);
                if let Some(first) = &key.attempt_of {
                    effect_of(touched, first);
                }
            }
        }
        Change::Repeat { prepared, .. } => {
            session(touched, &prepared.before.id);
            held(touched, prepared);
        }
        Change::Refusal(prepared) => held(touched, prepared),
        Change::Ask { prepared, question } => {
            held(touched, prepared);
            touched.reads_ruling();
            touched.add("proposal", &question.proposal);
        }
        Change::Answer { call, .. } => {
            touched.reads_ruling();
            touched.add("request", call.as_str().as_bytes());
        }
        Change::ClaimNotices { webhook, .. } | Change::Told { webhook, .. } => {
            touched.add("webhook", webhook.as_bytes());
        }
        // Of all channels: how many messages are remembered is counted.
        Change::Hear { .. } | Change::AnswerHeard { .. } => touched.add("heard", b""),
        Change::Met(met) => session(touched, &met.session),
        Change::Resolve { call, .. } => effect_of(touched, call),
        Change::Conclude(conclusion) => ended(touched, &conclusion.open),
        Change::SettleModes { ids, .. } => ids.iter().for_each(|id| session(touched, id)),
        Change::Inherit { id, base } => [id, base].into_iter().for_each(|id| session(touched, id)),
        Change::SetMode(setting) => session(touched, &setting.id),
        Change::Hold(holding) => {
            session(touched, &holding.id);
            let who = (&*holding.who, &*holding.subject);
            risk::touched(&holding.raise, who, &holding.id).for_each(|id| session(touched, &id));
        }
        Change::Fold(folded) => touched.add("baseline", folded.key()),
        Change::Breaker(turned) => {
            if let Some(held) = &turned.held {
                session(touched, &held.tenant);
            }
        }
        Change::Evaluation(evaluation) => {
            touched.add("evaluation", evaluation.entry.as_bytes());
        }
        Change::Slice(slice) => touched.add("rate", &slice.key),
        Change::Subject { lookup } => touched.add("subject", lookup),
        // A switch cancels requests: nobody answers or spends one meanwhile.
        Change::Bundle { .. } | Change::Switch { .. } => touched.writes_ruling(),
        Change::Canary(seen) => touched.add("canary", seen.key.as_bytes()),
        Change::Source(_)
        | Change::Followed { .. }
        | Change::Erase { .. }
        | Change::TurnedAway { .. } => {}
    }
}

fn session(touched: &mut Touched, id: &SessionId) {
    touched.add("session", id.as_str().as_bytes());
}

/// What a refusal changes of its session and tenant.
fn held(touched: &mut Touched, prepared: &Prepared) {
    let Some(raise) = &prepared.raise else { return };
    let id = &prepared.before.id;
    session(touched, id);
    let who = (&*prepared.who, &*prepared.subject);
    risk::touched(raise, who, id).for_each(|id| session(touched, &id));
}

fn effect_of(touched: &mut Touched, call: &CallId) {
    touched.add("call", call.as_str().as_bytes());
}

fn ended(touched: &mut Touched, open: &OpenCall) {
    session(touched, &open.session);
    if let Some(raise) = &open.raise {
        let who = (&*open.who, &*open.subject);
        risk::touched(raise, who, &open.session).for_each(|id| session(touched, &id));
    }
    effect_of(touched, &open.call);
    for reservation in &open.reservations {
        touched.add("cap", &reservation.key);
    }
    if let Some(key) = &open.key {
        touched.add("effect", &key.name);
        if let Some(first) = &key.attempt_of {
            effect_of(touched, first);
        }
    }
}
