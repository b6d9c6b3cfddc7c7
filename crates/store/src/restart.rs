//! How a store comes up: keys, the guard against older copies, and what an unclean end left open.
//!
//! A log that does not end with a stop entry gets exactly one gap entry, which bounds what may be
//! missing, and an outcome for every intent that has none: in doubt for writes, truncated for
//! reads. All of it is one transaction.

use crate::db::{Db, DbError, Touched, values};
use crate::error::StoreError;
use crate::fault::Fault;
use crate::keys::{self, SealingKey};
use crate::leaf::{self, Missing};
use crate::log::{self, LastSigned, Remembered};
use crate::permit::{OutcomeState, Receipt};
use crate::queue::Gauge;
use crate::session::Sessions;
use crate::shard::{LOGS_READ_MAX, Shards, Whose, tenant_of};
use crate::subject::Subjects;
use crate::switch::Switches;
use crate::sync::{Disk, Syncer};
use crate::tend::Signed;
use crate::trail::Trails;
use crate::writer::{Memory, Parts, Writer};
use crate::{Durability, Options, fleet, schema};
use lockgate_ledger::tree::empty_root;
use lockgate_ledger::{Checkpoint, Entry, Kind, Signer};
use lockgate_types::call::Effect;
use lockgate_types::{CallId, Code, Digest, Json, Micros, Tenant};
use std::path::Path;
use std::sync::Arc;

/// How the log was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whether it was new, or ended with a stop entry.
    pub was_clean: bool,
    /// Entries of this node now, in all its logs, those of this start included.
    pub size: u64,
    /// What may be missing, if it did not end in order.
    pub gap: Option<Gap>,
}

/// What may be missing after an unclean end: reads that were answered by nobody, between these
/// times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The gap entry.
    pub index: u64,
    /// The time of the last entry before it.
    pub since: Micros,
    /// The time of this start.
    pub until: Micros,
    /// Writes that were open: now in doubt.
    pub in_doubt: u64,
    /// Reads that were open: now truncated.
    pub truncated: u64,
}

/// Opens everything, and leaves the log ready for the first call.
pub(crate) fn open(options: Options, gauge: Arc<Gauge>) -> Result<(Writer, Opened), StoreError> {
    let directory = options.directory.clone();
    keys::private_directory(&directory)?;
    // Taking the database comes first: whoever has it may make the rest.
    let db = match &options.shared {
        None => Db::sqlite(schema::open(&directory.join("lockgate.db"), &options)?),
        Some(url) => fleet::join(url, &options)?,
    };
    check_origin(&db, &options.origin)?;
    let shards = Shards::read(&db, &options)?;

    let (signer, data_key) = take_keys(&db, &options)?;
    let is_synced = options.durability == Durability::Full;
    let (last_signed, remembered) = LastSigned::open(&directory.join("last_signed"), is_synced)?;
    let signed = newest_checkpoint(&db, &signer, &options.origin, remembered)?;
    let size = log::size(&db, shards.own).map_err(StoreError::database("reading the log"))?;
    if size < signed.checkpoint.size {
        return Err(StoreError::Behind { found: size, signed: signed.checkpoint.size });
    }
    let next = remembered.map_or(0, |remembered| remembered.next);
    if shards.next < next {
        return Err(StoreError::Behind { found: shards.next, signed: next });
    }
    let log = log::resume(&db, shards.own, &signed.checkpoint)?;
    let (last_kind, last_entry_at) = last_entry(&db, (options.now)())?;
    let wal = directory.join("lockgate.db-wal");
    let has_disk = is_synced && db.embedded().is_some();
    let disk = if has_disk { Disk::under(&wal)? } else { Disk::none() };
    let disk = Arc::new(disk.watched(options.watch.clone()));
    let syncer = Syncer::start(&disk, &gauge);
    let syncer = syncer.map_err(StoreError::file(&directory, "a thread cannot be started"))?;
    let switches = Arc::new(Switches::default());
    switches.load(&db).map_err(StoreError::database("reading the switches"))?;
    let life = fleet::begin_life(&db)?;
    if let Some((_, term)) = life {
        switches.need_lease(term);
    }
    let memory = Arc::new(Memory {
        subjects: Subjects::new(data_key),
        sessions: match db.embedded() {
            Some(_) => Sessions::new(options.sessions_max),
            None => Sessions::shared(),
        },
        trails: Trails::new(options.sessions_max, db.embedded().is_none()),
        switches,
    });
    let mut writer = Writer::new(Parts {
        db,
        options,
        memory,
        log,
        shards,
        signer,
        last_signed,
        signed,
        last_entry_at,
        gauge,
        disk,
        syncer,
    });
    writer.incarnation = life.map_or(0, |(incarnation, _)| incarnation);
    let was_clean = matches!(last_kind, None | Some(Kind::Stop));
    writer.begin(&Touched::default())?;
    let gap = writer.settle_open_calls(was_clean)?;
    let now = writer.now();
    writer.append(Whose::Node, &leaf::plain(Kind::Start, now), now)?;
    writer.commit()?;
    writer.sign()?;
    let opened = Opened { was_clean, size: writer.shards.next, gap };
    Ok((writer, opened))
}

