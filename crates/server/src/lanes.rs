//! Lanes: threads that serve connections, each its own from the first byte to the last.
//!
//! Everything a call waits for is driven by the thread of its connection: its tasks, its connection
//! to the upstream, its timers. So no step of it waits for another thread to wake up, and the
//! connections spread over the cores. A lane does not know what is served on it.

use crate::awake::{Awake, Signs};
use crate::shed;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// The most lanes. Beyond, the one thread that writes the record is what calls wait for.
const LANES_MAX: usize = 16;

/// How many turns other tasks have at most until one has its turn that another thread has woken:
/// the record's, mostly, with a call that was taken on and goes on from there. The runtime asks for
/// those in every 31st turn where nothing is said, so that with enough to read a lane began calls,
/// and went on with none.
const RECORDED_EVERY: u32 = 1;
/// How many turns pass at most until it is looked which sockets can be read: what has not been
/// looked at waits, and nobody knows it.
const SOCKETS_EVERY: u32 = 16;

/// The lanes of a gate. They end when this is dropped, with whatever still runs on them.
pub struct Lanes {
    lanes: Vec<Lane>,
    turn: AtomicUsize,
    stop: CancellationToken,
    /// Dropped with them.
    _awake: Option<Awake>,
}

struct Lane {
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Lanes {
    /// One lane for each core, within bounds. Processors stay awake for as long as `awake` says
    /// after one of them has had something to do.
    pub fn start(awake: Option<Awake>) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(cores.min(LANES_MAX), awake)
    }

    fn with(count: usize, awake: Option<Awake>) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let signs = awake.as_ref().map(Awake::signs);
        let turn = AtomicUsize::new(0);
        let mut lanes = Self { lanes: Vec::new(), turn, stop: stop.clone(), _awake: awake };
        for number in 0..count.max(1) {
            let runtime = runtime(signs.clone())?;
            let (handle, stop) = (runtime.handle().clone(), stop.clone());
            let thread = std::thread::Builder::new()
                .name(format!("lockgate-lane-{number}"))
                .spawn(move || {
                    lockgate_store::serve_lane(runtime.handle());
                    runtime.spawn(shed::watch());
                    runtime.block_on(stop.cancelled());
                })?;
            lanes.lanes.push(Lane { runtime: handle, thread: Some(thread) });
        }
        Ok(lanes)
    }

    /// Runs something on the next lane in turn.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some(lane) = self.lanes.get(turn % self.lanes.len().max(1)) {
            lane.runtime.spawn(work);
        }
    }
}

fn runtime(signs: Option<Signs>) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    let also = signs.clone();
    builder.on_thread_unpark(move || {
        lockgate_store::lane_wakes();
        signs.iter().for_each(Signs::tell);
    });
    builder.on_thread_park(move || {
        lockgate_store::lane_sleeps();
        also.iter().for_each(Signs::tell);
    });
    builder.global_queue_interval(RECORDED_EVERY).event_interval(SOCKETS_EVERY);
    builder.enable_all().build()
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stop.cancel();
        for lane in &mut self.lanes {
            // A lane that panicked has nothing more to say.
            let _ = lane.thread.take().map(JoinHandle::join);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    #[test]
    fn work_takes_turns_and_stays_on_its_thread() {
        let lanes = Lanes::with(3, None).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..9 {
            let sender = sender.clone();
            lanes.spawn(async move {
                let before = std::thread::current().id();
                tokio::task::yield_now().await;
                sender.send((before, std::thread::current().id())).unwrap();
            });
        }
        drop(sender);
        let ran: Vec<_> = receiver.iter().collect();
        assert_eq!(ran.len(), 9);
        assert!(ran.iter().all(|(before, after)| before == after));
        let threads: BTreeSet<_> = ran.iter().map(|(id, _)| format!("{id:?}")).collect();
        assert_eq!(threads.len(), 3);
    }

    /// Tasks that another thread wakes, all at the same time.
    const WOKEN: usize = 64;

    #[test]
    fn who_was_woken_by_the_record_goes_before_what_is_ready_here() {
        let lanes = Lanes::with(1, None).unwrap();
        let turns = Arc::new(AtomicUsize::new(0));
        let (told, tells) = std::sync::mpsc::channel();
        let mut wakes = Vec::new();
        for _ in 0..WOKEN {
            let (wake, woken) = tokio::sync::oneshot::channel::<()>();
            let (turns, told) = (Arc::clone(&turns), told.clone());
            wakes.push(wake);
            lanes.spawn(async move {
                let _ = woken.await;
                told.send(turns.load(Ordering::Relaxed)).unwrap();
            });
        }
        // The lane has begun all of them, and then stands still until all are woken.
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (stands, is_standing) = std::sync::mpsc::channel();
        let counted = Arc::clone(&turns);
        lanes.spawn(async move {
            tokio::spawn(std::future::poll_fn(move |context| {
                counted.fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }));
            stands.send(()).unwrap();
            let _ = held.recv();
        });
        is_standing.recv().unwrap();
        wakes.into_iter().for_each(|wake| wake.send(()).unwrap());
        drop(hold);
        drop(told);
        let last = tells.iter().max().unwrap();
        assert!(last < 2 * WOKEN, "{last} turns of what was ready came before");
    }
}
