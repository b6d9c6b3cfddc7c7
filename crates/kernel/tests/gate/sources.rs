//! When sources are run, how long snapshots are kept, and what is tried again: in a time of the
//! test's own. The source is a query, which needs nobody who reads documents.

use crate::bed::{Bed, Plan, soon};
use crate::upstream::{Fake, says};
use lockgate_core::bundle::starter::DOCUMENTS;
use lockgate_kernel::{Bringing, Clock, FollowedSource, Reader, SourceStanding, system_now};
use lockgate_types::{CallId, Json, Micros};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

const HOUR_US: i64 = 3_600_000_000;

fn plan(database: &Path, ahead: &Arc<AtomicI64>) -> Plan {
    let (ahead, ids) = (Arc::clone(ahead), AtomicU64::new(1));
    let now = move || Micros(system_now().0 + ahead.load(Ordering::Relaxed));
    let mint = move |_| {
        let id = ids.fetch_add(1, Ordering::Relaxed);
        CallId::new(&format!("{id:032x}")).unwrap()
    };
    let source = format!(
        "owner = \"it\"\nclassification = \"internal\"\nrefresh_s = 3600\nretention_days = 1\n\
         [connector.query]\naddress = \"sqlite:{}\"\nid = \"id\"\ntext = [\"said\"]\n\
         statement = \"SELECT id, said, 'x' AS noise FROM note\"\n\
         [permissions]\nreaders = [\"everyone\"]\n",
        database.display()
    );
    Plan {
        files: vec![
            ("policies/documents.cedar", DOCUMENTS.to_owned()),
            ("sources/notes.toml", source),
        ],
        clock: Clock::custom(now, mint),
        ..Plan::new()
    }
}

/// How the source stands once that run is over.
async fn over(source: &mut FollowedSource, run: u64) -> SourceStanding {
    soon(async {
        loop {
            let standing = source.next().await.unwrap();
            if standing.last.as_ref().is_some_and(|last| last.number >= run) {
                return standing;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_source_is_run_when_it_is_due_and_its_snapshots_are_kept_for_as_long_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("notes.db");
    let notes = rusqlite::Connection::open(&database).unwrap();
    let made = "CREATE TABLE note (id, said); INSERT INTO note VALUES (1, 'one'), (2, 'two');";
    notes.execute_batch(made).unwrap();
    let ahead = Arc::new(AtomicI64::new(0));
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan(&database, &ahead)).await;
    bed.kernel.bring_in(Bringing {
        bundle: folder.path().to_owned(),
        state: bed.directory.path().join("state"),
        reader: Reader {
            program: "/nobody/reads".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        },
    });
    let stop = CancellationToken::new();
    let (kernel, stopping) = (bed.kernel.clone(), stop.clone());
    let tending = tokio::spawn(async move { kernel.tend_sources(stopping).await });
    let mut source = soon(async {
        loop {
            match bed.kernel.follow_source("notes") {
                Ok(source) => return source,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let numbers = async || -> Vec<u64> {
        let snapshots = bed.kernel.source_snapshots("notes").await.unwrap();
        snapshots.iter().map(|snapshot| snapshot.number).collect()
    };
    let pass = |us: i64| {
        ahead.fetch_add(us, Ordering::Relaxed);
    };

    // It was never run: it is due.
    let first = over(&mut source, 1).await;
    let last = first.last.unwrap();
    assert_eq!((last.verdict, last.documents), ("published", Some(2)));
    assert_eq!(first.due, Some(Micros(last.ended.0 + HOUR_US)));
    pass(HOUR_US);
    over(&mut source, 2).await;
    assert_eq!(numbers().await, [2, 1]);
    // Of what serves no more, nothing is kept that is older than a day.
    pass(25 * HOUR_US);
    over(&mut source, 3).await;
    assert_eq!(numbers().await, [3]);

    // It is away: tried again after a minute, then two. What was there serves.
    drop(notes);
    std::fs::remove_file(&database).unwrap();
    pass(HOUR_US);
    for minutes in [1, 2] {
        let away = over(&mut source, 3 + minutes).await;
        let last = away.last.unwrap();
        assert_eq!(last.failed.as_ref().unwrap().0.as_str(), "LG-Q018");
        let pause = i64::try_from(minutes).unwrap() * 60_000_000;
        assert_eq!(away.due, Some(Micros(last.ended.0 + pause)));
        pass(pause);
    }
    assert!(bed.kernel.source("notes").await.unwrap().serving.is_some());
    stop.cancel();
    soon(tending).await.unwrap();
    let entries = bed.entries().await;
    let of = |entry: &Json| entry.get("k").and_then(Json::as_str) == Some("source");
    let verdicts: Vec<&str> = entries
        .iter()
        .filter(|entry| of(entry))
        .map(|entry| entry.get("verdict").and_then(Json::as_str).unwrap())
        .collect();
    assert_eq!(verdicts[..5], ["published", "published", "published", "failed", "failed"]);
    bed.audit().await;
}
