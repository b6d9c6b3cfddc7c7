//! What a call cites, held against what was found in its session, as the record has it, and against
//! how the documents stand now.

use super::Library;
use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::bundle::search::SEARCH;
use lockgate_core::retrieve::cite::{Cited, Claim, Now, Retrieved, cited, claims};
use lockgate_core::retrieve::{Narrowed, Retrieval, source};
use lockgate_retrieval::corpus::{Corpus, Document};
use lockgate_types::facts::Facts;
use lockgate_types::{Code, Digest, Json};
use std::sync::Arc;

/// A piece that was found, as it was shown.
struct Shown {
    source: String,
    id: String,
    span: (u64, u64),
    /// The hash of the chunk in its document.
    hash: Digest,
    text: String,
    now: Now,
}

impl Kernel {
    /// What a call's citations come to, as a fact. `None`: it need not cite anything.
    pub(crate) async fn cited(
        &self,
        world: &Arc<World>,
        facts: &Facts,
    ) -> Result<Option<Cited>, Refusal> {
        let operation = &facts.call.operation;
        let Some(cite) = world.operations.get(operation).and_then(|it| it.cite.as_ref()) else {
            return Ok(None);
        };
        let claims = match claims(cite, facts.call.arguments()) {
            Ok(claims) => claims,
            Err(what) => return Ok(Some(Cited::Missing(what))),
        };
        let recalled = self.parts.store.recall(&facts.identity, &facts.session.id).await;
        let recalled = recalled.map_err(|error| not_recorded(&error))?;
        let results = recalled.into_iter().filter(|it| it.call.operation.as_str() == SEARCH);
        let results = results.filter_map(|it| it.ended?.1);
        let mut shown: Vec<Shown> = results.flat_map(|result| pieces(&result, &claims)).collect();
        if let Some(corpus) = self.parts.library.get().and_then(Library::corpus) {
            let looking = (Arc::clone(world), facts.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let (world, facts) = looking;
                shown.iter_mut().for_each(|it| it.now = stands(&corpus, &world, &facts, it));
                shown
            });
            shown = looked.await.map_err(|_| Refusal::of(Code::CorpusFailed))?;
        }
        let retrieved: Vec<Retrieved<'_>> = shown
            .iter()
            .map(|it| Retrieved {
                source: &it.source,
                id: &it.id,
                start: it.span.0,
                text: &it.text,
                hash: Digest::of(it.text.as_bytes()),
                now: it.now,
            })
            .collect();
        Ok(Some(cited(world, operation, facts.call.arguments(), &retrieved)))
    }
}

/// The pieces of a recorded answer that somebody claims something of.
fn pieces(result: &Json, claims: &[Claim]) -> Vec<Shown> {
    let found = result.at(&["structuredContent", "found"]).and_then(Json::as_array);
    let found = found.unwrap_or_default().iter().filter_map(piece);
    let is_claimed = |it: &Shown| claims.iter().any(|c| c.source == it.source && c.id == it.id);
    found.filter(is_claimed).collect()
}

fn piece(json: &Json) -> Option<Shown> {
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    let (source, id) = text("document")?.split_once('/')?;
    let place = |at: &Json| at.as_i64().and_then(|at| u64::try_from(at).ok());
    let [from, to] = json.get("span")?.as_array()? else { return None };
    Some(Shown {
        source: source.to_owned(),
        id: id.to_owned(),
        span: (place(from)?, place(to)?),
        hash: text("hash")?.parse().ok()?,
        text: text("text")?.to_owned(),
        // Until somebody has looked.
        now: Now::Changed,
    })
}

/// How a document stands of which a piece was shown.
fn stands(corpus: &Corpus, world: &World, facts: &Facts, shown: &Shown) -> Now {
    let task = facts.identity.task.as_ref();
    let pinned = source::pinned(world, task, &shown.source);
    let document = match corpus.read(&shown.source, pinned, &shown.id) {
        Ok(Some(document)) => document,
        Ok(None) => return Now::Changed,
        Err(error) => {
            tracing::warn!(%error, "a document that is cited cannot be read");
            return Now::Changed;
        }
    };
    let admitted = Retrieval::new(world, facts).map(|it| it.admits(&document.facts));
    if !admitted.is_ok_and(|it| it.is_admitted()) {
        return Now::Withdrawn;
    }
    let is_usable = Narrowed::new(world, task, Vec::new(), facts.now).holds(&document.facts);
    match is_usable && has(&document, shown) {
        true => Now::Same,
        false => Now::Changed,
    }
}

/// Whether a document still has a chunk where it was.
fn has(document: &Document, shown: &Shown) -> bool {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let text = document.text.get(place(shown.span.0)..place(shown.span.1));
    text.is_some_and(|text| Digest::of(text.as_bytes()) == shown.hash)
}
