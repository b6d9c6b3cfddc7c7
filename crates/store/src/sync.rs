//! Making commits durable, beside the committer.
//!
//! A commit is durable once the write-ahead log is on the disk up to it. SQLite would wait for that
//! at each one. Here, while more calls wait, the committer goes on with the next batch, and a
//! thread waits for the disk for all that was committed before; nobody is answered earlier. A
//! single call after a single call the committer waits for itself, since handing over would cost
//! more.
//!
//! A disk that has failed once is not asked again: it may have dropped what it was given, and say
//! that all is well the next time. The store takes nothing more, and the next start finds what the
//! disk has kept.

use crate::apply;
use crate::error::StoreError;
use crate::fault::{Fault, Faults};
use crate::job::{Change, Rejected, Written};
use crate::lane::{self, Reply};
use crate::queue::Gauge;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches that may wait for the disk. Beyond, the committer waits too.
const BATCHES_MAX: usize = 8;

/// A moment at which a crash makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskMoment {
    /// The write-ahead log is about to be waited for: what was written to it since the last time
    /// may be lost.
    Syncs,
    /// The disk has it; nobody has been answered yet.
    Synced,
    /// What is about to be signed is about to be remembered in `last_signed`.
    Remembers,
    /// It is remembered; nothing has been signed yet.
    Remembered,
    /// The write-ahead log is about to be copied to the database.
    Copies,
    /// It is copied, if there was no error.
    Copied,
}

/// Who is told of every [`DiskMoment`], on the thread that comes to it.
#[derive(Clone)]
pub struct DiskWatch(Arc<dyn Fn(DiskMoment) + Send + Sync>);

impl DiskWatch {
    /// Tells this.
    pub fn new(told: impl Fn(DiskMoment) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for DiskWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskWatch")
    }
}

/// The disk under the write-ahead log.
pub(crate) struct Disk {
    sync: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
    watch: Option<DiskWatch>,
    path: PathBuf,
    has_failed: AtomicBool,
}

impl Disk {
    /// The disk under that file.
    pub(crate) fn under(path: &Path) -> Result<Self, StoreError> {
        let wal = File::options().write(true).open(path);
        let wal = wal.map_err(StoreError::file(path, "the write-ahead log cannot be opened"))?;
        Ok(Self::new(path, move || wal.sync_data()))
    }

    /// No disk is waited for: for measurements.
    pub(crate) fn none() -> Self {
        Self::new(Path::new(""), || Ok(()))
    }

    fn new(path: &Path, sync: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        let (sync, has_failed) = (Box::new(sync), AtomicBool::new(false));
        Self { sync, watch: None, path: path.to_owned(), has_failed }
    }

    /// With somebody who is told of every moment.
    pub(crate) fn watched(self, watch: Option<DiskWatch>) -> Self {
        Self { watch, ..self }
    }

    pub(crate) fn tell(&self, moment: DiskMoment) {
        if let Some(watch) = &self.watch {
            (watch.0)(moment);
        }
    }

    /// Waits until everything that was committed is durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.check()?;
        self.tell(DiskMoment::Syncs);
        (self.sync)().map_err(|source| {
            self.has_failed.store(true, Ordering::Release);
            StoreError::file(&self.path, "the record could not be made durable")(source)
        })?;
        self.tell(DiskMoment::Synced);
        Ok(())
    }

    /// An error once it has failed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if !self.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let problem = "the disk has failed; hint: restart the gate once it works again";
        Err(StoreError::File { path: self.path.clone(), problem, source: None })
    }
}

/// A batch that is committed and not durable yet.
pub(crate) struct Committed {
    pub(crate) changes: Vec<Change>,
    pub(crate) answers: Vec<Result<Written, Rejected>>,
    /// Who waits for them.
    pub(crate) replies: Vec<Option<Reply>>,
    /// Since when the oldest of them waits, if there is any.
    pub(crate) since: Option<Instant>,
}

impl Committed {
    /// Whether those who wait are answered without the disk: by mistake.
    pub(crate) fn is_early(&self, faults: Faults) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Conclude(_) => faults.is(Fault::AnswersEarly),
            Change::Intent { .. } => faults.is(Fault::PermitsEarly),
            _ => false,
        })
    }

    /// Answers those who wait, after the disk.
    pub(crate) fn answer(mut self, durable: &Result<(), StoreError>) {
        if let Err(error) = durable {
            return fail(self.replies, error);
        }
        apply::settle(&mut self.changes, &mut self.answers);
        let waiting = self.replies.into_iter().zip(self.answers);
        let mut waiting = waiting.filter_map(|(reply, answer)| Some((reply?, answer)));
        let Some(first) = waiting.next() else { return };
        match waiting.next() {
            None => first.0.send(first.1),
            Some(second) => lane::answer_all([first, second].into_iter().chain(waiting)),
        }
    }
}

/// Tells those who wait that nothing of theirs is recorded for certain.
pub(crate) fn fail(replies: Vec<Option<Reply>>, error: &StoreError) {
    for reply in replies.into_iter().flatten() {
        reply.send(Err(Rejected::Failed(error.clone())));
    }
}

