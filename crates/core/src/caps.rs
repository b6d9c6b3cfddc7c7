//! Caps: how much may happen, and what a call takes of it.
//!
//! A cap is hard: what a call takes is reserved in the transaction of its intent (I7), so that no
//! number of callers at once goes beyond it. What is read here is pure; the counting is the
//! store's.

use crate::bundle::admin::RESERVED;
use crate::declare::{BytesWord, Cap, CapScope, CountWord};
use crate::model::{Prices, SPEND_UNITS};
use crate::world::{Operation, World};
use lockgate_types::call::{Call, Effect};
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::model::{ModelApi, Usage};
use lockgate_types::{Json, Micros};
use std::collections::BTreeSet;

/// What stands between the people and the cap in the approval that lifts one.
pub const FOR_THE_CAP: &str = " for the cap ";
/// The most that one call can take: sums of it stay within 64 bits.
const AMOUNT_MAX: i64 = 1 << 60;

/// What a call takes of one cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The cap's name.
    pub cap: String,
    /// Whose counter it is, within the cap.
    pub scope: String,
    /// How much.
    pub amount: i64,
    /// How much there is.
    pub max: i64,
    /// How long it is taken for.
    pub until: Until,
    /// What says afterwards how much it really was. `None`: that was known before.
    pub settles: Option<Settles>,
    /// How much is used when somebody is told.
    pub alert_at: Option<i64>,
}

/// How long something is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The counter begins anew then.
    Window(Micros),
    /// It is a place among the calls under way, free again when this one ends.
    Outcome,
}

impl Until {
    /// When the counter begins anew. `None`: nobody knows when a place is free.
    pub const fn resets_at(self) -> Option<Micros> {
        match self {
            Self::Window(at) => Some(at),
            Self::Outcome => None,
        }
    }
}

/// What says how much a call really took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settles {
    /// A number of the structured result, in units of `10^-decimals`.
    Field {
        /// Where it is.
        path: Vec<String>,
        /// How many decimals count.
        decimals: u32,
    },
    /// The size of the answer.
    Bytes,
    /// How many rows the change has changed. Until then all that is left is taken, up to the
    /// amount.
    Rows,
    /// The tokens that a model's reply came to.
    Tokens,
    /// What they cost.
    Spend(Prices),
}

/// An argument that a cap needs cannot be read exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The cap's name.
    pub cap: String,
    /// The argument.
    pub argument: String,
    /// What it would have to be.
    pub wanted: &'static str,
}

/// What a cap measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure<'a> {
    /// Calls.
    Calls,
    /// An argument, added up.
    Sum(&'a str),
    /// The entities that an argument names or numbers.
    Entities(&'a str),
    /// Rows that a change changes.
    Rows,
    /// Bytes.
    Bytes(BytesWord),
    /// Calls under way.
    Concurrent(u32),
    /// Tokens of models.
    Tokens,
    /// What models cost.
    Spend,
}

/// What a cap measures.
pub fn measure(cap: &Cap) -> Measure<'_> {
    if let Some(max) = cap.concurrent {
        return Measure::Concurrent(max);
    }
    match cap.count {
        Some(CountWord::Tokens) => return Measure::Tokens,
        Some(CountWord::Spend) => return Measure::Spend,
        Some(CountWord::Calls | CountWord::Writes) | None => {}
    }
    match (&cap.sum, &cap.entities, cap.bytes) {
        (Some(argument), ..) => Measure::Sum(argument),
        (None, Some(argument), _) => Measure::Entities(argument),
        (None, None, Some(bytes)) => Measure::Bytes(bytes),
        (None, None, None) if cap.rows => Measure::Rows,
        (None, None, None) => Measure::Calls,
    }
}

