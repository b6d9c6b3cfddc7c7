//! Processors that are kept awake: for a moment after the gate has done something, threads that run
//! only where nobody else wants to keep its processors from going to sleep.
//!
//! A processor that has nothing to do is halted, and takes a while to wake up: a few microseconds
//! on bare metal, but hundreds in a virtual machine, whose host has to notice first. A call sleeps
//! and wakes many times (for the disk, for the upstream, for the thread that writes the record), so
//! that most of what a lone call costs in such a machine is waking up. Guests whose kernel waits a
//! moment before it halts (`haltpoll`) do not need this.
//!
//! The threads have the scheduling class `SCHED_IDLE`: whoever else is ready to run gets the
//! processor at once. They use time that nobody wanted, and power.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// How long processors stay awake after the last sign of life, where it is worth it: longer than
/// the disk takes, which is what calls wait for longest.
pub const AWAKE_USUALLY: Duration = Duration::from_millis(1);
/// The most processors that are kept awake.
const PROCESSORS_MAX: usize = 4;

/// Threads that keep processors awake, until this is dropped.
pub struct Awake {
    signs: Signs,
    threads: Vec<JoinHandle<()>>,
}

/// Tells of signs of life.
#[derive(Clone)]
pub struct Signs(Arc<Shared>);

struct Shared {
    began: Instant,
    lasting: Duration,
    /// Nanoseconds after `began` until when processors are to stay awake.
    until: AtomicU64,
    /// Whether the threads have gone to sleep, or are about to.
    is_asleep: AtomicBool,
    threads: std::sync::OnceLock<Vec<Thread>>,
    has_ended: AtomicBool,
}

/// Whether it is worth it here: a virtual machine whose kernel halts at once.
pub fn is_worth_it() -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let is_guest = read("/proc/cpuinfo")
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"));
    is_guest && read("/sys/devices/system/cpu/cpuidle/current_driver").trim() != "haltpoll"
}

impl Awake {
    /// Keeps processors awake for so long after each sign of life. `None` where the scheduling
    /// class that makes it harmless cannot be had.
    pub fn start(lasting: Duration) -> Option<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let signs = Signs(Arc::new(Shared {
            began: Instant::now(),
            lasting,
            until: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            threads: std::sync::OnceLock::new(),
            has_ended: AtomicBool::new(false),
        }));
        let (told, tells) = std::sync::mpsc::channel();
        let mut awake = Self { signs: signs.clone(), threads: Vec::new() };
        for number in 0..cores.min(PROCESSORS_MAX) {
            let (signs, told) = (signs.clone(), told.clone());
            let thread = std::thread::Builder::new()
                .name(format!("lockgate-awake-{number}"))
                .spawn(move || {
                    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
                    let (own, least) = (thread_native_id(), ThreadPriority::Min);
                    let is_idle = set_thread_priority_and_policy(own, least, idle).is_ok();
                    let _ = told.send(is_idle);
                    drop(told);
                    if is_idle {
                        signs.0.stay();
                    }
                });
            awake.threads.push(thread.ok()?);
        }
        drop(told);
        let threads = awake.threads.iter().map(|thread| thread.thread().clone()).collect();
        let _ = signs.0.threads.set(threads);
        tells.iter().all(|is_idle| is_idle).then_some(awake)
    }

    /// Where signs of life are told.
    pub fn signs(&self) -> Signs {
        self.signs.clone()
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.signs.0.has_ended.store(true, Ordering::SeqCst);
        self.signs.0.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Signs {
    /// The gate has something to do.
    pub fn tell(&self) {
        let shared = &*self.0;
        let until = shared.nanos(shared.began.elapsed() + shared.lasting);
        shared.until.store(until, Ordering::SeqCst);
        if shared.is_asleep.load(Ordering::SeqCst) {
            shared.is_asleep.store(false, Ordering::SeqCst);
            shared.wake();
        }
    }
}

impl Shared {
    fn nanos(&self, after: Duration) -> u64 {
        u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)
    }

    fn wake(&self) {
        self.threads.get().into_iter().flatten().for_each(Thread::unpark);
    }

    fn is_over(&self) -> bool {
        self.nanos(self.began.elapsed()) >= self.until.load(Ordering::SeqCst)
    }

    /// Stays awake, and sleeps when it is over.
    fn stay(&self) {
        while !self.has_ended.load(Ordering::SeqCst) {
            if !self.is_over() {
                continue;
            }
            self.is_asleep.store(true, Ordering::SeqCst);
            if self.is_over() && !self.has_ended.load(Ordering::SeqCst) {
                std::thread::park();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    const LASTING: Duration = Duration::from_millis(200);
    /// Threads of one process are looked at: those of one test at a time.
    static ALONE: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn comes_to(is_asleep: bool, awake: &Awake) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if awake.signs.0.is_asleep.load(Ordering::SeqCst) == is_asleep {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    #[test]
    fn processors_stay_awake_for_a_moment_after_each_sign_and_not_for_ever() {
        let _alone = alone();
        let awake = Awake::start(LASTING).unwrap();
        assert!(comes_to(true, &awake));
        for _ in 0..2 {
            let told = Instant::now();
            awake.signs().tell();
            assert!(!awake.signs.0.is_asleep.load(Ordering::SeqCst) || told.elapsed() >= LASTING);
            assert!(comes_to(true, &awake));
            assert!(told.elapsed() >= LASTING);
        }
    }

    #[test]
    fn threads_end_with_it_awake_or_not() {
        let _alone = alone();
        for tells in [false, true] {
            let awake = Awake::start(Duration::from_secs(3600)).unwrap();
            let signs = awake.signs();
            if tells {
                signs.tell();
            }
            drop(awake);
            assert_eq!(Arc::strong_count(&signs.0), 1);
        }
    }

    #[test]
    fn whoever_else_wants_a_processor_has_it() {
        let _alone = alone();
        let awake = Awake::start(LASTING).unwrap();
        awake.signs().tell();
        let ids = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let name = |task: &std::path::Path| std::fs::read_to_string(task.join("comm")).unwrap();
        let own: Vec<_> = ids.filter(|task| name(task).starts_with("lockgate-awake")).collect();
        assert!(!own.is_empty());
        for task in own {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap();
            // Field 41: the scheduling class (proc_pid_stat(5)). 5 is `SCHED_IDLE`.
            let class = stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap();
            assert_eq!(class, "5");
        }
    }
}
