//! Which operations of an upstream are not as a person accepted them, or pretend to be others.
//!
//! Pure: what the upstream offers and what was found in it are handed in. Names are held against
//! what a person has accepted: a declaration that says `accepted = true` is never quarantined for
//! its name, since somebody has agreed to just that. What people do not see in a definition, and
//! what its words do to other tools, needs a `despite` that names it.

use crate::bundle::admin::RESERVED;
use crate::bundle::definition::{definition_digest, instructions_digest};
use crate::world::{Operation, World};
use lockgate_types::appearance::{is_within, skeleton};
use lockgate_types::facts::{Difference, LiveDifference};
use lockgate_types::{Digest, Json, OperationName, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a name from which on it is taken for another that differs by one.
const NEAR_BY_ONE_CHARS_MIN: usize = 5;
/// Characters of a name from which on it is taken for another that differs by two.
const NEAR_BY_TWO_CHARS_MIN: usize = 8;
/// Pairs of names that are compared letter by letter where nobody declared one of them: what is not
/// declared is refused anyway.
const NEAR_PAIRS_MAX: usize = 1 << 20;
/// Pairs of definitions of which it is looked whether one is the other under another name.
const RENAMED_PAIRS_MAX: usize = 4096;
/// Differences that are kept of one tool: the first decides, the others are shown.
const DIFFERENCES_MAX: usize = 32;

/// What an upstream offers now.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its tools, without those whose name several have.
    pub tools: &'a [Json],
    /// Names that several tools have.
    pub ambiguous: &'a BTreeSet<String>,
    /// What it tells models about itself.
    pub instructions: Option<&'a str>,
    /// Words for what was found and blocks, by tool.
    pub found: &'a BTreeMap<String, BTreeSet<&'static str>>,
    /// Words for what was found in the instructions, and in what it says it is.
    pub found_in_server: &'a BTreeSet<&'static str>,
}

/// What of an offer is not as it was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// The quarantined tools, offered and gone ones, each with what is the matter.
    pub tools: BTreeMap<String, Vec<LiveDifference>>,
    /// Why the instructions are withheld. Empty: they are not.
    pub server: Vec<LiveDifference>,
}

impl Assessment {
    /// What a call of the tool is refused for.
    pub fn of_tool(&self, tool: &str) -> Option<&LiveDifference> {
        self.tools.get(tool).and_then(|differences| differences.first())
    }
}

/// Compares what an upstream offers with what the bundle says was accepted.
pub fn assess(world: &World, upstream: &UpstreamName, offer: &Offer<'_>) -> Assessment {
    let case = Case::new(world, upstream, offer);
    let mut assessment = Assessment { tools: BTreeMap::new(), server: case.server() };
    for (name, tool) in &case.offered {
        let differences = case.differences(name, tool);
        if !differences.is_empty() {
            assessment.tools.insert((*name).to_owned(), differences);
        }
    }
    for name in offer.ambiguous {
        let about = format!("{upstream}/{name}");
        let kind = Difference::Collision;
        let difference = LiveDifference { kind, live: nothing(), about };
        assessment.tools.insert(name.clone(), vec![difference]);
    }
    for name in &case.gone {
        assessment.tools.insert((*name).to_owned(), vec![case.gone(name)]);
    }
    assessment
}

/// What stands for the definition of a tool that is not offered.
fn nothing() -> Digest {
    Digest::of(b"")
}

/// How a difference is accepted: the word in `despite`. Only a new pin accepts another definition.
pub fn despite(kind: Difference, about: &str) -> Option<String> {
    match kind {
        Difference::Found | Difference::NamesOther => Some(format!("{} {about}", kind.as_str())),
        Difference::Definition
        | Difference::Instructions
        | Difference::Renamed
        | Difference::LookAlike
        | Difference::Collision => None,
    }
}

struct Case<'a> {
    upstream: &'a UpstreamName,
    offer: &'a Offer<'a>,
    offered: BTreeMap<&'a str, &'a Json>,
    /// The declared tools of this upstream.
    own: BTreeMap<&'a str, &'a Operation>,
    /// The accepted tools of the others, by name, with their operations.
    others: BTreeMap<&'a str, Vec<&'a OperationName>>,
    /// Accepted tools by what their names look like: those of the others, and this one's own.
    looks: BTreeMap<String, Vec<(&'a str, &'a OperationName)>>,
    instructions_pin: Option<Digest>,
    instructions: Digest,
    accepted: &'a [String],
    /// Pinned tools that are not offered any more.
    gone: Vec<&'a str>,
}

