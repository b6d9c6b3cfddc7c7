//! The machine: as properties, and as the stories of `corpus/risk`.

use super::*;
use lockgate_types::risk::{CLASS_BYTES_MAX, REASONS_MAX};
use lockgate_types::{Json, JsonLimits};
use proptest::prelude::*;
use serde::Deserialize;

const SECOND: i64 = 1_000_000;

fn rules() -> Rules {
    Rules::new(&declare::Risk::default())
}

fn modes() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Normal, Mode::Approvals, Mode::ReadOnly, Mode::Locked])
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let happened = prop::sample::select(Class::ALL.to_vec()).prop_map(Event::Happened);
    let signal =
        (".{0,60}", any::<u16>()).prop_map(|(class, score)| Event::Signal { class, score });
    prop::collection::vec(prop_oneof![happened, signal], 0..20)
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop::sample::select(vec![Scope::Session, Scope::Tenant])
}

proptest! {
    /// I6: whatever happens, and whatever the clock says.
    #[test]
    fn events_never_loosen(
        scope in scopes(),
        began in modes(),
        story in prop::collection::vec((events(), -5_000_i64..100_000), 0..40),
    ) {
        let (rules, mut mode, mut risk, mut now) = (rules(), began, None, 1_000_000_000);
        for (events, seconds) in story {
            now += seconds * SECOND;
            let at = (None, Micros(now));
            let Some((next, raised)) = raise(&rules, scope, (mode, risk.as_ref()), &events, at)
            else {
                continue;
            };
            prop_assert!(next >= mode);
            prop_assert!((0..=SCORE_MAX * POINT).contains(&raised.level));
            prop_assert!(raised.reasons.len() <= REASONS_MAX);
            prop_assert!(raised.reasons.iter().all(|it| it.class.len() <= CLASS_BYTES_MAX));
            if next == mode {
                // A mode that holds is not begun anew, and so is not held for longer than it says.
                prop_assert_eq!(raised.since, risk.map_or(Micros(0), |risk: Risk| risk.since));
            }
            let json = Json::parse(&raised.to_json().to_canonical(), &JsonLimits::OWN).unwrap();
            prop_assert_eq!(Risk::from_json(&json), Some(raised.clone()));
            (mode, risk) = (next, Some(raised));
        }
    }

    /// A timer takes its time, one mode after the other, and never goes below what a person set.
    #[test]
    fn timers_loosen_no_sooner_than_they_say(
        mode in modes(),
        floor in modes(),
        level in 0..=SCORE_MAX * POINT,
        after in 0_i64..100_000,
    ) {
        let (rules, since) = (rules(), Micros(1_000_000_000));
        let risk = Risk { level, at: since, since, floor, ..Risk::default() };
        let now = Micros(since.0 + after * SECOND);
        let scale = rules.scale(Scope::Session);
        let settled = settle(scale, mode, &risk, now);
        let due = loosens_at(scale, mode, &risk);
        prop_assert_eq!(settled.is_some(), due.is_some_and(|at| at <= now));
        if let Some((looser, risk)) = settled {
            prop_assert!(looser < mode);
            prop_assert!(looser >= floor);
            prop_assert!(risk.since <= now);
            // What is left does not tighten it again at once: that is the hysteresis.
            let left = scale.decayed(risk.level, risk.at, now);
            prop_assert!(scale.of_level(left) <= looser);
            prop_assert!(after >= i64::from(declare::Stay::default().approvals));
        }
    }

    #[test]
    fn a_score_only_falls_with_time(
        level in 0..=SCORE_MAX * POINT,
        half_life_s in 1_u32..=2_592_000,
        first in 0_i64..10_000_000,
        more in 0_i64..10_000_000,
    ) {
        let declared = declare::Risk { half_life_s, ..declare::Risk::default() };
        let rules = Rules::new(&declared);
        let scale = rules.scale(Scope::Session);
        let at = |seconds: i64| scale.decayed(level, Micros(0), Micros(seconds * SECOND));
        prop_assert!(at(first) <= level);
        prop_assert!(at(first + more) <= at(first));
        prop_assert_eq!(at(-first), level);
        let below = scale.falls_below(level, Micros(0), 100 * POINT);
        prop_assert!(scale.decayed(level, Micros(0), below) < 100 * POINT);
        let before = Micros(below.0 - 1);
        prop_assert!(below.0 == 0 || scale.decayed(level, Micros(0), before) >= 100 * POINT);
    }

    #[test]
    fn a_person_sets_what_they_say(
        mode in modes(), to in modes(), level in 0..=SCORE_MAX * POINT, floor in modes(),
    ) {
        let (rules, now) = (rules(), Micros(1_000_000_000));
        let scale = rules.scale(Scope::Session);
        let risk = Risk { level, at: now, since: now, floor, ..Risk::default() };
        let (set, risk) = set(Some(scale), (mode, Some(&risk)), to, now);
        prop_assert_eq!(set, to);
        if to > mode {
            let later = Micros(now.0 + 100_000 * SECOND);
            prop_assert!(settle(scale, set, &risk, later).is_none(), "only a person loosens it");
        } else {
            prop_assert!(scale.of_level(risk.level) <= to, "it is not tightened again at once");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    story: Vec<Story>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    name: String,
    /// `[risk]`; what it does not say is as shipped.
    #[serde(default)]
    rules: String,
    #[serde(default)]
    tenant: bool,
    /// One after the other: `+60 refused refused -> approvals 120`. `settle` lets timers run,
    /// `person read_only` sets.
    steps: Vec<String>,
}

fn event(word: &str) -> Event {
    if let Some((class, score)) = word.strip_prefix("signal:").and_then(|it| it.rsplit_once('=')) {
        return Event::Signal { class: class.to_owned(), score: score.parse().unwrap() };
    }
    let class = Class::ALL.into_iter().find(|class| class.as_str() == word);
    Event::Happened(class.unwrap_or_else(|| panic!("`{word}` is no class")))
}

#[test]
fn every_story_goes_as_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../corpus/risk/stories.toml");
    let sheet: Sheet = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for story in &sheet.story {
        let declared: declare::Risk = toml::from_str(&story.rules).unwrap();
        let rules = Rules::new(&declared);
        let scope = if story.tenant { Scope::Tenant } else { Scope::Session };
        let (mut mode, mut risk, mut now) = (Mode::Normal, None, 1_700_000_000 * SECOND);
        for step in &story.steps {
            let (done, expected) = step.split_once(" -> ").unwrap();
            let mut words = done.split(' ');
            now += words.next().unwrap().parse::<i64>().unwrap() * SECOND;
            let words: Vec<&str> = words.collect();
            let (scale, at) = (rules.scale(scope), Micros(now));
            let changed = match words.as_slice() {
                ["settle"] => risk.as_ref().and_then(|risk| settle(scale, mode, risk, at)),
                ["person", to] => {
                    let to = Mode::from_word(to).unwrap();
                    Some(set(Some(scale), (mode, risk.as_ref()), to, at))
                }
                words => {
                    let events: Vec<Event> = words.iter().map(|word| event(word)).collect();
                    raise(&rules, scope, (mode, risk.as_ref()), &events, (None, at))
                }
            };
            if let Some((next, raised)) = changed {
                (mode, risk) = (next, Some(raised));
            }
            let score = risk.as_ref().map_or(0, |risk| score(Some(scale), risk, at));
            let found = format!("{} {score}", mode.as_str());
            if found != expected {
                wrong.push(format!("{}: {step}: {found}", story.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sheet.story.len() > 10);
}

#[test]
fn what_is_nobodys_fault_is_held_against_nobody() {
    let held = |code: Code| of_code(code).map(Class::as_str);
    let all = Code::ALL.iter().filter_map(|code| Some((code.as_str(), held(*code)?)));
    let all: Vec<String> = all.map(|(code, class)| format!("{code} {class}")).collect();
    let expected = [
        "LG-D002 refused",
        "LG-D003 refused",
        "LG-D004 refused",
        "LG-D006 malformed",
        "LG-D007 refused",
        "LG-D010 pressed",
        "LG-D012 malformed",
        "LG-D015 refused",
        "LG-D018 malformed",
        "LG-D024 limit",
        "LG-D025 malformed",
        "LG-D030 malformed",
    ];
    assert_eq!(all, expected);
}
