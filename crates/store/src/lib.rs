//! The record: state and evidence in one transaction.
//!
//! [`Store::commit`] turns an allowed decision into a durable intent and only then into a
//! [`Permit`]; [`Store::conclude`] records what came of it. Entries go to a Merkle log that others
//! can verify, what calls carried is sealed beside it under keys that can be destroyed. The store
//! does not know what a decision means, nor how an effect is performed.
//!
//! The state directory (mode 0700, files 0600):
//! ```text
//! lockgate.db        entries, tiles, checkpoints, sealed payloads, sessions, bundles (SQLite)
//! lockgate.db-wal    what the database file does not hold yet; part of it while the gate runs
//! last_signed        sizes and root that were signed last: an older database is refused
//! keys/log.key       seed of the Ed25519 key that signs the log
//! keys/data.key      wraps the keys of subjects: without it no payload can be read
//! log.vkey           the log's verifier key: hand it to verifiers by another way than the log
//! ```
//! Everything is made at the first start. A copy of the directory is a backup if the gate was
//! stopped; keep `keys/data.key` apart from copies of the database, and for a shorter time, or
//! nothing is ever erased.

mod store;

pub mod permit;

mod apply;
mod approval;
mod aside;
mod batch;
mod breaker;
mod bundle;
mod canary;
mod cap;
mod client_session;
mod db;
mod effect;
mod effect_key;
mod error;
mod evaluation;
mod fault;
mod fleet;
mod held;
mod job;
mod kept_answer;
mod keys;
mod lane;
mod later;
mod leaf;
mod lease;
mod log;
mod memo;
mod notice;
mod opened;
mod payload;
mod postgres;
mod queue;
mod rate;
mod reading;
mod remembered;
mod requests;
mod restart;
mod risk;
mod run;
mod schema;
mod session;
mod shard;
mod source;
mod subject;
mod switch;
mod sync;
mod tend;
mod trail;
mod used;
mod writer;

pub use approval::{ApprovalAnswer, ApprovalRequest, ApprovalState, Given, REQUESTS_MAX};
pub use canary::{CANARIES_KEPT_MAX, CanarySeen};
pub use client_session::ClientSession;
pub use db::DbError;
pub use effect::{Blocked, Doubt, Means};
pub use error::{CommitError, StoreError};
pub use evaluation::{EVALUATIONS_KEPT_MAX, EVALUATIONS_READ_MAX, Evaluation, WhichEvaluations};
pub use fault::{Fault, Faults};
pub use kept_answer::{AnswerTo, KEPT_ANSWERS_MAX, KEPT_ANSWERS_READ_MAX, KeptAnswer};
pub use lane::{lane_sleeps, lane_wakes, serve_lane};
pub use memo::{
    Confirming, MEMOS_PER_SUBJECT_MAX, MEMOS_READ_MAX, Memo, MemoPage, MemoScope, NewMemo, Noted,
};
pub use notice::{Delivery, Heard, News, Notice, Told};
pub use opened::{Joining, MintedSession, OPENED_MAX, OpenedSession, Said, TOLD_MAX};
pub use payload::{REFUSED_KEPT_BYTES_MAX, RESULT_KEPT_BYTES_MAX};
pub use permit::{
    AnswerRecord, Asker, OutcomeRecord, OutcomeState, Permit, ReadPermit, Receipt, RoomForRows,
    Spent, Terms, TurnedAway,
};
pub use postgres::SharedAddress;
pub use reading::{
    DOUBTS_READ_MAX, ENTRIES_READ_MAX, Ended, Payload, RECORDS_READ_MAX, Record, Recorded, Records,
    StoredEntry, StoredPart, TRACE_CALLS_MAX, Trace, TraceEntry,
};
pub use remembered::{
    RECALLED_BYTES_MAX, RECALLED_CALLS_MAX, RESULT_REMEMBERED_BYTES_MAX, Recalled, Remembered,
};
pub use requests::REQUESTS_READ_MAX;
pub use restart::{Gap, Opened};
pub use risk::{BaselineOf, Direction, ModeSet, RISKS_READ_MAX, tenant_row};
pub use run::{
    Begun, Driver, NewEntry, NewRun, RUN_ENTRIES_READ_MAX, RUN_KEY_US, RUNS_OPEN_MAX,
    RUNS_READ_MAX, RunKey, RunPhase, RunRow, Standing,
};
pub use session::SessionKey;
pub use shard::LOGS_READ_MAX;
pub use source::{RunOfSource, SourceCounts, SourceVerdict};
pub use store::{Past, Store};
pub use switch::{Containment, Pass, SWITCH_SCOPES, SWITCHES_MAX, Scopes, Stop, Switches};
pub use sync::{DiskMoment, DiskWatch};
pub use used::{
    FOLLOWED_COUNTED_MAX, FOLLOWED_READ_MAX, FollowedCalls, LoggedCall, SHOWN_MAX, ShownDocument,
    USES_KEPT_US, USES_READ_MAX, WhichUses,
};

