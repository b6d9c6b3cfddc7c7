//! What must hold, whatever crashed and when.

use crate::life::{Gate, TENANTS};
use crate::script::{Ask, Luck, Script, Tool};
use crate::world::{Answered, Said, World};
use lockgate_ledger::tiles::{TILE_LEVELS_MAX, TILE_WIDTH, bundle_path, tile_path, tile_width};
use lockgate_ledger::verify::CHECKPOINT_PATH;
use lockgate_ledger::{Checkpoint, Kind, VerifierKey, verify_log};
use lockgate_store::{Store, StoreError, StoredEntry};
use lockgate_types::facts::Facts;
use lockgate_types::{Json, JsonLimits, Tenant};
use std::collections::BTreeMap;
use std::path::Path;

/// Holds an answer against what the client was told before, and against what has happened.
pub(crate) fn hold(world: &mut World, at: usize, ask: &Ask, said: Said) {
    let (count, is_late) = (world.count(ask.n), world.is_late(ask.n));
    let what = format!("{} {}", ask.tool.name(), ask.n);
    let mut wrong = |problem: String| world.violations.push(format!("{what}: {problem}"));
    match &said {
        Said::Done(_) if count != 1 => wrong(format!("done, they say, and happened {count} times")),
        Said::HasNotHappened if count > 0 || is_late => {
            wrong("it has not happened, they say, and it has or may yet".to_owned());
        }
        Said::Refused if !matches!(ask.luck, Luck::Refused | Luck::LateAndBusy) => {
            wrong("refused by nobody".to_owned())
        }
        Said::Else(other) => wrong(other.clone()),
        _ => {}
    }
    let before = world.said.get(at).into_iter().flatten();
    let done = before.clone().find(|before| matches!(before, Said::Done(_)));
    if let Some(done) = done
        && *done != said
    {
        let problem = format!("{what}: they said {done:?}, and now {said:?}");
        world.violations.push(problem);
    }
    if let Some(all) = world.said.get_mut(at) {
        all.push(said);
    }
}

/// Where nothing crashed and nothing went wrong, there is no doubt.
pub(crate) fn hold_whole(world: &mut World, script: &Script) {
    for (ask, said) in script.asks.iter().zip(&world.said) {
        if ask.luck == Luck::Good && !matches!(said.first(), Some(Said::Done(_))) {
            let problem = format!("{} {}: {said:?} for nothing", ask.tool.name(), ask.n);
            world.violations.push(problem);
        }
    }
}

/// Looks at the log, the doubts and the effects, after all is over. Gives what calls took of caps.
pub(crate) async fn check(gate: &Gate, script: &Script) -> Result<i64, String> {
    let store = gate.kernel.store();
    let failed = |error: StoreError| format!("the record cannot be read: {error}");
    let world = gate.shared.lock().world.clone();
    let mut problems = Vec::new();
    for (at, ask) in script.asks.iter().enumerate() {
        let last = world.said.get(at).and_then(|said| said.last());
        let is_settled = match last {
            Some(Said::Done(_)) => true,
            Some(Said::InDoubt) => ask.tool == Tool::Letter,
            // What was refused under a key stays so.
            Some(Said::Refused) => ask.has_key && world.count(ask.n) == 0,
            Some(Said::HasNotHappened | Said::Else(_)) | None => false,
        };
        if !is_settled {
            problems.push(format!("{} {} ends as {last:?}", ask.tool.name(), ask.n));
        }
    }
    problems.extend(check_log(store, &world).await.map_err(failed)?);
    let facts = intents(store).await.map_err(failed)?;
    for done in &world.done {
        let is_meant = |facts: &Facts| {
            let arguments = facts.call.arguments();
            let n = arguments.and_then(|arguments| arguments.get("n")?.as_i64());
            tool(facts) == Some(done.message.tool)
                && n == i64::try_from(done.message.n).ok()
                && done.message.reference.as_ref().is_none_or(|it| *it == facts.call.effect_key())
        };
        if !facts.iter().any(is_meant) {
            problems.push(format!("{}: without an intent", done.answer));
        }
    }
    problems.extend(world.violations.first().map(|_| "the effects".to_owned()));
    if let Some(problem) = problems.into_iter().next() {
        let story = story(store).await.map_err(failed)?;
        return Err(format!("{problem}\n  the log: {story:#?}"));
    }
    let takes = |facts: &&Facts| tool(facts).is_some() && facts.call.attempt_of.is_none();
    Ok(i64::try_from(facts.iter().filter(takes).count()).unwrap_or(i64::MAX))
}

fn tool(facts: &Facts) -> Option<Tool> {
    Tool::of(facts.call.params.get("name")?.as_str()?)
}

/// The facts of every intent.
async fn intents(store: &Store) -> Result<Vec<Facts>, StoreError> {
    let (mut facts, mut from) = (Vec::new(), 0);
    loop {
        let page = store.records(from, 512).await?;
        let intents = page.records.into_iter().filter(|record| record.kind == Kind::Intent);
        facts.extend(intents.filter_map(|record| record.recorded?.facts()));
        from = page.next;
        if from >= page.size {
            return Ok(facts);
        }
    }
}