/// What a call takes of the caps that it falls under. One that an approval has lifted counts all
/// the same, and has room. Another attempt at an effect takes a place, and nothing of what the
/// first has taken.
pub fn charges(world: &World, facts: &Facts) -> Result<Vec<Charge>, Unreadable> {
    let is_attempt = facts.call.attempt_of.is_some();
    let mut charges = Vec::new();
    let operation = world.operations.get(&facts.call.operation);
    for cap in caps_over(world, facts, operation) {
        let amount = amount(world, operation, cap, facts)?;
        let is_place = cap.concurrent.is_some();
        if cap.per != CapScope::Call && (is_place || !is_attempt) {
            let scopes = scopes(cap, whose(facts)).into_iter();
            charges.extend(scopes.map(|scope| charge(world, cap, (scope, amount), facts)));
        }
    }
    Ok(charges)
}

/// Whether it can be read what a call takes of each cap that it falls under.
pub(crate) fn readable(
    world: &World,
    operation: &Operation,
    facts: &Facts,
) -> Result<(), Unreadable> {
    let mut caps = caps_over(world, facts, Some(operation));
    caps.try_for_each(|cap| amount(world, Some(operation), cap, facts).map(drop))
}

/// The caps on single calls that a call is beyond, with how much it would take. Nothing of those is
/// counted, so that the facts alone say it.
pub(crate) fn beyond<'a>(
    world: &'a World,
    operation: &'a Operation,
    facts: &Facts,
) -> Vec<(&'a Cap, i64)> {
    let operation = Some(operation);
    let caps = caps_over(world, facts, operation).filter(|cap| cap.per == CapScope::Call);
    let measured = caps.filter_map(|cap| Some((cap, amount(world, operation, cap, facts).ok()?)));
    let is_beyond = |(cap, amount): &(&Cap, i64)| {
        cap.max.is_none_or(|max| *amount > max.saturating_mul(unit(cap))) && !is_lifted(cap, facts)
    };
    measured.filter(is_beyond).collect()
}

/// How much a call really took, once its result is there. `None`: the result does not say, and what
/// was reserved stays taken.
pub fn actual(settles: &Settles, result: &Json) -> Option<i64> {
    let has_failed = result.get("isError").and_then(Json::as_bool) == Some(true);
    match settles {
        // A change that has failed was taken back. What else has failed may have been half done.
        Settles::Rows if has_failed => Some(0),
        Settles::Field { .. } | Settles::Bytes if has_failed => None,
        Settles::Field { path, decimals } => {
            let mut path: Vec<&str> = path.iter().map(String::as_str).collect();
            path.insert(0, "structuredContent");
            number(result.at(&path), *decimals)
        }
        Settles::Bytes => Some(length(result.to_bytes().len())),
        Settles::Rows => number(result.at(&["structuredContent", "changed"]), 0),
        Settles::Tokens | Settles::Spend(_) => {
            // A reply, or what is recorded of one.
            of_usage(settles, &Usage::of(result.get("body").unwrap_or(result))?)
        }
    }
}

/// How much a model's reply took, by what its provider has counted. `None`: nothing of it is
/// counted in that.
pub fn of_usage(settles: &Settles, usage: &Usage) -> Option<i64> {
    match settles {
        Settles::Tokens => Some(usage.total().min(AMOUNT_MAX)),
        Settles::Spend(prices) => Some(prices.cost(usage).min(AMOUNT_MAX)),
        Settles::Field { .. } | Settles::Bytes | Settles::Rows => None,
    }
}

/// The counters of a caller that have cheaper entries answer once they come near their end, nothing
/// taken of them: to be looked up before a route is chosen.
pub fn watched<'a>(world: &'a World, whose: Whose<'_>, now: Micros) -> Vec<(&'a Cap, Charge)> {
    let caps = world.gate.cap.iter().filter(|cap| cap.degrade_percent.is_some());
    caps.flat_map(|cap| {
        let scopes = scopes(cap, whose).into_iter();
        scopes.map(move |scope| (cap, counter(cap, scope, now)))
    })
    .collect()
}

/// Whether a counter that stands there has cheaper entries answer.
pub fn is_degraded(cap: &Cap, used: i64) -> bool {
    cap.degrade_percent.is_some_and(|percent| has_come_to(cap, used, percent))
}

