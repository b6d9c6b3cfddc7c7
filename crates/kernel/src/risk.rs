//! What is held against sessions: noticed here, where calls come and go, weighed in `core`, kept in
//! `store`.
//!
//! Refusals are weighed where they are decided. What results show, the same call over and over, and
//! what is unusual for its subject and task are noticed here. Counts are a node's own and begin
//! anew with it; what is usual is kept.

use crate::Kernel;
use crate::model::{Noticed, Probe};
use lockgate_core::World;
use lockgate_core::exposure::Look;
use lockgate_core::risk::baseline::{Baseline, Window};
use lockgate_core::risk::probe::Probes;
use lockgate_core::risk::{self, Class, EVENTS_MAX, Event, Raise, Rules, Scope};
use lockgate_core::rule::{Allowed, Refused};
use lockgate_core::tokens::tokens_of;
use lockgate_detect::{Kind, pii};
use lockgate_effects::model::BODY;
use lockgate_store::{BaselineOf, Past, SessionKey, StoreError};
use lockgate_types::call::Call;
use lockgate_types::facts::{Facts, SessionState};
use lockgate_types::identity::Identity;
use lockgate_types::model::{ModelApi, Usage};
use lockgate_types::{Digest, Json, Micros, Object, SessionId};
use lru::LruCache;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Subjects with a task whose windows are counted at once. Who is crowded out begins a new window.
const WATCHED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Sessions whose last call is remembered.
const RUNS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Destinations of one window that are told apart. More are none that are known.
const DESTINATIONS_MAX: usize = 64;
/// Bytes of a result in which signals are looked for.
const SCANNED_BYTES_MAX: usize = 256 << 10;
/// Levels of a result that are looked into: deeper than any message may be.
const DEPTH_MAX: usize = 128;
/// What begins the class of what is found about a model's answer.
const ANSWER: &str = "answer:";
/// How sure the gate is of personal data: its form, and a check digit where there is one.
const PII_SCORE: u16 = 500;

/// What this node has counted.
pub(crate) struct Watches {
    windows: Mutex<LruCache<Key, Watch>>,
    runs: Mutex<LruCache<SessionId, Run>>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            windows: Mutex::new(LruCache::new(WATCHED_MAX)),
            runs: Mutex::new(LruCache::new(RUNS_MAX)),
        }
    }
}

/// Whose windows they are: tenant, environment, issuer, subject, task.
type Key = [String; 5];

/// A window, and what is usual.
struct Watch {
    own: Baseline,
    task: Baseline,
    window: Window,
    probes: Probes,
    was_exceeded: bool,
    was_odd: bool,
    was_spike: bool,
    was_uncertain: bool,
}

/// The same call, so many times in a row.
struct Run {
    call: Digest,
    times: u32,
}

/// A call as it is counted.
pub(crate) struct Asked {
    rules: Arc<Rules>,
    identity: Arc<Identity>,
    session: SessionId,
    call: Digest,
    destinations: Vec<i64>,
    /// An estimate of its prompt's tokens, if it asks a model.
    prompt_tokens: Option<i64>,
    /// What is noticed of what the person asks of a model.
    pub(crate) probe: Option<Probe>,
}

/// What is counted of a call that is over.
struct Over<'a> {
    asked: &'a Asked,
    noticed: &'a Noticed,
    bytes: i64,
    /// Of a model.
    tokens: Option<i64>,
}

impl Kernel {
    /// A session and its tenant, once timers have loosened what is due, and what is behind the
    /// session.
    pub(crate) async fn settled(
        &self,
        world: &World,
        key: &SessionKey,
        look: Option<Look>,
    ) -> Result<(SessionState, SessionState, Option<Past>), StoreError> {
        let (session, tenant, past) = self.parts.store.look(key, look).await?;
        let Some(rules) = &world.risk else { return Ok((session, tenant, past)) };
        let now = self.parts.clock.now();
        let is_due = risk::is_due(rules, Scope::Session, &session, now)
            || risk::is_due(rules, Scope::Tenant, &tenant, now);
        if !is_due {
            return Ok((session, tenant, past));
        }
        let settled = self.parts.store.settle_modes([session.id, tenant.id], rules, now);
        let (session, tenant) = Box::pin(settled).await?;
        Ok((session, tenant, past))
    }

