//! Routing: which entries of the registry are asked, in which order, and why.
//!
//! Pure: that an entry is down, how a canary stands, and that a budget has nearly come to its end
//! are handed in, and who gets which of several entries follows from the session. What may not be
//! sent somewhere is not sent there instead: an entry that stands in for another has to be one that
//! the task may use, that may be told what the prompt carries, and that has room. Whether the first
//! is all that is for the decision to say, so that its refusal is recorded.

use crate::canary::Stage;
use crate::eval;
use crate::model::Model;
use crate::world::World;
use lockgate_types::label::Confidentiality;
use lockgate_types::model::{ModelApi, ModelAsked};
use lockgate_types::{Digest, TaskName};
use std::collections::{BTreeMap, BTreeSet};

/// Parts into which sessions are divided.
const PARTS: u64 = 10_000;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// As it stands in the request.
    pub asked: &'a ModelAsked,
    /// The interfaces through which it can be asked: the client's own first, then those that it can
    /// be carried to.
    pub apis: &'a [ModelApi],
    /// The declared purpose.
    pub task: Option<&'a TaskName>,
    /// How confidential what the prompt carries is, or what the session has met.
    pub carried: Confidentiality,
    /// What keeps to one of several entries: the key of the session.
    pub session: &'a str,
    /// The call, of which some are asked of a shadow as well. Nothing, where no entry has one.
    pub call: &'a str,
}

/// How everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The entries that are not asked now, because they fail.
    pub down: BTreeSet<String>,
    /// How canaries stand, by the entry in whose place they are tried. One that is not here gets
    /// nothing.
    pub canaries: BTreeMap<String, Stage>,
    /// Whether a budget of the caller's has come so near its end that cheaper entries do.
    pub is_degraded: bool,
    /// The entries that have not passed what they have to have passed, each with the suite.
    pub unproven: BTreeMap<String, String>,
}

/// Which entries are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The one that is asked.
    pub primary: Pick,
    /// Those that are asked if it fails, in order.
    pub then: Vec<Pick>,
    /// One that is asked the same, and whose answer nobody gets.
    pub shadow: Option<Pick>,
    /// Why, in the words of the gate and names of the bundle.
    pub why: Vec<String>,
}

/// An entry, and the interface through which it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which entry.
    pub entry: String,
    /// Through which interface.
    pub api: ModelApi,
}

/// Nobody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// No entry is asked for by this name.
    Unknown,
    /// All that could answer are down.
    AllDown {
        /// What was looked at.
        why: Vec<String>,
    },
}

impl Pick {
    /// What was asked, to be recorded with the call of this entry.
    #[must_use]
    pub fn recorded(&self, world: &World, asked: &ModelAsked, why: &[String]) -> ModelAsked {
        let entry = world.models.get(&self.entry);
        ModelAsked {
            entry: entry.map(|_| self.entry.clone()),
            version: entry.map(|entry| entry.declared.version.clone()),
            deadlines: entry.map(|entry| entry.deadlines),
            why: why.to_vec(),
            ..asked.clone()
        }
    }
}

/// Which entries are asked.
pub fn route(world: &World, asking: &Asking<'_>, health: &Health) -> Result<Route, Unrouted> {
    let desk = Desk { world, asking, health };
    if eval::is_evaluation(world, asking.task) {
        return desk.exactly();
    }
    let mut why = Vec::new();
    let (asked, named) = desk.asked_entry(&mut why)?;
    let mut chain: Vec<&str> = desk.in_place_of(asked, &mut why);
    chain.push(asked);
    chain.extend(match named {
        Some(named) => named.iter().map(String::as_str).collect(),
        None => desk.stands_in(asked),
    });
    let mut seen = BTreeSet::new();
    chain.retain(|entry| seen.insert(*entry));
    let mut picks = Vec::new();
    for entry in chain {
        if health.down.contains(entry) {
            why.push(format!("`{entry}` is down"));
        } else if entry == asked && picks.is_empty() || desk.admits(entry) {
            picks.extend(desk.pick(entry));
        } else if let Some(suite) = health.unproven.get(entry) {
            why.push(format!("`{entry}` has no result of `{suite}`"));
        }
    }
    let mut picks = picks.into_iter();
    let Some(primary) = picks.next() else { return Err(Unrouted::AllDown { why }) };
    if primary.entry != asked {
        why.push(format!("`{}` answers", primary.entry));
    }
    let shadow = desk.shadow(&primary, &mut why);
    Ok(Route { primary, then: picks.collect(), shadow, why })
}

/// Into which part of all sessions something falls, from 0 on, for one question: always the same,
/// and for another question independent of it.
pub fn part(of: &str, question: &str, entry: &str) -> u64 {
    let digest = Digest::of(format!("{question}\n{entry}\n{of}").as_bytes());
    let (first, _) = digest.as_bytes().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*first) % PARTS
}

/// Whether a part is among so many of a hundred. Who is, is so of more as well.
const fn is_within(part: u64, percent: u32) -> bool {
    part < percent as u64 * (PARTS / 100)
}

struct Desk<'a> {
    world: &'a World,
    asking: &'a Asking<'a>,
    health: &'a Health,
}

