//! Which crashes are tried: every script, every place, everything that a crash may leave, and
//! then the same again while the gate recovers.

use crate::check;
use crate::disk::Tail;
use crate::life::{Birth, End, First, Ground};
use crate::random::Random;
use crate::script::{Script, scripts};
use crate::tape::{Place, Point};
use crate::world::{Fate, WORLDS_MAX, World};
use lockgate_store::Faults;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Crashes of a recovery that are tried for each recovery that is recorded.
const AGAIN: usize = 24;
/// What is tried of all that may become of several messages.
const FATES: usize = 6;
/// Violations that are told of.
const VIOLATIONS_MAX: usize = 20;

/// One way to crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// Which of the places that the life comes to.
    pub(crate) point: usize,
    pub(crate) place: Place,
    pub(crate) tail: Tail,
    /// What becomes of the messages on their way.
    pub(crate) fates: Vec<Fate>,
    /// Who comes first after it.
    pub(crate) first: First,
}

/// What is to be explored.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) executions: usize,
    pub(crate) seed: u64,
    /// The only script to be explored, if it is not all of them.
    pub(crate) script: Option<usize>,
    pub(crate) faults: Faults,
    /// Whether to stop at the first violation.
    pub(crate) is_one_enough: bool,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) executions: usize,
    /// Ways to crash once that there was no time for.
    pub(crate) left_out: usize,
    /// Executions that crashed a second time.
    pub(crate) doubles: usize,
    /// Places to crash at that were come to, in lives that were recorded.
    pub(crate) points: usize,
    /// How often it crashed at each kind of place.
    pub(crate) places: BTreeMap<Place, usize>,
    pub(crate) scripts: usize,
    /// Executions in which something did not hold.
    pub(crate) violated: usize,
    /// What, of the first ones.
    pub(crate) violations: Vec<String>,
}

struct Exploration<'a> {
    plan: Plan,
    scripts: &'a [Script],
    next: AtomicUsize,
    done: AtomicUsize,
    is_over: AtomicBool,
    found: Mutex<Found>,
    tell: &'a (dyn Fn(usize) + Sync),
}

/// One exploration at a time: each takes the worlds' clocks.
static TURN: Mutex<()> = Mutex::new(());

/// Explores, and tells how many executions are done.
pub(crate) fn explore(plan: Plan, tell: &(dyn Fn(usize) + Sync)) -> Found {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let scripts = scripts();
    let exploration = Exploration {
        plan,
        scripts: &scripts,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        found: Mutex::default(),
        tell,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORLDS_MAX);
    std::thread::scope(|scope| {
        for slot in 0..workers {
            let exploration = &exploration;
            scope.spawn(move || exploration.work(slot));
        }
    });
    exploration.found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Exploration<'_> {
    fn work(&self, slot: usize) {
        let ground = Ground::new();
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(script) = self.scripts.get(at) else { return };
            if self.plan.script.is_some_and(|only| only != at) {
                continue;
            }
            let budget = budget(self.scripts, at, self.plan.executions);
            Worker { exploration: self, ground: &ground, slot, at, script }.explore(budget);
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// One script, in one thread.
struct Worker<'a> {
    exploration: &'a Exploration<'a>,
    ground: &'a Ground,
    slot: usize,
    at: usize,
    script: &'a Script,
}

impl Worker<'_> {
    /// Without a crash; then every single crash, as far as that goes; then double ones.
    fn explore(&self, budget: usize) {
        let seed = self.exploration.plan.seed;
        let mut random = Random::at(seed, &[self.at]);
        let mut whole = self.live(None, First::Client, true);
        check::hold_whole(&mut whole.world, self.script);
        self.report(&[], &whole);
        let singles = crashes(&whole.points, &mut random);
        let left = budget.saturating_sub(1);
        let all = singles.len();
        let singles = draw(singles, left, &mut random);
        self.leave_out(all - singles.len());
        let mut doubles = left - singles.len();
        // Recoveries are recorded only as far as they are crashed again.
        let recorded = doubles.div_ceil(AGAIN).min(singles.len());
        for (number, crash) in singles.into_iter().enumerate() {
            if self.is_over() {
                return;
            }
            let is_recorded = number < recorded;
            let Some(point) = whole.points.get(crash.point) else { continue };
            let recovery = self.live(Some((point, &crash)), crash.first, is_recorded);
            self.report(&[&crash], &recovery);
            let again = crashes(&recovery.points, &mut random);
            let each = doubles.checked_div(recorded.saturating_sub(number)).unwrap_or(0);
            for second in draw(again, each, &mut random) {
                doubles -= 1;
                let Some(point) = recovery.points.get(second.point) else { continue };
                let end = self.live(Some((point, &second)), second.first, false);
                self.report(&[&crash, &second], &end);
                if self.is_over() {
                    return;
                }
            }
        }
    }

    fn leave_out(&self, singles: usize) {
        let found = &self.exploration.found;
        found.lock().unwrap_or_else(PoisonError::into_inner).left_out += singles;
    }

    fn is_over(&self) -> bool {
        self.exploration.is_over.load(Ordering::Relaxed)
    }

    fn live(&self, crash: Option<(&Point, &Crash)>, first: First, is_recorded: bool) -> End {
        let (disk, world) = match crash {
            None => (self.ground.clean(), World::new(self.slot, self.script)),
            Some((point, crash)) => {
                let mut world = point.world.clone();
                world.crash(&crash.fates);
                (point.disk.crashed(crash.tail), world)
            }
        };
        let faults = self.exploration.plan.faults;
        let script = self.script;
        self.ground.live(Birth { script, disk, world, first, faults, is_recorded })
    }

    fn report(&self, crashes: &[&Crash], end: &End) {
        let exploration = self.exploration;
        {
            let mut found = exploration.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.executions += 1;
            found.points += end.points.len();
            found.doubles += usize::from(crashes.len() > 1);
            found.scripts += usize::from(crashes.is_empty());
            if let Some(last) = crashes.last() {
                *found.places.entry(last.place).or_default() += 1;
            }
            let violations = &end.world.violations;
            found.violated += usize::from(!violations.is_empty());
            if !violations.is_empty() && found.violations.len() < VIOLATIONS_MAX {
                found.violations.push(format!(
                    "{}\n  seed {}, script {}: {:?}\n  crashes: {crashes:?}\n  said: {:?}",
                    violations.join("\n"),
                    exploration.plan.seed,
                    self.at,
                    self.script,
                    end.world.said,
                ));
            }
            if !end.world.violations.is_empty() && exploration.plan.is_one_enough {
                exploration.is_over.store(true, Ordering::Relaxed);
            }
        }
        let done = exploration.done.fetch_add(1, Ordering::Relaxed) + 1;
        (exploration.tell)(done);
    }
}

