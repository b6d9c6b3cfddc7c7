//! What a bundle says about models: who provides them (`[upstream.<name>.model]`), and the entries
//! of the registry (`models/<name>.toml`).

use super::document::{self, Document, Findings};
use super::places::Place;
use super::tasks::check_answers;
use super::{network, suggest};
use crate::declare::{self, FamilyWord, Provider, Upstream};
use crate::mistake::Mistake;
use crate::model::{self, Model, Pattern, Registry};
use crate::world::Files;
use lockgate_types::model::{Deadlines, ModelApi};
use lockgate_types::{TaskName, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of one registry.
const MODELS_MAX: usize = 512;
/// Names by which one entry is asked for, and tasks that may use it.
const LISTED_MAX: usize = 64;
/// Entries that one stands in with, or is divided among.
const OTHERS_MAX: usize = 16;
/// Bytes of a version or a region.
const WORD_BYTES_MAX: usize = 64;

type Upstreams = BTreeMap<String, Upstream>;
/// An entry as it was read, with its file.
type Read = BTreeMap<String, (declare::Model, Document)>;

/// The entries of a bundle. Without upstreams (the gate's file is broken) only what an entry says
/// by itself is checked.
pub(super) fn load(
    files: &Files,
    upstreams: Option<&Upstreams>,
    mistakes: &mut Vec<Mistake>,
) -> Registry {
    let mut read = Read::new();
    for (path, bytes) in files {
        let Place::Model(name) = Place::of(path) else { continue };
        let entry = document::read::<declare::Model>(path, bytes, mistakes);
        let Some((declared, document)) = entry else { continue };
        let mut found = Findings::new(&document, mistakes);
        if !is_name(name) {
            let hint = "an entry is named by lower-case letters, digits, `-`, `_` and `.`";
            found.at(&[], format!("`{name}` cannot be the name of a model"), hint);
        }
        check_words(&declared, &mut found);
        check_numbers(&declared, &mut found);
        let checks = &declared.guard.checks;
        check_answers(checks, &["guard", "checks", "schema"], &mut found);
        read.insert(name.to_owned(), (declared, document));
    }
    if read.len() > MODELS_MAX {
        mistakes.push(Mistake {
            file: super::GATE.to_owned(),
            line: None,
            what: format!("the bundle has more than {MODELS_MAX} models"),
            hint: "use more than one gate".to_owned(),
        });
    }
    let mut entries = BTreeMap::new();
    for (name, (declared, document)) in &read {
        let mut found = Findings::new(document, mistakes);
        check_others(name, declared, &read, &mut found);
        let provider = upstreams.and_then(|all| provider(declared, all, &mut found));
        let Some((upstream, of, provider)) = provider else { continue };
        check_provided(name, declared, provider, &mut found);
        let entry = compile(name, declared, (upstream, of, provider), &read);
        entries.extend(entry.map(|entry| (name.clone(), entry)));
    }
    for (name, (_, document)) in &read {
        let mut found = Findings::new(document, mistakes);
        check_families(name, &entries, &mut found);
        check_names(name, &entries, &mut found);
    }
    Registry::new(entries)
}

pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    name.len() <= WORD_BYTES_MAX && name.bytes().all(is_plain)
}

pub(super) fn is_word(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    !text.is_empty() && text.len() <= WORD_BYTES_MAX && is_plain
}

fn check_words(declared: &declare::Model, found: &mut Findings<'_>) {
    let words = [("version", Some(&declared.version)), ("region", declared.region.as_ref())];
    for (key, word) in words {
        if let Some(word) = word.filter(|word| !is_word(word)) {
            let hint = "visible characters, without spaces";
            found.at(&[key], format!("`{word}` cannot be a {key}"), hint);
        }
    }
    let is_id = |id: &String| Pattern::parse(id).is_some() && !id.contains('*');
    if let Some(id) = declared.id.as_ref().filter(|id| !is_id(id)) {
        found.at(&["id"], format!("`{id}` cannot be a provider's id"), "one model, exactly");
    }
    let asks = declared.asks.iter().flatten().enumerate();
    for (at, name) in asks {
        let path = ["asks", &at.to_string()];
        if Pattern::parse(name).is_none() {
            let hint = "visible characters, with up to 8 times `*` for any of them";
            found.at(&path, format!("`{name}` cannot be asked for"), hint);
        } else if at == LISTED_MAX {
            found.at(&path, format!("there are more than {LISTED_MAX} names"), "use `*`");
        }
    }
    let tasks = declared.tasks.iter().flatten().enumerate();
    for (at, task) in tasks {
        let path = ["tasks", &at.to_string()];
        if let Err(error) = TaskName::new(task) {
            found.at(&path, error.to_string(), "");
        } else if at == LISTED_MAX {
            found.at(&path, format!("there are more than {LISTED_MAX} tasks"), "");
        }
    }
    if let Some(price) = &declared.price {
        let is_currency =
            |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
        if !is_currency(&price.currency) {
            let what = format!("`{}` is not a currency", price.currency);
            found.at(&["price", "currency"], what, "three letters, such as `EUR`");
        }
    }
}

