//! What becomes of canaries: stories as a table, and what holds of all of them.

use super::*;
use proptest::prelude::*;

/// Windows of 10 s with at least 20 answers; 10 of a hundred may fail, 20 may be refused.
fn rules() -> Rules {
    Rules {
        window_us: 10_000_000,
        samples_min: 20,
        promote_after: Some(2),
        retries: 1,
        pause_us: 60_000_000,
        tolerated: [Some(10), Some(20), None, Some(SLOW_PERCENT_MAX)],
    }
}

fn at(seconds: i64) -> Micros {
    Micros(seconds * 1_000_000)
}

/// Runs `seconds calls errors refusals slow` and tells each change.
fn story(rules: &Rules, steps: &[(i64, i64, i64, i64, i64)]) -> Vec<(i64, &'static str, String)> {
    let mut canary = Canary::new(at(0));
    let mut told = Vec::new();
    for (seconds, calls, errors, refusals, slow) in steps {
        let answers =
            Tally { calls: *calls, errors: *errors, refusals: *refusals, findings: 0, slow: *slow };
        let read = Canary::from_json(&canary.to_json());
        assert_eq!(read.as_ref(), Some(&canary), "what is kept is read back");
        if let Some(transition) = canary.observe(rules, answers, at(*seconds)) {
            let why = transition.breach.map_or(String::new(), |breach| {
                format!("{} {} of {}", breach.guard.as_str(), breach.seen, breach.calls)
            });
            told.push((*seconds, transition.stage.as_str(), why));
        }
    }
    told
}

#[test]
fn what_becomes_of_a_canary() {
    let promoted = |at| (at, "promoted", String::new());
    let back = |at, why: &str| (at, "rolled_back", why.to_owned());
    let running = |at| (at, "running", String::new());
    for (about, steps, expected) in [
        ("two good windows", vec![(10, 50, 0, 0, 0), (20, 50, 3, 0, 0)], vec![promoted(20)]),
        ("too few answers", vec![(10, 19, 0, 0, 0), (900, 0, 0, 0, 0)], vec![]),
        (
            "a window goes on until it has enough",
            vec![(10, 19, 0, 0, 0), (30, 1, 0, 0, 0), (40, 20, 0, 0, 0)],
            vec![promoted(40)],
        ),
        ("taken back in mid-window", vec![(1, 3, 3, 0, 0)], vec![back(1, "errors 3 of 3")]),
        ("two errors of the first two may be chance", vec![(1, 2, 2, 0, 0)], vec![]),
        (
            "just tolerated is neither",
            vec![(10, 100, 10, 0, 0), (20, 100, 10, 0, 0), (30, 100, 9, 0, 0)],
            vec![],
        ),
        (
            "what is only tolerated begins the row anew",
            vec![(10, 100, 0, 0, 0), (20, 100, 10, 0, 0), (30, 100, 0, 0, 0), (40, 100, 0, 0, 0)],
            vec![promoted(40)],
        ),
        (
            "a promoted one that got worse",
            vec![(10, 50, 0, 0, 0), (20, 50, 0, 0, 0), (25, 100, 0, 21, 0)],
            vec![promoted(20), back(25, "refusals 21 of 100")],
        ),
        ("late", vec![(5, 100, 0, 0, 6)], vec![back(5, "slow 6 of 100")]),
        (
            "tried again once, and what was under way is not counted",
            vec![
                (1, 9, 9, 0, 0),
                (2, 50, 0, 0, 0),
                (60, 0, 0, 0, 0),
                (61, 0, 0, 0, 0),
                (62, 9, 9, 0, 0),
                (9_999, 50, 0, 0, 0),
            ],
            vec![back(1, "errors 9 of 9"), running(61), back(62, "errors 9 of 9")],
        ),
    ] {
        assert_eq!(story(&rules(), &steps), expected, "{about}");
    }
    let never = Rules { promote_after: None, ..rules() };
    assert_eq!(story(&never, &[(10, 50, 0, 0, 0), (20, 50, 0, 0, 0)]), []);
}

#[test]
fn nonsense_counts_do_no_harm() {
    let mut canary = Canary::new(at(0));
    let nonsense = Tally { calls: -5, errors: i64::MAX, refusals: -1, findings: 3, slow: i64::MIN };
    assert_eq!(canary.observe(&rules(), nonsense, at(-100)), None);
    assert_eq!(canary.tally(), Tally::default());
    let much = Tally { calls: i64::MAX, ..Tally::default() };
    for _ in 0..3 {
        canary.observe(&rules(), much, at(1));
    }
    assert_eq!(canary.tally().calls, CALLS_MAX);
    assert_eq!(Canary::from_json(&Json::Null), None);
}

fn answers() -> impl Strategy<Value = Vec<(i64, bool, bool)>> {
    prop::collection::vec((0..3_i64, any::<bool>(), prop::bool::weighted(0.1)), 0..400)
}

proptest! {
    /// However good a canary was before: once it is worse than tolerated, it is taken back within
    /// what a window tolerates, and one answer.
    #[test]
    fn a_worse_model_is_taken_back_within_its_budget(
        good_before in 0..200_i64, samples_min in 1..60_i64, tolerated in 0..50_i64,
    ) {
        let rules = Rules { samples_min, tolerated: [Some(tolerated), None, None, None], ..rules() };
        let mut canary = Canary::new(at(0));
        for second in 0..good_before {
            canary.observe(&rules, Tally::of_one(&[]), at(second));
        }
        // What of its window is used up by good answers makes room for as many bad ones.
        let calls = canary.tally().calls;
        let mut failures = 0;
        while canary.stage() != Stage::RolledBack {
            // Within the window that it is in, whatever the clock says.
            canary.observe(&rules, Tally::of_one(&[Guard::Errors]), at(0));
            failures += 1;
            let of = (calls + failures).max(samples_min);
            prop_assert!((failures - 1) * 100 <= tolerated * of, "{failures} of {of}");
        }
        let of = (calls + failures).max(samples_min);
        prop_assert!(failures * 100 > tolerated * of, "it was still tolerated");
    }

    #[test]
    fn too_few_answers_never_promote(all in answers()) {
        let rules = Rules { tolerated: [Some(99), None, None, None], ..rules() };
        let mut canary = Canary::new(at(0));
        let (mut now, mut calls) = (0, 0);
        for (seconds, has_failed, _) in all {
            now += seconds;
            calls += 1;
            canary.observe(&rules, Tally::of_one(if has_failed { &[Guard::Errors] } else { &[] }), at(now));
            let needed = rules.samples_min * i64::from(rules.promote_after.unwrap());
            prop_assert!(canary.stage() != Stage::Promoted || calls >= needed);
        }
    }

    #[test]
    fn it_comes_and_goes_only_so_often(
        all in prop::collection::vec((0..200_i64, 0..60_i64, 0..60_i64), 0..300), retries in 0..4_u32,
    ) {
        let rules = Rules { retries, ..rules() };
        let mut canary = Canary::new(at(0));
        let (mut now, mut changes, mut back) = (0, 0, 0);
        for (seconds, calls, errors) in all {
            now += seconds;
            let answers = Tally { calls, errors: errors.min(calls), ..Tally::default() };
            if let Some(transition) = canary.observe(&rules, answers, at(now)) {
                changes += 1;
                back += u32::from(transition.stage == Stage::RolledBack);
                prop_assert_eq!(transition.stage, canary.stage());
            }
        }
        prop_assert!(back <= retries + 1);
        prop_assert!(changes <= 3 * (retries + 1));
    }
}
