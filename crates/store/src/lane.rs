//! Threads that serve many calls at once, each with a runtime of its own: lanes.
//!
//! To wake another thread is dear, and what a lane's calls give to the record they give one after
//! the other. So the committer is woken once for all that a lane has put into its queue in one
//! turn, at the end of it, and finds it together; and a lane is woken once for all answers of a
//! batch that are for its calls. Nothing else is later by that: what waits in the queue is seen by
//! a committer that is awake, and whoever calls alone ends the turn.
//!
//! Threads that are no lanes wake, and are woken, for each.
//!
//! Lanes also say when they have nothing to do: as long as all of them have, the disk may rest.

use crate::job::{Rejected, Written};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

/// How much a lane puts into the queue at most until the committer is woken: a turn with very many
/// calls takes long.
const PUT_MAX: u32 = 32;

/// Lanes of this process, and how many of them have nothing to do.
static LANES: AtomicUsize = AtomicUsize::new(0);
static IDLE: AtomicUsize = AtomicUsize::new(0);

/// What became of a change.
pub(crate) type Answer = Result<Written, Rejected>;

thread_local! {
    static LANE: Lane = Lane::default();
}

/// What a thread knows of itself as a lane.
#[derive(Default)]
struct Lane {
    /// Where answers for its calls go, while somebody takes them out.
    mailbox: RefCell<Option<Arc<Mailbox>>>,
    /// Whether somebody wakes at the end of a turn whom it is to.
    wakes: Cell<bool>,
    /// Who is to be woken.
    sleeper: RefCell<Option<Waker>>,
    /// What was put into the queue since.
    put: Cell<u32>,
    turn: Arc<Notify>,
    /// What is to be woken when this lane has nothing to do.
    rest: RefCell<Option<Waker>>,
}

/// Makes the thread of a runtime a lane, until the runtime ends. The runtime has one thread, and
/// tells [`lane_sleeps`] and [`lane_wakes`].
pub fn serve_lane(runtime: &Handle) {
    runtime.spawn(deliver());
    runtime.spawn(wake_each_turn());
}

/// This thread's lane has nothing to do. To be told before its runtime sleeps.
pub fn lane_sleeps() {
    IDLE.fetch_add(1, Ordering::SeqCst);
    let _ = LANE.try_with(|lane| lane.rest.borrow().iter().for_each(Waker::wake_by_ref));
}

/// It has, again.
pub fn lane_wakes() {
    IDLE.fetch_sub(1, Ordering::SeqCst);
}

/// Whether there are lanes, and each has something to do.
pub(crate) fn all_are_busy() -> bool {
    LANES.load(Ordering::SeqCst) > 0 && IDLE.load(Ordering::SeqCst) == 0
}

/// Has somebody woken whenever this thread's lane has nothing to do.
pub(crate) fn feeds(rest: &Waker) {
    let _ = LANE.try_with(|lane| {
        let mut known = lane.rest.borrow_mut();
        if lane.wakes.get() && !known.as_ref().is_some_and(|known| known.will_wake(rest)) {
            *known = Some(rest.clone());
        }
    });
}

/// Leaves waking the committer to the end of this turn. `false`: it is for the caller to do, now.
pub(crate) fn wakes_later(sleeper: &Waker) -> bool {
    LANE.try_with(|lane| lane.wakes_later(sleeper)).unwrap_or(false)
}

impl Lane {
    fn wakes_later(&self, sleeper: &Waker) -> bool {
        if !self.wakes.get() {
            return false;
        }
        let mut known = self.sleeper.borrow_mut();
        match &*known {
            None => {
                *known = Some(sleeper.clone());
                self.put.set(1);
                // Behind everything that is ready already: that is the turn.
                self.turn.notify_one();
                true
            }
            Some(known) => {
                self.put.set(self.put.get().saturating_add(1));
                known.will_wake(sleeper) && self.put.get() < PUT_MAX
            }
        }
    }

    fn wake(&self) {
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }
}

/// Wakes, at the end of each turn, who is to be woken.
async fn wake_each_turn() {
    struct Waking;
    impl Drop for Waking {
        fn drop(&mut self) {
            LANES.fetch_sub(1, Ordering::SeqCst);
            // A thread that ends has no lane any more.
            let _ = LANE.try_with(|lane| {
                lane.wakes.set(false);
                lane.rest.take();
                lane.wake();
            });
        }
    }
    let turn = LANE.with(|lane| {
        lane.wakes.set(true);
        Arc::clone(&lane.turn)
    });
    LANES.fetch_add(1, Ordering::SeqCst);
    let _waking = Waking;
    loop {
        turn.notified().await;
        LANE.with(Lane::wake);
    }
}

/// Hands out the answers that come for this lane's calls.
async fn deliver() {
    struct Delivering(Arc<Mailbox>);
    impl Drop for Delivering {
        fn drop(&mut self) {
            let _ = LANE.try_with(|lane| lane.mailbox.take());
            let left = {
                let mut mail = self.0.mail();
                mail.is_closed = true;
                std::mem::take(&mut mail.letters)
            };
            left.into_iter().for_each(Letter::deliver);
        }
    }
    let mailbox = Arc::new(Mailbox::default());
    LANE.with(|lane| lane.mailbox.replace(Some(Arc::clone(&mailbox))));
    let delivering = Delivering(mailbox);
    let mut letters = Vec::new();
    loop {
        delivering.0.came.notified().await;
        std::mem::swap(&mut letters, &mut delivering.0.mail().letters);
        letters.drain(..).for_each(Letter::deliver);
    }
}

