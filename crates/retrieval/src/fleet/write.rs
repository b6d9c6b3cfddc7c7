//! What is written of documents: a batch at a time, each table by one statement.

use super::audience::{assign, list, unlisted};
use super::filter::level_number;
use super::session::{Given, Session, column};
use super::whole;
use crate::corpus::{
    ChunkNumber, CorpusError, Gathered, Incoming, OPEN, OfChunks, Said, SourceRow, Vectors, hash,
};
use crate::index::curation;
use crate::index::key::Key;
use crate::search::Stemming;
use crate::search::words::words;
use lockgate_types::{Digest, Micros};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How often a word counts in one chunk at most: PostgreSQL keeps no more places of it.
pub(super) const TIMES_COUNTED_MAX: u32 = 255;

/// A batch of a draft.
pub(super) struct Writing<'a> {
    pub(super) source: &'a SourceRow,
    pub(super) snapshot: u64,
    pub(super) said: &'a Gathered,
    /// `None`: none are kept.
    pub(super) vectors: Option<&'a Vectors>,
    pub(super) embedder: i64,
    pub(super) stemming: Stemming,
    pub(super) now: Micros,
}

/// Rows of the table of chunks, and of that of vectors, column by column.
#[derive(Default)]
struct Chunks {
    numbers: Vec<i64>,
    versions: Vec<i64>,
    names: Vec<Vec<u8>>,
    starts: Vec<i64>,
    stops: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    lengths: Vec<i64>,
    words: Vec<String>,
    vectors: Vec<Option<String>>,
}