    /// What is counted of a call, if anything is.
    pub(crate) fn asked(&self, world: &World, facts: &Facts) -> Option<Box<Asked>> {
        let rules = world.risk.as_ref().filter(|_| risk::is_held(&facts.call))?;
        Some(Box::new(Asked {
            rules: Arc::clone(rules),
            identity: Arc::clone(&facts.identity),
            session: facts.session.id.clone(),
            call: same(&facts.call),
            destinations: self.destinations(world, &facts.call),
            prompt_tokens: tokens_asked(&facts.call),
            probe: None,
        }))
    }

    fn destinations(&self, world: &World, call: &Call) -> Vec<i64> {
        let Some(operation) = world.operations.get(&call.operation) else { return Vec::new() };
        let arguments = call.arguments();
        let named = |name: &String| arguments.and_then(|given| given.get(name));
        let named = operation.destination.iter().filter_map(named);
        // Strings as they are, anything else as it is written.
        let texts = named.map(|value| value.as_str().map_or_else(|| value.to_string(), Into::into));
        texts.map(|text| self.parts.store.destination_number(&text)).collect()
    }

    /// Adds to a refusal what is held against its session besides.
    pub(crate) fn notice_refusal(&self, refused: &mut Refused) {
        let Some(world) = self.world() else { return };
        let Some(asked) = self.asked(&world, refused.facts()) else { return };
        let looped = self.parts.watches.run(&asked);
        refused.hold(&asked.rules, looped.into_iter().collect());
    }

    /// The same of a call that is answered with what came of an earlier one.
    pub(crate) fn notice_repeat(&self, world: &World, allowed: &mut Allowed) {
        let Some(asked) = self.asked(world, allowed.facts()) else { return };
        let looped = self.parts.watches.run(&asked);
        allowed.hold(&asked.rules, looped.into_iter().collect());
    }

    /// What is held against the session of a call that is over.
    pub(crate) async fn noticed(
        &self,
        asked: &Asked,
        result: Option<&Json>,
        noticed: &Noticed,
    ) -> Option<Raise> {
        let now = self.parts.clock.now();
        let mut events: Vec<Event> = self.parts.watches.run(asked).into_iter().collect();
        let bytes = result.map_or(0, |result| size(result, 0));
        let tokens = asked.prompt_tokens.map(|prompt| tokens_used(prompt, result));
        let (unusual, over) = self.count(&Over { asked, noticed, bytes, tokens }, now).await;
        events.extend(unusual);
        let found = noticed.findings.iter().filter(|word| word.starts_with(ANSWER));
        let found = found.filter(|word| asked.rules.weighs(word));
        events.extend(found.map(|word| Event::Signal { class: (*word).to_owned(), score: 1000 }));
        if let Some(result) = result {
            let signals = signals_of(&asked.rules, result);
            events.extend(signals.into_iter().map(|(class, score)| Event::Signal { class, score }));
        }
        if let Some(window) = over {
            self.fold(asked, window, now);
        }
        events.truncate(EVENTS_MAX);
        (!events.is_empty()).then(|| Raise { rules: Arc::clone(&asked.rules), events })
    }

    async fn count(&self, call: &Over<'_>, now: Micros) -> (Vec<Event>, Option<Window>) {
        let asked = call.asked;
        let (key, watches) = (key(&asked.identity), &self.parts.watches);
        if !watches.knows(&key) {
            // Where it cannot be read nothing is unusual, until it can.
            let store = &self.parts.store;
            let own = Box::pin(store.baseline(BaselineOf::Subject(&asked.identity))).await;
            let task = Box::pin(store.baseline(BaselineOf::Task(&asked.identity))).await;
            let (Ok(own), Ok(task)) = (own, task) else { return (Vec::new(), None) };
            watches.watch(&key, own, task);
        }
        watches.count(&key, call, now)
    }

    /// Adds a window that is over to what is usual. Nobody waits for it.
    fn fold(&self, asked: &Asked, window: Window, now: Micros) {
        let (kernel, identity) = (self.clone(), Arc::clone(&asked.identity));
        let days_us = i64::from(asked.rules.baseline.keep_days).saturating_mul(86_400_000_000);
        let until = Micros(now.0.saturating_add(days_us));
        tokio::spawn(async move {
            let store = &kernel.parts.store;
            let mut without = window.clone();
            without.destinations.clear();
            let own = store.fold_baseline(BaselineOf::Subject(&identity), window, until).await;
            let task = store.fold_baseline(BaselineOf::Task(&identity), without, until).await;
            match (own, task) {
                (Ok(own), Ok(task)) => kernel.parts.watches.learn(&key(&identity), own, task),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(%error, "a window was not added to what is usual");
                }
            }
        });
    }
}