/// Answers for the calls of one lane.
#[derive(Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    came: Notify,
}

#[derive(Default)]
struct Mail {
    letters: Vec<Letter>,
    /// Nobody takes them out any more.
    is_closed: bool,
}

struct Letter {
    to: oneshot::Sender<Answer>,
    answer: Answer,
}

impl Letter {
    fn deliver(self) {
        // Who is gone is not told. An armed ticket in the answer then records that itself.
        let _ = self.to.send(self.answer);
    }
}

impl Mailbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a letter in, and says whether it is the first.
    fn put(&self, letter: Letter) -> Result<bool, Letter> {
        let mut mail = self.mail();
        if mail.is_closed {
            return Err(letter);
        }
        mail.letters.push(letter);
        Ok(mail.letters.len() == 1)
    }
}

/// Who waits for an answer, and on which lane.
pub(crate) struct Reply {
    to: oneshot::Sender<Answer>,
    mailbox: Option<Arc<Mailbox>>,
}

impl Reply {
    /// For whoever asks on this thread.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (to, answer) = oneshot::channel();
        let mailbox = LANE.try_with(|lane| lane.mailbox.borrow().clone()).ok().flatten();
        (Self { to, mailbox }, answer)
    }

    /// Answers this one alone.
    pub(crate) fn send(self, answer: Answer) {
        Letter { to: self.to, answer }.deliver();
    }
}

/// Answers several, and wakes each lane once.
pub(crate) fn answer_all(answers: impl Iterator<Item = (Reply, Answer)>) {
    let mut to_wake = Vec::new();
    for (Reply { to, mailbox }, answer) in answers {
        let letter = Letter { to, answer };
        let Some(mailbox) = mailbox else {
            letter.deliver();
            continue;
        };
        match mailbox.put(letter) {
            // Whoever has put in the first one wakes, or has done so.
            Ok(false) => {}
            Ok(true) => to_wake.push(mailbox),
            Err(letter) => letter.deliver(),
        }
    }
    to_wake.iter().for_each(|mailbox| mailbox.came.notify_one());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;
    use tokio::runtime::Builder;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lane() -> tokio::runtime::Runtime {
        let runtime = Builder::new_current_thread().build().unwrap();
        serve_lane(runtime.handle());
        runtime.block_on(tokio::task::yield_now());
        runtime
    }

    #[test]
    fn what_a_lane_puts_in_during_one_turn_wakes_once_at_its_end() {
        let runtime = lane();
        let counted = Arc::new(Counted::default());
        let woken = || counted.0.load(Ordering::Relaxed);
        let sleeper = Waker::from(Arc::clone(&counted));
        runtime.block_on(async {
            let puts = (0..PUT_MAX - 1).map(|_| {
                let (sleeper, counted) = (sleeper.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let later = wakes_later(&sleeper);
                    (later, counted.0.load(Ordering::Relaxed))
                })
            });
            for put in puts.collect::<Vec<_>>() {
                assert_eq!(put.await.unwrap(), (true, 0));
            }
            tokio::task::yield_now().await;
            assert_eq!(woken(), 1);
            // The next turn is another.
            assert!(wakes_later(&sleeper));
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert_eq!(woken(), 2);
        });
    }

    #[test]
    fn a_long_turn_wakes_meanwhile_and_so_does_who_is_no_lane() {
        let runtime = lane();
        let sleeper = Waker::from(Arc::new(Counted::default()));
        assert!(std::thread::scope(|scope| {
            scope.spawn(|| !wakes_later(&sleeper)).join().unwrap()
        }));
        runtime.block_on(async {
            let later = (0..PUT_MAX).filter(|_| wakes_later(&sleeper)).count();
            assert_eq!(later, PUT_MAX as usize - 1);
            // Another committer is not left asleep for this one's sake.
            assert!(!wakes_later(&Waker::from(Arc::new(Counted::default()))));
        });
    }

    #[test]
    fn whoever_is_to_be_woken_is_also_where_the_lane_ends_first() {
        let runtime = lane();
        let counted = Arc::new(Counted::default());
        assert!(runtime.block_on(async { wakes_later(&Arc::clone(&counted).into()) }));
        drop(runtime);
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        assert!(!wakes_later(&Arc::clone(&counted).into()));
    }

    #[test]
    fn answers_arrive_on_a_lane_and_after_it_and_elsewhere() {
        let runtime = lane();
        let (here, mut here_answer) = Reply::new();
        assert!(here.mailbox.is_some());
        let (elsewhere, mut elsewhere_answer) =
            std::thread::scope(|scope| scope.spawn(Reply::new).join().unwrap());
        assert!(elsewhere.mailbox.is_none());
        let (late, mut late_answer) = Reply::new();
        let (left, mut left_answer) = Reply::new();
        let nothing = || Ok(Written::Nothing);
        answer_all([(here, nothing()), (elsewhere, nothing())].into_iter());
        assert!(matches!(elsewhere_answer.try_recv(), Ok(Ok(Written::Nothing))));
        assert!(here_answer.try_recv().is_err());
        let arrived = runtime.block_on(&mut here_answer);
        assert!(matches!(arrived, Ok(Ok(Written::Nothing))));
        answer_all(std::iter::once((left, nothing())));
        drop(runtime);
        assert!(matches!(left_answer.try_recv(), Ok(Ok(Written::Nothing))));
        answer_all(std::iter::once((late, nothing())));
        assert!(matches!(late_answer.try_recv(), Ok(Ok(Written::Nothing))));
    }
}
