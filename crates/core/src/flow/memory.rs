//! What a session has seen that can be relied upon: objects, their guaranteed fields, members of
//! directories. It is the fold of the session's results, in their order.
//!
//! It only ever helps a call: what is not in it is established by nothing. So it may be forgotten,
//! and it is bounded: what finds no room is not remembered.

use super::given::repeats;
use super::names::{Names, Standing};
use super::read::{Found, bare_address, echo, fields, leaves, name_words, objects, scalar};
use super::text::{Named, Words, amount, fold, is_plain, tokens, without_scheme};
use super::{ObjectShape, Returns};
use crate::world::Operation;
use lockgate_types::call::Call;
use lockgate_types::flow::{Author, Source};
use lockgate_types::{CallId, Json, Object, UpstreamName};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Objects that a session remembers.
pub const OBJECTS_MAX: usize = 4096;
/// Values that a session remembers, in objects and apart from them.
pub const VALUES_MAX: usize = 32_768;
/// Words of titles that a session remembers.
const TOKENS_MAX: usize = 16_384;
/// Bytes of all values that a session remembers.
pub const MEMORY_BYTES_MAX: usize = 1 << 20;
/// Bytes of one value. What is longer identifies nothing.
pub const VALUE_BYTES_MAX: usize = 512;
/// Lines of results that are remembered, so that nobody passes them off as the person's words.
pub const ECHOES_MAX: usize = 16_384;
/// Objects whose values are offered beside one that could not be established, and values of one.
const RECENT_MAX: usize = 32;
const RECENT_VALUES_MAX: usize = 8;
/// Bytes that such a line has at least.
const ECHO_BYTES_MIN: usize = 16;
/// Bytes that a value takes besides its own, an object besides its values, and a line.
const VALUE_OVERHEAD_BYTES: usize = 128;
const OBJECT_OVERHEAD_BYTES: usize = 192;
const LINE_BYTES: usize = 16;
/// Words of a field that says how much: what else is a number is none.
const AMOUNT_WORDS: [&str; 14] = [
    "amount", "charge", "cost", "due", "fee", "paid", "pay", "payment", "price", "rent", "salary",
    "sum", "total", "value",
];
/// What a session has seen.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(super) words: Words,
    /// Texts of messages that the person has referred to.
    pub(super) delegated: Words,
    own: BTreeSet<String>,
    pub(super) things: Vec<Thing>,
    names: Names,
    /// Objects that were established when they were seen, the last ones: what is offered beside a
    /// value that is not.
    recent: VecDeque<u32>,
    // order-free: only looked up
    seen: HashMap<String, Vec<Seen>>,
    kinds: Vec<(UpstreamName, String)>,
    pub(super) members: BTreeSet<String>,
    pub(super) system: BTreeSet<String>,
    pub(super) tenant_addresses: BTreeSet<String>,
    /// Whether names have to be looked for anew.
    is_stale: bool,
    trusted_tokens: BTreeSet<String>,
    // order-free: only looked up
    echoes: HashSet<u64>,
    // order-free: only looked up
    heard: HashSet<u64>,
    values: usize,
    bytes: usize,
}

/// An object of a result.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    kind: u16,
    pub(super) call: CallId,
    /// The words of the name of the operation that has shown it.
    pub(super) by: Arc<BTreeSet<String>>,
    /// The names by which people call it: places in the table of names.
    names: Vec<u32>,
    /// Established without a name: the caller has made it, or it alone was found.
    standing: Option<Standing>,
    /// The largest amount that it has.
    pub(super) largest: Option<i128>,
    /// Its id and guaranteed values, of one that was established when it was seen.
    values: Vec<Seen>,
}

/// Where a value was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) thing: u32,
    /// The field. `None`: it is the object's id.
    pub(super) field: Option<String>,
    /// As it was written.
    pub(super) value: String,
}

