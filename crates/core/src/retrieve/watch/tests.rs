use super::*;
use proptest::prelude::*;

/// A question about a subject, answered by these documents of `wiki`.
fn search(query: &str, documents: &[&str]) -> Search {
    let shown = documents.iter().map(|document| Shown {
        source: "wiki".to_owned(),
        document: (*document).to_owned(),
        ..Shown::default()
    });
    Search {
        query: query.to_owned(),
        sources: BTreeSet::from(["wiki".to_owned()]),
        shown: shown.collect(),
        ..Search::default()
    }
}

/// A window of different questions, each answered by a document of its own, and by these.
fn window(watch: &mut Watch, subject: &str, also: &[&str]) -> Vec<Suspicion> {
    let mut found = Vec::new();
    for n in 0..WINDOW_SEARCHES {
        let own = format!("{subject}-{}.md", n % 40);
        let documents: Vec<&str> = also.iter().copied().chain([own.as_str()]).collect();
        let query = format!("{subject} question number{}", n % 40);
        found.extend(watch.note(&search(&query, &documents)));
    }
    found.into_iter().map(|(_, suspicion)| suspicion).collect()
}

fn kinds(found: &[Suspicion]) -> Vec<(Kind, &str)> {
    found.iter().map(|it| (it.kind, it.document.as_str())).collect()
}

#[test]
fn what_is_asked_and_found_is_counted_by_source_and_task() {
    let mut watch = Watch::default();
    for (task, documents, withheld) in
        [("triage", &["a.md"][..], 0), ("triage", &[], 3), ("", &["a.md", "b.md"], 1)]
    {
        let mut search = search("why", documents);
        search.task = task.to_owned();
        search.sources.insert("tickets".to_owned());
        search.withheld.insert("wiki".to_owned(), withheld);
        watch.note(&search);
    }
    let health = watch.health();
    let [tickets, wiki] = health.as_slice() else { panic!() };
    assert_eq!((tickets.source.as_str(), wiki.source.as_str()), ("tickets", "wiki"));
    assert_eq!(tickets.all, Counts { searches: 3, hits: 0, withheld: 0 });
    assert_eq!(wiki.all, Counts { searches: 3, hits: 2, withheld: 4 });
    assert_eq!(wiki.tasks["triage"], Counts { searches: 2, hits: 1, withheld: 3 });
    assert_eq!(wiki.tasks[""], Counts { searches: 1, hits: 1, withheld: 1 });
}

#[test]
fn a_document_that_suddenly_answers_everything_is_told_once_in_each_window() {
    let mut watch = Watch::default();
    // Without a past nothing is unusual.
    assert_eq!(window(&mut watch, "travel", &["hub.md"]), []);
    // What always was so is usual.
    assert_eq!(window(&mut watch, "travel", &["hub.md"]), []);
    let found = window(&mut watch, "travel", &["hub.md", "planted.md"]);
    assert_eq!(kinds(&found), [(Kind::Dominance, "planted.md")]);
    assert_eq!((found[0].value, found[0].before), (1000, 0));
    assert_eq!(watch.health()[0].suspicions, found);
    // From then on it is what is usual, and stays on the list.
    assert_eq!(window(&mut watch, "travel", &["hub.md", "planted.md"]), []);
    assert_eq!(watch.health()[0].suspicions, found);
}

#[test]
fn one_question_asked_over_and_over_makes_nothing_dominant() {
    let mut watch = Watch::default();
    window(&mut watch, "travel", &[]);
    for n in 0..30 {
        watch.note(&search(&format!("about number{n}"), &[&format!("{n}.md")]));
    }
    for _ in 30..WINDOW_SEARCHES - 1 {
        assert_eq!(watch.note(&search("always the same", &["one.md"])), []);
    }
}

#[test]
fn where_there_are_few_documents_each_is_in_most_answers() {
    let mut watch = Watch::default();
    window(&mut watch, "travel", &[]);
    let mut found = Vec::new();
    for n in 0..40 {
        found.extend(watch.note(&search(&format!("travel number{n}"), &["new.md", "two.md"])));
    }
    assert_eq!(found, []);
}

#[test]
fn drift_of_questions_and_of_answers_is_told_when_a_window_is_over() {
    let mut watch = Watch::default();
    window(&mut watch, "travel", &[]);
    assert_eq!(window(&mut watch, "travel", &[]), []);
    let health = watch.health();
    assert_eq!((health[0].query_drift, health[0].result_drift), (Some(0), Some(0)));
    let found = window(&mut watch, "payroll", &[]);
    assert_eq!(kinds(&found), [(Kind::ResultDrift, "")], "the words are much the same");
    let mut found = Vec::new();
    for n in 0..WINDOW_SEARCHES {
        let asked = format!("when{n} does{n} rain{n}");
        found.extend(watch.note(&search(&asked, &[&format!("payroll-{}.md", n % 40)])));
    }
    let found: Vec<Suspicion> = found.into_iter().map(|(_, it)| it).collect();
    assert_eq!(kinds(&found), [(Kind::QueryDrift, "")]);
    assert_eq!(found[0].value, 1000);
}