/// The log in words, for who has to find out what went wrong.
async fn story(store: &Store) -> Result<Vec<String>, StoreError> {
    let entries = store.entries(0, 4096).await?;
    let tell = |leaf: &[u8]| {
        let leaf = Json::parse(leaf, &JsonLimits::OWN).unwrap_or(Json::Null);
        let words = ["t", "k", "call", "operation", "attempt_of", "state", "code", "means"];
        let words = words.iter().filter_map(|word| Some(leaf.get(word)?.to_string()));
        words.collect::<Vec<_>>().join(" ")
    };
    Ok(entries.iter().map(|entry| tell(&entry.leaf)).collect())
}

/// Whether the log verifies, holds what the client has seen of it, and leaves nothing open.
async fn check_log(store: &Store, world: &World) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    for tenant in TENANTS {
        let of = tenant.parse().unwrap();
        let vkey: VerifierKey = store.vkey_of(&of).await?.parse().unwrap();
        let seen = world.checkpoints.get(tenant);
        let seen = seen.and_then(|note| Checkpoint::open(note.as_bytes(), &vkey).ok());
        let Some(files) = export(store, &of, &vkey).await? else {
            if seen.is_some() {
                problems.push(format!("the log of {tenant} is gone"));
            }
            continue;
        };
        if let Err(error) = verify_log(&files, &vkey, seen.as_ref(), &mut |_, _| {}) {
            problems.push(format!("the log of {tenant} does not verify: {error}"));
        }
    }
    problems.extend(strangers(store).await?);
    let entries = store.entries(0, 4096).await?;
    let entries: Vec<Json> = entries
        .iter()
        .filter_map(|entry| Json::parse(&entry.leaf, &JsonLimits::OWN).ok())
        .collect();
    let text = |entry: &Json, name: &str| entry.get(name)?.as_str().map(str::to_owned);
    let of = |kind: &str| -> Vec<String> {
        let of_kind = entries.iter().filter(|entry| text(entry, "k").as_deref() == Some(kind));
        let mut calls: Vec<String> = of_kind.filter_map(|entry| text(entry, "call")).collect();
        calls.sort_unstable();
        calls
    };
    if of("intent") != of("outcome") {
        problems.push(format!("intents {:?}, outcomes {:?}", of("intent"), of("outcome")));
    }
    for Answered { call, by_itself } in &world.answered {
        let is_own = |entry: &&Json| text(entry, "call").as_deref() == Some(call);
        let says_so = |entry: &Json| match text(entry, "k").as_deref() {
            Some("outcome") => text(entry, "state").as_deref() == Some("succeeded"),
            Some("repeat") => true,
            Some(_) | None => !by_itself,
        };
        if !entries.iter().filter(is_own).any(says_so) {
            problems.push(format!("the call {call} was answered, and the log does not say so"));
        }
    }
    for doubt in store.doubts(0, 64).await? {
        let trace = store.trace(&doubt.call).await?;
        let operation = trace.and_then(|trace| text(&trace.entries.first()?.leaf, "operation"));
        if operation.as_deref() != Some("shop/letter") {
            problems.push(format!("{operation:?} stays in doubt"));
        }
    }
    Ok(problems)
}

/// Entries that stand in the log of another tenant.
async fn strangers(store: &Store) -> Result<Vec<String>, StoreError> {
    let entries = store.entries(0, 4096).await?;
    let is_strange = |entry: &&StoredEntry| {
        let leaf = Json::parse(&entry.leaf, &JsonLimits::OWN).unwrap_or(Json::Null);
        let log = entry.tenant.as_ref().map_or(TENANTS[0], |tenant| tenant.as_str());
        leaf.get("tenant").and_then(Json::as_str).is_some_and(|tenant| tenant != log)
    };
    let strangers = entries.iter().filter(is_strange);
    Ok(strangers.map(|entry| format!("entry {} is in another's log", entry.index)).collect())
}

/// The whole log of a tenant as files, as somebody else gets them; `None`: it has none.
async fn export(
    store: &Store,
    tenant: &Tenant,
    vkey: &VerifierKey,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, StoreError> {
    let Some(note) = store.checkpoint_of(tenant).await? else { return Ok(None) };
    let size = Checkpoint::open(note.as_bytes(), vkey).unwrap().size;
    let mut files = BTreeMap::from([(CHECKPOINT_PATH.to_owned(), note.into_bytes())]);
    for level in 0..TILE_LEVELS_MAX {
        for index in 0.. {
            let width = tile_width(size, level, index);
            if width == 0 {
                break;
            }
            let mut paths = vec![tile_path(level, index, width)];
            if level == 0 {
                paths.push(bundle_path(index, width));
            }
            for path in paths {
                files.insert(path.clone(), store.tile_of(tenant, &path).await?.unwrap_or_default());
            }
            if width < TILE_WIDTH {
                break;
            }
        }
    }
    Ok(Some(files))
}

/// How many calls the database says are under way.
pub(crate) fn places_taken(database: &Path) -> Option<i64> {
    let db = rusqlite::Connection::open(database).ok()?;
    db.query_row("SELECT count(*) FROM under_way", [], |row| row.get(0)).ok()
}

/// What the database says is used of all caps together.
pub(crate) fn used_of_caps(database: &Path) -> Option<i64> {
    let db = rusqlite::Connection::open(database).ok()?;
    db.query_row("SELECT coalesce(sum(used), 0) FROM cap", [], |row| row.get(0)).ok()
}