impl Watches {
    /// Counts a call of a session. An event each time that it has come often enough in a row.
    fn run(&self, asked: &Asked) -> Option<Event> {
        let max = asked.rules.baseline.loop_calls;
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Run { call: asked.call, times: 0 };
        let run = runs.get_or_insert_mut(asked.session.clone(), new);
        if run.call != asked.call {
            *run = new();
        }
        run.times = run.times.saturating_add(1);
        if max == 0 || run.times < max {
            return None;
        }
        run.times = 0;
        Some(Event::Happened(Class::Loop))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, LruCache<Key, Watch>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, key: &Key) -> bool {
        self.locked().contains(key)
    }

    fn watch(&self, key: &Key, own: Baseline, task: Baseline) {
        let watch = || {
            let (window, probes) = (Window::default(), Probes::default());
            let (was_exceeded, was_odd, was_spike, was_uncertain) = (false, false, false, false);
            Watch { own, task, window, probes, was_exceeded, was_odd, was_spike, was_uncertain }
        };
        self.locked().get_or_insert_mut(key.clone(), watch);
    }

    fn learn(&self, key: &Key, own: Baseline, task: Baseline) {
        if let Some(watch) = self.locked().get_mut(key) {
            (watch.own, watch.task) = (own, task);
        }
    }

    /// Counts a call that is over. Gives what is unusual about it, and the window before, if that
    /// is over.
    fn count(&self, key: &Key, call: &Over<'_>, now: Micros) -> (Vec<Event>, Option<Window>) {
        let Over { asked, bytes, .. } = *call;
        let mut windows = self.locked();
        let Some(watch) = windows.get_mut(key) else { return (Vec::new(), None) };
        let rules = &asked.rules.baseline;
        let over = watch.turn(i64::from(rules.window_s).saturating_mul(1_000_000), now);
        watch.window.calls = watch.window.calls.saturating_add(1);
        watch.window.bytes = watch.window.bytes.saturating_add(bytes);
        let mut events = watch.count_model(call);
        // Against what the subject does for the task; of one that is new, what others do.
        let usual = if watch.own.is_grown(rules) { &watch.own } else { &watch.task };
        if !watch.was_exceeded && usual.is_exceeded(rules, &watch.window) {
            watch.was_exceeded = true;
            events.push(Event::Happened(Class::Volume));
        }
        if !watch.was_odd && watch.own.is_odd_hour(rules, now) {
            watch.was_odd = true;
            events.push(Event::Happened(Class::Hours));
        }
        for destination in &asked.destinations {
            if watch.window.destinations.contains(destination) {
                continue;
            }
            if watch.own.is_new_destination(rules, *destination) {
                events.push(Event::Happened(Class::Destination));
            }
            if watch.window.destinations.len() < DESTINATIONS_MAX {
                watch.window.destinations.push(*destination);
            }
        }
        (events, over)
    }
}

impl Watch {
    /// Counts what is counted of calls of models alone. That tokens are many, and that a model is
    /// not sure, is said once in a window.
    fn count_model(&mut self, call: &Over<'_>) -> Vec<Event> {
        let Some(tokens) = call.tokens else { return Vec::new() };
        let (rules, mut events) = (&call.asked.rules.baseline, Vec::new());
        self.window.asks = self.window.asks.saturating_add(1);
        self.window.tokens = self.window.tokens.saturating_add(tokens);
        let usual = if self.own.is_grown_in_tokens(rules) { &self.own } else { &self.task };
        if !self.was_spike && usual.is_spike(rules, &self.window) {
            self.was_spike = true;
            events.push(Event::Happened(Class::Tokens));
        }
        if !self.was_uncertain && call.noticed.is_uncertain() {
            self.was_uncertain = true;
            events.push(Event::Happened(Class::Uncertain));
        }
        let Some(probe) = &call.asked.probe else { return events };
        if probe.asks_recall {
            events.push(Event::Happened(Class::Recall));
        }
        let before = probe.sketch.map_or(0, |sketch| self.probes.count(sketch));
        self.window.probes = self.window.probes.saturating_add(i64::from(before > 0));
        let (like_it, bound) = (before.saturating_add(1), rules.probe_calls);
        // Each time that there are so many more.
        let is_probing = bound > 0 && like_it % bound == 0 && before > 0;
        if is_probing && !self.own.is_used_to_probes(rules, &self.window) {
            events.push(Event::Happened(Class::Probes));
        }
        events
    }