fn check_numbers(declared: &declare::Model, found: &mut Findings<'_>) {
    let room = declared.context_tokens.zip(declared.output_tokens_max);
    if room.is_some_and(|(context, output)| output > context) {
        let hint = "`context_tokens` is for prompt and reply together";
        found.at(&["output_tokens_max"], "a reply is longer than there is room for", hint);
    }
    if let Some(canary) = &declared.canary {
        let guards = &canary.guards;
        let all = [
            guards.errors_percent_max,
            guards.refusals_percent_max,
            guards.findings_percent_max,
            guards.latency_p95_ms_max,
        ];
        if all.iter().all(Option::is_none) {
            let what = "nothing would take the canary back";
            found.at(&["canary", "guards"], what, "such as `errors_percent_max = 5`");
        }
        if !declared.weights.is_empty() {
            let what = "`weights` and `canary` both say who gets it";
            found.at(&["canary"], what, "keep one");
        }
    }
    let shares = declared.weights.values();
    if !declared.weights.is_empty() && shares.clone().all(|share| *share == 0) {
        found.at(&["weights"], "nobody gets any of it", "say 1 or more for one of them");
    }
    for (name, _) in declared.weights.iter().filter(|(_, share)| **share > 10_000) {
        found.at(&["weights", name], "a share is at most 10,000", "");
    }
}

/// The entries that an entry names, each with where.
fn others(declared: &declare::Model) -> Vec<(Vec<String>, &str)> {
    let at = |key: &str, index: &str| vec![key.to_owned(), index.to_owned()];
    let fallback = declared.fallback.iter().enumerate();
    let fallback = fallback.map(|(index, name)| (at("fallback", &index.to_string()), name));
    let weights = declared.weights.keys().map(|name| (at("weights", name), name));
    let canary = declared.canary.iter().map(|it| (at("canary", "entry"), &it.entry));
    let shadow = declared.shadow.iter().map(|it| (at("shadow", "entry"), &it.entry));
    let cheaper = declared.degrade_to.iter().map(|it| (vec!["degrade_to".to_owned()], it));
    let all = fallback.chain(weights).chain(canary).chain(shadow).chain(cheaper);
    all.map(|(path, name)| (path, name.as_str())).collect()
}

/// That the entries exist that an entry names, are others, and do not lead back to it.
fn check_others<'r>(
    name: &'r str,
    declared: &declare::Model,
    read: &'r Read,
    found: &mut Findings<'_>,
) {
    let known: Vec<&String> = read.keys().collect();
    for (path, other) in others(declared) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let is_share = path.first() == Some(&"weights");
        if other == name && !is_share {
            found.at(&path, format!("`{name}` names itself"), "name another entry");
        } else if !read.contains_key(other) {
            let what = format!("there is no model `{other}`");
            found.at(&path, what, suggest::among(other, &known));
        }
    }
    if declared.fallback.len() > OTHERS_MAX || declared.weights.len() > OTHERS_MAX {
        let what = format!("`{name}` names more than {OTHERS_MAX} others");
        found.at(&[], what, "");
    }
    let of = |name: &str| read.get(name).map(|(declared, _)| declared);
    for (key, circle) in [
        ("fallback", circle(name, |it| of(it).map_or(&[][..], |it| it.fallback.as_slice()))),
        ("degrade_to", circle(name, |it| of(it).map_or(&[][..], |it| it.degrade_to.as_slice()))),
    ] {
        if let Some(circle) = circle.filter(|circle| circle.len() > 1) {
            let what =
                format!("the `{key}` of `{name}` leads back to it: `{}`", circle.join("`, `"));
            let hint =
                "one of them has to be the last; a task's `models` have an order of their own";
            found.at(&[key], what, hint);
        }
    }
    let tried = declared.canary.iter().map(|it| &it.entry);
    for other in tried.chain(declared.weights.keys()).filter(|other| *other != name) {
        let divides = |it: &declare::Model| it.canary.is_some() || !it.weights.is_empty();
        if of(other).is_some_and(divides) {
            let what = format!("`{other}` is tried out, and is divided itself");
            let key = if declared.canary.is_some() { "canary" } else { "weights" };
            found.at(&[key], what, "take its `canary` and `weights` away");
        }
    }
}