fn check_origin(db: &Db, asked: &str) -> Result<(), StoreError> {
    let failed = || StoreError::database::<DbError>("reading the name of the log");
    match db.meta(&db.own("origin")).map_err(failed())? {
        None => db.set_meta(&db.own("origin"), asked.as_bytes()).map_err(failed()),
        Some(found) if found == asked.as_bytes() => Ok(()),
        Some(found) => Err(StoreError::OtherOrigin {
            found: String::from_utf8_lossy(&found).into_owned(),
            asked: asked.to_owned(),
        }),
    }
}

/// The keys of this log: made with it, and never again.
fn take_keys(db: &Db, options: &Options) -> Result<(Signer, SealingKey), StoreError> {
    let directory = options.directory.join("keys");
    keys::private_directory(&directory)?;
    let log_key = take_key(db, &directory.join("log.key"), &db.own("log_key_made"))?;
    let data_key = take_key(db, &directory.join("data.key"), "data_key_made")?;

    let bad_name = |error: lockgate_ledger::NoteError| StoreError::corrupt(None, error);
    let signer = Signer::from_seed(&options.origin, &log_key).map_err(bad_name)?;
    let vkey = signer.verifier().to_string();
    check_meta(db, &db.own("vkey"), vkey.as_bytes(), "`keys/log.key` is not the key of this log")?;
    let path = options.directory.join("log.vkey");
    let line = format!("{vkey}\n");
    if std::fs::read(&path).ok().as_deref() != Some(line.as_bytes()) {
        keys::write_private(&path, line.as_bytes())?;
    }

    let data_key = SealingKey::new(&data_key)?;
    let check = data_key.derive(&["check"]);
    check_meta(db, "data_key_check", &check, "`keys/data.key` is not the key of this database")?;
    Ok((signer, data_key))
}

/// Reads a key file, or makes it if this database never had one.
fn take_key(
    db: &Db,
    path: &Path,
    made: &str,
) -> Result<zeroize::Zeroizing<[u8; keys::KEY_BYTES]>, StoreError> {
    if let Some(key) = keys::read_key(path)? {
        return Ok(key);
    }
    let failed = || StoreError::database::<DbError>("looking for a key");
    if db.meta(made).map_err(failed())?.is_some() {
        let problem = "it is missing, and must not be made anew; hint: restore it from a backup, \
                       or a data key from another node";
        return Err(StoreError::File { path: path.to_owned(), problem, source: None });
    }
    let key = keys::make_key(path)?;
    db.set_meta(made, b"1").map_err(failed())?;
    Ok(key)
}

