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
/// Links of one call that are looked at, those that somebody asked for included.
const LINKS_LOOKED_AT_MAX: usize = 4096;
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

/// Kinds of whom something is for that are everybody's.
const EVERYBODY: [&str; 8] =
    ["all", "anonymous", "anyone", "domain", "everyone", "link", "public", "world"];
/// Signs that names of members have where those are no values themselves.
const MEMBER_SIGNS: [char; 3] = ['_', '-', '$'];

/// Words of tools' names that say what is done, and nothing of what it is done to.
const VERBS: [&str; 27] = [
    "add", "all", "append", "by", "cancel", "change", "copy", "create", "delete", "edit", "fetch",
    "find", "for", "from", "get", "list", "move", "new", "post", "read", "remove", "search",
    "send", "set", "share", "to", "update",
];
/// Words of an argument's name that only say that it identifies something.
const ID_WORDS: [&str; 7] = ["id", "identifier", "key", "number", "no", "ref", "uid"];

/// Finds links in a text. `None`: there are more than anybody looks for.
pub type FindLinks = fn(&str) -> Option<Vec<Range<usize>>>;

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
        let paths: Vec<&[String]> = roles.iter().map(|(path, _)| path.as_slice()).collect();
        for (name, value) in arguments.iter() {
            unroled(value, &inside(&paths, name), (name, 0), &mut trace.unroled);
        }
        trace.is_asked = call.tool().is_some_and(|tool| is_asked(&self.words, tool));
        let mut values = Vec::new();
        for (path, role) in roles {
            let Some((first, rest)) = path.split_first() else { continue };
            let Some(value) = arguments.get(first) else { continue };
            let mut found = Vec::new();
            select(value, rest, first.clone(), 0, &mut found);
            values.extend(found.into_iter().map(|(at, value)| (at, *role, value)));
        }
        trace.is_cut = values.len() > TRACED_MAX;
        values.truncate(TRACED_MAX);
        let tool = name_words(call.tool().unwrap_or_default());
        let amounts = Amounts { memory: self, before: self.before(declared, &values) };
        let mut looked_at = 0;
        for (at, role, value) in &values {
            if matches!(role, Role::Content | Role::Label | Role::Time | Role::Low) {
                match links(value) {
                    Some(links) if looked_at + links.len() <= LINKS_LOOKED_AT_MAX => {
                        looked_at += links.len();
                        self.add_links(at, value, links, &mut trace);
                    }
                    Some(_) | None => trace.is_cut = true,
                }
            }
            trace.values.push(self.value((at, *role), value, (&amounts, &tool, declared)));
        }
        trace
    }

    fn value(
        &self,
        (at, role): (&str, Role),
        value: &str,
        (amounts, tool, declared): (&Amounts<'_>, &BTreeSet<String>, &Operation),
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
            Role::Credential if !self.is_own(&folded) && !self.words.give(value) => {
                (Source::Unknown, None)
            }
            Role::Principal
            | Role::Payee
            | Role::Resource
            | Role::Audience
            | Role::Credential
            | Role::Profile => {
                let kind = Words::is_weak(&folded).then(|| (kind_words(at, tool), declared));
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
        (seen, kind): (&'m [Seen], Option<&(BTreeSet<String>, &Operation)>),
    ) -> (Source, Option<&'m Seen>) {
        if self.words.quote(value) {
            return (Source::User, None);
        }
        if self.is_own(folded) {
            return (Source::Caller, None);
        }
        let standing = |seen: &'m Seen| {
            let thing = self.thing(seen)?;
            let is_kind = kind.is_none_or(|(kind, declared)| {
                !kind.is_disjoint(&thing.by) && self.is_of(thing, &declared.upstream)
            });
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
        if self.words.quote_address(value) {
            Source::User
        } else if self.is_address_of_system(&fold(value.trim())) {
            Source::System
        } else if self.tenant_addresses.contains(&bare_address(value)) {
            Source::Tenant
        } else {
            Source::Unknown
        }
    }

    /// A title is established if each of its words is. One without any is nobody's.
    fn title(&self, folded: &str) -> Source {
        if tokens(folded).next().is_none() {
            Source::Unknown
        } else if tokens(folded).all(|token| self.words.has(token)) {
            Source::User
        } else if tokens(folded).all(|token| self.words.has(token) || self.has_token(token)) {
            Source::Object
        } else {
            Source::Unknown
        }
    }

    fn add_links(&self, at: &str, value: &str, links: Vec<Range<usize>>, trace: &mut Provenance) {
        for link in links {
            let after = value.get(link.end..).unwrap_or_default();
            let Some(link) = value.get(link) else { continue };
            if self.address(link) != Source::Unknown && !host_goes_on(link, after) {
                continue;
            }
            if trace.links.len() >= LINKS_MAX {
                trace.is_cut = true;
                return;
            }
            trace.links.push((at.to_owned(), link.to_owned()));
        }
    }

    /// The largest amount that this went to before, or that the object has; where there is none,
    /// the largest that is known.
    fn before(&self, declared: &Operation, values: &[(String, Role, String)]) -> Option<i128> {
        if !values.iter().any(|(_, role, _)| *role == Role::Amount) {
            return None;
        }
        let names = values
            .iter()
            .filter(|(_, role, _)| matches!(role, Role::Payee | Role::Principal | Role::Resource));
        let things = names.flat_map(|(_, _, value)| self.seen(&fold(value.trim())));
        let largest = things.filter_map(|seen| self.thing(seen)?.largest).max();
        largest.or_else(|| self.largest_amount(&declared.upstream))
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

/// Whether the name of a member is a name and no value: an address, a sentence.
fn is_member_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || MEMBER_SIGNS.contains(&c))
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
    if words.is_empty() {
        words.extend(tool.iter().filter(|word| !VERBS.contains(&word.as_str())).cloned());
    }
    words
}

/// Whether an address that ends with its host may be read as that of a longer one: what ends it for
/// most readers (`'`, a brace) is part of a host for some.
fn host_goes_on(link: &str, after: &str) -> bool {
    let bare = link.split_once("//").map_or(link, |(_, rest)| rest);
    let rest = after.split(|c: char| c.is_whitespace() || c == '<').next().unwrap_or_default();
    let is_host = !bare.contains(['/', '\\', '?', '#']);
    is_host && rest.contains(['.', '@', '%', '&', '\\', '。', '．', '｡']) && has_word(rest)
}

fn has_word(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// The rest of the paths that go into a member.
fn inside<'p>(paths: &[&'p [String]], member: &str) -> Vec<&'p [String]> {
    let of_member = paths.iter().filter_map(|path| path.split_first());
    of_member.filter(|(first, _)| *first == member).map(|(_, rest)| rest).collect()
}