use approval::call_id;
use lockgate_types::{Micros, Redacted, Tenant};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Until the disk has it. The only one under which nothing acknowledged is ever lost.
    Full,
    /// Until the operating system has it. For measurements: a crash of the machine loses the newest
    /// records.
    Off,
}

/// The tenant that a gate is of, unless something else is said.
pub const HOME: &str = "default";

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state directory.
    pub directory: PathBuf,
    /// The database that a fleet shares: `postgres://role@host/database`. `None`: the embedded one,
    /// in the state directory.
    pub shared: Option<Redacted<String>>,
    /// How long a node of a fleet lets things leave without asking what holds.
    pub lease: Duration,
    /// The name of the log and of its key: `example.com/gate`. Each node of a fleet has its own.
    pub origin: String,
    /// The tenant that the gate is of: its entries stand in the node's own log, those of others in
    /// logs of theirs. Only a new database takes it up. `None`: [`HOME`].
    pub home: Option<Tenant>,
    /// What a commit waits for.
    pub durability: Durability,
    /// Records that may wait for the committer.
    pub commit_queue_max: usize,
    /// The clock.
    pub now: fn() -> Micros,
    /// Silence after which an entry says that the gate is there. `None`: never.
    pub heartbeat: Option<Duration>,
    /// Bytes of the write-ahead log. It has them before the first call, and is copied to the
    /// database when they are used up, or much of it is to be copied; until then only while nobody
    /// waits.
    pub wal_bytes: u32,
    /// Sessions held in memory.
    pub sessions_max: NonZeroUsize,
    /// Pages that the database may have, to see what a full disk does.
    pub database_pages_max: Option<u32>,
    /// Who is told of the moments at which a crash makes a difference: for simulations.
    pub watch: Option<DiskWatch>,
    /// What it does wrong on purpose.
    pub faults: Faults,
}

impl Options {
    /// Records that may wait, unless something else is said: half a second's worth on a small
    /// machine.
    pub const COMMIT_QUEUE_MAX: usize = 4096;
    /// How long a node of a fleet lets things leave without asking what holds, unless something
    /// else is said: a switch stops a node that cannot be reached within that time.
    pub const LEASE: Duration = Duration::from_millis(200);
    /// Silence after which an entry says that the gate is there, unless something else is said.
    pub const HEARTBEAT: Duration = Duration::from_secs(10);
    /// Bytes of the write-ahead log, unless something else is said: what it has to hold until it is
    /// copied, and some batches of large prompts beside that.
    pub const WAL_BYTES: u32 = 16 << 20;
    /// Sessions held in memory, unless something else is said: a few hundred bytes each.
    pub const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

    /// Full durability, and every bound as it is named here.
    pub const fn new(directory: PathBuf, origin: String, now: fn() -> Micros) -> Self {
        Self {
            directory,
            shared: None,
            lease: Self::LEASE,
            origin,
            home: None,
            durability: Durability::Full,
            commit_queue_max: Self::COMMIT_QUEUE_MAX,
            now,
            heartbeat: Some(Self::HEARTBEAT),
            wal_bytes: Self::WAL_BYTES,
            sessions_max: Self::SESSIONS_MAX,
            database_pages_max: None,
            watch: None,
            faults: Faults::NONE,
        }
    }
}
