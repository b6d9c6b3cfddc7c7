//! The breakers against a simple model, and what holds of every history.

use super::*;
use proptest::prelude::*;

const RULES: Rules = Rules { failures: 3, pause_us: 1_000, pause_max_us: 8_000 };
const CAUSE: Code = Code::UpstreamTimeout;

fn operation(at: usize) -> OperationName {
    OperationName::new(&format!("desk/tool-{at}")).unwrap()
}

/// Breakers with a clock, and the calls on their way.
struct Bed {
    breakers: Breakers,
    now: Micros,
    changes: Vec<Transition>,
}

impl Bed {
    fn new() -> Self {
        Self { breakers: Breakers::new(RULES), now: Micros(1), changes: Vec::new() }
    }

    fn enter(&mut self, at: usize) -> Result<Entered, Broken> {
        self.breakers.enter(&operation(at), self.now, &mut self.changes)
    }

    fn end(&mut self, at: usize, entered: Entered, shown: Shown) {
        self.breakers.ended(&operation(at), entered, shown, self.now, &mut self.changes);
    }

    fn run(&mut self, at: usize, shown: Shown) -> bool {
        let entered = self.enter(at);
        let Ok(entered) = entered else { return false };
        self.end(at, entered, shown);
        true
    }

    fn pass(&mut self, us: i64) {
        self.now.0 += us;
    }

    fn told(&mut self) -> Vec<String> {
        let told = self.changes.drain(..).map(|change| {
            let of = change.operation.map_or("desk".to_owned(), |it| it.to_string());
            let pause = change.pause_us.map_or(String::new(), |pause| format!(" {pause}"));
            format!("{of} {}{pause}", change.state.as_str())
        });
        told.collect()
    }
}

#[test]
fn an_operation_that_fails_alone_stops_alone() {
    let mut bed = Bed::new();
    for _ in 0..3 {
        assert!(bed.run(1, Shown::Failure(CAUSE)));
    }
    assert_eq!(bed.told(), ["desk/tool-1 open 1000"]);
    assert!(!bed.run(1, Shown::Answer));
    let broken = bed.enter(1).unwrap_err();
    assert_eq!(broken, Broken { scope: BreakerScope::Operation, until: Micros(1_001) });
    assert!(bed.run(2, Shown::Answer));
    // However often it is tried, and however often others fail now and then.
    for _ in 0..20 {
        bed.pass(8_000);
        assert!(bed.run(1, Shown::Failure(CAUSE)));
        assert!(bed.run(2, Shown::Failure(CAUSE)));
        assert!(bed.run(2, Shown::Answer));
    }
    assert!(bed.told().iter().all(|told| told.starts_with("desk/tool-1 ")));
    bed.pass(8_000);
    assert!(bed.run(1, Shown::Answer));
    assert_eq!(bed.told(), ["desk/tool-1 half_open", "desk/tool-1 closed"]);
    assert!(bed.run(1, Shown::Answer));
}

#[test]
fn an_upstream_that_fails_for_all_stops_for_all() {
    for shown in [Shown::Failure(CAUSE), Shown::Unreachable(CAUSE)] {
        let mut bed = Bed::new();
        for at in 0..3 {
            assert!(bed.run(at, shown));
        }
        assert_eq!(bed.told(), ["desk open 1000"]);
        let broken = bed.enter(7).unwrap_err();
        assert_eq!(broken, Broken { scope: BreakerScope::Upstream, until: Micros(1_001) });
        bed.pass(1_000);
        let probe = bed.enter(7).unwrap();
        assert!(probe.is_probe() && bed.enter(1).is_err());
        bed.end(7, probe, shown);
        assert_eq!(bed.told(), ["desk half_open", "desk open 2000"]);
        bed.pass(2_000);
        assert!(bed.run(1, Shown::Answer));
        assert!(bed.run(2, Shown::Answer) && bed.run(7, Shown::Answer));
        assert_eq!(bed.told(), ["desk half_open", "desk closed"]);
    }
}

