//! The logs of a node: its own, and one for each tenant but the gate's.
//!
//! All entries of a node have one order, which is that of their places; each stands in one log, at
//! an index of its own there. What belongs to no tenant, and what belongs to the tenant that the
//! gate itself is of, stands in the node's own log. The logs of tenants are opened when something
//! is written to them, and the one that was used least recently makes room for another: what it was
//! is read back from its tiles.

use crate::db::{Db, DbError, values};
use crate::error::StoreError;
use crate::later::Table;
use crate::log::{self, Rows};
use crate::store::Store;
use crate::tend::Signed;
use crate::writer::Writer;
use crate::{HOME, Options};
use lockgate_ledger::tree::empty_root;
use lockgate_ledger::{Checkpoint, Signer, TileWriter, VerifierKey, tenant_origin};
use lockgate_types::{Micros, Tenant};
use lru::LruCache;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

/// Logs of tenants in memory: up to 24 KiB each.
pub(crate) const SHARDS_OPEN_MAX: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// Logs that one read names.
pub const LOGS_READ_MAX: u32 = 256;
/// Bytes of the name of a node's log: a tenant's name follows it in that of the tenant's.
const ORIGIN_BYTES_MAX: usize = 255;

/// Whose log an entry stands in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// The node's own.
    Node,
    /// That of a tenant, which is the node's own if the gate is of that tenant.
    Tenant(&'a Tenant),
}

impl<'a> From<Option<&'a Tenant>> for Whose<'a> {
    fn from(tenant: Option<&'a Tenant>) -> Self {
        tenant.map_or(Self::Node, Self::Tenant)
    }
}

/// What `shard.tenant` says of an entry; `None`: the node's own.
pub(crate) fn tenant_of(column: Option<String>) -> Result<Option<Tenant>, DbError> {
    let Some(name) = column.filter(|name| !name.is_empty()) else { return Ok(None) };
    Tenant::new(&name).map(Some).map_err(|_| DbError::Column)
}

/// What a node knows of its logs.
pub(crate) struct Shards {
    /// The tenant that the gate is of.
    pub(crate) home: Tenant,
    /// The index of the next entry in the order of all.
    pub(crate) next: u64,
    /// Where the entries of the node's own log stand.
    pub(crate) own: Rows,
    open: LruCache<Tenant, Shard>,
    /// Tenants in whose logs something was written since they were signed.
    unsigned: BTreeSet<Tenant>,
}

/// The log of a tenant.
pub(crate) struct Shard {
    rows: Rows,
    pub(crate) log: TileWriter,
    pub(crate) signed: Signed,
}

/// Where an entry gets its place.
pub(crate) struct Stand {
    pub(crate) rows: Rows,
    /// Index in its log.
    pub(crate) index: u64,
}

/// The newest checkpoints of the logs of tenants. Their rows are there.
const HEAD: Table = Table {
    name: "shard",
    insert: "UPDATE shard SET note = ?2 WHERE number = ?1",
    insert_many: "UPDATE shard SET note = head.note
        FROM unnest($1::bigint[], $2::text[]) AS head (number, note)
        WHERE shard.number = head.number",
};

impl Shards {
    /// What the database says of this node's logs. Only a new database takes up `home`: whose
    /// entries stand where never changes.
    pub(crate) fn read(db: &Db, options: &Options) -> Result<Self, StoreError> {
        if options.origin.len() > ORIGIN_BYTES_MAX {
            let rule = "the name of a log has at most 255 bytes";
            return Err(StoreError::Broken { rule });
        }
        let failed = || StoreError::database::<DbError>("reading which logs there are");
        let home = options.home.as_ref().map_or(HOME, Tenant::as_str);
        db.set_meta_once("home", home.as_bytes()).map_err(failed())?;
        let home = db.meta("home").map_err(failed())?.unwrap_or_default();
        let home = std::str::from_utf8(&home).ok().and_then(|home| Tenant::new(home).ok());
        let home = home.ok_or_else(|| StoreError::corrupt(None, "the gate has no tenant"))?;
        let make = "INSERT INTO shard (node, tenant) VALUES (?1, '') ON CONFLICT DO NOTHING";
        db.execute(make, values![db.node()]).map_err(failed())?;
        let own = own_rows(db).map_err(failed())?;
        let own = own.ok_or(StoreError::Broken { rule: "a row that is written is there" })?;
        let next = log::next(db).map_err(failed())?;
        let open = LruCache::new(SHARDS_OPEN_MAX);
        Ok(Self { home, next, own, open, unsigned: BTreeSet::new() })
    }