    /// Begins a new window, if the one before is over.
    fn turn(&mut self, window_us: i64, now: Micros) -> Option<Window> {
        let began = self.window.since;
        // A clock that was set back begins a new one as well.
        let lasts = began <= now.0 && now.0.saturating_sub(began) < window_us;
        if self.window.calls > 0 && lasts {
            return None;
        }
        (self.was_exceeded, self.was_odd) = (false, false);
        (self.was_spike, self.was_uncertain) = (false, false);
        self.probes.clear();
        let next = Window { since: now.0, ..Window::default() };
        let before = std::mem::replace(&mut self.window, next);
        (before.calls > 0).then_some(before)
    }
}

fn key(identity: &Identity) -> Key {
    let task = identity.task.as_ref().map_or_else(String::new, ToString::to_string);
    let (tenant, environment) = (identity.tenant.to_string(), identity.environment.to_string());
    [tenant, environment, identity.issuer.clone(), identity.subject.to_string(), task]
}

/// What makes two calls the same: operation and arguments, without what a client adds to each.
fn same(call: &Call) -> Digest {
    let arguments = call.arguments().into_iter().flat_map(Object::iter);
    let arguments = arguments.filter(|(name, _)| *name != "_meta");
    let arguments: Object = arguments.map(|(name, it)| (name.to_owned(), it.clone())).collect();
    let named = Object::new().with("operation", call.operation.as_str());
    Json::from(named.with("arguments", arguments)).digest()
}

/// The tokens of what a model is asked, about. That tokens are counted takes none.
fn tokens_asked(call: &Call) -> Option<i64> {
    let is_counting = call.method == ModelApi::CountTokens.method();
    call.model.as_deref().filter(|_| !is_counting).map(|asked| asked.input_tokens)
}

/// The tokens that a call of a model took: as its provider counts them, or else about.
fn tokens_used(prompt: i64, result: Option<&Json>) -> i64 {
    let Some(body) = result.and_then(|result| result.get(BODY)) else { return prompt };
    let counted = Usage::of(body).map(|usage| usage.total()).filter(|total| *total > 0);
    counted.unwrap_or_else(|| prompt.saturating_add(tokens_of(body)))
}

/// What detectors find in a result: classes, and how sure they are in thousandths. The one place
/// where detectors are asked for sessions' sake; what is not held against anybody is not looked
/// for.
pub(crate) fn signals_of(rules: &Rules, result: &Json) -> Vec<(String, u16)> {
    let pii = pii::Kind::ALL.into_iter().filter(|kind| rules.weighs(&pii_class(*kind)));
    let pii: Vec<pii::Kind> = pii.collect();
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Pii);
    let kinds: Vec<Kind> = kinds.filter(|kind| rules.weighs_any(kind.as_str())).collect();
    let (mut texts, mut left) = (Vec::new(), SCANNED_BYTES_MAX);
    collect(result, 0, &mut left, &mut texts);
    let mut surest: BTreeMap<String, u16> = BTreeMap::new();
    for text in texts {
        for span in pii::find(text, &pii) {
            surest.insert(pii_class(span.kind), PII_SCORE);
        }
        for signal in kinds.iter().flat_map(|kind| lockgate_detect::scan_kind(text, *kind)) {
            let class = format!("{}:{}", signal.kind.as_str(), signal.class);
            let score = surest.entry(class).or_default();
            *score = signal.score.max(*score);
        }
    }
    // What is held against nobody takes no place among what is.
    surest.into_iter().filter(|(class, _)| rules.weighs(class)).collect()
}

fn pii_class(kind: pii::Kind) -> String {
    format!("pii:{}", kind.as_str())
}