impl Writing<'_> {
    /// Writes that the draft has, keeps or has not these documents.
    pub(super) fn write(&self, session: &mut Session) -> Result<(), CorpusError> {
        let kept = self.keep_drafted(session)?;
        let said = || self.said.iter().filter(|(id, _)| !kept.contains(*id));
        let ids: Vec<String> = said().map(|(id, _)| id.clone()).collect();
        self.forget(session, ids.clone())?;
        let serving = serving(session, self.source.number, ids)?;
        let mut new: Vec<(&Incoming, Digest)> = Vec::new();
        let (mut drafted, mut fingerprints) = (BTreeMap::new(), BTreeMap::new());
        for (id, said) in said() {
            let there = serving.get(id);
            let (version, confirmed) = match said {
                Said::IsGone => (None, None),
                Said::IsAsItWas(confirmed) => (there.map(|(number, _)| *number), Some(confirmed.0)),
                Said::Is(incoming) => {
                    let hash = hash(incoming);
                    let same = there.filter(|(_, had)| had.as_slice() == hash.as_bytes());
                    match same {
                        Some((number, _)) => {
                            let fingerprint = incoming.fingerprint.as_bytes().to_vec();
                            fingerprints.insert(*number, fingerprint);
                        }
                        None => new.push((incoming, hash)),
                    }
                    (same.map(|(number, _)| *number), Some(incoming.facts.confirmed.0))
                }
            };
            drafted.insert(id.as_str(), (version, confirmed));
        }
        let update = "UPDATE version v SET fingerprint = n.fingerprint
            FROM unnest($1::bigint[], $2::bytea[]) AS n(number, fingerprint)
            WHERE v.number = n.number";
        let (numbers, prints) = fingerprints.into_iter().unzip();
        session.execute(update, vec![Given::Ints(numbers), Given::Blobs(prints)])?;
        for (id, version) in self.versions(session, &new)? {
            if let Some((of, _)) = drafted.get_mut(id) {
                *of = Some(version);
            }
        }
        self.draft(session, drafted)
    }

    /// Says when documents were seen to be as the draft has them already, which an earlier run may
    /// have written. Gives back which these are; the others are as they serve.
    fn keep_drafted(&self, session: &mut Session) -> Result<BTreeSet<String>, CorpusError> {
        let kept = self.said.iter().filter_map(|(id, said)| match said {
            Said::IsAsItWas(confirmed) => Some((id.clone(), confirmed.0)),
            Said::Is(_) | Said::IsGone => None,
        });
        let (ids, confirmed): (Vec<String>, Vec<i64>) = kept.unzip();
        let update = "UPDATE drafted d SET confirmed = n.confirmed
            FROM unnest($3::text[], $4::bigint[]) AS n(id, confirmed)
            WHERE d.source = $1 AND d.snapshot = $2 AND d.id = n.id AND d.version IS NOT NULL
            RETURNING d.id";
        let key = [self.source.number, whole(self.snapshot)].map(Given::Int);
        let given = [Given::Texts(ids), Given::Ints(confirmed)];
        let rows = session.rows(update, key.into_iter().chain(given).collect())?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// What the draft had of these documents goes.
    fn forget(&self, session: &mut Session, ids: Vec<String>) -> Result<(), CorpusError> {
        let delete = "DELETE FROM drafted WHERE source = $1 AND snapshot = $2 AND id = ANY($3)
            RETURNING version";
        let key = [self.source.number, whole(self.snapshot)].map(Given::Int);
        let rows = session.rows(delete, key.into_iter().chain([Given::Texts(ids)]).collect())?;
        let versions: Vec<Option<i64>> =
            rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
        delete_unused(session, versions.into_iter().flatten().collect())
    }

    fn draft(
        &self,
        session: &mut Session,
        drafted: BTreeMap<&str, (Option<i64>, Option<i64>)>,
    ) -> Result<(), CorpusError> {
        let insert = "INSERT INTO drafted (source, snapshot, id, version, confirmed)
            SELECT $1, $2, d.id, d.version, d.confirmed
            FROM unnest($3::text[], $4::bigint[], $5::bigint[]) AS d(id, version, confirmed)";
        let ids = drafted.keys().map(|id| (*id).to_owned()).collect();
        let (versions, confirmed) = drafted.into_values().unzip();
        session
            .execute(
                insert,
                vec![
                    Given::Int(self.source.number),
                    Given::Int(whole(self.snapshot)),
                    Given::Texts(ids),
                    Given::MaybeInts(versions),
                    Given::MaybeInts(confirmed),
                ],
            )
            .map(drop)
    }

    /// Writes versions that are new. Gives back the number of each.
    fn versions<'b>(
        &self,
        session: &mut Session,
        new: &[(&'b Incoming, Digest)],
    ) -> Result<Vec<(&'b str, i64)>, CorpusError> {
        let of = |(incoming, _): &(&'b Incoming, Digest)| {
            (incoming.facts.id.as_str(), incoming.facts.folders.as_slice())
        };
        let audiences = assign(session, self.source, new.iter().map(of).collect())?;
        let numbers = numbers(session, "version_number", new.len())?;
        let pieces = new.iter().map(|(incoming, _)| incoming.pieces.len()).sum();
        let chunk_numbers = self::numbers(session, "chunk_number", pieces)?;
        let (mut chunks, mut free) = (Chunks::default(), chunk_numbers.into_iter());
        let (mut counts, mut lengths) = (Vec::new(), Vec::new());
        for ((incoming, _), version) in new.iter().zip(&numbers) {
            let vectors = self.vectors.and_then(|all| all.get(&incoming.facts.id));
            let length = chunks.add(self, incoming, (*version, &mut free), vectors);
            counts.push(whole(incoming.pieces.len() as u64));
            lengths.push(length);
        }
        let bodies = new.iter().map(|(incoming, _)| incoming.text.as_bytes().to_vec()).collect();
        let insert = "INSERT INTO body (version, text)
            SELECT * FROM unnest($1::bigint[], $2::bytea[])";
        session.execute(insert, vec![Given::Ints(numbers.clone()), Given::Blobs(bodies)])?;
        let given = [numbers.clone(), audiences, counts, lengths].map(Given::Ints).into();
        self.version_rows(session, new, given)?;
        chunks.write(session, self.vectors.is_some().then_some(self.embedder))?;
        Ok(new.iter().map(|(incoming, _)| incoming.facts.id.as_str()).zip(numbers).collect())
    }

    fn version_rows(
        &self,
        session: &mut Session,
        new: &[(&Incoming, Digest)],
        mut given: Vec<Given>,
    ) -> Result<(), CorpusError> {
        let insert = format!(
            "INSERT INTO version (number, audience, chunks, words, source, ingested, id, hash,
                 fingerprint, folders, kind, owner, curation, level, tags, changed, confirmed,
                 title, author, made, link)
             SELECT n.number, n.audience, n.chunks, n.words, $5, $6, n.id, n.hash, n.fingerprint,
                 {}, n.kind, n.owner, n.curation, n.level, {}, n.changed, n.confirmed, n.title,
                 n.author, n.made, n.link
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $7::text[],
                 $8::bytea[], $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[],
                 $14::bigint[], $15::text[], $16::bigint[], $17::bigint[], $18::text[], $19::text[],
                 $20::bigint[], $21::text[])
             AS n(number, audience, chunks, words, id, hash, fingerprint, folders, kind, owner,
                 curation, level, tags, changed, confirmed, title, author, made, link)",
            unlisted("n.folders"),
            unlisted("n.tags"),
        );
        let texts = |of: &dyn Fn(&Incoming) -> String| {
            Given::Texts(new.iter().map(|(incoming, _)| of(incoming)).collect())
        };
        let maybe = |of: &dyn Fn(&Incoming) -> Option<String>| {
            Given::MaybeTexts(new.iter().map(|(incoming, _)| of(incoming)).collect())
        };
        let ints = |of: &dyn Fn(&Incoming) -> i64| {
            Given::Ints(new.iter().map(|(incoming, _)| of(incoming)).collect())
        };
        let hashes = new.iter().map(|(_, hash)| hash.as_bytes().to_vec()).collect();
        let prints = new.iter().map(|(new, _)| new.fingerprint.as_bytes().to_vec()).collect();
        let made = new.iter().map(|(new, _)| new.made.map(|made| made.0)).collect();
        given.extend([
            Given::Int(self.source.number),
            Given::Int(self.now.0),
            texts(&|new| new.facts.id.clone()),
            Given::Blobs(hashes),
            Given::Blobs(prints),
            texts(&|new| list(new.facts.folders.iter().cloned())),
            texts(&|new| new.facts.kind.clone()),
            maybe(&|new| new.facts.owner.clone()),
            texts(&|new| curation(new.facts.curation).to_owned()),
            ints(&|new| level_number(new.facts.classification)),
            texts(&|new| list(new.facts.tags.iter().cloned())),
            ints(&|new| new.facts.changed.0),
            ints(&|new| new.facts.confirmed.0),
            texts(&|new| new.title.clone()),
            maybe(&|new| new.author.clone()),
            Given::MaybeInts(made),
            maybe(&|new| new.link.clone()),
        ]);
        session.execute(&insert, given).map(drop)
    }
}

