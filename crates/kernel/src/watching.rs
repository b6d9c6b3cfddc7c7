//! Searches, watched: counted by the node, in memory, and told where something is suspicious: in
//! the log, to whoever asks the admin API, and to the risk engine.
//!
//! Counts are a node's own and begin anew with it. What people say of documents is recorded as the
//! call that says it; here it is only counted.

use crate::Kernel;
use crate::library::said::cited;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::retrieve::watch::{Health, Kind, Search, Shown, Suspicion, Verdict, Watch};
use lockgate_core::risk::{Event, Raise};
use lockgate_detect::contradict::{Piece, contradictions};
use lockgate_detect::{Kind as Found, scan};
use lockgate_effects::Unfound;
use lockgate_store::{Ended, Store};
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How sure a detector has to be that a text gives orders.
pub(crate) const ORDERS_MIN: u16 = 500;
/// The class of what is held against whoever was shown a document that suddenly dominates.
const DOMINANCE: &str = "document:dominance";
/// The class of what is held against whoever was shown a document that says otherwise than others.
const CONTRADICTION: &str = "document:contradiction";
/// How sure both are, in thousandths: it may as well be a page that is much asked for, or the only
/// one that is up to date.
const DOCUMENT_SCORE: u16 = 400;

/// What this node has noticed. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Watching(Arc<Mutex<Watch>>);

impl Watching {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a search before it is answered. What dominates or contradicts is held against the
    /// session that is about to read it; what gives orders is held with the result, where detectors
    /// find it.
    pub(crate) async fn note(
        &self,
        store: &Store,
        world: &World,
        facts: &Facts,
        search: &Search,
    ) -> Result<(), Unfound> {
        let found = self.lock().note(search);
        found.iter().for_each(|(source, suspicion)| tell(&facts.call.id, source, suspicion));
        let events: Vec<Event> =
            [(Kind::Dominance, DOMINANCE), (Kind::Contradiction, CONTRADICTION)]
                .into_iter()
                .filter(|(kind, _)| found.iter().any(|(_, it)| it.kind == *kind))
                .map(|(_, class)| Event::Signal { class: class.to_owned(), score: DOCUMENT_SCORE })
                .collect();
        let Some(rules) = world.risk.clone().filter(|_| !events.is_empty()) else { return Ok(()) };
        let raise = Raise { rules, events };
        let of = (&facts.identity, facts.session.id.clone());
        let held = store.hold_against(of, raise, (&facts.call.id, facts.now)).await;
        held.map_err(|error| Unfound { code: error.code(), detail: error.to_string() })
    }
}

fn tell(call: &CallId, source: &str, suspicion: &Suspicion) {
    let Suspicion { kind, document, value, before, .. } = suspicion;
    let kind = kind.as_str();
    tracing::warn!(%call, source, kind, document, value, before, "a source is suspicious");
}

/// How sure a detector is that a text gives orders, in thousandths; 0 if that is not much.
pub(crate) fn orders(text: &str) -> u16 {
    let signals = scan(text).into_iter().filter(|signal| signal.kind == Found::Injection);
    let surest = signals.map(|signal| signal.score).max().unwrap_or(0);
    if surest >= ORDERS_MIN { surest } else { 0 }
}

/// Marks what of an answer says otherwise than the rest of it. `texts`: what each says.
pub(crate) fn compare(shown: &mut [Shown], texts: &[&str]) {
    let mut numbers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let named = shown.iter().map(|it| (it.source.as_str(), it.document.as_str()));
    let of = named.map(|name| {
        let next = numbers.len();
        *numbers.entry(name).or_insert(next)
    });
    let of: Vec<usize> = of.collect();
    let pieces = of.iter().zip(texts).map(|(document, text)| Piece { document: *document, text });
    let found = contradictions(&pieces.collect::<Vec<_>>());
    for (shown, document) in shown.iter_mut().zip(&of) {
        let contradiction = found.iter().find(|it| it.document == *document);
        shown.contradicts = contradiction.map_or(0, |it| it.share);
    }
}

impl Kernel {
    /// How registered sources do, as far as this node has seen.
    pub fn sources_health(&self) -> Vec<Health> {
        self.parts.watching.lock().health()
    }

    /// Keeps what somebody says of a document that a call of theirs has shown them.
    pub async fn say_of_document(
        &self,
        identity: &Identity,
        (call, document): (&CallId, &str),
        verdict: Verdict,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::of(Code::RecordNotFound);
        let store = &self.parts.store;
        let facts = self.facts_of(call).await?.ok_or_else(unknown)?;
        let asker = &facts.identity;
        let is_own = asker.issuer == identity.issuer
            && asker.subject == identity.subject
            && asker.tenant == identity.tenant
            && asker.environment == identity.environment;
        if !is_own {
            return Err(unknown());
        }
        let ended = store.ended(call).await.map_err(|error| not_recorded(&error))?;
        let Some(Ended::Result(result)) = ended else { return Err(unknown()) };
        let shown: BTreeSet<&str> = cited(&facts.call.operation, self.world().as_deref(), &result);
        let (source, name) = document.split_once('/').ok_or_else(unknown)?;
        if !shown.contains(document) {
            return Err(unknown());
        }
        self.parts.watching.lock().say(source, name, verdict, self.parts.clock.now());
        Ok(())
    }
}
