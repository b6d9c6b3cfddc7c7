//! What is kept for when models fail, or get worse, or cost too much.

use super::{charged, of_a_day};
use crate::common::*;
use lockgate_core::canary::{Canary, Guard, Rules, Stage, Tally};
use lockgate_core::caps::{Charge, Settles};
use lockgate_core::declare;
use lockgate_store::{AnswerTo, CanarySeen, KeptAnswer, News, OutcomeRecord, OutcomeState, Store};
use lockgate_types::{CallId, Digest, Json, Micros, Tenant};

/// One more answer of a canary that is taken back by its second error of fifty.
pub(crate) fn an_answer(was: &[Guard]) -> CanarySeen {
    let guards = declare::Guards { errors_percent_max: Some(2), ..declare::Guards::default() };
    let declared = declare::Canary {
        entry: "next".to_owned(),
        percent: 5,
        window_s: 300,
        samples_min: 50,
        promote_after: None,
        retries: 0,
        pause_s: 1,
        guards,
    };
    CanarySeen {
        model: "large".to_owned(),
        canary: "next".to_owned(),
        key: Digest::of(b"large, next"),
        rules: Rules::of(&declared),
        answers: Tally::of_one(was),
        at: now(),
    }
}

pub(crate) fn moves(entries: &[Json]) -> usize {
    entries.iter().filter(|it| it.get("k").and_then(Json::as_str) == Some("canary")).count()
}

pub(crate) async fn answers_of_a_canary_are_counted_over_a_restart_too() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (store, _) = Store::open(options.clone()).unwrap();
    let good = store.observe_canary(an_answer(&[])).await.unwrap();
    assert_eq!((good.stage(), good.tally().calls), (Stage::Running, 1));
    let bad = store.observe_canary(an_answer(&[Guard::Errors])).await.unwrap();
    assert_eq!((bad.stage(), bad.tally().errors), (Stage::Running, 1));
    store.close().await.unwrap();
    let (store, _) = reopen(&options);
    let key = an_answer(&[]).key;
    let known: Vec<Canary> =
        store.canaries(vec![key, Digest::of(b"other")]).await.unwrap().into_values().collect();
    assert_eq!(known, [bad]);
    let worse = store.observe_canary(an_answer(&[Guard::Errors])).await.unwrap();
    assert_eq!(worse.stage(), Stage::RolledBack);
    let after = store.observe_canary(an_answer(&[Guard::Errors])).await.unwrap();
    assert_eq!(after, worse, "what was under way says nothing new");
    assert_eq!(moves(&entries(&store).await), 1);
    verify(&store).await.unwrap();
}

fn tokens(amount: i64) -> Charge {
    let settles = Some(Settles::Field { path: vec!["used".to_owned()], decimals: 0 });
    Charge { alert_at: Some(80), ..of_a_day("tokens", amount, 100, settles) }
}

/// A call that reserves so much, and really takes so much.
async fn takes(store: &Store, reserved: i64, really: i64) {
    let world = world();
    let permit = charged(store, &world, "alice", &[tokens(reserved)]).await.unwrap();
    let mut spent = permit.spend().2;
    spent.settle(|_| Some(really));
    let ended = OutcomeRecord { state: OutcomeState::Succeeded, ..outcome("ended") };
    store.conclude(spent, ended).await.unwrap();
}

pub(crate) async fn it_is_told_once_in_a_window_that_a_budget_nears_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let told = async || {
        let all = entries(&store).await;
        let is_it = |it: &&Json| it.get("k").and_then(Json::as_str) == Some("budget");
        all.iter().filter(is_it).cloned().collect::<Vec<_>>()
    };
    takes(&store, 90, 79).await;
    assert_eq!(told().await, [], "what it really was counts, and not what was reserved");
    takes(&store, 1, 1).await;
    let [first] = <[Json; 1]>::try_from(told().await).unwrap();
    let number = |name: &str| first.get(name).and_then(Json::as_i64);
    let numbers = ["used", "alert_at", "max"].map(number);
    assert_eq!(numbers, [Some(80), Some(80), Some(100)]);
    assert_eq!(first.get("cap").and_then(Json::as_str), Some("tokens"));
    takes(&store, 5, 5).await;
    assert_eq!(told().await.len(), 1, "once in a window");
    let (notices, _) = store.claim_notices("chat", 10).await.unwrap();
    let news: Vec<News> = notices.iter().map(|notice| notice.news).collect();
    assert_eq!(news, [News::Budget]);
    verify(&store).await.unwrap();
}

pub(crate) async fn an_answer_is_kept_for_one_prompt_and_those_who_may_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (store, _) = Store::open(options.clone()).unwrap();
    let tenant: Tenant = "acme".parse().unwrap();
    let (prompt, rights) = (Digest::of(b"prompt"), Digest::of(b"rights"));
    let to = AnswerTo { tenant: &tenant, prompt: &prompt, rights: &rights };
    let id = |text: &str| CallId::new(text).unwrap();
    let kept = |call: &str, until: i64| KeptAnswer {
        call: id(call),
        tenant: tenant.clone(),
        by: id("by"),
        at: now(),
        until: Micros(now().0 + until),
    };
    let first = kept("first", 60_000_000);
    assert!(store.keep_answer(to, first.clone()).await.unwrap());
    let second = kept("second", 60_000_000);
    assert!(store.keep_answer(to, second.clone()).await.unwrap());
    assert!(!store.forget_answer(&first.call).await.unwrap(), "the second took its place");
    store.close().await.unwrap();
    let (store, _) = reopen(&options);
    assert_eq!(store.kept_answer(to).await.unwrap(), Some(second.clone()));
    let (other, elsewhere) = (Digest::of(b"other"), "elsewhere".parse().unwrap());
    for none in [
        AnswerTo { prompt: &other, ..to },
        AnswerTo { rights: &other, ..to },
        AnswerTo { tenant: &elsewhere, ..to },
    ] {
        assert_eq!(store.kept_answer(none).await.unwrap(), None);
    }
    assert_eq!(store.kept_answers(10).await.unwrap(), [second]);
    assert!(store.forget_answer(&id("second")).await.unwrap());
    assert_eq!(store.kept_answer(to).await.unwrap(), None);
    assert!(store.keep_answer(to, kept("late", -1)).await.unwrap());
    assert_eq!(store.kept_answer(to).await.unwrap(), None, "its time is over");
    assert_eq!(store.kept_answers(10).await.unwrap(), []);
}