impl Chunks {
    /// Adds those of a document. Gives back how many words they have.
    fn add(
        &mut self,
        writing: &Writing<'_>,
        incoming: &Incoming,
        (version, free): (i64, &mut impl Iterator<Item = i64>),
        vectors: Option<&OfChunks>,
    ) -> i64 {
        let key = Key::of(&incoming.facts.source, &incoming.facts.id).bytes();
        let mut length_of_all = 0;
        for (at, ((from, to), number)) in (0_u32..).zip(incoming.pieces.iter().zip(free)) {
            let text = incoming.text.get(*from..*to).unwrap_or_default();
            let (length, counted) = counted(text, writing.stemming);
            let vector = vectors.and_then(|all| all.get(at as usize)?.as_deref());
            self.numbers.push(number);
            self.versions.push(version);
            self.names.push([key.as_slice(), &at.to_be_bytes()].concat());
            self.starts.push(whole(*from as u64));
            self.stops.push(whole(*to as u64));
            self.hashes.push(Digest::of(text.as_bytes()).as_bytes().to_vec());
            self.lengths.push(length);
            self.words.push(counted);
            self.vectors.push(vector.map(vector_text));
            length_of_all += length;
        }
        length_of_all
    }

    fn write(self, session: &mut Session, embedder: Option<i64>) -> Result<(), CorpusError> {
        let insert = "INSERT INTO chunk (number, version, name, start, stop, hash, length, words)
            SELECT n.number, n.version, n.name, n.start, n.stop, n.hash, n.length,
                n.words::tsvector
            FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[],
                $6::bytea[], $7::bigint[], $8::text[])
            AS n(number, version, name, start, stop, hash, length, words)";
        let given = vec![
            Given::Ints(self.numbers.clone()),
            Given::Ints(self.versions.clone()),
            Given::Blobs(self.names.clone()),
            Given::Ints(self.starts),
            Given::Ints(self.stops),
            Given::Blobs(self.hashes),
            Given::Ints(self.lengths),
            Given::Texts(self.words),
        ];
        session.execute(insert, given)?;
        let Some(embedder) = embedder else { return Ok(()) };
        let insert = "INSERT INTO chunk_vector (chunk, version, embedder, name, numbers)
            SELECT n.chunk, n.version, $1, n.name, n.numbers::vector
            FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::text[])
                AS n(chunk, version, name, numbers) WHERE n.numbers IS NOT NULL";
        let given = vec![
            Given::Int(embedder),
            Given::Ints(self.numbers),
            Given::Ints(self.versions),
            Given::Blobs(self.names),
            Given::MaybeTexts(self.vectors),
        ];
        session.execute(insert, given).map(drop)
    }
}

