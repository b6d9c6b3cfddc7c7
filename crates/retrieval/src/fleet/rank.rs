//! How good chunks are, computed by PostgreSQL among those that may be seen and no others.
//!
//! What may be seen is given to each statement as a list. Words are ranked by the formula of the
//! embedded corpus: how common a word is, is counted among the listed. PostgreSQL's own rank has no
//! such count; it is used for one thing, which is how often a chunk has a word. Vectors are
//! compared with each listed one, behind a fence that no index of vectors could be searched
//! across: one that somebody adds would find what is near first, and then leave out most of it.

use super::session::{Given, Session, column};
use super::write::vector_text;
use crate::corpus::CorpusError;
use crate::search::rank::{LENGTH, SATURATION, worth};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a rank of PostgreSQL is, of a word that a chunk has once.
const RANK_OF_ONCE: f64 = 0.607_927_101_854_027;

/// What may be seen, in one state of the database.
#[derive(Debug, Default)]
pub(super) struct Permitted {
    /// The versions, in order.
    pub(super) versions: Vec<i64>,
    /// How many chunks they have.
    pub(super) chunks: i64,
    /// How many words these have.
    pub(super) words: i64,
}

/// A chunk, in the order of what is equally good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) name: Vec<u8>,
    pub(super) chunk: i64,
    pub(super) version: i64,
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) words: &'a [String],
    /// Of the embedder of that number.
    pub(super) vector: Option<(i64, &'a [f32])>,
}

/// A statement, and what it is given.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) given: Vec<Given>,
}

impl Permitted {
    pub(super) fn has(&self, version: i64) -> bool {
        self.versions.binary_search(&version).is_ok()
    }
}

impl Asked<'_> {
    /// The best by words or by vectors, `most` of each, the best of both first.
    pub(super) fn fused(
        &self,
        session: &mut Session,
        permitted: &Permitted,
        most: usize,
    ) -> Result<Vec<(Named, u64)>, CorpusError> {
        let mut scores: BTreeMap<Named, u64> = BTreeMap::new();
        for statement in self.statements(permitted, most) {
            let rows = session.rows(&statement.text, statement.given)?;
            for (rank, row) in (1..).zip(&rows) {
                let (chunk, version) = (column(row, 0)?, column(row, 1)?);
                let named = Named { name: column(row, 2)?, chunk, version };
                *scores.entry(named).or_default() += worth(rank);
            }
        }
        let mut fused: Vec<(Named, u64)> = scores.into_iter().collect();
        // What is equally good is in the order of names already.
        fused.sort_by_key(|(_, score)| Reverse(*score));
        Ok(fused)
    }

    /// How chunks are ranked by words, and by vectors.
    pub(super) fn statements(&self, permitted: &Permitted, most: usize) -> Vec<Statement> {
        if permitted.chunks == 0 {
            return Vec::new();
        }
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let by_words = (!self.words.is_empty()).then(|| by_words(self.words, permitted, most));
        let by_vectors = self.vector.map(|vector| by_vectors(vector, permitted, most));
        by_words.into_iter().chain(by_vectors).collect()
    }
}

/// Okapi BM25.
fn by_words(words: &[String], permitted: &Permitted, most: i64) -> Statement {
    let count = permitted.chunks as f64;
    let mean = (permitted.words as f64 / count).max(1.0);
    let any: Vec<String> = words.iter().map(|word| lexeme(word)).collect();
    let mut given = vec![
        Given::Ints(permitted.versions.clone()),
        Given::Text(any.join("|")),
        Given::Float(count),
        Given::Float(mean),
        Given::Int(most),
    ];
    let (mut times, mut rare, mut score) = (String::new(), String::new(), String::new());
    for (at, lexeme) in (1..).zip(any) {
        given.push(Given::Text(lexeme));
        let word = given.len();
        // A rank with equal weights is the sum of 1/n² over as many places as there are, in shares
        // of what it comes to for ever more: how many there are is found from what is left of it.
        let _ = write!(
            times,
            ", round({RANK_OF_ONCE}::float8 / greatest(1 - ts_rank('{{1,1,1,1}}', c.words,
                 ${word}::tsquery)::float8, 1e-6) - 0.5) AS t{at}"
        );
        let comma = if at == 1 { "" } else { "," };
        // In numbers of 64 bits: those without a type would be counted digit by digit.
        let _ = write!(
            rare,
            "{comma} ln(1 + ($3::float8 - count(*) FILTER (WHERE t{at} > 0) + 0.5::float8)
                 / (count(*) FILTER (WHERE t{at} > 0) + 0.5::float8)) AS r{at}"
        );
        let plus = if at == 1 { "" } else { "+" };
        let _ = write!(
            score,
            "{plus} r{at} * t{at} * {}::float8 / (t{at} + f.held_back)",
            SATURATION + 1.0,
        );
    }
    let (level, sloped) = (SATURATION * (1.0 - LENGTH), SATURATION * LENGTH);
    let text = format!(
        "WITH found AS MATERIALIZED (
             SELECT c.number, c.version, c.name,
                 {level}::float8 + {sloped}::float8 * c.length / $4::float8 AS held_back{times}
             FROM unnest($1::bigint[]) AS p(version) JOIN chunk c ON c.version = p.version
             WHERE c.words @@ $2::tsquery),
         common AS MATERIALIZED (SELECT{rare} FROM found)
         SELECT f.number, f.version, f.name FROM found f CROSS JOIN common
         ORDER BY {score} DESC, f.name LIMIT $5"
    );
    Statement { text, given }
}

/// Products with all that may be seen; what is at a right angle has nothing to do with it.
fn by_vectors((embedder, vector): (i64, &[f32]), permitted: &Permitted, most: i64) -> Statement {
    let text = "WITH near AS MATERIALIZED (
             SELECT e.chunk, e.version, e.name, e.numbers <#> $2::vector AS far
             FROM unnest($1::bigint[]) AS p(version) JOIN chunk_vector e ON e.version = p.version
             WHERE e.embedder = $3)
         SELECT n.chunk, n.version, n.name FROM near n WHERE n.far < 0
         ORDER BY n.far, n.name LIMIT $4";
    let given = vec![
        Given::Ints(permitted.versions.clone()),
        Given::Text(vector_text(vector)),
        Given::Int(embedder),
        Given::Int(most),
    ];
    Statement { text: text.to_owned(), given }
}

/// A word as PostgreSQL reads it: words are letters and digits, and have nothing that would end it.
fn lexeme(word: &str) -> String {
    format!("'{word}'")
}