impl<'a> Case<'a> {
    fn new(world: &'a World, upstream: &'a UpstreamName, offer: &'a Offer<'a>) -> Self {
        let named = |tool: &'a Json| Some((tool.get("name")?.as_str()?, tool));
        let server = world.servers.get(upstream.as_str());
        let mut case = Self {
            upstream,
            offer,
            offered: offer.tools.iter().filter_map(named).collect(),
            own: BTreeMap::new(),
            others: BTreeMap::new(),
            looks: BTreeMap::new(),
            instructions_pin: server.and_then(|server| server.instructions_pin),
            instructions: instructions_digest(offer.instructions),
            accepted: server.map_or(&[], |server| &server.despite),
            gone: Vec::new(),
        };
        for (operation, declared) in &world.operations {
            let Some((of, tool)) = operation.as_str().split_once('/') else { continue };
            if of == RESERVED || of != declared.upstream.as_str() {
                continue;
            }
            let is_own = of == upstream.as_str();
            if is_own {
                case.own.insert(tool, declared);
            }
            if declared.accepted {
                if !is_own {
                    case.others.entry(tool).or_default().push(operation);
                }
                case.looks.entry(skeleton(tool)).or_default().push((tool, operation));
            }
        }
        let own = case.own.iter().filter(|(tool, it)| it.pin.is_some() && case.is_gone(tool));
        case.gone = own.map(|(tool, _)| *tool).collect();
        case
    }

    fn server(&self) -> Vec<LiveDifference> {
        let mut differences = Vec::new();
        let live = self.instructions;
        if self.instructions_pin.is_some_and(|pin| pin != live) {
            let kind = Difference::Instructions;
            differences.push(LiveDifference { kind, live, about: String::new() });
        }
        for class in self.offer.found_in_server {
            let kind = Difference::Found;
            let is_accepted = self.instructions_pin == Some(live)
                && despite(kind, class).is_some_and(|word| self.accepted.contains(&word));
            if !is_accepted {
                differences.push(LiveDifference { kind, live, about: (*class).to_owned() });
            }
        }
        differences
    }

    fn differences(&self, name: &str, tool: &Json) -> Vec<LiveDifference> {
        let declared = self.own.get(name).copied();
        let live = definition_digest(tool);
        let mut found: Vec<(Difference, String)> = Vec::new();
        if declared.is_some_and(|declared| declared.pin.is_some_and(|pin| pin != live)) {
            found.push((Difference::Definition, String::new()));
        }
        if declared.is_none_or(|declared| !declared.accepted) {
            found.extend(self.pretended(name, tool, declared));
        }
        let is_pinned = declared.is_some_and(|declared| declared.pin == Some(live));
        let accepted = declared.filter(|_| is_pinned).map_or(&[][..], |it| &it.despite);
        let said = self.named_others(name, tool).into_iter().map(|it| (Difference::NamesOther, it));
        let classes = self.offer.found.get(name).into_iter().flatten();
        let classes = classes.map(|class| (Difference::Found, (*class).to_owned()));
        let is_open = |(kind, about): &(Difference, String)| {
            despite(*kind, about).is_none_or(|word| !accepted.contains(&word))
        };
        found.extend(said.chain(classes).filter(is_open));
        let mut differences: Vec<LiveDifference> = found
            .into_iter()
            .take(DIFFERENCES_MAX)
            .map(|(kind, about)| LiveDifference { kind, live, about })
            .collect();
        if declared.is_some() && self.instructions_pin.is_some_and(|pin| pin != self.instructions) {
            let (kind, live) = (Difference::Instructions, self.instructions);
            differences.push(LiveDifference { kind, live, about: String::new() });
        }
        differences
    }

