//! Where the values of a call came from, as far as something establishes it.

use super::intent::is_asked;
use super::memory::{Memory, Seen};
use super::read::{bare_address, name_words, scalar};
use super::text::{Words, amount, fold, tokens};
use crate::world::Operation;
use lockgate_types::call::{Call, Effect};
use lockgate_types::flow::{Provenance, Role, Source, Traced};
use lockgate_types::{Json, Object};
use std::collections::BTreeSet;
use std::ops::Range;

/// Values of one call that are traced. A call with more is treated as if one of them came from
/// nowhere.
pub const TRACED_MAX: usize = 256;
/// Links of one call that are listed.
pub const LINKS_MAX: usize = 64;
/// Levels of an argument that are looked into.
const DEPTH_MAX: usize = 8;
/// Trusted values that are offered beside one that could not be established.
const NEAR_MAX: usize = 3;
/// Addresses in a person's words that are compared to find those.
const NEAR_SAID_MAX: usize = 16;
/// By how much an amount may be larger than those before: a quarter.
const LARGER: (i128, i128) = (5, 4);
/// Members of an object that say what kind of reference it is, and name nothing.
const KIND_MEMBERS: [&str; 2] = ["type", "kind"];

/// Words of an argument's name that only say that it identifies something.
const ID_WORDS: [&str; 7] = ["id", "identifier", "key", "number", "no", "ref", "uid"];

/// Finds links in a text.
pub type FindLinks = fn(&str) -> Vec<Range<usize>>;

impl Memory {
    /// Where the values of a call came from. Of what only reads, and lets no caller choose where,
    /// nothing is asked.
    pub fn trace(&self, declared: &Operation, call: &Call, links: FindLinks) -> Provenance {
        let mut trace = Provenance { has_words: !self.words.is_empty(), ..Provenance::default() };
        if declared.effect == Effect::Read || call.tool().is_none() {
            return trace;
        }
        let empty = Object::new();
        let arguments = call.arguments().unwrap_or(&empty);
        let roles = &declared.flow.roles;
        let has_role =
            |name: &str| roles.iter().any(|(path, _)| path.first().is_some_and(|p| p == name));
        let unroled = arguments.iter().filter(|(name, _)| *name != "_meta" && !has_role(name));
        trace.unroled = unroled.map(|(name, _)| name.to_owned()).collect();
        trace.is_asked = call.tool().is_some_and(|tool| is_asked(&self.words, tool));
        let mut values = Vec::new();
        for (path, role) in roles {
            let Some((first, rest)) = path.split_first() else { continue };
            let Some(value) = arguments.get(first) else { continue };
            let mut found = Vec::new();
            select(value, rest, first.clone(), 0, &mut found);
            values.extend(found.into_iter().map(|(at, value)| (at, *role, value)));
        }
        let tool = name_words(call.tool().unwrap_or_default());
        let amounts = Amounts { memory: self, declared, values: &values };
        for (at, role, value) in &values {
            if trace.values.len() >= TRACED_MAX {
                trace.is_cut = true;
                break;
            }
            if *role == Role::Content {
                self.add_links(at, value, links, &mut trace);
            }
            trace.values.push(self.value(at, *role, value, (&amounts, &tool)));
        }
        trace
    }