#[test]
fn a_document_that_gives_orders_or_contradicts_is_told_once_in_each_window() {
    let mut watch = Watch::default();
    let mut planted = search("travel", &["a.md", "planted.md"]);
    planted.shown[1].orders = 800;
    let found = watch.note(&planted);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1.kind, found[0].1.value), (Kind::Orders, 800));
    assert_eq!(watch.note(&planted), []);
    let mut other = search("travel", &["a.md", "other.md"]);
    other.shown[1].contradicts = 750;
    let found = watch.note(&other);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1.kind, found[0].1.value), (Kind::Contradiction, 750));
    assert_eq!(found[0].1.document, "other.md");
    assert_eq!(watch.note(&other), []);
}

#[test]
fn what_people_say_is_counted_with_its_document_the_latest_first() {
    let mut watch = Watch::default();
    let say = |watch: &mut Watch, document: &str, verdict, at| {
        watch.say("wiki", document, verdict, Micros(at));
    };
    say(&mut watch, "a.md", Verdict::Useful, 1);
    say(&mut watch, "b.md", Verdict::Suspicious, 2);
    say(&mut watch, "a.md", Verdict::Wrong, 3);
    say(&mut watch, "a.md", Verdict::Wrong, 4);
    let said = &watch.health()[0].feedback;
    let said: Vec<_> = said.iter().map(|it| (it.document.as_str(), it.counts, it.at.0)).collect();
    assert_eq!(said, [("a.md", [1, 2, 0], 4), ("b.md", [0, 0, 1], 2)]);
    for n in 0..1000 {
        say(&mut watch, &n.to_string(), Verdict::Useful, n);
    }
    assert_eq!(watch.health()[0].feedback.len(), FEEDBACK_MAX);
}

#[test]
fn counts_differ_by_their_shares() {
    let counts = |all: &[(u8, u32)]| all.iter().copied().collect::<BTreeMap<u8, u32>>();
    for (one, other, expected) in [
        (&[(1, 1)][..], &[(1, 50)][..], Some(0)),
        (&[(1, 1)], &[(2, 1)], Some(1000)),
        (&[(1, 1), (2, 1)], &[(1, 1), (3, 1)], Some(500)),
        (&[(1, 3), (2, 1)], &[(1, 1), (2, 3)], Some(500)),
        (&[], &[(1, 1)], None),
    ] {
        assert_eq!(difference(&counts(one), &counts(other)), expected, "{one:?} {other:?}");
    }
}

fn any_search() -> impl Strategy<Value = Search> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g"]);
    let shown = (name(), 0_u16..1000).prop_map(|(document, orders)| Shown {
        source: "wiki".to_owned(),
        document: document.to_owned(),
        orders: orders.saturating_sub(900),
        contradicts: orders.saturating_sub(980),
    });
    let query = prop::collection::vec("[a-z]{3}", 0..4).prop_map(|words| words.join(" "));
    (query, prop::collection::vec(shown, 0..6), 0_u32..3, 0_u8..200).prop_map(
        |(query, shown, withheld, task)| Search {
            query,
            shown,
            task: format!("task{task}"),
            sources: BTreeSet::from(["wiki".to_owned()]),
            withheld: BTreeMap::from([("wiki".to_owned(), withheld)]),
            ..Search::default()
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_asked_it_adds_up_and_stays_within_its_bounds(
        searches in prop::collection::vec(any_search(), 1..400),
    ) {
        let mut watch = Watch::default();
        for search in &searches {
            for (source, suspicion) in watch.note(search) {
                prop_assert_eq!(source.as_str(), "wiki");
                prop_assert!(suspicion.value <= 1000 && suspicion.before <= 1000);
            }
        }
        let health = watch.health();
        let wiki = &health[0];
        let hits = searches.iter().filter(|it| !it.shown.is_empty()).count() as u64;
        let withheld: u64 = searches.iter().map(|it| u64::from(it.withheld["wiki"])).sum();
        let expected = Counts { searches: searches.len() as u64, hits, withheld };
        prop_assert_eq!(wiki.all, expected);
        let sum = wiki.tasks.values().fold(Counts::default(), |sum, it| Counts {
            searches: sum.searches + it.searches,
            hits: sum.hits + it.hits,
            withheld: sum.withheld + it.withheld,
        });
        prop_assert_eq!(sum, expected);
        prop_assert!(wiki.tasks.len() <= TASKS_MAX + 1);
        prop_assert!(wiki.suspicions.len() <= SUSPICIONS_MAX);
    }

    /// What may not be seen says nothing of what may.
    #[test]
    fn what_is_withheld_changes_no_suspicion(
        searches in prop::collection::vec(any_search(), 1..300),
    ) {
        let (mut one, mut other) = (Watch::default(), Watch::default());
        for search in searches {
            let without = Search { withheld: BTreeMap::new(), ..search.clone() };
            prop_assert_eq!(one.note(&search), other.note(&without));
        }
    }
}