/// Everything that may be left of a life at every place that it came to.
fn crashes(points: &[Point], random: &mut Random) -> Vec<Crash> {
    let mut crashes = Vec::new();
    for (number, point) in points.iter().enumerate() {
        let fates = fates(point.world.on_their_way.len(), random);
        for tail in point.disk.tails(random) {
            for fates in &fates {
                let first = [First::Client, First::Gate][crashes.len() % 2];
                let (place, fates) = (point.place, fates.clone());
                crashes.push(Crash { point: number, place, tail, fates, first });
            }
        }
    }
    crashes
}

/// How many executions a script gets of all: more asks, more ways to crash.
fn budget(scripts: &[Script], at: usize, executions: usize) -> usize {
    let asks = |scripts: &[Script]| scripts.iter().map(|script| script.asks.len()).sum::<usize>();
    let until = |at: usize| executions * asks(&scripts[..at]) / asks(scripts).max(1);
    until(at + 1) - until(at)
}

/// So many of them, of every kind of place about as many.
fn draw(from: Vec<Crash>, count: usize, random: &mut Random) -> Vec<Crash> {
    let mut of_place: BTreeMap<Place, Vec<Crash>> = BTreeMap::new();
    for crash in from {
        of_place.entry(crash.place).or_default().push(crash);
    }
    let shuffled = of_place.into_values().map(|crashes| {
        let all = crashes.len();
        random.draw(crashes, all).into_iter()
    });
    let shuffled: Vec<_> = shuffled.collect();
    let places = shuffled.len();
    let mut shuffled = random.draw(shuffled, places);
    let mut drawn = Vec::new();
    while drawn.len() < count {
        let before = drawn.len();
        drawn.extend(shuffled.iter_mut().filter_map(Iterator::next));
        if drawn.len() == before {
            break;
        }
    }
    drawn.truncate(count);
    drawn
}

/// What may become of so many messages.
fn fates(messages: usize, random: &mut Random) -> Vec<Vec<Fate>> {
    match messages {
        0 => vec![Vec::new()],
        1 => Fate::ALL.map(|fate| vec![fate]).into(),
        _ => {
            let draw = |random: &mut Random| Fate::ALL[random.below(Fate::ALL.len())];
            (0..FATES).map(|_| (0..messages).map(|_| draw(random)).collect()).collect()
        }
    }
}
