//! What callers see: decisions in, permits and receipts out.
//!
//! Everything expensive that needs no database (canonical bytes, commitments, sealing) happens
//! here, on the caller's thread; the committer gets what is ready to be written. Nothing here
//! blocks.

mod look;

pub use look::Past;

use crate::aside::Aside;
use crate::cap::{Full, exhausted};
use crate::db::Db;
use crate::effect::{Blocked, Means};
use crate::effect_key::{EffectKey, Name, proposal, short};
use crate::error::{CommitError, StoreError};
use crate::fault::{Fault, Faults};
use crate::job::{Change, Conclusion, Job, Rejected, Write, Written};
use crate::lane::Reply;
use crate::lease::Keeper;
use crate::payload::{prepare, seal_result};
use crate::permit::{
    IntentEntry, OpenCall, OutcomeRecord, OutcomeState, Permit, ReadPermit, Receipt, Spent, Terms,
    Ticket, TurnedAway,
};
use crate::queue::Queue;
use crate::restart::{self, Opened};
use crate::subject::Subject;
use crate::switch::{Containment, Known, Pass, Scopes, Switches};
use crate::writer::{Memory, Writer};
use crate::{Options, subject};
use lockgate_core::flow;
use lockgate_core::rule::{Allowed, Refused};
use lockgate_ledger::Kind;
use lockgate_types::call::Effect;
use lockgate_types::facts::{Facts, Standing, Switch};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Digest, SubjectId, Tenant};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// The record of one gate. Cheap to clone; the last clone that is dropped without [`Store::close`]
/// leaves the log without its stop entry.
#[derive(Clone)]
pub struct Store {
    parts: Arc<StoreParts>,
}

struct StoreParts {
    /// The node's leases, in a fleet.
    keeper: tokio::sync::RwLock<Option<Keeper>>,
    ruling: Option<watch::Receiver<Option<Digest>>>,
    /// Where a fleet's database is read.
    aside: Option<Aside>,
    faults: Faults,
    queue: Queue,
    memory: Arc<Memory>,
    vkey: String,
    home: Tenant,
    /// Held while a switch is thrown or lifted: what is recorded last is what holds.
    switching: tokio::sync::Mutex<()>,
}

