//! Results of behaviour tests: the newest one is found, all are in the log.

use crate::common::*;
use lockgate_store::{EVALUATIONS_KEPT_MAX, Evaluation, Store, WhichEvaluations};
use lockgate_types::evaluated::Evaluated;
use lockgate_types::{CallId, Digest, Micros};

fn result(entry: &str, suite: &str, at: i64) -> Evaluation {
    Evaluation {
        seen: Evaluated {
            suite: suite.to_owned(),
            digest: Digest::of(suite.as_bytes()),
            of: Digest::of(entry.as_bytes()),
            is_passed: at % 2 == 0,
            percent: at,
            at: Micros(at),
            call: CallId::new(&format!("{entry}-{suite}-{at:08}")).unwrap(),
        },
        tenant: identity("alice").tenant.clone(),
        entry: entry.to_owned(),
        version: "1".to_owned(),
        bundle: Digest::of(b"bundle"),
        report: Digest::of(b"report"),
        calls: 3,
        summary: "{}".to_owned(),
    }
}

pub(crate) async fn the_newest_result_of_each_suite_is_found_after_a_restart_too() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    for at in [1, 3, 2] {
        store.record_evaluation(result("large", "support", at)).await.unwrap();
    }
    store.record_evaluation(result("large", "manners", 9)).await.unwrap();
    store.record_evaluation(result("small", "support", 8)).await.unwrap();
    store.close().await.unwrap();

    let (store, _) = Store::open(options(directory.path())).unwrap();
    let of = |entry: &str, suite: &str| (entry.to_owned(), suite.to_owned());
    let asked = vec![of("large", "support"), of("large", "none"), of("small", "support")];
    let newest = store.newest_evaluations(asked).await.unwrap();
    let expected = [
        ("large".to_owned(), result("large", "support", 3).seen),
        ("small".to_owned(), result("small", "support", 8).seen),
    ];
    assert_eq!(newest, expected);
    let all = store.evaluations(WhichEvaluations::default(), 10).await.unwrap();
    let ats: Vec<i64> = all.iter().map(|it| it.seen.at.0).collect();
    assert_eq!(ats, [9, 8, 3, 2, 1]);
    assert_eq!(all[1], result("small", "support", 8), "all of it is read back");
    let which =
        WhichEvaluations { entry: Some("large".to_owned()), suite: Some("support".to_owned()) };
    assert_eq!(store.evaluations(which.clone(), 2).await.unwrap().len(), 2);
    // Listed are so many of each; the log has them all.
    for at in 10..10 + i64::from(EVALUATIONS_KEPT_MAX) {
        store.record_evaluation(result("large", "support", at)).await.unwrap();
    }
    let kept = store.evaluations(which, u32::MAX).await.unwrap();
    assert_eq!(kept.len(), usize::try_from(EVALUATIONS_KEPT_MAX).unwrap());
    assert_eq!(kept.last().unwrap().seen.at, Micros(10));
    let others = store.evaluations(WhichEvaluations::default(), 256).await.unwrap();
    assert_eq!(others.len(), 256, "a read has a bound of its own");
    store.close().await.unwrap();
}