    /// The tenant in whose log such an entry stands; `None`: in the node's own.
    pub(crate) fn tenant<'a>(&self, whose: Whose<'a>) -> Option<&'a Tenant> {
        match whose {
            Whose::Tenant(tenant) if *tenant != self.home => Some(tenant),
            Whose::Tenant(_) | Whose::Node => None,
        }
    }

    /// Whether a tenant's log has what no checkpoint covers.
    pub(crate) fn has_unsigned(&self) -> bool {
        !self.unsigned.is_empty()
    }

    /// Has the database asked again, after a transaction has failed.
    pub(crate) fn reread(&mut self, db: &Db) -> Result<(), DbError> {
        self.open.clear();
        self.next = log::next(db)?;
        self.own = own_rows(db)?.unwrap_or(self.own);
        Ok(())
    }
}

fn own_rows(db: &Db) -> Result<Option<Rows>, DbError> {
    let select = "SELECT number, plain FROM shard WHERE node = ?1 AND tenant = ''";
    db.row(select, values![db.node()], |row| {
        let plain: Option<u64> = row.get(1)?;
        Ok(Rows { number: row.get(0)?, plain: plain.unwrap_or(u64::MAX), is_own: true })
    })
}

/// A tenant's log in the database, and its newest checkpoint.
fn find(db: &Db, tenant: &Tenant) -> Result<Option<(Rows, Option<String>)>, DbError> {
    let select = "SELECT number, note FROM shard WHERE node = ?1 AND tenant = ?2";
    db.row(select, values![db.node(), tenant.as_str()], |row| {
        Ok((Rows::of_tenant(row.get(0)?), row.get(1)?))
    })
}

impl Store {
    /// The newest signed checkpoint of the node's own log. Signed now, if entries are not covered
    /// yet.
    pub async fn checkpoint(&self) -> Result<String, StoreError> {
        self.read(Writer::own_checkpoint).await
    }

    /// The same of a tenant's log, which may be the node's own; `None`: it has none.
    pub async fn checkpoint_of(&self, tenant: &Tenant) -> Result<Option<String>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |writer| writer.checkpoint_of(&tenant)).await
    }

    /// The file of the node's own log at a C2SP tlog-tiles path, tiles and entry bundles, full or
    /// partial; `None` if the log has not grown to it.
    pub async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = path.to_owned();
        let read = StoreError::database("reading a tile");
        self.read(move |writer| log::file(&writer.db, writer.shards.own, &path).map_err(read)).await
    }

    /// The same of a tenant's log.
    pub async fn tile_of(
        &self,
        tenant: &Tenant,
        path: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (tenant, path) = (tenant.clone(), path.to_owned());
        self.read(move |writer| writer.file_of(&tenant, &path)).await
    }

    /// The verifier key of a tenant's log.
    pub async fn vkey_of(&self, tenant: &Tenant) -> Result<String, StoreError> {
        let tenant = tenant.clone();
        self.read(move |writer| Ok(writer.verifier_of(&tenant)?.to_string())).await
    }

    /// The tenants that have a log of their own here, in the order of their names, after one of
    /// them; at most [`LOGS_READ_MAX`].
    pub async fn tenants_with_logs(&self, after: &str) -> Result<Vec<Tenant>, StoreError> {
        let after = after.to_owned();
        self.read(move |writer| writer.tenants(&after, LOGS_READ_MAX)).await
    }
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing a tenant's log")
}

impl Writer {
    /// The log of a tenant, taken up if it is not in memory; `None`: there is none.
    pub(crate) fn shard(&mut self, tenant: &Tenant) -> Result<Option<&mut Shard>, StoreError> {
        if !self.shards.open.contains(tenant) {
            let Some((rows, note)) = find(&self.db, tenant).map_err(failed())? else {
                return Ok(None);
            };
            let shard = self.take_up(tenant, rows, note)?;
            self.shards.open.put(tenant.clone(), shard);
        }
        Ok(self.shards.open.get_mut(tenant))
    }

