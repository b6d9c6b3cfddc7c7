//! Logs for those who verify them: their heads, their files, proofs of single entries.
//!
//! Whose log is asked for is an argument of the call, so that policies say who may read it: the
//! gate's own tenant where nobody is named.

use super::problem::Problem;
use super::status::read_head;
use super::{Asked, Parts, Reading};
use lockgate_ledger::tiles::size_needed;
use lockgate_ledger::{ByteStore, EntryProof, TileReader};
use lockgate_store::{LOGS_READ_MAX, Store};
use lockgate_types::{Code, Tenant};
use schemars::JsonSchema;
use serde::Serialize;
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Bytes of a path below `tile/`: eight levels of an index and a width fit.
pub(crate) const TILE_PATH_BYTES_MAX: usize = 64;

/// The logs of this node.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Logs {
    /// Its own first, the others in the order of their tenants.
    logs: Vec<Log>,
    /// The tenant to go on after; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A log.
#[derive(Serialize, JsonSchema)]
struct Log {
    /// Whose calls stand in it. In that of the gate's own tenant, what belongs to none as well.
    tenant: String,
    /// Its name, in every checkpoint.
    origin: String,
}

pub(super) async fn logs(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || Reading::typed(&parts.logs(asked.text("after")).await?);
    parts.govern(&asked, "checkpoint_read", perform).await
}

pub(super) async fn checkpoint(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (tenant, asked) = parts.whose(&asked)?;
    let perform = async || Ok(Reading::text(parts.grant(&asked, &tenant).await?));
    parts.govern(&asked, "checkpoint_read", perform).await
}

pub(super) async fn key(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (tenant, asked) = parts.whose(&asked)?;
    let perform = async || {
        let vkey = parts.kernel.store().vkey_of(&tenant).await?;
        Ok(Reading::text(format!("{vkey}\n")))
    };
    parts.govern(&asked, "checkpoint_read", perform).await
}

pub(super) async fn tile(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (tenant, mut asked) = parts.whose(&asked)?;
    let path = format!("tile/{}", asked.text("path"));
    if parts.holds_grant(&asked, &tenant, &path) {
        return parts.file(&tenant, &path).await;
    }
    asked.arguments.set("path", path.as_str());
    let perform = async || {
        parts.grant(&asked, &tenant).await?;
        parts.file(&tenant, &path).await
    };
    parts.govern(&asked, "checkpoint_read", perform).await
}

pub(super) async fn proof(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (tenant, asked) = parts.whose(&asked)?;
    let perform = async || {
        let index = asked.number("index").ok_or(Code::AdminBadRequest)?;
        parts.proof(&tenant, index).await.map(Reading::text)
    };
    parts.govern(&asked, "checkpoint_read", perform).await
}

impl Parts {
    /// Whose log is asked for, which is always decided on and recorded.
    fn whose(&self, asked: &Asked) -> Result<(Tenant, Asked), Problem> {
        let mut asked = asked.clone();
        let tenant = match asked.text("tenant") {
            "" => self.kernel.store().home().clone(),
            named => Tenant::new(named).map_err(|error| Problem::request(error.to_string()))?,
        };
        asked.arguments.set("tenant", tenant.as_str());
        Ok((tenant, asked))
    }

    async fn logs(&self, after: &str) -> Result<Logs, Problem> {
        let store = self.kernel.store();
        let mut tenants = store.tenants_with_logs(after).await?;
        let is_cut = tenants.len() >= usize::try_from(LOGS_READ_MAX).unwrap_or(usize::MAX);
        let next = tenants.last().filter(|_| is_cut).map(ToString::to_string);
        if after.is_empty() {
            tenants.insert(0, store.home().clone());
        }
        let mut logs = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let vkey = store.vkey_of(&tenant).await?;
            let origin = vkey.split('+').next().unwrap_or_default().to_owned();
            logs.push(Log { tenant: tenant.to_string(), origin });
        }
        Ok(Logs { logs, next })
    }

    /// The newest checkpoint of a log, and leave to read the tiles under it.
    async fn grant(&self, asked: &Asked, tenant: &Tenant) -> Result<String, Problem> {
        // Before the log is asked: a bundle that comes meanwhile ends the grant.
        let bundle = self.kernel.world().ok_or(Code::NoBundle)?.digest;
        let note = self.kernel.store().checkpoint_of(tenant).await?.ok_or_else(|| none(tenant))?;
        let size = read_head(&note)?.size;
        self.grants.open((&asked.identity, tenant), bundle, size, self.kernel.clock().now());
        Ok(note)
    }

    fn holds_grant(&self, asked: &Asked, tenant: &Tenant, path: &str) -> bool {
        let (Some(size), Some(world)) = (size_needed(path), self.kernel.world()) else {
            return false;
        };
        let now = self.kernel.clock().now();
        self.grants.take((&asked.identity, tenant), world.digest, size, now)
    }

    async fn file(&self, tenant: &Tenant, path: &str) -> Result<Reading, Problem> {
        let bytes = self.kernel.store().tile_of(tenant, path).await?;
        bytes.map(Reading::octets).ok_or_else(|| Code::RecordNotFound.into())
    }

    async fn proof(&self, tenant: &Tenant, index: u64) -> Result<String, Problem> {
        let store = self.kernel.store().clone();
        let note = store.checkpoint_of(tenant).await?.ok_or_else(|| none(tenant))?;
        let head = read_head(&note)?;
        if index >= head.size {
            let reason = format!("there is no entry {index}: the log has {}", head.size);
            return Err(Problem::because(Code::RecordNotFound, reason));
        }
        let _turn = self.proofs.acquire().await.map_err(|_| Code::InvariantBroken)?;
        let files = Files { store, tenant: tenant.clone(), runtime: Handle::current() };
        let building = tokio::task::spawn_blocking(move || {
            let mut reader = TileReader::open(&files, &head).map_err(|error| error.to_string())?;
            let proof = EntryProof::build(&mut reader, index, &note);
            proof.map(|proof| proof.to_text()).map_err(|error| error.to_string())
        });
        let built = building.await.map_err(|_| Code::InvariantBroken)?;
        built.map_err(|reason| {
            tracing::error!(index, reason, "a proof could not be built");
            Code::LedgerCorrupt.into()
        })
    }
}

fn none(tenant: &Tenant) -> Problem {
    Problem::because(Code::RecordNotFound, format!("there is no log of the tenant `{tenant}`"))
}

/// The files of a log, for a reader on a blocking thread.
struct Files {
    store: Store,
    tenant: Tenant,
    runtime: Handle,
}

impl ByteStore for Files {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        self.runtime.block_on(self.store.tile_of(&self.tenant, path)).map_err(io::Error::other)
    }
}
