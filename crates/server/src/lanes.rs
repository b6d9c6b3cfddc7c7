//! Lanes: threads that serve connections, each its own from the first byte to the last.
//!
//! Everything a call waits for is driven by the thread of its connection: its tasks, its connection
//! to the upstream, its timers. So no step of it waits for another thread to wake up, and the
//! connections spread over the cores. A lane does not know what is served on it.

use crate::shed;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The most lanes. Beyond, the one thread that writes the record is what calls wait for.
const LANES_MAX: usize = 16;

/// The lanes of a gate. They end when this is dropped, with whatever still runs on them.
pub struct Lanes {
    lanes: Vec<Lane>,
    turn: AtomicUsize,
    stop: CancellationToken,
}

struct Lane {
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Lanes {
    /// One lane for each core, within bounds.
    pub fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(cores.min(LANES_MAX))
    }

    fn with(count: usize) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let mut lanes = Self { lanes: Vec::new(), turn: AtomicUsize::new(0), stop: stop.clone() };
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, stop) = (runtime.handle().clone(), stop.clone());
            let thread = std::thread::Builder::new()
                .name(format!("lockgate-lane-{number}"))
                .spawn(move || {
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

    #[test]
    fn work_takes_turns_and_stays_on_its_thread() {
        let lanes = Lanes::with(3).unwrap();
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
}
