//! How old documents may be.

use crate::bundle::world;
use crate::organisation::{Dice, NOW, Organisation, SOURCES, Size};
use lockgate_core::retrieve::Narrowed;
use lockgate_core::retrieve::fresh::{Age, aged};
use lockgate_types::document::{Curation, DocumentFacts};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Micros, TaskName};
use std::collections::BTreeSet;

const SOURCE: &str = "owner = \"it\"\nclassification = \"internal\"\n\
     [connector.directory]\npath = \"docs\"\n\
     [freshness]\nsay_after_s = 3600\nconfirm_after_s = 7200\nrefuse_after_s = 86400\n";
const TASK: &str = "[freshness]\nsince = \"changed\"\nread_only_after_s = 172800\n";

fn runbook(confirmed_ago_s: i64, changed_ago_s: i64) -> DocumentFacts {
    DocumentFacts {
        id: "db.md".to_owned(),
        source: "runbooks".to_owned(),
        tenant: "default".to_owned(),
        folders: Vec::new(),
        kind: "runbook".to_owned(),
        owner: None,
        curation: Curation::Curated,
        classification: Confidentiality::Internal,
        tags: BTreeSet::new(),
        readers: None,
        denied: BTreeSet::new(),
        changed: Micros(NOW - changed_ago_s * 1_000_000),
        confirmed: Micros(NOW - confirmed_ago_s * 1_000_000),
    }
}

#[test]
fn what_is_too_old_is_never_silent() {
    let world = world(&[("sources/runbooks.toml", SOURCE), ("tasks/incident.toml", TASK)]);
    let task = TaskName::new("incident").unwrap();
    let day = 86_400;
    let seen = |rest: &str| Some(format!("`runbooks/db.md` was last seen to be so {rest}"));
    let changed = |rest: &str| Some(format!("`runbooks/db.md` was last changed {rest}"));
    let refused = || seen("3 days ago, more than 24 hours; it is not used");
    for (task, confirmed_ago_s, changed_ago_s, age, words) in [
        (None, 3600, 900 * day, Age::Fresh, None),
        (None, 3601, 0, Age::Say, seen("60 minutes ago, more than 60 minutes")),
        (
            None,
            10_000,
            0,
            Age::Confirm,
            seen("2 hours ago, more than 2 hours; somebody has to confirm what rests on it"),
        ),
        (None, 3 * day, 0, Age::Refuse, refused()),
        // A clock that is a little ahead is no harm; one that is far ahead tells nothing.
        (None, -30, 0, Age::Fresh, None),
        (
            None,
            -61,
            0,
            Age::Refuse,
            seen("at a time that is still to come, more than 24 hours; it is not used"),
        ),
        // Of a task's budget and the source's, the one with more restraint.
        (Some(&task), 0, 2 * day, Age::Fresh, None),
        (
            Some(&task),
            3601,
            700 * day,
            Age::ReadOnly,
            changed("700 days ago, more than 2 days; the session may only read from now on"),
        ),
        (Some(&task), 3 * day, 700 * day, Age::Refuse, refused()),
    ] {
        let found = aged(&world, task, &runbook(confirmed_ago_s, changed_ago_s), Micros(NOW));
        let case = format!("{task:?} {confirmed_ago_s} {changed_ago_s}");
        assert_eq!((found.age, found.words), (age, words), "{case}");
    }
    // The ends of time are no way around it.
    for confirmed in [i64::MIN, i64::MAX] {
        let mut document = runbook(0, 0);
        document.confirmed = Micros(confirmed);
        assert_eq!(aged(&world, None, &document, Micros(NOW)).age, Age::Refuse, "{confirmed}");
    }
}

/// A budget of a few days, or of none that anybody lives to see.
fn budget(dice: &mut Dice) -> String {
    let since = dice.pick(&["confirmed", "changed"]);
    let hours = [0, 1, 24, 48, u64::MAX / 7200][dice.roll(5)];
    let refuse = match dice.is(5) {
        true => "say_after_s = 60\n".to_owned(),
        false => format!("refuse_after_s = {}\n", hours * 3600),
    };
    format!("[freshness]\nsince = \"{since}\"\n{refuse}")
}

#[test]
fn what_a_search_narrows_itself_down_to_is_the_same_as_a_filter_and_one_by_one() {
    let (mut used, mut left_out) = (0_u32, 0_u32);
    for seed in 0..30 {
        let mut dice = Dice::of(seed);
        let documents = Organisation::random(&mut dice, &Size::LARGE).documents;
        let source = "owner = \"it\"\nclassification = \"public\"\n\
                      [connector.directory]\npath = \"docs\"\n";
        let mut files: Vec<(String, String)> = Vec::new();
        for (name, ..) in SOURCES {
            let budget = if dice.is(3) { String::new() } else { budget(&mut dice) };
            files.push((format!("sources/{name}.toml"), format!("{source}{budget}")));
        }
        let answers = ["", "answers_from = [\"template\", \"note\"]\n"][dice.roll(2)];
        files.push(("tasks/t.toml".to_owned(), format!("{answers}{}", budget(&mut dice))));
        let texts: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let world = world(&texts);
        let task = TaskName::new("t").unwrap();
        for (task, kinds) in
            [(None, vec![]), (Some(&task), vec![]), (Some(&task), vec!["note", "ticket"])]
        {
            let narrowed = Narrowed::new(&world, task, kinds, Micros(NOW));
            let filter = narrowed.filter();
            for document in &documents {
                let holds = narrowed.holds(document);
                assert_eq!(filter.holds(document), holds, "{seed} {document:?} {filter:?}");
                *if holds { &mut used } else { &mut left_out } += 1;
            }
        }
    }
    assert!(used > 1000 && left_out > 1000, "{used} {left_out}");
}