#[test]
fn two_operations_that_stop_one_after_the_other_stop_the_upstream_unless_something_answers() {
    let mut bed = Bed::new();
    for at in [1, 1, 1, 2, 2, 2] {
        assert!(bed.run(at, Shown::Failure(CAUSE)));
    }
    assert_eq!(bed.told(), ["desk/tool-1 open 1000", "desk/tool-2 open 1000", "desk open 1000"]);
    // Those that fail by themselves say nothing bad of the rest: one that answers brings it back.
    bed.pass(1_000);
    assert!(bed.run(1, Shown::Failure(CAUSE)));
    assert!(bed.run(3, Shown::Answer));
    assert!(!bed.run(1, Shown::Answer));
    assert!(bed.run(2, Shown::Answer));
    let mut bed = Bed::new();
    for at in [1, 1, 1] {
        assert!(bed.run(at, Shown::Failure(CAUSE)));
    }
    assert!(bed.run(3, Shown::Answer));
    for at in [2, 2, 2] {
        assert!(bed.run(at, Shown::Failure(CAUSE)));
    }
    assert!(bed.run(3, Shown::Answer), "{:?}", bed.told());
}

#[test]
fn what_began_before_it_opened_says_nothing_afterwards() {
    let mut bed = Bed::new();
    let late: Vec<Entered> = (0..9).map(|_| bed.enter(1).unwrap()).collect();
    for _ in 0..3 {
        bed.run(1, Shown::Unreachable(CAUSE));
    }
    bed.end(1, late[0], Shown::Answer);
    assert!(bed.enter(1).is_err());
    bed.pass(1_000);
    bed.run(1, Shown::Answer);
    assert_eq!(bed.told(), ["desk open 1000", "desk half_open", "desk closed"]);
    for entered in late.iter().skip(1) {
        bed.end(1, *entered, Shown::Failure(CAUSE));
        bed.end(2, *entered, Shown::Unreachable(CAUSE));
    }
    assert!(bed.run(3, Shown::Answer), "{:?}", bed.told());
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_it_open() {
    let mut bed = Bed::new();
    bed.now = Micros(1_000_000);
    for _ in 0..3 {
        bed.run(1, Shown::Unreachable(CAUSE));
    }
    assert!(bed.enter(1).is_err());
    bed.now = Micros(5);
    assert!(bed.run(1, Shown::Answer) && bed.run(2, Shown::Answer));
}

#[test]
fn operations_beyond_the_bound_count_as_their_upstream() {
    let mut bed = Bed::new();
    for at in 0..BROKEN_OPERATIONS_MAX {
        let entered = bed.enter(at).unwrap();
        bed.end(at, entered, Shown::Failure(CAUSE));
        bed.run(BROKEN_OPERATIONS_MAX + 1, Shown::Answer);
    }
    assert!(bed.told().is_empty());
    for _ in 0..3 {
        bed.run(BROKEN_OPERATIONS_MAX + 1, Shown::Failure(CAUSE));
    }
    assert_eq!(bed.told(), ["desk open 1000"]);
    assert_eq!(bed.breakers.operations.len(), BROKEN_OPERATIONS_MAX);
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(usize),
    /// The n-th call on its way ends.
    End(usize, Shown),
    Pass(i64),
}

fn shown() -> impl Strategy<Value = Shown> {
    prop_oneof![
        3 => Just(Shown::Failure(CAUSE)),
        2 => Just(Shown::Unreachable(CAUSE)),
        2 => Just(Shown::Answer),
        1 => Just(Shown::Nothing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::Enter),
        3 => (0..8_usize, shown()).prop_map(|(at, shown)| Step::End(at, shown)),
        1 => (0..3_000_i64).prop_map(Step::Pass),
    ]
}

/// One breaker, said again as simply as it can be: of an upstream with a single operation, whose
/// calls come one after the other, and whose failures are the upstream's.
struct Model {
    failures: u32,
    pause: i64,
    open: Option<i64>,
    closed_at: i64,
}

impl Model {
    fn call(&mut self, shown: Shown, now: i64) -> bool {
        if self.open.is_some_and(|until| now < until) {
            return false;
        }
        match shown {
            Shown::Nothing => {}
            Shown::Answer => {
                self.failures = 0;
                if self.open.take().is_some() {
                    self.closed_at = now;
                }
            }
            Shown::Failure(_) | Shown::Unreachable(_) => {
                let was_open = self.open.is_some();
                self.failures += 1;
                if was_open || self.failures >= RULES.failures {
                    let is_calm = self.pause == 0 || now - self.closed_at >= RULES.pause_max_us;
                    let doubles = was_open || !is_calm;
                    self.pause = if doubles { self.pause * 2 } else { RULES.pause_us };
                    self.pause = self.pause.min(RULES.pause_max_us);
                    (self.open, self.failures) = (Some(now + self.pause), 0);
                }
            }
        }
        true
    }
}

proptest! {
    #[test]
    fn one_breaker_does_what_the_model_does(
        calls in prop::collection::vec((0..3_000_i64, shown()), 0..200),
        is_operation in any::<bool>(),
    ) {
        let mut bed = Bed::new();
        let mut model = Model { failures: 0, pause: 0, open: None, closed_at: 0 };
        for (wait, shown) in calls {
            bed.pass(wait);
            let shown = match shown {
                Shown::Failure(code) | Shown::Unreachable(code) if is_operation => {
                    Shown::Failure(code)
                }
                Shown::Failure(code) => Shown::Unreachable(code),
                other => other,
            };
            prop_assert_eq!(bed.run(1, shown), model.call(shown, bed.now.0));
        }
    }

    /// Whatever calls do: at most one probe of each breaker is on its way, none is lost, what is
    /// open lets nothing through, and nothing stays stopped that answers.
    #[test]
    fn every_history_keeps_the_bounds(steps in prop::collection::vec(step(), 0..300)) {
        let mut bed = Bed::new();
        let mut on_their_way: Vec<(usize, Entered)> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(us) => bed.pass(us),
                Step::Enter(at) => {
                    let stops = bed.breakers.about(&operation(at), bed.now);
                    let is_paused = bed.breakers.standing().iter().any(|standing| {
                        let is_about = standing.operation.is_none()
                            || standing.operation == Some(operation(at));
                        is_about && standing.state == State::Open && bed.now < standing.until
                    });
                    let entered = bed.enter(at);
                    prop_assert_eq!(stops, entered.err());
                    prop_assert!(!(is_paused && entered.is_ok()));
                    on_their_way.extend(entered.ok().map(|entered| (at, entered)));
                }
                Step::End(at, shown) if !on_their_way.is_empty() => {
                    let (at, entered) = on_their_way.remove(at % on_their_way.len());
                    bed.end(at, entered, shown);
                }
                Step::End(..) => {}
            }
            let probes = |of: fn(&Entered) -> bool, at: Option<usize>| {
                let all = on_their_way.iter().filter(|(on, _)| at.is_none_or(|at| at == *on));
                all.filter(|(_, entered)| of(entered)).count()
            };
            prop_assert!(probes(|entered| entered.probes.0, None) <= 1);
            for at in 0..3 {
                prop_assert!(probes(|entered| entered.probes.1, Some(at)) <= 1);
            }
        }
        for (at, entered) in std::mem::take(&mut on_their_way) {
            bed.end(at, entered, Shown::Nothing);
        }
        bed.pass(RULES.pause_max_us);
        for at in 0..3 {
            prop_assert!(bed.run(at, Shown::Answer));
        }
        prop_assert!(bed.breakers.standing().is_empty());
        bed.pass(RULES.pause_max_us);
        for at in 0..3 {
            prop_assert!(bed.run(at, Shown::Answer));
        }
        prop_assert!(bed.breakers.operations.is_empty());
    }

    /// An upstream that does its worst does not flood the log: in a time as long as many of the
    /// longest pauses, a breaker turns about three times for each of them.
    #[test]
    fn transitions_are_few(answers in prop::collection::vec(any::<bool>(), 1..64)) {
        let mut bed = Bed::new();
        let (mut at, windows) = (0, 50);
        while bed.now.0 < windows * RULES.pause_max_us {
            bed.pass(50);
            let shown = if answers[at % answers.len()] {
                Shown::Answer
            } else {
                Shown::Unreachable(CAUSE)
            };
            at += 1;
            bed.run(1, shown);
        }
        // 3 for each pause, of which 3 are shorter than the longest.
        let max = usize::try_from(3 * (windows + 3 + 1)).unwrap();
        prop_assert!(bed.changes.len() <= max, "{} > {max}", bed.changes.len());
    }
}