fn check_meta(db: &Db, name: &str, value: &[u8], problem: &str) -> Result<(), StoreError> {
    let failed = || StoreError::database::<DbError>("checking a key");
    // Of several that start at once, one has it: the others find it.
    db.set_meta_once(name, value).map_err(failed())?;
    match db.meta(name).map_err(failed())? {
        None => Err(StoreError::Broken { rule: "what is written is there" }),
        Some(found) if keys::is_same(&found, value) => Ok(()),
        Some(_) => Err(StoreError::corrupt(None, problem)),
    }
}

/// The newest of what the database and the side file say was signed.
fn newest_checkpoint(
    db: &Db,
    signer: &Signer,
    origin: &str,
    remembered: Option<Remembered>,
) -> Result<Signed, StoreError> {
    let select = "SELECT note FROM checkpoint WHERE size >= ?1 AND size < ?2
                  ORDER BY size DESC LIMIT 1";
    let note: Option<String> = db
        .row(select, values![db.place(0), db.end()], |row| row.get(0))
        .map_err(StoreError::database("reading a checkpoint"))?;
    let stored = match &note {
        None => None,
        Some(note) => Some(
            Checkpoint::open(note.as_bytes(), signer.verifier())
                .map_err(|error| StoreError::corrupt(None, error))?,
        ),
    };
    let origin = origin.to_owned();
    let at = Micros(0);
    let stored_size = stored.as_ref().map_or(0, |checkpoint| checkpoint.size);
    match (remembered, stored) {
        (Some(Remembered { size, root, .. }), _) if size > stored_size => {
            Ok(Signed { checkpoint: Checkpoint { origin, size, root }, note: None, at })
        }
        (_, Some(checkpoint)) => Ok(Signed { checkpoint, note, at }),
        (_, None) => {
            let checkpoint = Checkpoint { origin, size: 0, root: empty_root() };
            Ok(Signed { checkpoint, note: None, at })
        }
    }
}