fn has_come_to(cap: &Cap, used: i64, percent: u32) -> bool {
    used >= share(counter(cap, String::new(), Micros(0)).max, percent)
}

/// So many of a hundred of it, rounded up.
fn share(max: i64, percent: u32) -> i64 {
    let share = (i128::from(max) * i128::from(percent) + 99) / 100;
    i64::try_from(share).unwrap_or(i64::MAX)
}

/// How much one of a cap's `max` is in its counter.
pub fn unit(cap: &Cap) -> i64 {
    match measure(cap) {
        Measure::Spend => SPEND_UNITS,
        Measure::Calls
        | Measure::Sum(_)
        | Measure::Entities(_)
        | Measure::Rows
        | Measure::Bytes(_)
        | Measure::Concurrent(_)
        | Measure::Tokens => 1,
    }
}

/// The approval that lifts a cap: one of its own, so that what was agreed to for another reason
/// does not lift it.
pub(crate) fn requirement(cap: &Cap) -> Option<String> {
    let who = cap.escalate.as_ref()?;
    Some(format!("{who}{FOR_THE_CAP}{}", cap.name))
}

/// Whether a cap that is used up has been lifted by an approval.
pub(crate) fn is_lifted(cap: &Cap, facts: &Facts) -> bool {
    let Some(requirement) = requirement(cap) else { return false };
    facts.approvals.iter().any(|approval| approval.requirement == requirement)
}

fn caps_over<'a>(
    world: &'a World,
    facts: &Facts,
    declared: Option<&'a Operation>,
) -> impl Iterator<Item = &'a Cap> {
    let operation = &facts.call.operation;
    // The gate's own operations go on: else a cap could keep people from stopping things.
    let is_own = facts.call.upstream.as_str() == RESERVED;
    let effect = match world.gate.cap.is_empty() || is_own {
        true => None,
        false => declared.map(|operation| operation.effect),
    };
    let api = declared.and_then(|operation| operation.model);
    // Counting tokens costs none.
    let has_tokens = api.is_some_and(|api| api.asks_a_model() && api != ModelApi::CountTokens);
    world.gate.cap.iter().filter(move |cap| {
        let is_counted = match cap.count {
            Some(CountWord::Writes) => effect.is_some_and(|effect| effect >= Effect::Write),
            Some(CountWord::Tokens | CountWord::Spend) => has_tokens,
            Some(CountWord::Calls) | None => true,
        };
        let reads = cap.reads || is_of_models(cap);
        effect.is_some_and(|effect| {
            is_counted && is_about(reads, &cap.operations, effect, operation.as_str())
        })
    })
}

/// Whether a cap or a rate is about an operation.
pub fn is_about(reads: bool, operations: &[String], effect: Effect, operation: &str) -> bool {
    let counts = reads || effect != Effect::Read;
    counts && (operations.is_empty() || operations.iter().any(|name| name == operation))
}

/// Whether a cap is of what models cost, which counts although they only read.
const fn is_of_models(cap: &Cap) -> bool {
    matches!(cap.count, Some(CountWord::Tokens | CountWord::Spend))
}

fn whose(facts: &Facts) -> Whose<'_> {
    Whose { identity: &facts.identity, session: facts.session.id.as_str(), call: &facts.call }
}

fn charge(world: &World, cap: &Cap, (scope, amount): (String, i64), facts: &Facts) -> Charge {
    let mut charge = Charge { amount, ..counter(cap, scope, facts.now) };
    if measure(cap) == Measure::Spend {
        let asked = facts.call.model.as_deref();
        let entry = asked.and_then(|asked| world.models.of(asked));
        charge.settles = entry.and_then(|(_, entry)| entry.prices()).map(Settles::Spend);
    }
    match is_lifted(cap, facts) {
        true => Charge { max: i64::MAX, ..charge },
        false => charge,
    }
}