impl<'a> Desk<'a> {
    fn model(&self, entry: &str) -> Option<&'a Model> {
        self.world.models.get(entry)
    }

    /// Whoever tries an entry out asks that one, whatever else is said of it.
    fn exactly(&self) -> Result<Route, Unrouted> {
        let entry = self.asking.asked.asked.as_str();
        let primary = self.pick(entry).ok_or(Unrouted::Unknown)?;
        if self.health.down.contains(entry) {
            return Err(Unrouted::AllDown { why: vec![format!("`{entry}` is down")] });
        }
        let why = vec!["an evaluation asks exactly this entry".to_owned()];
        Ok(Route { primary, then: Vec::new(), shadow: None, why })
    }

    /// The entry that is asked for, and all that the task has, if it says so.
    fn asked_entry(
        &self,
        why: &mut Vec<String>,
    ) -> Result<(&'a str, Option<&'a [String]>), Unrouted> {
        let name = self.asking.asked.asked.as_str();
        let found = self.world.models.find(name, self.asking.apis).map(|(entry, _)| entry);
        let task = self.asking.task.and_then(|task| self.world.tasks.get(task));
        let named = task.and_then(|task| task.models.as_deref());
        let Some(named) = named else {
            return found.map(|entry| (entry, None)).ok_or(Unrouted::Unknown);
        };
        let found = found.filter(|entry| named.iter().any(|name| name == entry));
        if let Some(entry) = found {
            return Ok((entry, Some(named)));
        }
        let can_be_asked = |entry: &&String| self.pick(entry).is_some();
        let first = named.iter().find(can_be_asked).ok_or(Unrouted::Unknown)?;
        why.push(format!("the task has `{first}` answer"));
        Ok((first, Some(named)))
    }

    /// The entries that are asked in place of another, in order: a cheaper one, or the one that the
    /// session falls to.
    fn in_place_of(&self, entry: &'a str, why: &mut Vec<String>) -> Vec<&'a str> {
        let Some(declared) = self.model(entry).map(|model| &model.declared) else {
            return Vec::new();
        };
        if let Some(cheaper) = declared.degrade_to.as_deref().filter(|_| self.health.is_degraded) {
            if self.may_answer(cheaper) {
                why.push(format!("`{cheaper}` is cheaper, and a budget nears its end"));
                let mut all = vec![cheaper];
                all.extend(self.stands_in(cheaper));
                return all;
            }
            why.push(format!("`{cheaper}` is cheaper, and cannot answer this"));
        }
        if !declared.weights.is_empty() {
            let drawn = self.draw(entry, &declared.weights);
            let drawn = drawn.filter(|drawn| *drawn != entry);
            why.extend(drawn.map(|drawn| format!("the session falls to `{drawn}`")));
            return drawn.into_iter().collect();
        }
        let Some(canary) = &declared.canary else { return Vec::new() };
        let gets_it = match self.health.canaries.get(entry) {
            Some(Stage::Promoted) => true,
            Some(Stage::Running) => {
                is_within(part(self.asking.session, "canary", entry), canary.percent)
            }
            Some(Stage::RolledBack) | None => false,
        };
        if !gets_it || !self.may_answer(&canary.entry) {
            return Vec::new();
        }
        why.push(format!("`{}` is tried out in place of `{entry}`", canary.entry));
        vec![&canary.entry]
    }

    /// Draws among shares, and again among the rest if who is drawn cannot answer: so that a
    /// session keeps to its entry whatever becomes of others.
    fn draw(&self, entry: &str, shares: &'a BTreeMap<String, u32>) -> Option<&'a str> {
        let mut left: Vec<(&str, u64)> =
            shares.iter().map(|(name, share)| (name.as_str(), u64::from(*share))).collect();
        for round in 0..shares.len() {
            let total: u64 = left.iter().map(|(_, share)| share).sum();
            if total == 0 {
                return None;
            }
            let drawn = part(self.asking.session, &format!("share {round}"), entry);
            let mut point = drawn * total / PARTS;
            let at = left.iter().position(|(_, share)| {
                let is_here = point < *share;
                point = point.saturating_sub(*share);
                is_here
            })?;
            let (name, _) = left.remove(at);
            if self.may_answer(name) {
                return Some(name);
            }
        }
        None
    }

    fn shadow(&self, primary: &Pick, why: &mut Vec<String>) -> Option<Pick> {
        let shadow = self.model(&primary.entry)?.declared.shadow.as_ref()?;
        let part = part(self.asking.call, "shadow", &primary.entry);
        if !is_within(part, shadow.percent) || !self.may_answer(&shadow.entry) {
            return None;
        }
        why.push(format!("`{}` is asked as well", shadow.entry));
        self.pick(&shadow.entry)
    }

    fn stands_in(&self, entry: &str) -> Vec<&'a str> {
        let all = self.model(entry).map(|model| model.stands_in.iter());
        all.into_iter().flatten().map(String::as_str).collect()
    }

    fn may_answer(&self, entry: &str) -> bool {
        !self.health.down.contains(entry) && self.admits(entry)
    }

    /// Whether this may be sent there, and has room, and it has passed what it has to have passed.
    fn admits(&self, entry: &str) -> bool {
        if self.health.unproven.contains_key(entry) {
            return false;
        }
        let Some((model, pick)) = self.model(entry).zip(self.pick(entry)) else { return false };
        let task = self.asking.task.map(TaskName::as_str);
        model.admits(pick.api, self.asking.asked, self.asking.carried, task)
    }

    fn pick(&self, entry: &str) -> Option<Pick> {
        let model = self.model(entry)?;
        let api = self.asking.apis.iter().find(|api| model.family.has(**api))?;
        Some(Pick { entry: entry.to_owned(), api: *api })
    }
}

#[cfg(test)]
mod tests;