/// The way by which a name leads back to itself, itself first.
fn circle<'r>(name: &'r str, next: impl Fn(&str) -> &'r [String]) -> Option<Vec<&'r str>> {
    let (mut seen, mut ways) = (BTreeSet::new(), vec![vec![name]]);
    while let Some(way) = ways.pop() {
        let last = way.last().copied().unwrap_or(name);
        for other in next(last) {
            if other == name {
                return Some(way);
            }
            if seen.insert(other) {
                ways.push(way.iter().copied().chain([other.as_str()]).collect());
            }
        }
    }
    None
}

fn provider<'u>(
    declared: &declare::Model,
    upstreams: &'u Upstreams,
    found: &mut Findings<'_>,
) -> Option<(&'u str, &'u Upstream, &'u Provider)> {
    let name = &declared.upstream;
    let providers = upstreams.iter().filter(|(_, upstream)| upstream.model.is_some());
    let known: Vec<&String> = providers.map(|(name, _)| name).collect();
    match upstreams.get_key_value(name) {
        None => {
            let what = format!("there is no upstream `{name}`");
            found.at(&["upstream"], what, suggest::among(name, &known));
            None
        }
        Some((_, Upstream { model: None, .. })) => {
            let what = format!("the upstream `{name}` provides no models");
            let hint = "declare it with `[upstream.<name>.model]` in `lockgate.toml`";
            found.at(&["upstream"], what, hint);
            None
        }
        Some((name, upstream @ Upstream { model: Some(provider), .. })) => {
            Some((name, upstream, provider))
        }
    }
}

fn check_provided(
    name: &str,
    declared: &declare::Model,
    provider: &Provider,
    found: &mut Findings<'_>,
) {
    if provider.family != FamilyWord::Azure {
        return;
    }
    // It becomes part of an address.
    let is_segment = |id: &String| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        id.bytes().all(is_plain) && !id.bytes().all(|byte| byte == b'.')
    };
    match &declared.id {
        None => {
            let what = format!("`{name}` names no deployment");
            found.at(&["version"], what, "its `id` is the name of the deployment");
        }
        Some(id) if !is_segment(id) => {
            let what = format!("`{id}` cannot be the name of a deployment");
            found.at(&["id"], what, "letters, digits, `-`, `_` and `.`");
        }
        Some(_) => {}
    }
}

fn compile(
    name: &str,
    declared: &declare::Model,
    (upstream, of, provider): (&str, &Upstream, &Provider),
    read: &Read,
) -> Option<Model> {
    let own = [name.to_owned()];
    let asks = declared.asks.as_deref().unwrap_or(&own);
    let own = declared.deadlines.clone().unwrap_or_default();
    let total_ms = own.total_ms.unwrap_or(of.timeout_ms);
    let within = |own: Option<u32>, common: Option<u32>| {
        own.or(common).map_or(total_ms, |ms| ms.min(total_ms))
    };
    Some(Model {
        upstream: UpstreamName::new(upstream).ok()?,
        family: provider.family,
        asks: asks.iter().filter_map(|name| Pattern::parse(name)).collect(),
        ceiling: model::confidentiality(declared.ceiling),
        stands_in: stands_in(name, read),
        deadlines: Deadlines {
            first_token_ms: within(own.first_token_ms, provider.first_token_ms),
            gap_ms: within(own.gap_ms, provider.gap_ms),
            total_ms,
        },
        declared: declared.clone(),
    })
}

/// Those that stand in for an entry, and for these, in order and each once.
fn stands_in(name: &str, read: &Read) -> Vec<String> {
    let of = |name: &str| read.get(name).map_or(&[][..], |(it, _)| it.fallback.as_slice());
    let mut all: Vec<String> = Vec::new();
    let mut open: Vec<&String> = of(name).iter().rev().collect();
    while let Some(next) = open.pop() {
        if next == name || all.contains(next) || all.len() >= OTHERS_MAX {
            continue;
        }
        all.push(next.clone());
        open.extend(of(next).iter().rev());
    }
    all
}