/// The texts of a value, names of members included, as far as there is room.
fn collect<'a>(json: &'a Json, depth: usize, left: &mut usize, texts: &mut Vec<&'a str>) {
    if depth > DEPTH_MAX || *left == 0 {
        return;
    }
    match json {
        Json::String(text) => take(text, left, texts),
        Json::Array(items) => items.iter().for_each(|it| collect(it, depth + 1, left, texts)),
        Json::Object(object) => {
            for (name, value) in object.iter() {
                take(name, left, texts);
                collect(value, depth + 1, left, texts);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn take<'a>(text: &'a str, left: &mut usize, texts: &mut Vec<&'a str>) {
    let end = text.floor_char_boundary(text.len().min(*left));
    texts.extend(text.get(..end).filter(|text| !text.is_empty()));
    *left = left.saturating_sub(text.len());
}

/// How much a result says, about: in bytes, without writing it.
fn size(json: &Json, depth: usize) -> i64 {
    if depth > DEPTH_MAX {
        return 0;
    }
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    match json {
        Json::Null | Json::Bool(_) => 4,
        Json::Number(number) => length(number.text()),
        Json::String(text) => length(text),
        Json::Array(items) => {
            items.iter().fold(0, |sum, it| size(it, depth + 1).saturating_add(sum))
        }
        Json::Object(object) => object.iter().fold(0, |sum, (name, it)| {
            size(it, depth + 1).saturating_add(length(name)).saturating_add(sum)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_core::declare;
    use lockgate_core::world::Files;
    use lockgate_types::identity::Claims;

    fn asked(probe: Option<Probe>) -> Asked {
        let gate = "environment = \"dev\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                    [development]\nusers = [\"ann\"]\n";
        let principals = "[user.ann]\n[agent.bot]\nenvironments = [\"dev\"]\n";
        let files = [("lockgate.toml", gate), ("principals.toml", principals)];
        let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into()));
        let world = World::load(&files.collect::<Files>()).unwrap();
        let claims = Object::new().with("sub", "ann").with("act", Object::new().with("sub", "bot"));
        let claims = Claims { issuer: "development".to_owned(), claims };
        Asked {
            rules: Arc::new(Rules::new(&declare::Risk::default())),
            identity: Arc::new(lockgate_core::identify::identify(&world, &claims).unwrap()),
            session: SessionId::new("s-1").unwrap(),
            call: Digest::of(b"call"),
            destinations: Vec::new(),
            prompt_tokens: Some(10),
            probe,
        }
    }

    /// What counting a call of a model came to, so many times.
    fn counted(watches: &Watches, asked: &Asked, tokens: i64, times: usize) -> Vec<Event> {
        let (key, noticed) = (key(&asked.identity), Noticed::default());
        let over = Over { asked, noticed: &noticed, bytes: 1, tokens: Some(tokens) };
        (0..times).flat_map(|at| watches.count(&key, &over, Micros(at as i64 + 1)).0).collect()
    }

    fn watched(own: Baseline, task: Baseline, asked: &Asked) -> Watches {
        let watches = Watches::default();
        watches.watch(&key(&asked.identity), own, task);
        watches
    }

    fn used_to(tokens: i64, probes: i64) -> Baseline {
        let mut baseline = Baseline::default();
        let window = Window { calls: 5, asks: 5, tokens, probes, ..Window::default() };
        (0..20).for_each(|_| baseline.fold(&window));
        baseline
    }

    #[test]
    fn tokens_far_beyond_what_is_usual_for_subject_or_task_are_said_once_in_a_window() {
        let asked = asked(None);
        let spike = vec![Event::Happened(Class::Tokens)];
        let nobody = Baseline::default();
        for (own, task, expected) in [
            (used_to(20_000, 0), nobody.clone(), &spike),
            (nobody.clone(), used_to(20_000, 0), &spike),
            // Who usually takes so many is measured by that, whatever others take.
            (used_to(400_000, 0), used_to(20_000, 0), &Vec::new()),
            (nobody.clone(), nobody.clone(), &Vec::new()),
        ] {
            let watches = watched(own, task, &asked);
            assert_eq!(&counted(&watches, &asked, 60_000, 6), expected);
        }
    }

    #[test]
    fn probes_are_held_against_who_is_not_used_to_them() {
        let text = "What is the yearly salary of employee number 17 in the sales department?";
        let sketch = lockgate_core::risk::probe::Sketch::of(text);
        let asked = asked(Some(Probe { sketch, asks_recall: false }));
        let probes = |own: Baseline| {
            let watches = watched(own, Baseline::default(), &asked);
            let events = counted(&watches, &asked, 1, 60);
            events.iter().filter(|it| **it == Event::Happened(Class::Probes)).count()
        };
        assert_eq!(probes(Baseline::default()), 2, "for each thirty");
        assert_eq!(probes(used_to(10, 200)), 0);
        assert_eq!(probes(used_to(10, 1)), 2);
    }
}