    /// Whose name a tool has, or nearly has, that nobody accepted.
    fn pretended(
        &self,
        name: &str,
        tool: &Json,
        declared: Option<&Operation>,
    ) -> Vec<(Difference, String)> {
        let mut found = Vec::new();
        let mut gone = self.gone.iter().filter(|_| self.can_be_renamed());
        let was = gone.find(|other| self.pin(other) == Some(as_named(tool, other)));
        found.extend(was.map(|other| (Difference::Renamed, self.operation(other))));
        for other in self.others.get(name).into_iter().flatten() {
            found.push((Difference::Collision, other.to_string()));
        }
        let look = skeleton(name);
        let pairs = self.offered.len().saturating_mul(self.looks.len());
        let is_compared = declared.is_some() || pairs <= NEAR_PAIRS_MAX;
        let same = self.looks.get_key_value(&look);
        let others = self.looks.iter().filter(|_| is_compared);
        for (other_look, others) in others.chain(same.filter(|_| !is_compared)) {
            let is_same = *other_look == look;
            let is_near = !is_same && is_near(&look, other_look);
            for (other, operation) in others.iter().filter(|(other, _)| *other != name) {
                // Tools of one server have names like each other. One that comes later is looked
                // at more closely.
                let is_own =
                    self.own.contains_key(other) && self.operation(other) == operation.as_str();
                if is_same || (is_near && (!is_own || declared.is_none())) {
                    found.push((Difference::LookAlike, operation.to_string()));
                }
            }
        }
        found
    }

    /// The tools of other servers of which a definition speaks.
    fn named_others(&self, name: &str, tool: &Json) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        collect_words(tool, 0, &mut words);
        // What it is called itself is a matter of names.
        words.remove(name);
        let mut named = BTreeSet::new();
        for word in &words {
            // An offer alone makes a name nobody's own.
            if self.own.get(word.as_str()).is_some_and(|declared| declared.accepted) {
                continue;
            }
            for operation in self.others.get(word.as_str()).into_iter().flatten() {
                named.insert(operation.to_string());
            }
            // As a gate or a client joins them: `crm__send_mail`.
            let joined = word.split_once("__").and_then(|(upstream, tool)| {
                let mut others = self.others.get(tool)?.iter();
                others.find(|it| it.as_str() == format!("{upstream}/{tool}"))
            });
            named.extend(joined.map(|it| it.to_string()));
        }
        named
    }

    fn operation(&self, tool: &str) -> String {
        format!("{}/{tool}", self.upstream)
    }

    fn pin(&self, tool: &str) -> Option<Digest> {
        self.own.get(tool).and_then(|declared| declared.pin)
    }

    fn can_be_renamed(&self) -> bool {
        self.gone.len().saturating_mul(self.offered.len()) <= RENAMED_PAIRS_MAX
    }

    fn is_gone(&self, tool: &str) -> bool {
        !self.offered.contains_key(tool) && !self.offer.ambiguous.contains(tool)
    }

    /// A tool that is not offered any more; under which name it is, if it has another one now.
    fn gone(&self, tool: &str) -> LiveDifference {
        let pin = self.pin(tool);
        let mut offered = self.offered.iter().filter(|_| self.can_be_renamed());
        let now = offered.find(|(_, offered)| Some(as_named(offered, tool)) == pin);
        let (kind, about) = match now {
            Some((name, _)) => (Difference::Renamed, self.operation(name)),
            None => (Difference::Definition, String::new()),
        };
        LiveDifference { kind, live: nothing(), about }
    }
}

/// The digest that a definition would have under another name.
fn as_named(tool: &Json, name: &str) -> Digest {
    let mut tool = tool.clone();
    if let Some(members) = tool.as_object_mut() {
        members.set("name", name);
    }
    definition_digest(&tool)
}

/// Whether one of two names is taken for the other. Short ones differ by little.
fn is_near(a: &str, b: &str) -> bool {
    let shorter = a.chars().count().min(b.chars().count());
    let max = match shorter {
        NEAR_BY_TWO_CHARS_MIN.. => 2,
        NEAR_BY_ONE_CHARS_MIN.. => 1,
        _ => return false,
    };
    is_within(a, b, max)
}

/// Words that can only be names: of more than one part, `send_mail` or `sendMail`.
fn collect_words(value: &Json, depth: usize, words: &mut BTreeSet<String>) {
    const DEPTH_MAX: usize = 64;
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Json::String(text) => {
            let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
            let parts = text.split(|it: char| !is_name(it)).map(|it| it.trim_matches(['-', '_']));
            words.extend(parts.filter(|it| has_parts(it)).map(str::to_owned));
        }
        Json::Array(items) => items.iter().for_each(|item| collect_words(item, depth + 1, words)),
        Json::Object(members) => {
            members.iter().for_each(|(_, member)| collect_words(member, depth + 1, words));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn has_parts(word: &str) -> bool {
    let has_separator = word.contains(['_', '-']);
    let turns = word.chars().zip(word.chars().skip(1));
    let has_capital = turns.filter(|(a, b)| a.is_ascii_lowercase() && b.is_ascii_uppercase());
    has_separator || has_capital.count() > 0
}
