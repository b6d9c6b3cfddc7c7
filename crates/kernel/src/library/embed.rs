//! What makes texts comparable: built in, a table of the operator's, or an endpoint that is asked
//! for what it may be told.

use super::Library;
use crate::Kernel;
use lockgate_core::World;
use lockgate_core::declare::{self, EndingsWord, VectorsWord};
use lockgate_core::model::confidentiality;
use lockgate_effects::{EMBEDDED_TEXTS_MAX, Embeddings};
use lockgate_retrieval::corpus::{Corpus, CorpusError, Options};
use lockgate_retrieval::embed::{Embedder, Given, Hashed, NoVectors, Table};
use lockgate_retrieval::search::Stemming;
use lockgate_types::facts::Facts;
use lockgate_types::label::Confidentiality;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks for chunks that have no vector.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an endpoint that fails is left alone.
const FAILED_FOR: Duration = Duration::from_secs(30);

/// An endpoint that makes vectors, and what it may be told.
pub(super) struct Endpoint {
    asked: Embeddings,
    dimensions: usize,
    ceiling: Confidentiality,
}

/// How texts are made comparable, as the bundle says that the corpus is opened under.
pub(super) fn options(
    world: &World,
    bundle: &Path,
) -> Result<(Options, Option<Endpoint>), CorpusError> {
    let declared = world.gate.retrieval.clone().unwrap_or_default();
    let mut endpoint = None;
    let embedder: Arc<dyn Embedder> = match (declared.vectors, declared.table, declared.endpoint) {
        (VectorsWord::Table, Some(path), _) => {
            Arc::new(Table::read(&bundle.join(path)).map_err(CorpusError::Embedding)?)
        }
        (VectorsWord::Endpoint, _, Some(declared)) => {
            let given = given(&declared);
            endpoint = self::endpoint(&declared);
            Arc::new(given)
        }
        (VectorsWord::Hashed, ..) => Arc::new(Hashed),
        // The loader refuses what lacks its table or endpoint.
        (VectorsWord::Table | VectorsWord::Endpoint | VectorsWord::None, ..) => Arc::new(NoVectors),
    };
    let stemming = match declared.endings {
        EndingsWord::English => Stemming::English,
        EndingsWord::German => Stemming::German,
        EndingsWord::None => Stemming::Plain,
    };
    Ok((Options { embedder, stemming }, endpoint))
}

fn given(declared: &declare::Embeddings) -> Given {
    let (base, model) = (declared.base_url.trim_end_matches('/'), &declared.model);
    let dimensions = dimensions(declared);
    Given { name: format!("endpoint {base} {model} {dimensions}"), dimensions }
}

fn dimensions(declared: &declare::Embeddings) -> usize {
    usize::try_from(declared.dimensions).unwrap_or(usize::MAX)
}

/// `None`: it is where it may not be; then search is by words.
fn endpoint(declared: &declare::Embeddings) -> Option<Endpoint> {
    match Embeddings::new(declared) {
        Ok(asked) => {
            let ceiling = confidentiality(declared.ceiling);
            Some(Endpoint { asked, dimensions: dimensions(declared), ceiling })
        }
        Err(why) => {
            tracing::error!(why, "no endpoint for vectors: words alone are searched");
            None
        }
    }
}

impl Endpoint {
    /// The vector of a question. `None`: it may not be told, or does not answer; then words alone
    /// are searched.
    pub(super) async fn of_question(&self, facts: &Facts, text: &str) -> Option<Vec<f32>> {
        // What somebody asks may say what they have read.
        if facts.session.exposure.confidentiality > self.ceiling || text.trim().is_empty() {
            return None;
        }
        let is_one = |it: &Vec<f32>| {
            it.len() == self.dimensions && it.iter().all(|number| number.is_finite())
        };
        match self.asked.vectors(&[text]).await {
            Ok(vectors) => vectors.into_iter().next().filter(is_one),
            Err(why) => {
                tracing::warn!(why, "a question has no vector: its words alone are searched");
                None
            }
        }
    }

    /// Gives chunks their vectors that have none and may be told, one node of a fleet at a time.
    /// How many there were.
    async fn embed(&self, corpus: &Corpus) -> Result<usize, String> {
        let (reading, ceiling) = (corpus.clone(), self.ceiling);
        let found = tokio::task::spawn_blocking(move || {
            let look = || reading.unembedded(EMBEDDED_TEXTS_MAX, ceiling);
            if look()?.is_empty() {
                return Ok(None);
            }
            let Some(baton) = reading.take_baton_to_embed()? else { return Ok(None) };
            Ok(Some((baton, look()?)))
        });
        let found = found.await.map_err(|error| error.to_string())?;
        let found = found.map_err(|error: CorpusError| error.to_string())?;
        let Some((baton, found)) = found.filter(|(_, found)| !found.is_empty()) else {
            return Ok(0);
        };
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        let vectors = self.asked.vectors(&texts).await?;
        let count = found.len();
        let given = found.into_iter().map(|(chunk, _)| chunk).zip(vectors).collect();
        let corpus = corpus.clone();
        let written = tokio::task::spawn_blocking(move || {
            let written = corpus.embed(given);
            drop(baton);
            written
        });
        let written = written.await;
        let written = written.map_err(|error| error.to_string())?;
        written.map_err(|error| error.to_string())?;
        Ok(count)
    }
}

impl Kernel {
    /// Gives chunks their vectors, where an endpoint makes them, until it is to stop.
    pub async fn tend_vectors(&self, stop: CancellationToken) {
        let mut pause = LOOK_EVERY;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.parts.clock.wait(pause) => {}
            }
            pause = LOOK_EVERY;
            let Some(library) = self.library() else { continue };
            let (Some(endpoint), Some(corpus)) = (library.endpoint(), library.corpus()) else {
                continue;
            };
            if self.is_search_stopped() {
                continue;
            }
            match endpoint.embed(&corpus).await {
                Ok(0) => {}
                Ok(_) => pause = Duration::ZERO,
                Err(why) => {
                    tracing::warn!(why, "chunks have no vectors yet: they are found by words");
                    pause = FAILED_FOR;
                }
            }
        }
    }

    /// Whether a switch stops what is sent for search: nothing leaves after it.
    fn is_search_stopped(&self) -> bool {
        let Some(world) = self.world() else { return true };
        self.parts.store.switches().iter().any(|switch| match switch.scope.as_str() {
            "tenant" => switch.name == world.tenant.as_str(),
            "environment" => switch.name == world.environment.as_str(),
            "tool" => switch.name == lockgate_core::bundle::search::RETRIEVAL,
            "agent" | "operation" | "session" => false,
            _ => true,
        })
    }
}

impl Library {
    /// Who makes vectors, if an endpoint does.
    pub(super) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.0.endpoint.load_full()
    }
}