    fn value(
        &self,
        at: &str,
        role: Role,
        value: &str,
        (amounts, tool): (&Amounts<'_>, &BTreeSet<String>),
    ) -> Traced {
        let is_free = matches!(role, Role::Content | Role::Time | Role::Low | Role::Amount);
        let folded = if is_free { String::new() } else { fold(value.trim()) };
        let seen = self.seen(&folded);
        let (source, shown) = match role {
            Role::Amount => (amounts.source(value), None),
            Role::Label => (self.title(&folded), None),
            Role::Content | Role::Time | Role::Low => (Source::Unknown, None),
            Role::NavUrl => (self.page(value), None),
            Role::EgressUrl => (self.address(value), None),
            Role::Principal
            | Role::Payee
            | Role::Resource
            | Role::Audience
            | Role::Credential
            | Role::Profile => {
                let kind = Words::is_weak(&folded).then(|| kind_words(at, tool));
                self.name(role, (value, &folded), (seen, kind.as_ref()))
            }
        };
        let shown = shown.or(seen.last());
        let mut traced = Traced {
            argument: at.to_owned(),
            role,
            source,
            call: shown.and_then(|seen| Some(self.thing(seen)?.call.clone())),
            field: shown.and_then(|seen| seen.field.clone()),
            near: Vec::new(),
        };
        if source == Source::Unknown
            && matches!(role, Role::Principal | Role::Payee | Role::Resource)
        {
            traced.near = self.near(&folded, role);
        }
        traced
    }

    /// How a value that names somebody or something is established.
    fn name<'m>(
        &'m self,
        role: Role,
        (value, folded): (&str, &str),
        (seen, kind): (&'m [Seen], Option<&BTreeSet<String>>),
    ) -> (Source, Option<&'m Seen>) {
        if self.words.quote(value) {
            return (Source::User, None);
        }
        if self.is_own(folded) {
            return (Source::Caller, None);
        }
        let standing = |seen: &'m Seen| {
            let thing = self.thing(seen)?;
            let is_kind = kind.is_none_or(|kind| !kind.is_disjoint(&thing.by));
            let standing = self.standing(thing).filter(|_| is_kind)?;
            let is_enough = !standing.is_plain || role == Role::Resource;
            is_enough.then_some((standing.source, Some(seen)))
        };
        if let Some(best) = seen.iter().filter_map(standing).min_by_key(|(source, _)| *source) {
            return best;
        }
        if self.members.contains(folded) {
            return (Source::Directory, None);
        }
        if self.system.contains(folded) {
            return (Source::System, None);
        }
        (Source::Unknown, None)
    }

    /// An address that is fetched: also a page, without anything asked of it, of a host that the
    /// person has named.
    fn page(&self, value: &str) -> Source {
        let source = self.address(value);
        let bare = bare_address(value);
        let is_plain = !bare.contains(['?', '#', '@', '%', '\\']);
        let host = bare.split_once('/').map(|(host, _)| host).filter(|_| is_plain);
        let is_named = host.is_some_and(|host| self.words.quote_address(host));
        if source == Source::Unknown && is_named { Source::User } else { source }
    }

    fn address(&self, value: &str) -> Source {
        let bare = bare_address(value);
        if self.words.quote_address(value) {
            Source::User
        } else if self.system.iter().any(|known| bare_address(known) == bare) {
            Source::System
        } else if self.tenant_addresses.contains(&bare) {
            Source::Tenant
        } else {
            Source::Unknown
        }
    }

    /// A title is established if each of its words is.
    fn title(&self, folded: &str) -> Source {
        if tokens(folded).all(|token| self.words.has(token)) {
            Source::User
        } else if tokens(folded).all(|token| self.words.has(token) || self.has_token(token)) {
            Source::Object
        } else {
            Source::Unknown
        }
    }

    fn add_links(&self, at: &str, value: &str, links: FindLinks, trace: &mut Provenance) {
        for link in links(value) {
            let Some(link) = value.get(link) else { continue };
            if self.address(link) != Source::Unknown {
                continue;
            }
            if trace.links.len() >= LINKS_MAX {
                trace.is_cut = true;
                return;
            }
            trace.links.push((at.to_owned(), link.to_owned()));
        }
    }

    /// The established values that look most like one that is not.
    fn near(&self, folded: &str, role: Role) -> Vec<String> {
        let is_id = role == Role::Resource;
        let known = self.recent().filter(|seen| seen.field.is_none() == is_id);
        let values = known.map(|seen| seen.value.as_str());
        let said = self.words.addresses().filter(|_| !is_id).take(NEAR_SAID_MAX);
        let mut near: Vec<(usize, &str)> =
            values.chain(said).map(|value| (likeness(folded, value), value)).collect();
        near.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        near.dedup();
        near.into_iter().take(NEAR_MAX).map(|(_, value)| value.to_owned()).collect()
    }
}

