//! How an upstream is doing, as operators see it.

use crate::trouble::Trouble;
use lockgate_core::breaker::Standing;
use lockgate_types::{Micros, UpstreamName};
use lockgate_wire::Era;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines kept of what a child process writes to its standard error.
const STDERR_LINES_MAX: usize = 32;
/// Bytes kept of one such line.
const STDERR_LINE_BYTES_MAX: usize = 512;

/// How an upstream is doing.
#[derive(Clone, Debug)]
pub struct Health {
    /// Which one.
    pub upstream: UpstreamName,
    /// How it is.
    pub state: State,
    /// Since when.
    pub since: Micros,
    /// The eras it was found, or is configured, to speak.
    pub eras: Vec<Era>,
    /// What went wrong last, if anything ever did.
    pub last_error: Option<String>,
    /// Its circuit breakers that are not closed.
    pub breakers: Vec<Standing>,
    /// The last lines on standard error, of a child process.
    pub stderr: Vec<String>,
    /// Calls on their way.
    pub in_flight: usize,
    /// Open sessions, or processes.
    pub sessions: usize,
    /// Process ids of the child processes.
    pub pids: Vec<u32>,
}

/// How an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was asked of it yet.
    Unused,
    /// It answered when it was last asked.
    Up,
    /// It did not.
    Down,
}

impl State {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is remembered about one upstream.
pub(crate) struct Pulse {
    /// Spares the lock while all is well.
    is_up: AtomicBool,
    beat: Mutex<Beat>,
    pub(crate) stderr: Arc<Stderr>,
}

struct Beat {
    state: State,
    since: Micros,
    last_error: Option<String>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let beat = Beat { state: State::Unused, since: now(), last_error: None };
        Self {
            is_up: AtomicBool::new(false),
            beat: Mutex::new(beat),
            stderr: Arc::new(Stderr(Mutex::new(VecDeque::new()))),
        }
    }

    pub(crate) fn is_well(&self) {
        if !self.is_up.load(Ordering::Relaxed) {
            self.is_up.store(true, Ordering::Relaxed);
            self.change(State::Up, None);
        }
    }

    pub(crate) fn is_unwell(&self, trouble: &Trouble) {
        self.is_up.store(false, Ordering::Relaxed);
        self.change(State::Down, Some(format!("{}: {}", trouble.code, trouble.detail)));
    }

    /// It is as it was, and something was wrong that is not its own.
    pub(crate) fn was_wronged(&self, trouble: &Trouble) {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        beat.last_error = Some(format!("{}: {}", trouble.code, trouble.detail));
    }

    fn change(&self, state: State, error: Option<String>) {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        if beat.state != state {
            beat.state = state;
            beat.since = now();
        }
        if error.is_some() {
            beat.last_error = error;
        }
    }

    pub(crate) fn read(&self) -> (State, Micros, Option<String>) {
        let beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        (beat.state, beat.since, beat.last_error.clone())
    }
}

/// The last lines on standard error.
pub(crate) struct Stderr(Mutex<VecDeque<String>>);

impl Stderr {
    pub(crate) fn push(&self, line: &[u8]) {
        let line = line.get(..STDERR_LINE_BYTES_MAX).unwrap_or(line);
        let line: String =
            String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= STDERR_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
