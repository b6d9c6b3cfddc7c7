//! Reading beside the committer of a fleet, which may wait for another node's transaction.
//!
//! What a call needs before it is decided is read on a session of its own, so that a call that
//! stops things is never held up by one that writes.

use crate::db::Db;
use crate::error::StoreError;
use crate::postgres::{Session, SharedAddress};
use lockgate_types::Redacted;
use sqlx::postgres::PgConnectOptions;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Reads that may wait.
const READS_MAX: usize = 4096;

/// After an attempt to connect that failed, those who ask meanwhile are told so.
const CONNECT_AFTER: Duration = Duration::from_millis(100);

type Read = Box<dyn FnOnce(&Db) + Send>;

/// The thread that reads.
pub(crate) struct Aside {
    pub(crate) address: SharedAddress,
    reads: Option<SyncSender<Read>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    pub(crate) fn start(options: PgConnectOptions, node: u64) -> std::io::Result<Self> {
        let (reads, asked) = sync_channel(READS_MAX);
        let address = Redacted::new(options.clone());
        let thread = std::thread::Builder::new()
            .name("lockgate-read".to_owned())
            .spawn(move || run(options, node, &asked))?;
        Ok(Self { address, reads: Some(reads), thread: Some(thread) })
    }

    /// Runs something that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Read = Box::new(move |db| {
            // Who is gone is not told.
            let _ = reply.send(read(db));
        });
        let Some(reads) = &self.reads else { return Err(StoreError::Closed) };
        reads.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded { max: READS_MAX },
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.reads = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(options: PgConnectOptions, node: u64, asked: &Receiver<Read>) {
    let Ok(session) = Session::idle(options) else { return };
    let db = Db::postgres(session, node);
    let mut tried_at: Option<Instant> = None;
    while let Ok(read) = asked.recv() {
        // One of those who wait has waited for the database for all: who reads without a
        // connection is told.
        if tried_at.is_none_or(|at| at.elapsed() >= CONNECT_AFTER) {
            let is_connected = db.shared().map(Session::connect_again).is_some_and(|it| it.is_ok());
            tried_at = (!is_connected).then(Instant::now);
        }
        read(&db);
    }
}