impl Memory {
    /// Says what is the caller's own: addresses, accounts, names.
    pub fn belongs_to<'a>(&mut self, own: impl IntoIterator<Item = &'a str>) {
        let own = own.into_iter().map(|value| fold(value.trim())).filter(|it| !it.is_empty());
        self.own = own.collect();
    }

    /// Adds what the person has said, line by line. A line that a result had before is none of
    /// theirs: applications put into the person's mouth what tools have answered.
    pub fn hear(&mut self, text: &str) {
        // Applications say it again with every call: it counts once, and takes room once.
        if self.has_heard(text) || self.heard.len() >= ECHOES_MAX {
            return;
        }
        self.heard.insert(echo(text));
        let lines = text.lines().filter(|line| !self.echoes.contains(&echo(line)));
        let heard: Vec<&str> = lines.collect();
        self.is_stale |= self.words.hear(&heard.join("\n"));
        self.look_for_names();
    }

    /// Whether anything is known that the person has said.
    pub fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether this was said before.
    pub fn has_heard(&self, text: &str) -> bool {
        self.heard.contains(&echo(text))
    }

    /// Forgets everything but the lines that are nobody's words: what was said in one conversation
    /// names nothing in the next.
    pub fn begin_anew(&mut self) {
        *self = Self { echoes: std::mem::take(&mut self.echoes), ..Self::default() };
    }

    /// Remembers the lines of a text that no person has written here.
    fn remember_lines(&mut self, text: &str) {
        let long = text.lines().filter(|line| line.trim().len() >= ECHO_BYTES_MIN);
        for line in long {
            if self.echoes.len() >= ECHOES_MAX {
                return;
            }
            self.echoes.insert(echo(line));
        }
    }

    /// Whether a value is the caller's own.
    pub(super) fn is_own(&self, folded: &str) -> bool {
        self.own.contains(folded)
    }

    /// Adds the result of a call that succeeded: what of it can be relied upon. `value` is the
    /// structured content, of which the text says the same.
    pub fn observe(&mut self, declared: &Operation, call: &Call, value: &Json) {
        let returns = &declared.flow.returns;
        let given = self.given(call.arguments());
        let is_new = |text: &str| given.as_ref().is_some_and(|given| !repeats(given, text));
        leaves(value, 0, &mut |_, text| match returns.author {
            author @ (Author::System | Author::Directory) => self.rely(author, text, &is_new),
            Author::Tenant => {
                self.remember_lines(text);
                self.keep_addresses(text, &is_new);
            }
            Author::Anyone | Author::Model => self.remember_lines(text),
        });
        let Some(shape) = &returns.object else { return };
        let mut found = Vec::new();
        objects(value, &shape.id, (0, false), &mut found);
        let ids: BTreeSet<String> = found.iter().filter_map(|it| scalar(it.id)).collect();
        let standing = match (returns.is_owned, ids.len()) {
            (true, _) => Some(Standing { source: Source::Owned, is_plain: false }),
            (false, 1) => self.asked_for(call.arguments()),
            (false, _) => None,
        };
        let Some(kind) = self.kind(&declared.upstream, &shape.id) else { return };
        let by = Arc::new(name_words(call.tool().unwrap_or(&call.method)));
        for Found { id, object, is_inner } in found {
            // What was made refers to others that were not.
            let standing = standing.filter(|it| !is_inner || it.source != Source::Owned);
            self.add(kind, (&call.id, &by, standing), id, object, (returns, shape));
        }
        self.look_for_names();
    }

    /// Adds a result of which nothing can be relied upon.
    pub fn overhear(&mut self, result: &Json) {
        leaves(result, 0, &mut |_, text| self.remember_lines(text));
    }

    fn kind(&mut self, upstream: &UpstreamName, id: &str) -> Option<u16> {
        let is_it = |(of, name): &(UpstreamName, String)| of == upstream && name == id;
        let at = self.kinds.iter().position(is_it).unwrap_or_else(|| {
            self.kinds.push((upstream.clone(), id.to_owned()));
            self.kinds.len() - 1
        });
        u16::try_from(at).ok()
    }

    fn add(
        &mut self,
        kind: u16,
        (call, by, standing): (&CallId, &Arc<BTreeSet<String>>, Option<Standing>),
        id: &Json,
        object: &Object,
        (returns, shape): (&Returns, &ObjectShape),
    ) {
        let Some(id) = scalar(id) else { return };
        let is_trusted = matches!(returns.author, Author::System | Author::Directory);
        let is_guaranteed = |field: &str| {
            is_trusted || returns.guaranteed.iter().any(|guaranteed| guaranteed == field)
        };
        let mut names = Vec::new();
        for (at, field) in (0_u16..).zip(&shape.named_by) {
            let name = object.get(field).and_then(scalar);
            if let Some(name) = name.filter(|name| name.len() <= VALUE_BYTES_MAX) {
                names.push((at, fold(&name)));
            }
        }
        self.is_stale |= self.refers(shape, &names, object, &is_guaranteed);
        let folded = names;
        // Also where there is no room for the object: a name that two have is that of none.
        let names: Vec<u32> = folded
            .iter()
            .filter_map(|(field, name)| self.intern((kind, *field), name, &id))
            .collect();
        let Ok(at) = u32::try_from(self.things.len()) else { return };
        if self.things.len() >= OBJECTS_MAX || !self.has_room(id.len()) {
            return;
        }
        let mut largest = None;
        let mut guaranteed = Vec::new();
        for (field, value) in object.iter().filter(|(field, _)| *field != shape.id) {
            fields(field, value, 0, &is_guaranteed, &mut |field, leaf| {
                if let Json::Number(number) = leaf
                    && says_how_much(field)
                {
                    largest = largest.max(amount(number.text()));
                }
                guaranteed.extend(scalar(leaf).map(|value| (field.to_owned(), value)));
            });
        }
        if standing.is_some() || self.names.named(&names).is_some() {
            for (_, name) in &folded {
                self.trust_tokens(name);
            }
            self.recent.push_front(at);
            self.recent.truncate(RECENT_MAX);
        }
        let mut values = Vec::new();
        let is_recent = self.recent.front() == Some(&at);
        let id = std::iter::once((None, id));
        for (field, value) in id.chain(guaranteed.into_iter().map(|(f, value)| (Some(f), value))) {
            if is_recent && values.len() < RECENT_VALUES_MAX {
                values.push(Seen { thing: at, field: field.clone(), value: value.clone() });
            }
            self.see(at, field, value);
        }
        let (call, by) = (call.clone(), Arc::clone(by));
        self.things.push(Thing { kind, call, by, names, standing, largest, values });
    }

    /// A message that the person refers to by its writer and by something else, and whose writer is
    /// a member of the tenant: what it names counts as named by the way.
    fn refers(
        &mut self,
        shape: &ObjectShape,
        names: &[(u16, String)],
        object: &Object,
        is_guaranteed: &impl Fn(&str) -> bool,
    ) -> bool {
        let named = names.iter().filter(|(_, name)| self.words.name(name));
        let named: Vec<&(u16, String)> = named.collect();
        let is_by_member = named.iter().any(|(at, name)| {
            let field = shape.named_by.get(usize::from(*at));
            field.is_some_and(|field| is_guaranteed(field)) && self.is_member(name)
        });
        if named.len() < 2 || !is_by_member {
            return false;
        }
        let mut texts = Vec::new();
        for (_, value) in object.iter() {
            leaves(value, 0, &mut |_, text| texts.push(text.to_owned()));
        }
        let mut has_heard = false;
        for text in &texts {
            has_heard |= self.delegated.hear(text);
        }
        has_heard
    }

    /// The place of a name in the table.
    fn intern(&mut self, of: (u16, u16), name: &str, id: &str) -> Option<u32> {
        let (words, delegated) = (&self.words, &self.delegated);
        let (values, bytes) = (&mut self.values, &mut self.bytes);
        let mut has_room = |size: usize| has_room((values, bytes), size);
        self.names.intern(of, name, id, (&mut has_room, &|name| said([words, delegated], name)))
    }

    /// Looks for every known name in what was said since.
    fn look_for_names(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            let (words, delegated) = (&self.words, &self.delegated);
            self.names.look(&|name| said([words, delegated], name));
        }
    }

    /// Whether a folded address is one of the tenant: in its directory, or beside the caller's own.
    fn is_member(&self, address: &str) -> bool {
        let Some((_, domain)) = address.rsplit_once('@') else {
            return self.members.contains(address);
        };
        let is_beside = |own: &String| own.rsplit_once('@').is_some_and(|(_, it)| it == domain);
        self.members.contains(address) || self.own.iter().any(is_beside)
    }

    fn see(&mut self, thing: u32, field: Option<String>, value: String) {
        if value.len() <= VALUE_BYTES_MAX && self.has_room(value.len()) {
            self.seen.entry(fold(value.trim())).or_default().push(Seen { thing, field, value });
        }
    }

    fn rely(&mut self, author: Author, text: &str, is_new: &impl Fn(&str) -> bool) {
        let is_kept = text.len() <= VALUE_BYTES_MAX && self.values < VALUES_MAX && is_new(text);
        if !is_kept || !self.has_room(text.len()) {
            return;
        }
        let folded = fold(text.trim());
        self.trust_tokens(&folded);
        match author {
            Author::Directory => self.members.insert(folded),
            Author::System | Author::Tenant | Author::Anyone | Author::Model => {
                self.system.insert(folded)
            }
        };
    }

    /// Remembers the words of what can be relied upon.
    fn trust_tokens(&mut self, folded: &str) {
        for token in tokens(folded) {
            let has_room = self.trusted_tokens.len() < TOKENS_MAX && token.len() <= VALUE_BYTES_MAX;
            if has_room && !self.trusted_tokens.contains(token) {
                self.trusted_tokens.insert(token.to_owned());
            }
        }
    }

    /// Whether the system has this address, in any of the ways in which people write it.
    pub(super) fn is_address_of_system(&self, folded: &str) -> bool {
        let bare = without_scheme(folded);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        ["", "http://", "https://"].iter().any(|scheme| {
            let known = |end: &str| self.system.contains(&format!("{scheme}{bare}{end}"));
            known("") || known("/")
        })
    }

    fn keep_addresses(&mut self, text: &str, is_new: &impl Fn(&str) -> bool) {
        let parts = text.split(|c: char| c.is_whitespace() || "\"'<>()[]|".contains(c));
        let addresses = parts.map(|part| part.trim_end_matches(['.', ',', ';', ':', '!', '?']));
        for address in addresses.filter(|it| it.contains("://") || it.starts_with("www.")) {
            let is_kept = address.len() <= VALUE_BYTES_MAX && self.values < VALUES_MAX;
            let is_kept = is_kept && is_new(address);
            if is_kept && self.has_room(address.len()) {
                self.tenant_addresses.insert(bare_address(address));
            }
        }
    }

    fn has_room(&mut self, size: usize) -> bool {
        has_room((&mut self.values, &mut self.bytes), size)
    }

    /// How an object is established, if it is.
    pub(super) fn standing(&self, thing: &Thing) -> Option<Standing> {
        thing
            .standing
            .into_iter()
            .chain(self.names.named(&thing.names))
            .min_by_key(|it| it.is_plain)
    }

    /// Where a folded value was seen: in which objects.
    pub(super) fn seen(&self, folded: &str) -> &[Seen] {
        self.seen.get(folded).map_or(&[], Vec::as_slice)
    }

    pub(super) fn thing(&self, seen: &Seen) -> Option<&Thing> {
        self.things.get(seen.thing as usize)
    }

    /// Values of the objects that were established last, for what is nearest.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Seen> {
        let things = self.recent.iter().filter_map(|at| self.things.get(*at as usize));
        things.filter(|thing| self.standing(thing).is_some()).flat_map(|thing| &thing.values)
    }

    /// Whether a word stands in what can be relied upon.
    pub(super) fn has_token(&self, token: &str) -> bool {
        self.trusted_tokens.contains(token)
    }

    /// The largest amount of objects of one upstream.
    pub(super) fn largest_amount(&self, upstream: &UpstreamName) -> Option<i128> {
        let is_there = |thing: &&Thing| self.is_of(thing, upstream);
        self.things.iter().filter(is_there).filter_map(|thing| thing.largest).max()
    }

    /// Whether an object is one of this upstream.
    pub(super) fn is_of(&self, thing: &Thing, upstream: &UpstreamName) -> bool {
        self.kinds.get(usize::from(thing.kind)).is_some_and(|(of, _)| of == upstream)
    }

    /// Bytes that all of this takes, by and large: of many small values more than they have.
    pub fn bytes(&self) -> usize {
        self.bytes
            + self.values * VALUE_OVERHEAD_BYTES
            + self.trusted_tokens.len() * VALUE_OVERHEAD_BYTES
            + self.things.len() * OBJECT_OVERHEAD_BYTES
            + (self.echoes.len() + self.heard.len()) * LINE_BYTES
            + self.words.bytes()
            + self.delegated.bytes()
    }
}

/// Whether a field says how much of something there is.
fn says_how_much(field: &str) -> bool {
    name_words(field).iter().any(|word| AMOUNT_WORDS.contains(&word.as_str()))
}

/// How the person, or somebody that they referred to, has said a name.
fn said([words, delegated]: [&Words; 2], name: &str) -> Option<(Named, Standing)> {
    let is_said = |words: &Words| match amount(name) {
        Some(number) => words.says_number(number).then_some(Named::Whole),
        None => words.named(name),
    };
    let is_by = |words, source| is_said(words).map(|named| (named, source));
    let by_delegate = || is_by(delegated, Source::Delegated);
    let (named, source) = is_by(words, Source::Object).or_else(by_delegate)?;
    Some((named, Standing { source, is_plain: is_plain(name) }))
}

/// Takes room for one value more, if there is some.
fn has_room((values, bytes): (&mut usize, &mut usize), size: usize) -> bool {
    let has_room = *values < VALUES_MAX && *bytes + size <= MEMORY_BYTES_MAX;
    if has_room {
        *values += 1;
        *bytes += size;
    }
    has_room
}