    /// The same, begun if there is none: within a transaction.
    pub(crate) fn begin_shard(&mut self, tenant: &Tenant) -> Result<(), StoreError> {
        if self.shard(tenant)?.is_some() {
            return Ok(());
        }
        let insert = "INSERT INTO shard (node, tenant) VALUES (?1, ?2) RETURNING number";
        let given = values![self.db.node(), tenant.as_str()];
        let number = self.db.row(insert, given, |row| row.get(0)).map_err(failed())?;
        let rule = "a row that is written has a number";
        let rows = Rows::of_tenant(number.ok_or(StoreError::Broken { rule })?);
        let shard = self.take_up(tenant, rows, None)?;
        self.shards.open.put(tenant.clone(), shard);
        if self.shards.own.plain == u64::MAX {
            // From here on an index in the node's own log is no longer one in the order of all.
            let update = "UPDATE shard SET plain = ?2 WHERE number = ?1";
            let plain = self.log.size();
            let given = values![self.shards.own.number, plain];
            self.db.execute(update, given).map_err(failed())?;
            self.shards.own.plain = plain;
        }
        Ok(())
    }

    /// Where what is about a tenant is said, whatever its log is like: of a damaged one, in the
    /// node's own.
    pub(crate) fn whose<'a>(
        &mut self,
        tenant: Option<&'a Tenant>,
    ) -> Result<Whose<'a>, StoreError> {
        let Some(tenant) = tenant.and_then(|it| self.shards.tenant(Whose::Tenant(it))) else {
            return Ok(Whose::Node);
        };
        match self.shard(tenant) {
            Ok(_) => Ok(Whose::Tenant(tenant)),
            Err(error @ StoreError::Database { .. }) => Err(error),
            Err(_) => Ok(Whose::Node),
        }
    }

    fn take_up(
        &self,
        tenant: &Tenant,
        rows: Rows,
        note: Option<String>,
    ) -> Result<Shard, StoreError> {
        let name_it = |error| of_tenant(tenant, error);
        let signer = self.signer_of(tenant)?;
        let checkpoint = match &note {
            None => {
                let origin = signer.verifier().name().to_owned();
                Checkpoint { origin, size: 0, root: empty_root() }
            }
            Some(note) => Checkpoint::open(note.as_bytes(), signer.verifier())
                .map_err(|error| name_it(StoreError::corrupt(None, error)))?,
        };
        let log = log::resume(&self.db, rows, &checkpoint).map_err(name_it)?.hashes_only();
        Ok(Shard { rows, log, signed: Signed { checkpoint, note, at: Micros(0) } })
    }

    fn signer_of(&self, tenant: &Tenant) -> Result<Signer, StoreError> {
        let origin = tenant_origin(&self.options.origin, tenant.as_str());
        let signer = self.signer.of_log(&origin);
        signer.map_err(|_| StoreError::Broken { rule: "a tenant's log has a name" })
    }

    /// The place that the next entry of a log gets, and that log.
    pub(crate) fn stand(
        &mut self,
        whose: Whose<'_>,
    ) -> Result<(Stand, &mut TileWriter), StoreError> {
        let Some(tenant) = self.shards.tenant(whose) else {
            let stand = Stand { rows: self.shards.own, index: self.log.size() };
            return Ok((stand, &mut self.log));
        };
        self.begin_shard(tenant)?;
        if !self.shards.unsigned.contains(tenant) {
            self.shards.unsigned.insert(tenant.clone());
        }
        let shard = self.shards.open.get_mut(tenant);
        let shard = shard.ok_or(StoreError::Broken { rule: "a log that is begun is open" })?;
        Ok((Stand { rows: shard.rows, index: shard.log.size() }, &mut shard.log))
    }

    /// The tenants that this node has logs of.
    pub(crate) fn tenants(&self, after: &str, max: u32) -> Result<Vec<Tenant>, StoreError> {
        let select = "SELECT tenant FROM shard WHERE node = ?1 AND tenant > ?2
            ORDER BY tenant LIMIT ?3";
        let given = values![self.db.node(), after, max];
        let found = self.db.rows(select, given, |row| tenant_of(row.get(0)?));
        Ok(found.map_err(failed())?.into_iter().flatten().collect())
    }

    /// Signs the logs of tenants that have grown, in one transaction. What is signed is durable,
    /// and remembered.
    pub(crate) fn sign_shards(&mut self, now: Micros) -> Result<(), StoreError> {
        let tenants = self.shards.unsigned.clone();
        let mut heads = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let signer = self.signer_of(&tenant)?;
            let shard = match self.shard(&tenant) {
                Ok(Some(shard)) => shard,
                Err(error @ StoreError::Database { .. }) => return Err(error),
                // One that is damaged is not signed, and keeps no other from it.
                Ok(None) | Err(_) => continue,
            };
            if shard.log.size() == shard.signed.checkpoint.size {
                continue;
            }
            let (size, root) = (shard.log.size(), shard.log.root());
            let origin = signer.verifier().name().to_owned();
            let checkpoint = Checkpoint { origin, size, root };
            let note = checkpoint.sign(&signer);
            let rule = "the log's key signs its log";
            let note = note.map_err(|_| StoreError::Broken { rule })?;
            heads.push((tenant, shard.rows, checkpoint, note));
        }
        let write = || -> Result<(), DbError> {
            self.db.begin(&crate::db::Touched::default())?;
            for (_, rows, _, note) in &heads {
                self.db.add(&HEAD, values![rows.number, note])?;
            }
            self.db.commit()
        };
        if !heads.is_empty()
            && let Err(error) = write()
        {
            self.db.roll_back();
            return Err(StoreError::database("writing checkpoints")(error));
        }
        for (tenant, _, checkpoint, note) in heads {
            if let Some(shard) = self.shards.open.peek_mut(&tenant) {
                shard.signed = Signed { checkpoint, note: Some(note), at: now };
            }
        }
        self.shards.unsigned.clear();
        Ok(())
    }

    /// The newest checkpoint of a tenant's log, over every entry there is; `None`: there is none.
    pub(crate) fn checkpoint_of(&mut self, tenant: &Tenant) -> Result<Option<String>, StoreError> {
        if self.shards.tenant(Whose::Tenant(tenant)).is_none() {
            return self.own_checkpoint().map(Some);
        }
        self.settle_log()?;
        let Some(shard) = self.shard(tenant)? else { return Ok(None) };
        if shard.signed.note.is_none() || shard.log.size() > shard.signed.checkpoint.size {
            self.shards.unsigned.insert(tenant.clone());
            self.sign()?;
        }
        Ok(self.shard(tenant)?.and_then(|shard| shard.signed.note.clone()))
    }

    /// A file of a tenant's log.
    pub(crate) fn file_of(
        &self,
        tenant: &Tenant,
        path: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = match self.shards.tenant(Whose::Tenant(tenant)) {
            None => Some(self.shards.own),
            Some(_) => find(&self.db, tenant).map_err(failed())?.map(|(rows, _)| rows),
        };
        let Some(rows) = rows else { return Ok(None) };
        log::file(&self.db, rows, path).map_err(StoreError::database("reading a tile"))
    }

    /// The place of what an entry at a place refers to: in the log of its tenant.
    pub(crate) fn place_of(
        &self,
        beside: u64,
        tenant: Option<&Tenant>,
        reference: u64,
    ) -> Result<u64, StoreError> {
        let (node, at) = Db::referred(beside, reference);
        let select = "SELECT ix FROM entry JOIN shard ON shard.number = entry.shard
            WHERE shard.node = ?1 AND shard.tenant = ?2 AND entry.at = ?3";
        let given = values![node, tenant.map_or("", Tenant::as_str), at];
        let found = self.db.row(select, given, |row| row.get(0));
        let found = found.map_err(failed())?;
        // What a node had written before any tenant's is numbered by its place alone.
        Ok(found.unwrap_or_else(|| Db::place_beside(beside, reference)))
    }

    pub(crate) fn verifier_of(&self, tenant: &Tenant) -> Result<VerifierKey, StoreError> {
        match self.shards.tenant(Whose::Tenant(tenant)) {
            None => Ok(self.signer.verifier().clone()),
            Some(tenant) => Ok(self.signer_of(tenant)?.verifier().clone()),
        }
    }
}

/// Says whose log it is that is damaged.
fn of_tenant(tenant: &Tenant, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt { index, problem } => StoreError::Corrupt {
            index,
            problem: format!("in the log of the tenant `{tenant}`: {problem}"),
        },
        other => other,
    }
}
