//! The log for those who verify it: its head, its files, proofs of single entries.

use super::problem::Problem;
use super::status::read_head;
use super::{Asked, Parts, Reading};
use lockgate_ledger::tiles::size_needed;
use lockgate_ledger::{ByteStore, EntryProof, TileReader};
use lockgate_store::Store;
use lockgate_types::{Code, Object};
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Bytes of a path below `tile/`: eight levels of an index and a width fit.
pub(crate) const TILE_PATH_BYTES_MAX: usize = 64;

pub(super) async fn checkpoint(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || Ok(Reading::text(parts.grant(&asked).await?));
    parts.govern(&asked, "checkpoint_read", perform).await
}

pub(super) async fn key(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || Ok(Reading::text(format!("{}\n", parts.kernel.store().vkey())));
    parts.govern(&asked, "checkpoint_read", perform).await
}

pub(super) async fn tile(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let path = format!("tile/{}", asked.text("path"));
    if parts.holds_grant(&asked, &path) {
        return parts.file(&path).await;
    }
    let perform = async || {
        parts.grant(&asked).await?;
        parts.file(&path).await
    };
    parts
        .govern(&asked.with(Object::new().with("path", path.as_str())), "checkpoint_read", perform)
        .await
}

pub(super) async fn proof(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let index = asked.number("index").ok_or(Code::AdminBadRequest)?;
        parts.proof(index).await.map(Reading::text)
    };
    parts.govern(&asked, "checkpoint_read", perform).await
}

impl Parts {
    /// The newest checkpoint, and leave to read the tiles under it.
    async fn grant(&self, asked: &Asked) -> Result<String, Problem> {
        // Before the log is asked: a bundle that comes meanwhile ends the grant.
        let bundle = self.kernel.world().ok_or(Code::NoBundle)?.digest;
        let note = self.kernel.store().checkpoint().await?;
        let size = read_head(&note)?.size;
        self.grants.open(&asked.identity, bundle, size, self.kernel.clock().now());
        Ok(note)
    }

    fn holds_grant(&self, asked: &Asked, path: &str) -> bool {
        let (Some(size), Some(world)) = (size_needed(path), self.kernel.world()) else {
            return false;
        };
        self.grants.take(&asked.identity, world.digest, size, self.kernel.clock().now())
    }

    async fn file(&self, path: &str) -> Result<Reading, Problem> {
        let bytes = self.kernel.store().tile(path).await?;
        bytes.map(Reading::octets).ok_or_else(|| Code::RecordNotFound.into())
    }

    async fn proof(&self, index: u64) -> Result<String, Problem> {
        let store = self.kernel.store().clone();
        let note = store.checkpoint().await?;
        let head = read_head(&note)?;
        if index >= head.size {
            let reason = format!("there is no entry {index}: the log has {}", head.size);
            return Err(Problem::because(Code::RecordNotFound, reason));
        }
        let _turn = self.proofs.acquire().await.map_err(|_| Code::InvariantBroken)?;
        let files = Files { store, runtime: Handle::current() };
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

/// The files of the log, for a reader on a blocking thread.
struct Files {
    store: Store,
    runtime: Handle,
}

impl ByteStore for Files {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        self.runtime.block_on(self.store.tile(path)).map_err(io::Error::other)
    }
}