impl Store {
    /// Opens or makes the state directory, and starts the committer.
    pub fn open(options: Options) -> Result<(Self, Opened), StoreError> {
        let (queue, receiver, gauge) = Queue::new(options.commit_queue_max, options.now);
        let (directory, faults) = (options.directory.clone(), options.faults);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        // Opened on its own thread: the way to a fleet's database is used on one thread only.
        let committer = move || match restart::open(options, gauge) {
            Ok((writer, opened)) => {
                let vkey = writer.signer.verifier().to_string();
                let log = (vkey, writer.shards.home.clone());
                let _ = tell.send(Ok((Arc::clone(&writer.memory), log, writer.node(), opened)));
                writer.run(&receiver);
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        std::thread::Builder::new()
            .name("lockgate-commit".to_owned())
            .spawn(committer)
            .map_err(StoreError::file(&directory, "the committer cannot be started"))?;
        let (memory, log, node, opened) = told.recv().unwrap_or(Err(StoreError::Closed))?;
        let (vkey, home) = log;
        let failed = "a thread cannot be started";
        let aside = node.as_ref().map(|node| Aside::start(node.options.clone(), node.number));
        let aside = aside.transpose().map_err(StoreError::file(&directory, failed))?;
        let keeper = node.map(Keeper::start).transpose();
        let keeper = keeper.map_err(StoreError::file(&directory, failed))?;
        Ok((
            Self {
                parts: Arc::new(StoreParts {
                    aside,
                    ruling: keeper.as_ref().map(|keeper| keeper.ruling.clone()),
                    keeper: tokio::sync::RwLock::new(keeper),
                    faults,
                    queue,
                    memory,
                    vkey,
                    home,
                    switching: tokio::sync::Mutex::new(()),
                }),
            },
            opened,
        ))
    }

    /// Records that a call is allowed, durably, and gives the permit for exactly it.
    ///
    /// Key, approval and what it takes of caps are taken with the intent: who is not the first to
    /// ask gets [`CommitError::Repeats`] or [`CommitError::UnderWay`] and no permit (I5), who finds
    /// a cap used up gets [`CommitError::Exhausted`] (I7).
    pub async fn commit(&self, allowed: Allowed, terms: Terms) -> Result<Permit, CommitError> {
        let Terms { window_us, approval, charges } = terms;
        let (decision, mut facts) = allowed.into_parts();
        let subject = self.subject_of(&facts.identity).await.map_err(CommitError::Failed)?;
        let prepared = prepare(Kind::Intent, &facts, &decision, &subject, false);
        let mut prepared = Box::new(prepared.map_err(CommitError::Failed)?);
        prepared.reservations = charges.iter().map(|charge| self.reservation(charge)).collect();
        prepared.approval = approval.map(|request| (request, proposal(&facts, &subject)));
        prepared.key = window_us.map(|window| EffectKey::of(&facts, &subject, window));
        let ticket = Some(self.ticket());
        let pass = self.pass(&facts);
        match self.write(Change::Intent { prepared, ticket }).await {
            Ok(Written::Admitted(ticket)) => {
                if self.parts.faults.is(Fault::KeysAfresh) {
                    facts.call.attempt_of = None;
                }
                Ok(Permit::new(flow::carried(&decision, *facts), decision, ticket, pass))
            }
            Ok(_) => Err(CommitError::Failed(unexpected())),
            Err(Rejected::Moved) => Err(CommitError::Moved(facts)),
            Err(Rejected::Exhausted(Full { at, used })) => {
                facts.exhausted.extend(charges.get(at).map(|charge| exhausted(charge, used)));
                Err(CommitError::Exhausted(facts))
            }
            Err(Rejected::Blocked(Blocked::UnderWay)) => Err(CommitError::UnderWay(facts)),
            Err(Rejected::Blocked(Blocked::Settled)) => Err(CommitError::Moved(facts)),
            Err(Rejected::Blocked(Blocked::Stands(earlier))) => {
                facts.earlier = Some(earlier);
                Err(CommitError::Repeats(facts))
            }
            Err(Rejected::Failed(error)) => Err(CommitError::Failed(error)),
        }
    }

    /// Admits a read whose intent becomes durable together with its outcome, before the reply. Does
    /// not wait.
    ///
    /// Only for reads; that the read names no destination is for the caller to know. `Moved` if the
    /// session's subject is no longer in memory, so that it has to be looked up again.
    pub fn admit_read(&self, allowed: Allowed) -> Result<ReadPermit, CommitError> {
        if allowed.decision().effect != Effect::Read {
            let rule = "only reads may share a commit with their outcome";
            return Err(CommitError::Failed(StoreError::Broken { rule }));
        }
        let (decision, facts) = allowed.into_parts();
        if !self.rules(&decision.bundle) {
            return Err(CommitError::Moved(facts));
        }
        let identity = &facts.identity;
        let subjects = &self.parts.memory.subjects;
        let Some(subject) = subjects.recent(&identity.issuer, &identity.subject) else {
            return Err(CommitError::Moved(facts));
        };
        let prepared = prepare(Kind::Intent, &facts, &decision, &subject, true);
        let prepared = prepared.map_err(CommitError::Failed)?;
        let mut ticket = self.ticket();
        ticket.arm(OpenCall {
            call: facts.call.id.clone(),
            session: facts.session.id.clone(),
            tenant: identity.tenant.clone(),
            subject,
            effect: decision.effect,
            history: prepared.history.clone(),
            met: prepared.before.exposure.clone(),
            is_remembered: prepared.told.is_some(),
            facts: prepared.facts.clone(),
            intent: IntentEntry::Shared(Box::new(prepared)),
            key: None,
            reservations: Vec::new(),
            who: Arc::clone(&facts.identity),
            raise: None,
        });
        let pass = self.pass(&facts);
        Ok(ReadPermit::new(flow::carried(&decision, *facts), decision, ticket, pass))
    }

    /// Records what came of an effect, durably: with its intent, if that was only admitted.
    pub async fn conclude(
        &self,
        spent: Spent,
        mut outcome: OutcomeRecord,
    ) -> Result<Receipt, StoreError> {
        let rule = "an outcome is recorded once";
        let open = spent.into_open_call().ok_or(StoreError::Broken { rule })?;
        let ended = Ended { switches: &self.parts.memory.switches, call: open.call.clone() };
        let result = outcome.result.take();
        let bytes = result.as_ref().map_or(0, |result| result.len() as u64);
        let sealed = match &result {
            // The outcome matters more than the payload: it is recorded even if sealing fails.
            Some(result) => {
                let keep_all = outcome.keep_all || open.keeps(result.len());
                seal_result(result, keep_all, &open.subject, &open.call).ok()
            }
            None => None,
        };
        let shown = self.names_of_shown(&open.tenant, &std::mem::take(&mut outcome.shown));
        let conclusion = Conclusion { open, record: outcome, result: sealed, bytes, shown };
        let change = Change::Conclude(Box::new(conclusion));
        let (reply, answer) = Reply::new();
        self.parts.queue.end(Write::new(change, Some(reply)))?;
        let answer = answer.await.unwrap_or(Err(Rejected::Failed(StoreError::Closed)));
        drop(ended);
        entry(answer)
    }

    /// A name for the database that says nothing.
    pub(crate) fn derive(&self, of: &[&str]) -> Name {
        short(&self.parts.memory.subjects.derive(of))
    }

    fn ticket(&self) -> Ticket {
        let switches = Arc::clone(&self.parts.memory.switches);
        Ticket::blank(self.parts.queue.clone(), switches)
    }

    fn pass(&self, facts: &Facts) -> Pass {
        Pass::new(&self.parts.memory.switches, Scopes::of(facts), facts.call.id.clone())
    }

    /// The switches that are about the call of these facts.
    pub fn switches_about(&self, scopes: &Scopes) -> Vec<Switch> {
        self.parts.memory.switches.about(scopes)
    }

    /// The switches that are on.
    pub fn switches(&self) -> Vec<Switch> {
        self.parts.memory.switches.on()
    }

    /// Throws a switch: from here on nothing leaves in its scope, at any node. It is to be recorded
    /// with [`Store::record_thrown`], and holds whether or not that succeeds.
    pub async fn throw(&self, switch: &Switch) -> Result<Containment, StoreError> {
        let switches = &self.parts.memory.switches;
        let here = switches.throw(switch, self.parts.queue.clock(), Known::NotYet)?;
        let Some(keeper) = &*self.parts.keeper.read().await else { return Ok(here) };
        let mut under_way = here.under_way;
        under_way.extend(keeper.throw(switch.clone()).await?);
        Ok(Containment { contained_at: self.parts.queue.now(), under_way })
    }

    /// Records that a switch was thrown. `by`: the call that asked for it.
    pub async fn record_thrown(&self, switch: Switch, by: &CallId) -> Result<Receipt, StoreError> {
        let _turn = self.parts.switching.lock().await;
        // Again, so that one who lifts it at this moment does not have the last word.
        self.parts.memory.switches.throw(&switch, self.parts.queue.clock(), Known::Already)?;
        let by = by.clone();
        entry(self.write(Change::Switch { switch, is_on: true, by }).await)
    }

    /// Lifts a switch, once that is recorded. `None`: it was not on.
    pub async fn lift(&self, switch: Switch, by: &CallId) -> Result<Option<Receipt>, StoreError> {
        let _turn = self.parts.switching.lock().await;
        if !self.switches().contains(&switch) {
            return Ok(None);
        }
        let (lifted, by) = (switch.clone(), by.clone());
        self.parts.memory.switches.unpin(&lifted);
        let receipt = entry(self.write(Change::Switch { switch, is_on: false, by }).await)?;
        if self.parts.ruling.is_none() {
            self.parts.memory.switches.lift(&lifted);
        }
        // In a fleet it may have been thrown again meanwhile: what is on, the keeper takes up.
        Ok(Some(receipt))
    }

    /// Records that a call was refused, durably.
    pub async fn refuse(&self, refused: Refused) -> Result<Receipt, StoreError> {
        let raise = refused.held().cloned();
        let (decision, facts) = refused.into_parts();
        let subject = self.subject_of(&facts.identity).await?;
        let mut prepared = prepare(Kind::Refusal, &facts, &decision, &subject, false)?;
        prepared.raise = raise;
        entry(self.write(Change::Refusal(Box::new(prepared))).await)
    }

    /// How the effect stands that these facts ask for, if it was asked for before.
    pub async fn standing(
        &self,
        facts: &Facts,
        window_us: i64,
    ) -> Result<Option<Blocked>, StoreError> {
        let subject = self.subject_of(&facts.identity).await?;
        let key = EffectKey::of(facts, &subject, window_us);
        self.read(move |writer| writer.earlier(&key, writer.now())).await
    }

    /// Records that a call is allowed and answered with the outcome of the call that its facts name
    /// as the earlier one, durably. Nothing is performed for it.
    pub async fn repeat(&self, allowed: Allowed, label: Label) -> Result<Receipt, StoreError> {
        let raise = allowed.held().cloned();
        let (decision, facts) = allowed.into_parts();
        if facts.earlier.as_ref().is_none_or(|earlier| earlier.standing != Standing::Ended) {
            return Err(StoreError::Broken { rule: "a repeat has an earlier call that has ended" });
        }
        let subject = self.subject_of(&facts.identity).await?;
        let mut prepared = prepare(Kind::Repeat, &facts, &decision, &subject, false)?;
        prepared.raise = raise;
        entry(self.write(Change::Repeat { prepared: Box::new(prepared), label }).await)
    }

    /// Records what became of an effect in doubt. `None` if it is in doubt no more, or an attempt
    /// at it is under way.
    pub async fn resolve(
        &self,
        call: &CallId,
        state: OutcomeState,
        means: Means,
    ) -> Result<Option<Receipt>, StoreError> {
        match self.write(Change::Resolve { call: call.clone(), state, means }).await {
            Ok(Written::Entry(receipt)) => Ok(Some(receipt)),
            Ok(Written::Nothing) => Ok(None),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }

    /// What the record calls a subject.
    pub async fn pseudonym(&self, identity: &Identity) -> Result<String, StoreError> {
        Ok(self.subject_of(identity).await?.pseudonym.clone())
    }

    /// Records a request that was refused before there was a call to decide. Bounded: beyond a
    /// number a second they are counted, and the next entry says how many.
    pub async fn turn_away(&self, turned: TurnedAway) -> Result<Receipt, StoreError> {
        let subjects = &self.parts.memory.subjects;
        let lookup = turned.who.as_ref().and_then(|(issuer, subject)| {
            Some(subjects.lookup(issuer, &SubjectId::new(subject).ok()?))
        });
        entry(self.write(Change::TurnedAway { turned, lookup }).await)
    }

    /// Whether a bundle rules, as far as this node knows: that of its fleet, if it is in one.
    pub fn rules(&self, digest: &Digest) -> bool {
        let ruling = self.parts.ruling.as_ref().and_then(|ruling| *ruling.borrow());
        ruling.is_none_or(|ruling| ruling == *digest)
    }

    /// Destroys a subject's key: what its calls carried can no longer be read, every proof still
    /// holds. `None` if there is no such subject.
    pub async fn erase(
        &self,
        issuer: &str,
        subject: &SubjectId,
    ) -> Result<Option<Receipt>, StoreError> {
        let change = Change::Erase { issuer: issuer.to_owned(), subject: subject.clone() };
        match self.write(change).await {
            Ok(Written::Entry(receipt)) => Ok(Some(receipt)),
            Ok(Written::Nothing) => Ok(None),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }

    /// Which bundle rules the fleet, and when another does. `None`: there is no fleet.
    pub fn ruling(&self) -> Option<watch::Receiver<Option<Digest>>> {
        self.parts.ruling.clone()
    }

    /// What it does wrong on purpose: the kernel asks for its own part.
    pub fn faults(&self) -> Faults {
        self.parts.faults
    }

    /// The verifier key of the log.
    pub fn vkey(&self) -> String {
        self.parts.vkey.clone()
    }

    /// The tenant that the gate is of: its entries stand in the node's own log.
    pub fn home(&self) -> &Tenant {
        &self.parts.home
    }

    /// Writes the stop entry, signs the last checkpoint, and lets go of the state directory. Other
    /// clones are of no use after this.
    pub async fn close(self) -> Result<(), StoreError> {
        // From here on nothing leaves.
        if let Some(keeper) = self.parts.keeper.write().await.take() {
            let _ = tokio::task::spawn_blocking(move || drop(keeper)).await;
            self.parts.memory.switches.end_lease();
        }
        let (reply, closed) = oneshot::channel();
        self.parts.queue.begin(Job::Close(reply))?;
        closed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs something on the committer between two transactions.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Read(Box::new(move |writer| {
            // Who is gone is not told.
            let _ = reply.send(read(writer));
        }));
        self.parts.queue.begin(job)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// What the committer shares.
    pub(crate) fn memory(&self) -> &Memory {
        &self.parts.memory
    }

    /// The way to the committer.
    pub(crate) fn queue(&self) -> &Queue {
        &self.parts.queue
    }

    pub(crate) async fn write(&self, change: Change) -> Result<Written, Rejected> {
        let (reply, answer) = Reply::new();
        self.parts.queue.begin(Job::Write(Write::new(change, Some(reply))))?;
        answer.await.unwrap_or(Err(Rejected::Failed(StoreError::Closed)))
    }

    pub(crate) async fn subject_of(&self, identity: &Identity) -> Result<Arc<Subject>, StoreError> {
        self.subject(&identity.issuer, &identity.subject).await
    }

    /// A subject, from memory or the database, made if it is new.
    pub(crate) async fn subject(
        &self,
        issuer: &str,
        subject: &SubjectId,
    ) -> Result<Arc<Subject>, StoreError> {
        let subjects = &self.parts.memory.subjects;
        if let Some(known) = subjects.recent(issuer, subject) {
            return Ok(known);
        }
        let lookup = subjects.lookup(issuer, subject);
        let before = subjects.forgotten();
        if let Some(aside) = &self.parts.aside {
            let memory = Arc::clone(&self.parts.memory);
            let find = move |db: &Db| subject::find(db, &memory.subjects, &lookup);
            if let Ok(Some(known)) = aside.read(find).await {
                return Ok(subjects.remember(issuer, subject, Arc::new(known), before));
            }
        }
        match self.write(Change::Subject { lookup }).await {
            Ok(Written::Subject(known)) => Ok(subjects.remember(issuer, subject, known, before)),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }
}

/// Takes a call from those under way, however its record ends.
struct Ended<'a> {
    switches: &'a Switches,
    call: CallId,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.switches.ended(&self.call);
    }
}

pub(crate) fn entry(answer: Result<Written, Rejected>) -> Result<Receipt, StoreError> {
    match answer.map_err(failed)? {
        Written::Entry(receipt) => Ok(receipt),
        _ => Err(unexpected()),
    }
}

pub(crate) fn failed(rejected: Rejected) -> StoreError {
    match rejected {
        Rejected::Failed(error) => error,
        Rejected::Moved | Rejected::Blocked(_) | Rejected::Exhausted(_) => unexpected(),
    }
}

pub(crate) const fn unexpected() -> StoreError {
    StoreError::Broken { rule: "a change gives back what belongs to it" }
}