/// Adds what no role reaches, whole or within: `message.bcc` where only `message.to` has one.
fn unroled(json: &Json, paths: &[&[String]], (at, depth): (&str, usize), found: &mut Vec<String>) {
    let is_full = found.len() >= TRACED_MAX;
    if is_full || paths.iter().any(|path| path.is_empty()) {
        return;
    }
    match json {
        _ if paths.is_empty() || depth > DEPTH_MAX => {
            if !found.iter().any(|it| it == at) {
                found.push(at.to_owned());
            }
        }
        Json::Array(items) => {
            items.iter().for_each(|item| unroled(item, paths, (at, depth + 1), found));
        }
        Json::Object(members) => {
            for (name, value) in members.iter().filter(|(_, value)| **value != Json::Null) {
                let within = format!("{at}.{name}");
                unroled(value, &inside(paths, name), (&within, depth + 1), found);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// What amounts of a call are compared with.
struct Amounts<'a> {
    memory: &'a Memory,
    /// The largest before.
    before: Option<i128>,
}

impl Amounts<'_> {
    fn source(&self, value: &str) -> Source {
        let Some(number) = amount(value) else { return Source::Unknown };
        let words = &self.memory.words;
        if words.says_number(number) || (number >= 0 && words.largest_number() >= Some(number)) {
            return Source::User;
        }
        let (times, of) = LARGER;
        let is_bounded = self.before.is_some_and(|before| {
            number >= 0
                && number.checked_mul(of).is_some_and(|it| Some(it) <= before.checked_mul(times))
        });
        if is_bounded { Source::Bounded } else { Source::Unknown }
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
    // One more than are traced says that there are too many.
    if found.len() > TRACED_MAX {
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
            let before = found.len();
            let is_kind = |name: &str, value: &Json| {
                let word = value.as_str().unwrap_or_default();
                KIND_MEMBERS.contains(&name)
                    && !EVERYBODY.iter().any(|it| it.eq_ignore_ascii_case(word))
            };
            for (name, value) in members.iter().filter(|(name, value)| !is_kind(name, value)) {
                select(value, path, format!("{at}.{name}"), depth + 1, found);
            }
            // A map says by the names of its members whom or what it is about.
            let is_all = found.len() == before;
            for (name, value) in members.iter() {
                if is_all || !is_member_name(name) {
                    let named = if is_all && KIND_MEMBERS.contains(&name) {
                        value.as_str().unwrap_or(name)
                    } else {
                        name
                    };
                    found.push((format!("{at}.{name}"), named.to_owned()));
                }
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
