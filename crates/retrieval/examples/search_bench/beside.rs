//! What many would write instead: one table with a tsvector and a pgvector, row-level security over
//! the shares of folders, and two statements a question, whose ranks are added up. Once with every
//! vector compared, once with an HNSW index, which finds first and leaves out afterwards.

use super::made::{self, SHARED};
use super::measure::{Exact, median_ms};
use super::served::{Served, Session};
use super::{Failure, progress};
use serde_json::{Value, json};
use sqlx::Row as _;
use std::collections::BTreeMap;
use std::time::Instant;

/// Chunks of one statement that writes.
const AT_ONCE: u64 = 1000;

const TABLES: &str = "
CREATE EXTENSION vector;
CREATE TABLE share (folder bigint NOT NULL, reader text NOT NULL, PRIMARY KEY (reader, folder));
CREATE TABLE piece (number bigint PRIMARY KEY, folder bigint NOT NULL, text text NOT NULL,
    words tsvector NOT NULL, numbers vector(256) NOT NULL);
CREATE INDEX ON piece (folder);
CREATE INDEX ON piece USING gin (words);
ALTER TABLE piece ENABLE ROW LEVEL SECURITY;
CREATE POLICY shared ON piece USING (folder IN (SELECT s.folder FROM share s
    WHERE s.reader = current_setting('app.reader')));
CREATE ROLE reader;
GRANT SELECT ON piece, share TO reader";

const BY_VECTOR: &str = "SELECT number, text FROM piece ORDER BY numbers <#> $1::vector LIMIT 10";
const BY_WORDS: &str = "SELECT number, text FROM piece WHERE words @@ $1::tsquery
    ORDER BY ts_rank(words, $1::tsquery) DESC, number LIMIT 10";

pub(crate) fn run(chunks: usize, exact: &Exact) -> Result<[Value; 2], Failure> {
    let served = Served::start()?;
    let mut session = served.connect()?;
    session.batch(TABLES)?;
    let begun = Instant::now();
    fill(&mut session, chunks as u64)?;
    let ingested = begun.elapsed().as_secs_f64();
    session.batch("VACUUM ANALYZE")?;
    let permit = permit_ms(&mut session);
    let compared = readable("pgvector, exact", &served, exact)?;
    let disk = served.disk_mib()?;
    let memory = served.memory_mib()?;
    progress("pgvector: building the HNSW index");
    let begun = Instant::now();
    // With the server's 64 MiB a graph of a million vectors is built on the disk, for hours.
    session.batch("SET maintenance_work_mem = '4GB'")?;
    session.batch("CREATE INDEX ON piece USING hnsw (numbers vector_ip_ops)")?;
    let indexed = begun.elapsed().as_secs_f64();
    session.batch("VACUUM ANALYZE")?;
    let nearest = readable("pgvector, HNSW", &served, exact)?;
    let row = |way: &str, seconds: f64, disk: f64, memory: f64, readable: Vec<Value>| {
        json!({
            "way": way,
            "ingested_per_s": chunks as f64 / seconds,
            "opened_s": 0.0,
            "memory_mib": memory,
            "disk_mib": disk,
            "permit_p50_ms": permit,
            "readable": readable,
        })
    };
    let (all, memory_then) = (ingested + indexed, served.memory_mib()?);
    Ok([
        row("pgvector with row-level security, exact", ingested, disk, memory, compared),
        row("the same, HNSW index", all, served.disk_mib()?, memory_then, nearest),
    ])
}

fn readable(name: &str, served: &Served, exact: &Exact) -> Result<Vec<Value>, Failure> {
    let mut readable = Vec::new();
    for (share, shared) in SHARED.iter().enumerate() {
        progress(&format!("{name}: asking where {shared} of 1000 may be read"));
        let mut session = served.connect()?;
        session.batch(&format!(
            "SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '64MB';
             SET plan_cache_mode = force_custom_plan; SET app.reader = 'u{shared}';
             SET ROLE reader"
        ))?;
        readable.push(
            exact.measure(share, &mut |text, vector| ask(&mut session, text, vector).unwrap()),
        );
    }
    Ok(readable)
}

fn ask(session: &mut Session<'_>, text: &str, vector: &[f32]) -> Result<Vec<u64>, Failure> {
    let mut scores: BTreeMap<u64, f64> = BTreeMap::new();
    let vector = literal(vector);
    let mut lists = vec![session.rows(BY_VECTOR, |query| query.bind(vector))?];
    if !text.is_empty() {
        let any = text.split(' ').map(|word| format!("'{word}'")).collect::<Vec<_>>().join("|");
        lists.push(session.rows(BY_WORDS, |query| query.bind(any))?);
    }
    for list in lists {
        for (rank, row) in (1_u32..).zip(list) {
            let number: i64 = row.try_get(0)?;
            *scores.entry(number as u64).or_default() += 1.0 / f64::from(60 + rank);
        }
    }
    let mut best: Vec<(u64, f64)> = scores.into_iter().collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(best.into_iter().take(10).map(|(number, _)| number).collect())
}

fn fill(session: &mut Session<'_>, chunks: u64) -> Result<(), Failure> {
    let insert = "INSERT INTO piece (number, folder, text, words, numbers)
        SELECT n.number, n.folder, n.text, to_tsvector('simple', n.text), n.numbers::vector
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])
            AS n(number, folder, text, numbers)";
    for first in (0..chunks).step_by(AT_ONCE as usize) {
        if first % 20_000 == 0 {
            progress(&format!("pgvector: chunk {first} of {chunks}"));
        }
        let numbers = || first..(first + AT_ONCE).min(chunks);
        let folders: Vec<i64> = numbers().map(|number| made::folder(number) as i64).collect();
        let texts: Vec<String> = numbers().map(made::text).collect();
        let vectors: Vec<String> = numbers().map(|number| literal(&made::vector(number))).collect();
        let numbers: Vec<i64> = numbers().map(|number| number as i64).collect();
        session
            .rows(insert, |query| query.bind(numbers).bind(folders).bind(texts).bind(vectors))?;
    }
    for shared in SHARED {
        let share = "INSERT INTO share SELECT n, $1 FROM generate_series(0, $2 - 1) AS n";
        let (reader, folders) = (format!("u{shared}"), shared as i64);
        session.rows(share, |query| query.bind(reader).bind(folders))?;
    }
    Ok(())
}

/// How long it takes until a share of a folder is in force.
fn permit_ms(session: &mut Session<'_>) -> f64 {
    median_ms(51, |round| {
        let change = match round % 2 {
            0 => "INSERT INTO share VALUES (1, 'other')",
            _ => "DELETE FROM share WHERE folder = 1 AND reader = 'other'",
        };
        session.batch(change).unwrap();
    })
}

fn literal(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}