/// The thread that waits for the disk. Dropping it waits until every batch is answered.
pub(crate) struct Syncer {
    sender: Option<SyncSender<Committed>>,
    /// Batches that are handed over and not answered yet.
    under_way: Arc<AtomicUsize>,
    /// How long the disk was busy the last time, in microseconds.
    worked_us: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(disk: &Arc<Disk>, gauge: &Arc<Gauge>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(BATCHES_MAX);
        let under_way = Arc::new(AtomicUsize::new(0));
        let worked_us = Arc::new(AtomicU64::new(0));
        let (disk, counted) = (Arc::clone(disk), Arc::clone(&under_way));
        let (gauge, worked) = (Arc::clone(gauge), Arc::clone(&worked_us));
        let thread = std::thread::Builder::new()
            .name("lockgate-sync".to_owned())
            .spawn(move || run(&disk, &receiver, (&counted, &worked), &gauge))?;
        Ok(Self { sender: Some(sender), under_way, worked_us, thread: Some(thread) })
    }

    /// Has a batch answered once it is durable.
    pub(crate) fn hand_over(&self, committed: Committed) {
        if let Some(sender) = &self.sender {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            // Without the thread nobody is answered, and who waits is told that the store closed.
            let _ = sender.send(committed);
        }
    }

    /// Whether a batch waits for the disk. Not once the thread is gone.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
            && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Syncer {
    /// How long the disk was busy the last time.
    pub(crate) fn worked(&self) -> Duration {
        Duration::from_micros(self.worked_us.load(Ordering::Relaxed))
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.sender = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(
    disk: &Disk,
    receiver: &Receiver<Committed>,
    (under_way, worked_us): (&AtomicUsize, &AtomicU64),
    gauge: &Gauge,
) {
    while let Ok(first) = receiver.recv() {
        // All of them were committed before the disk is asked, so that once is enough.
        let batches: Vec<Committed> = std::iter::once(first).chain(receiver.try_iter()).collect();
        let began = Instant::now();
        let durable = disk.sync();
        let worked = began.elapsed();
        worked_us.store(u64::try_from(worked.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        under_way.fetch_sub(batches.len(), Ordering::Relaxed);
        // What has come meanwhile is one batch: nothing more joins it.
        gauge.wake();
        if let Some(since) = batches.iter().filter_map(|batch| batch.since).min() {
            gauge.note_lag(since, worked);
        }
        batches.into_iter().for_each(|batch| batch.answer(&durable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;
    use tokio::sync::oneshot;

    fn batch() -> (Committed, oneshot::Receiver<Result<Written, Rejected>>) {
        let (reply, answer) = Reply::new();
        let committed = Committed {
            changes: vec![Change::Subject { lookup: [0; 32] }],
            answers: vec![Ok(Written::Nothing)],
            replies: vec![Some(reply)],
            since: None,
        };
        (committed, answer)
    }

    /// A disk that asks a test what to say.
    fn disk() -> (Arc<Disk>, Receiver<Sender<io::Result<()>>>) {
        let (asked, asks) = std::sync::mpsc::channel();
        let asked = Mutex::new(asked);
        let disk = Disk::new(Path::new("wal"), move || {
            let (say, said) = std::sync::mpsc::channel();
            asked.lock().unwrap().send(say).unwrap();
            said.recv().unwrap()
        });
        (Arc::new(disk), asks)
    }

    #[test]
    fn nobody_is_answered_before_the_disk_and_several_with_one_answer() {
        let (disk, asks) = disk();
        let syncer = Syncer::start(&disk, &Arc::default()).unwrap();
        let (first, mut first_answer) = batch();
        syncer.hand_over(first);
        let say = asks.recv().unwrap();
        let (second, mut second_answer) = batch();
        let (third, mut third_answer) = batch();
        syncer.hand_over(second);
        syncer.hand_over(third);
        assert!(first_answer.try_recv().is_err() && syncer.is_busy());
        say.send(Ok(())).unwrap();
        // The disk is asked again, for both that came meanwhile.
        let say = asks.recv().unwrap();
        assert!(matches!(first_answer.try_recv(), Ok(Ok(Written::Nothing))));
        assert!(second_answer.try_recv().is_err() && third_answer.try_recv().is_err());
        say.send(Ok(())).unwrap();
        drop(syncer);
        assert!(matches!(second_answer.try_recv(), Ok(Ok(Written::Nothing))));
        assert!(matches!(third_answer.try_recv(), Ok(Ok(Written::Nothing))));
        assert!(asks.try_recv().is_err());
    }

    #[test]
    fn a_disk_that_failed_is_not_asked_again() {
        let (disk, asks) = disk();
        let syncer = Syncer::start(&disk, &Arc::default()).unwrap();
        let (first, mut answer) = batch();
        syncer.hand_over(first);
        asks.recv().unwrap().send(Err(io::Error::other("gone"))).unwrap();
        // Asked once more, it would panic.
        drop(asks);
        let (second, mut later) = batch();
        syncer.hand_over(second);
        drop(syncer);
        assert!(matches!(answer.try_recv(), Ok(Err(Rejected::Failed(_)))));
        assert!(matches!(later.try_recv(), Ok(Err(Rejected::Failed(_)))));
        assert!(disk.check().is_err() && disk.sync().is_err());
    }
}