/// The counter of a cap that somebody has at a time, with nothing taken of it.
pub fn counter(cap: &Cap, scope: String, now: Micros) -> Charge {
    let (max, until) = match (cap.concurrent, cap.window_s) {
        (Some(places), _) => (i64::from(places), Until::Outcome),
        (None, Some(window_s)) => {
            let max = cap.max.unwrap_or(0).saturating_mul(unit(cap));
            (max, Until::Window(window(window_s, now)))
        }
        // The bundle's check lets none of these pass: they have no room.
        (None, None) => (0, Until::Outcome),
    };
    let settles = match measure(cap) {
        Measure::Sum(_) => cap.actual.as_ref().map(|path| Settles::Field {
            path: path.split('.').map(str::to_owned).collect(),
            decimals: cap.decimals,
        }),
        Measure::Bytes(BytesWord::In) => Some(Settles::Bytes),
        Measure::Rows => Some(Settles::Rows),
        Measure::Tokens => Some(Settles::Tokens),
        // By the prices of the entry that is asked.
        Measure::Spend => None,
        Measure::Calls | Measure::Entities(_) | Measure::Bytes(_) | Measure::Concurrent(_) => None,
    };
    let alert_at = cap.alert_percent.map(|percent| share(max, percent));
    Charge { cap: cap.name.clone(), scope, amount: 0, max, until, settles, alert_at }
}

fn window(window_s: u32, now: Micros) -> Micros {
    let window_us = i64::from(window_s).saturating_mul(1_000_000).max(1);
    let into_window = now.0.rem_euclid(window_us);
    Micros(now.0.saturating_sub(into_window).saturating_add(window_us))
}

/// Whose call it is, for counters.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// On whose behalf, and by whom.
    pub identity: &'a Identity,
    /// The key of its session.
    pub session: &'a str,
    /// The call.
    pub call: &'a Call,
}