/// That those whom an entry names have an interface of its provider's.
fn check_families(name: &str, entries: &BTreeMap<String, Model>, found: &mut Findings<'_>) {
    let Some(entry) = entries.get(name) else { return };
    for (path, other) in others(&entry.declared) {
        let Some(of) = entries.get(other).map(|other| other.family) else { continue };
        // What one family is asked can be carried to the other, as far as both say it.
        let is_carried = path.first().is_some_and(|key| key == "fallback");
        if !is_carried && !shares(entry.family, of) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let (own, other_family) = (entry.family.as_str(), of.as_str());
            let what = format!("`{other}` is asked as `{other_family}`, and `{name}` as `{own}`");
            found.at(&path, what, "name an entry that has the same interfaces");
        }
    }
}

/// Whether what is asked of one family can be asked of another.
fn shares(one: FamilyWord, other: FamilyWord) -> bool {
    let asks = |api: &&ModelApi| api.asks_a_model() && other.has(**api);
    one.apis().iter().any(|api| asks(&api))
}

/// That no name means two entries.
fn check_names(name: &str, entries: &BTreeMap<String, Model>, found: &mut Findings<'_>) {
    let Some(entry) = entries.get(name) else { return };
    let earlier = || entries.iter().take_while(|(other, _)| other.as_str() < name);
    for (at, own) in entry.asks.iter().enumerate() {
        let is_taken = |(_, other): &(&String, &Model)| {
            shares(entry.family, other.family) && other.asks.iter().any(|it| it.clashes(own))
        };
        let Some((other, taken)) = earlier().find(is_taken) else { continue };
        let theirs = taken.asks.iter().find(|it| it.clashes(own));
        let theirs = theirs.map_or("", |it| it.as_str());
        let what = format!(
            "`{}` of `{name}` and `{theirs}` of `{other}` take the same name",
            own.as_str()
        );
        let hint =
            "let one of them stand in for the other: `asks = []`, and its name in `fallback`";
        let path: &[&str] = match entry.declared.asks {
            Some(_) => &["asks", &at.to_string()],
            None => &[],
        };
        found.at(path, what, hint);
    }
}

/// What is wrong with an upstream that provides models.
pub(super) fn check_provider(
    name: &str,
    provider: &Provider,
    upstream: &Upstream,
    found: &mut Findings<'_>,
) {
    let path = |key| ["upstream", name, "model", key];
    let of_servers = [
        ("env", upstream.env.is_empty()),
        ("pass_env", upstream.pass_env.is_empty()),
        ("directory", upstream.directory.is_none()),
        ("forward_methods", upstream.forward_methods.is_empty()),
        ("era", upstream.era.is_none()),
    ];
    for (key, _) in of_servers.into_iter().filter(|(_, is_unset)| !is_unset) {
        let what = format!("`{key}` of an upstream that provides models");
        found.at(&["upstream", name, key], what, "it is for tool servers");
    }
    if !network::is_base(&provider.base_url) {
        let what = format!("`{}` is not the address of a provider", provider.base_url);
        found.at(&path("base_url"), what, "scheme, host and path: `https://api.openai.com/v1`");
    }
    let azure = [("deployments", &provider.deployments), ("api_version", &provider.api_version)];
    for (key, value) in azure {
        let is_azure = provider.family == FamilyWord::Azure;
        let is_plain = |text: &String| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
            let steps = || text.split('/').all(|it| !it.is_empty() && it != "." && it != "..");
            text.bytes().all(is_plain) && steps()
        };
        match value {
            Some(_) if !is_azure => {
                let what =
                    format!("`{key}` means nothing to the family `{}`", provider.family.as_str());
                found.at(&path(key), what, "take it away");
            }
            Some(text) if !is_plain(text) => {
                found.at(&path(key), format!("`{text}` cannot be `{key}`"), "letters, digits, `-`");
            }
            None if is_azure && key == "api_version" => {
                let what = format!("the provider `{name}` has no `api_version`");
                found.at(&["upstream", name, "model"], what, "such as `2024-10-21`");
            }
            Some(_) | None => {}
        }
    }
    for (key, ms) in [("first_token_ms", provider.first_token_ms), ("gap_ms", provider.gap_ms)] {
        if ms.is_some_and(|ms| ms > upstream.timeout_ms) {
            let what = format!("`{key}` is longer than the whole may take");
            found.at(&path(key), what, "raise `timeout_ms` of the upstream");
        }
    }
}
