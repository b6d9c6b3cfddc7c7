//! What a call cites, held against what was found in its session, as the record has it, and against
//! how the documents stand now.

use super::said::{name, seal};
use super::{Library, tighten};
use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::bundle::search::SEARCH;
use lockgate_core::retrieve::cite::{Cited, Claim, Now, Retrieved, cited, claims};
use lockgate_core::retrieve::fresh::{Aged, aged};
use lockgate_core::retrieve::{Narrowed, Retrieval, source};
use lockgate_retrieval::corpus::{Corpus, Document};
use lockgate_store::Store;
use lockgate_types::document::DocumentFacts;
use lockgate_types::facts::Facts;
use lockgate_types::{Code, Digest, Json};
use std::sync::Arc;

/// A piece that was found, as it was shown.
struct Shown {
    source: String,
    id: String,
    span: (u64, u64),
    was: Was,
    text: String,
    now: Now,
    /// How old its document is now, if it is still as it was.
    aged: Option<(Aged, DocumentFacts)>,
}

/// By what a chunk is known again in its document.
enum Was {
    Hashed(Digest),
    /// Something in it was redacted.
    Sealed(String),
}

/// What a call's citations come to.
pub(crate) struct Cites {
    pub(crate) cited: Cited,
    /// Whether they tighten the session: what they rest on has become too old for more.
    pub(crate) tighten: bool,
}

impl From<Cited> for Cites {
    fn from(cited: Cited) -> Self {
        Self { cited, tighten: false }
    }
}

impl Kernel {
    /// What a call's citations come to. `None`: it need not cite anything. What is cited may have
    /// been fresh when it was found: its age counts once more, before anything is decided.
    pub(crate) async fn cited(
        &self,
        world: &Arc<World>,
        facts: &Facts,
    ) -> Result<Option<Cites>, Refusal> {
        let operation = &facts.call.operation;
        let Some(cite) = world.operations.get(operation).and_then(|it| it.cite.as_ref()) else {
            return Ok(None);
        };
        let claims = match claims(cite, facts.call.arguments()) {
            Ok(claims) => claims,
            Err(what) => return Ok(Some(Cited::Missing(what).into())),
        };
        let recalled = self.parts.store.recall(&facts.identity, &facts.session.id).await;
        let recalled = recalled.map_err(|error| not_recorded(&error))?;
        let results = recalled.into_iter().filter(|it| it.call.operation.as_str() == SEARCH);
        let results = results.filter_map(|it| it.ended?.1);
        let mut shown: Vec<Shown> = results.flat_map(|result| pieces(&result, &claims)).collect();
        if let Some(corpus) = self.parts.library.get().and_then(Library::corpus) {
            let standing = Standing {
                store: self.parts.store.clone(),
                corpus,
                world: Arc::clone(world),
                facts: facts.clone(),
            };
            let looked = tokio::task::spawn_blocking(move || {
                shown.iter_mut().for_each(|it| standing.look(it));
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
        let cited = cited(world, operation, facts.call.arguments(), &retrieved);
        let aged = shown.iter().filter_map(|it| it.aged.as_ref()).map(|(aged, of)| (aged, of));
        let oldest = aged.reduce(|worst, it| if it.0.age > worst.0.age { it } else { worst });
        let tighten = tighten(&self.parts.store, world, facts, oldest).await;
        let tighten = tighten.map_err(|unfound| Refusal::of(unfound.code))?;
        Ok(Some(Cites { cited, tighten }))
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
        was: match text("hash") {
            Some(hash) => Was::Hashed(hash.parse().ok()?),
            None => Was::Sealed(text("sealed")?.to_owned()),
        },
        text: text("text")?.to_owned(),
        // Until somebody has looked.
        now: Now::Changed,
        aged: None,
    })
}

/// What is asked how documents stand now.
struct Standing {
    store: Store,
    corpus: Corpus,
    world: Arc<World>,
    facts: Facts,
}

impl Standing {
    /// How a document stands of which a piece was shown.
    fn look(&self, shown: &mut Shown) {
        let (world, facts) = (&*self.world, &self.facts);
        let task = facts.identity.task.as_ref();
        let pinned = source::pinned(world, task, &shown.source);
        let document = match self.corpus.read(&shown.source, pinned, &shown.id) {
            Ok(Some(document)) => document,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a document that is cited cannot be read");
                return;
            }
        };
        let admitted = Retrieval::new(world, facts).map(|it| it.admits(&document.facts));
        if !admitted.is_ok_and(|it| it.is_admitted()) {
            shown.now = Now::Withdrawn;
            return;
        }
        let is_usable = Narrowed::new(world, task, Vec::new(), facts.now).holds(&document.facts);
        if is_usable && self.has(&document, shown) {
            let aged = aged(world, task, &document.facts, facts.now);
            (shown.now, shown.aged) = (Now::Same, Some((aged, document.facts)));
        }
    }

    /// Whether a document still has a chunk where it was.
    fn has(&self, document: &Document, shown: &Shown) -> bool {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let text = document.text.get(place(shown.span.0)..place(shown.span.1));
        let Some(hash) = text.map(|text| Digest::of(text.as_bytes())) else { return false };
        match &shown.was {
            Was::Hashed(was) => *was == hash,
            Was::Sealed(was) => *was == seal(&self.store, &name(&document.facts), &hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn a_piece_is_known_by_its_hash_or_by_its_seal_and_else_by_nothing() {
        let hash = Digest::of(b"text").to_string();
        for (member, was) in [
            // What was recorded before pieces were sealed has a hash, redacted or not.
            (format!(r#""hash":"{hash}","shown":"sha256:0""#), Some(Ok(Digest::of(b"text")))),
            (r#""sealed":"hmac-sha256:0""#.to_owned(), Some(Err("hmac-sha256:0"))),
            (r#""hash":"sha256:0","sealed":"hmac-sha256:0""#.to_owned(), None),
            (r#""shown":"sha256:0""#.to_owned(), None),
        ] {
            let said = format!(r#"{{"document":"a/b","span":[0,4],"text":"text",{member}}}"#);
            let piece = piece(&Json::parse(said.as_bytes(), &JsonLimits::OWN).unwrap());
            let is = piece.as_ref().map(|piece| match &piece.was {
                Was::Hashed(hash) => Ok(*hash),
                Was::Sealed(seal) => Err(seal.as_str()),
            });
            assert_eq!(is, was, "{member}");
        }
    }
}