/// How much two texts have in common: at their beginnings, and at their ends.
fn likeness(a: &str, b: &str) -> usize {
    let same = |(a, b): &(u8, u8)| a.eq_ignore_ascii_case(b);
    let beginning = a.bytes().zip(b.bytes()).take_while(same).count();
    let end = a.bytes().rev().zip(b.bytes().rev()).take_while(same).count();
    beginning + end
}

/// What an argument says of the kind of object that it names: the words of its name, or of the
/// tool where it has none but that it is an id. A short number identifies something only together
/// with its kind: `7` may be a file and an appointment.
fn kind_words(at: &str, tool: &BTreeSet<String>) -> BTreeSet<String> {
    let name = at.rsplit('.').next().unwrap_or(at);
    let name = name.split('[').next().unwrap_or(name);
    let mut words = name_words(name);
    words.retain(|word| !ID_WORDS.contains(&word.as_str()));
    if words.is_empty() { tool.clone() } else { words }
}

/// What amounts of a call are compared with.
struct Amounts<'a> {
    memory: &'a Memory,
    declared: &'a Operation,
    values: &'a [(String, Role, String)],
}

impl Amounts<'_> {
    fn source(&self, value: &str) -> Source {
        let Some(number) = amount(value) else { return Source::Unknown };
        let words = &self.memory.words;
        if words.says_number(number) || (number >= 0 && words.largest_number() >= Some(number)) {
            return Source::User;
        }
        let (times, of) = LARGER;
        let is_bounded = self.before().is_some_and(|before| {
            number >= 0 && number.checked_mul(of) <= before.checked_mul(times)
        });
        if is_bounded { Source::Bounded } else { Source::Unknown }
    }

    /// The largest amount that this went to before, or that the object has; where there is none,
    /// the largest that is known.
    fn before(&self) -> Option<i128> {
        let names = self
            .values
            .iter()
            .filter(|(_, role, _)| matches!(role, Role::Payee | Role::Principal | Role::Resource));
        let things = names.flat_map(|(_, _, value)| self.memory.seen(&fold(value.trim())));
        let things = things.filter_map(|seen| self.memory.thing(seen));
        let largest = things.flat_map(|thing| &thing.amounts).copied().max();
        largest.or_else(|| self.memory.largest_amount(&self.declared.upstream))
    }
}

/// The scalars at a path, arrays item by item, with where each stands.
fn select(
    json: &Json,
    path: &[String],
    at: String,
    depth: usize,
    found: &mut Vec<(String, String)>,
) {
    if depth > DEPTH_MAX {
        found.push((at, String::from("\u{0}")));
        return;
    }
    match (json, path) {
        (Json::Null, _) => {}
        (Json::Array(items), _) => {
            for (index, item) in items.iter().enumerate() {
                select(item, path, format!("{at}[{index}]"), depth + 1, found);
            }
        }
        (Json::Object(members), [first, rest @ ..]) => {
            let Some(value) = members.get(first) else { return };
            select(value, rest, format!("{at}.{first}"), depth + 1, found);
        }
        (Json::Object(members), []) => {
            let named = members.iter().filter(|(name, _)| !KIND_MEMBERS.contains(name));
            for (name, value) in named {
                select(value, path, format!("{at}.{name}"), depth + 1, found);
            }
        }
        (scalar_value, _) => {
            let text = scalar(scalar_value).unwrap_or_else(|| match scalar_value {
                Json::Bool(value) => value.to_string(),
                _ => String::new(),
            });
            if !text.trim().is_empty() {
                found.push((at, text));
            }
        }
    }
}