/// Whose counter it is.
pub fn scope(per: CapScope, whose: Whose<'_>) -> String {
    let Whose { identity, session, call } = whose;
    match per {
        // Of teams there are several: `scopes` has them.
        CapScope::Global | CapScope::Call | CapScope::Team => String::new(),
        CapScope::Tenant => identity.tenant.to_string(),
        CapScope::Environment => identity.environment.to_string(),
        CapScope::Agent => identity.agent.to_string(),
        CapScope::Subject => format!("{}\n{}", identity.issuer, identity.subject),
        CapScope::Session => session.to_owned(),
        // What a caller says of its trace would let it begin a new tree as it likes.
        CapScope::Tree => match &call.root {
            Some(root) => format!("call\n{root}"),
            None => format!("session\n{session}"),
        },
        CapScope::Operation => call.operation.to_string(),
        CapScope::Task => identity.task.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Whose counters they are: of teams there may be several, or none.
fn scopes(cap: &Cap, whose: Whose<'_>) -> Vec<String> {
    if cap.per != CapScope::Team {
        return vec![scope(cap.per, whose)];
    }
    let is_in = |name: &&String| whose.identity.subject_groups.iter().any(|g| g.as_str() == *name);
    let teams: BTreeSet<&String> = cap.groups.iter().filter(is_in).collect();
    teams.into_iter().cloned().collect()
}

/// How much a call takes of a cap, as far as it is known before.
fn amount(
    world: &World,
    operation: Option<&Operation>,
    cap: &Cap,
    facts: &Facts,
) -> Result<i64, Unreadable> {
    let given = |argument| facts.call.arguments().and_then(|arguments| arguments.get(argument));
    let unreadable = |argument: &str, wanted| Unreadable {
        cap: cap.name.clone(),
        argument: argument.to_owned(),
        wanted,
    };
    match measure(cap) {
        Measure::Calls | Measure::Concurrent(_) => Ok(1),
        Measure::Sum(argument) => {
            let wanted = "a number that is not negative";
            number(given(argument), cap.decimals).ok_or_else(|| unreadable(argument, wanted))
        }
        Measure::Entities(argument) => {
            let wanted = "an array, or a whole number that is not negative";
            let count = match given(argument) {
                Some(Json::Array(items)) => Some(length(items.len())),
                other => number(other, 0),
            };
            count.ok_or_else(|| unreadable(argument, wanted))
        }
        Measure::Rows => {
            let upstream = world.gate.upstream.get(facts.call.upstream.as_str());
            let database = upstream.and_then(|upstream| upstream.database.as_ref());
            Ok(i64::from(database.map_or(u32::MAX, |database| database.rows_max)))
        }
        Measure::Bytes(BytesWord::In) => Ok(i64::from(world.gate.limits.answer_bytes_max)),
        Measure::Bytes(BytesWord::Out) => {
            let arguments = facts.call.arguments().cloned().unwrap_or_default();
            Ok(length(Json::from(arguments).to_canonical().len()))
        }
        Measure::Tokens | Measure::Spend => {
            let wanted = "a number of tokens: the bundle knows no bound of the reply";
            let api = operation.and_then(|operation| operation.model);
            let bound = api.and_then(|api| bound(world, api, measure(cap), facts));
            bound.ok_or_else(|| unreadable("max_tokens", wanted))
        }
    }
}

/// The most that a call of a model comes to.
fn bound(world: &World, api: ModelApi, measure: Measure<'_>, facts: &Facts) -> Option<i64> {
    let asked = facts.call.model.as_deref()?;
    let (_, entry) = world.models.of(asked)?;
    let bound = match measure {
        Measure::Spend => entry.spend_bound(api, asked),
        _ => entry.tokens_bound(api, asked),
    };
    bound.map(|bound| bound.min(AMOUNT_MAX))
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(AMOUNT_MAX)
}

fn number(json: Option<&Json>, decimals: u32) -> Option<i64> {
    match json {
        Some(Json::Number(number)) => scaled(number.text(), decimals),
        _ => None,
    }
}

/// A number in units of `10^-decimals`; `None` if it is negative, has more decimals, or is too
/// large. What would have to be rounded is not counted wrongly.
fn scaled(text: &str, decimals: u32) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let places = usize::try_from(decimals).ok()?;
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > places {
        return None;
    }
    let scaled = format!("{whole}{fraction:0<places$}").parse().ok()?;
    (scaled <= AMOUNT_MAX).then_some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn amounts_are_exact_or_nothing() {
        for (text, decimals, units) in [
            ("0", 0, Some(0)),
            ("12", 0, Some(12)),
            ("12", 2, Some(1200)),
            ("12.3", 2, Some(1230)),
            ("12.340", 2, Some(1234)),
            ("12.345", 2, None),
            ("12.0", 0, Some(12)),
            ("-1", 0, None),
            ("1e3", 0, None),
            (".5", 1, None),
            ("1152921504606846976", 0, Some(1 << 60)),
            ("1152921504606846977", 0, None),
            ("9223372036854775808", 0, None),
            ("9223372036854775807", 1, None),
        ] {
            assert_eq!(scaled(text, decimals), units, "{text} {decimals}");
        }
    }

    #[test]
    fn what_a_result_does_not_say_stays_reserved() {
        let field =
            Settles::Field { path: vec!["paid".to_owned(), "total".to_owned()], decimals: 2 };
        for (result, settles, amount) in [
            (r#"{"structuredContent":{"paid":{"total":1.5}}}"#, &field, Some(150)),
            (r#"{"structuredContent":{"paid":{"total":-1}}}"#, &field, None),
            (r#"{"structuredContent":{"paid":{"total":"1"}}}"#, &field, None),
            (r#"{"paid":{"total":1}}"#, &field, None),
            (r#"{"content":[]}"#, &Settles::Bytes, Some(14)),
            (r#"{"structuredContent":{"changed":3}}"#, &Settles::Rows, Some(3)),
            (r#"{"isError":true}"#, &Settles::Rows, Some(0)),
            (r#"{"content":[]}"#, &Settles::Rows, None),
            (r#"{"isError":true,"structuredContent":{"paid":{"total":1}}}"#, &field, None),
        ] {
            let result = Json::parse(result.as_bytes(), &JsonLimits::OWN).unwrap();
            assert_eq!(actual(settles, &result), amount, "{result}");
        }
    }
}