fn last_entry(db: &Db, now: Micros) -> Result<(Option<Kind>, Micros), StoreError> {
    let select = "SELECT ix, leaf FROM entry WHERE ix >= ?1 AND ix < ?2 ORDER BY ix DESC LIMIT 1";
    let last: Option<(u64, Vec<u8>)> = db
        .row(select, values![db.place(0), db.end()], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(StoreError::database("reading the last entry"))?;
    let Some((index, leaf)) = last else { return Ok((None, now)) };
    let parsed = Entry::parse(&leaf);
    let (_, entry) = parsed.map_err(|error| StoreError::corrupt(Some(index), error))?;
    Ok((Some(entry.kind()), entry.time()))
}

impl Writer {
    /// Gives every open call an outcome. After an unclean end, bounds what may be missing besides.
    fn settle_open_calls(&mut self, was_clean: bool) -> Result<Option<Gap>, StoreError> {
        let now = self.now();
        let since = self.last_entry_at;
        let mut open = self.open_calls(self.db.node(), u32::MAX)?;
        if self.options.faults.is(Fault::LeavesOpen) {
            open.clear();
        }
        let gap = match was_clean {
            true => None,
            false => Some(self.tell_gap(&open, since, now)?),
        };
        let (in_doubt, truncated) = self.end_open_calls(open)?;
        Ok(gap.map(|gap| Gap { index: gap.index, since, until: now, in_doubt, truncated }))
    }

    /// Bounds what may be missing, in every log: a read may have been of any tenant.
    fn tell_gap(
        &mut self,
        open: &[OpenRow],
        since: Micros,
        now: Micros,
    ) -> Result<Receipt, StoreError> {
        let missing = |tenant: Option<&Tenant>| {
            let open = open.iter().filter(|row| row.tenant.as_ref() == tenant).count() as u64;
            leaf::gap(&Missing { cause: "unclean_stop", since, reads: None, open }, now)
        };
        let gap = self.append(Whose::Node, &missing(None), now)?;
        let mut after = String::new();
        loop {
            let tenants = self.tenants(&after, LOGS_READ_MAX)?;
            let Some(last) = tenants.last() else { return Ok(gap) };
            after = last.as_str().to_owned();
            for tenant in &tenants {
                self.append(Whose::Tenant(tenant), &missing(Some(tenant)), now)?;
            }
        }
    }

    /// Gives calls that nobody performs any more an outcome: in doubt for writes, truncated for
    /// reads. Gives how many of each.
    pub(crate) fn end_open_calls(&mut self, open: Vec<OpenRow>) -> Result<(u64, u64), StoreError> {
        let now = self.now();
        let (mut in_doubt, mut truncated) = (0, 0);
        for OpenRow { id, effect, intent, tenant } in open {
            let (state, code) = if effect == Effect::Read.as_str() {
                truncated += 1;
                (OutcomeState::Truncated, Code::UpstreamTruncated)
            } else {
                in_doubt += 1;
                (OutcomeState::InDoubt, Code::OutcomeInDoubt)
            };
            let draft = leaf::unknown_outcome(&id, state.as_str(), code, &intent, now);
            let place = self.append(tenant.as_ref().into(), &draft, now)?.place;
            if state == OutcomeState::InDoubt && !self.options.faults.is(Fault::ForgetsDoubt) {
                let call = CallId::new(&id);
                let call = call.map_err(|error| StoreError::corrupt(Some(intent.index), error))?;
                let first = self.attempt_of(&intent)?;
                self.doubt_after_restart(&call, first.as_ref(), place)?;
            }
            let update = "UPDATE call SET outcome = ?2 WHERE id = ?1";
            self.db
                .execute(update, values![&id, place])
                .map_err(StoreError::database("closing an open call"))?;
            if !self.options.faults.is(Fault::KeepsPlaces) {
                self.free_places(&id)?;
            }
        }
        Ok((in_doubt, truncated))
    }

    /// Which call an intent tries again for.
    fn attempt_of(&self, intent: &Receipt) -> Result<Option<CallId>, StoreError> {
        let select = "SELECT leaf FROM entry WHERE ix = ?1";
        let leaf: Option<Vec<u8>> = self
            .db
            .row(select, values![intent.place], |row| row.get(0))
            .map_err(StoreError::database("reading an intent"))?;
        let missing = || StoreError::corrupt(Some(intent.index), "an intent is missing");
        let leaf = leaf.ok_or_else(missing)?;
        let parsed = Entry::parse(&leaf);
        let (_, entry) = parsed.map_err(|error| StoreError::corrupt(Some(intent.index), error))?;
        let first = entry.members().get("attempt_of").and_then(Json::as_str);
        Ok(first.and_then(|first| CallId::new(first).ok()))
    }

    /// Calls of a node's that have no outcome.
    pub(crate) fn open_calls(&self, node: u64, max: u32) -> Result<Vec<OpenRow>, StoreError> {
        let select = "SELECT call.id, call.effect, call.intent, entry.hash, entry.at, shard.tenant
            FROM call JOIN entry ON entry.ix = call.intent
            LEFT JOIN shard ON shard.number = entry.shard
            WHERE call.outcome IS NULL AND call.intent >= ?1 AND call.intent < ?2
            ORDER BY call.intent LIMIT ?3";
        let [from, to] = [node, node.saturating_add(1)].map(Db::first_of);
        let found = self.db.rows(select, values![from, to, max], |row| {
            let (place, leaf) = (row.get(2)?, Digest::from_bytes(row.get(3)?));
            let index = self.db.reference(place, row.get(4)?);
            let intent = Receipt { index, leaf, place };
            let tenant = tenant_of(row.get(5)?)?;
            Ok(OpenRow { id: row.get(0)?, effect: row.get(1)?, intent, tenant })
        });
        found.map_err(StoreError::database("reading open calls"))
    }
}

/// A call that has no outcome.
pub(crate) struct OpenRow {
    id: String,
    effect: String,
    intent: Receipt,
    /// In whose log its intent stands; `None`: in the node's own.
    tenant: Option<Tenant>,
}