/// How many words a text has, and each with as many places as it is there often: where they are
/// is not kept.
fn counted(text: &str, stemming: Stemming) -> (i64, String) {
    let (mut length, mut counts) = (0, BTreeMap::<String, u32>::new());
    for word in words(text, stemming) {
        length += 1;
        *counts.entry(word).or_default() += 1;
    }
    let mut counted = String::new();
    for (word, times) in counts {
        let _ = write!(counted, "'{word}':1");
        for place in 2..=times.min(TIMES_COUNTED_MAX) {
            let _ = write!(counted, ",{place}");
        }
        counted.push(' ');
    }
    (length, counted)
}

/// A vector as pgvector reads it: the shortest numbers that are the same 32 bits.
pub(super) fn vector_text(vector: impl AsRef<[f32]>) -> String {
    let mut text = String::from("[");
    for (at, number) in vector.as_ref().iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{number}");
    }
    text.push(']');
    text
}

/// Versions that the newest published snapshot has of these documents, with their hashes.
pub(super) fn serving(
    session: &mut Session,
    source: i64,
    ids: Vec<String>,
) -> Result<BTreeMap<String, (i64, Vec<u8>)>, CorpusError> {
    let query = "SELECT v.id, v.number, v.hash FROM version v JOIN valid a ON a.version = v.number
        WHERE v.source = $1 AND v.id = ANY($2) AND a.until = $3";
    let given = vec![Given::Int(source), Given::Texts(ids), Given::Int(OPEN)];
    let rows = session.rows(query, given)?;
    rows.iter().map(|row| Ok((column(row, 0)?, (column(row, 1)?, column(row, 2)?)))).collect()
}

/// Writes vectors of chunks that are still there.
pub(super) fn vectors(
    session: &mut Session,
    embedder: i64,
    vectors: &[(ChunkNumber, Vec<f32>)],
) -> Result<(), CorpusError> {
    let insert = "INSERT INTO chunk_vector (chunk, version, embedder, name, numbers)
        SELECT c.number, c.version, $1, c.name, n.numbers::vector
        FROM unnest($2::bigint[], $3::text[]) AS n(chunk, numbers)
        JOIN chunk c ON c.number = n.chunk
        ON CONFLICT (chunk) DO UPDATE
            SET embedder = excluded.embedder, numbers = excluded.numbers";
    let numbers = vectors.iter().map(|(chunk, _)| chunk.0).collect();
    let texts = vectors.iter().map(|(_, vector)| vector_text(vector)).collect();
    let given = vec![Given::Int(embedder), Given::Ints(numbers), Given::Texts(texts)];
    session.execute(insert, given).map(drop)
}

/// Deletes those versions that nothing refers to any more, with their chunks.
pub(super) fn delete_unused(session: &mut Session, versions: Vec<i64>) -> Result<(), CorpusError> {
    if versions.is_empty() {
        return Ok(());
    }
    let unused = "SELECT v.number FROM version v WHERE v.number = ANY($1)
        AND NOT EXISTS (SELECT 1 FROM valid a WHERE a.version = v.number)
        AND NOT EXISTS (SELECT 1 FROM drafted d WHERE d.version = v.number)";
    let rows = session.rows(unused, vec![Given::Ints(versions)])?;
    let unused: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    delete_versions(session, unused)
}

/// Deletes versions, with their chunks.
pub(super) fn delete_versions(
    session: &mut Session,
    versions: Vec<i64>,
) -> Result<(), CorpusError> {
    let vectors = session.row("SELECT to_regclass('chunk_vector') IS NOT NULL", vec![])?;
    let has_vectors = vectors.map_or(Ok(false), |row| column(&row, 0))?;
    let vectors = has_vectors.then_some("DELETE FROM chunk_vector WHERE version = ANY($1)");
    for delete in vectors.into_iter().chain([
        "DELETE FROM chunk WHERE version = ANY($1)",
        "DELETE FROM body WHERE version = ANY($1)",
        "DELETE FROM version WHERE number = ANY($1)",
    ]) {
        session.execute(delete, vec![Given::Ints(versions.clone())])?;
    }
    Ok(())
}

/// Numbers that nobody has, and that nobody gets again.
fn numbers(session: &mut Session, of: &str, count: usize) -> Result<Vec<i64>, CorpusError> {
    let take = format!("SELECT nextval('{of}') FROM generate_series(1, $1)");
    let rows = session.rows(&take, vec![Given::Int(whole(count as u64))])?;
    rows.iter().map(|row| column(row, 0)).collect()
}
