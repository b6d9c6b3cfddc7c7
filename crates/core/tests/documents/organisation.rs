//! A random organisation: people in groups within groups, folders within folders, shares and
//! denials on both, and documents of every kind.

use crate::policies;
use lockgate_core::World;
use lockgate_core::identify::{DEVELOPMENT, identify};
use lockgate_core::world::Files;
use lockgate_types::call::{Call, Direction};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::facts::{Facts, Mode, SessionState};
use lockgate_types::identity::Claims;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{CallId, Micros, Object, SessionId, TaskName, UpstreamName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// When everything is asked.
pub(crate) const NOW: i64 = 1_700_000_000_000_000;

/// How large an organisation is.
pub(crate) struct Size {
    groups: usize,
    users: usize,
    documents: usize,
    folders: usize,
}

impl Size {
    pub(crate) const SMALL: Self = Self { groups: 6, users: 4, documents: 24, folders: 8 };
    pub(crate) const LARGE: Self = Self { groups: 10, users: 12, documents: 250, folders: 30 };
}

/// A small deterministic source of choices.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).unwrap()
    }

    /// Whether one of so many comes up.
    pub(crate) fn is(&mut self, of: usize) -> bool {
        self.roll(of) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

pub(crate) struct Organisation {
    /// Of each group, those it is in.
    pub(crate) groups: Vec<Vec<usize>>,
    /// Of each user, its groups.
    pub(crate) users: Vec<Vec<usize>>,
    /// Of each agent, its groups and how far it is cleared.
    pub(crate) agents: Vec<(Vec<usize>, Confidentiality)>,
    pub(crate) documents: Vec<DocumentFacts>,
    pub(crate) policies: String,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) user: usize,
    pub(crate) agent: usize,
    pub(crate) task: Option<&'static str>,
    pub(crate) mode: Mode,
}

/// The sources there are, with their tenant and the tasks they are for.
pub(crate) const SOURCES: [(&str, &str, &[&str]); 4] = [
    ("handbook", "acme", &[]),
    ("tickets", "acme", &["triage"]),
    ("notes", "acme", &[]),
    ("foreign", "other", &[]),
];

/// A folder, with what is shared and kept there.
struct Folder {
    path: String,
    within: Vec<String>,
    readers: BTreeSet<Reader>,
    denied: BTreeSet<Reader>,
}

impl Organisation {
    pub(crate) fn random(dice: &mut Dice, size: &Size) -> Self {
        let groups: Vec<Vec<usize>> =
            (0..size.groups).map(|at| (0..at).filter(|_| dice.is(at.max(2))).collect()).collect();
        let member =
            |dice: &mut Dice| -> Vec<usize> { (0..size.groups).filter(|_| dice.is(4)).collect() };
        let users = (0..size.users).map(|_| member(dice)).collect();
        let agents = (0..2).map(|_| (member(dice), Confidentiality::ALL[dice.roll(4)])).collect();
        let folders: Vec<Vec<Folder>> = SOURCES.iter().map(|_| folders(dice, size)).collect();
        let documents = (0..size.documents).map(|at| document(dice, size, &folders, at)).collect();
        let mut it = Self { groups, users, agents, documents, policies: String::new() };
        it.policies = policies::random(dice, &it);
        it
    }

    pub(crate) fn folder_paths(&self) -> Vec<String> {
        let paths = self.documents.iter().flat_map(|it| {
            it.folders.iter().map(|path| format!("{}/{path}", it.source)).collect::<Vec<_>>()
        });
        let paths: BTreeSet<String> = paths.collect();
        paths.into_iter().collect()
    }

    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        let mut add = |path: &str, text: &str| {
            files.insert(path.to_owned(), text.as_bytes().to_vec());
        };
        let users = (0..self.users.len()).map(|at| format!("\"u{at}\"")).collect::<Vec<_>>();
        let users = users.join(", ");
        add(
            "lockgate.toml",
            &format!(
                "environment = \"dev\"\ntenant = \"acme\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                 [development]\nusers = [{users}]\n"
            ),
        );
        let names = |all: &[usize]| {
            let all: Vec<String> = all.iter().map(|at| format!("\"g{at}\"")).collect();
            all.join(", ")
        };
        let mut people = String::new();
        for (at, within) in self.groups.iter().enumerate() {
            people += &format!("[group.g{at}]\nmember_of = [{}]\n", names(within));
        }
        for (at, groups) in self.users.iter().enumerate() {
            people += &format!("[user.u{at}]\ngroups = [{}]\n", names(groups));
        }
        for (at, (groups, clearance)) in self.agents.iter().enumerate() {
            people += &format!(
                "[agent.a{at}]\nenvironments = [\"dev\"]\ngroups = [{}]\nclearance = \"{}\"\n",
                names(groups),
                clearance.as_str()
            );
        }
        add("principals.toml", &people);
        add("tasks/triage.toml", "");
        add("tasks/reading.toml", "sources = [\"handbook\"]");
        for (name, tenant, tasks) in SOURCES {
            let tasks = match tasks {
                [] => String::new(),
                tasks => format!("tasks = {tasks:?}\n"),
            };
            add(
                &format!("sources/{name}.toml"),
                &format!(
                    "owner = \"it\"\ntenant = \"{tenant}\"\nclassification = \"public\"\n{tasks}\
                     [connector.directory]\npath = \"docs\"\n"
                ),
            );
        }
        add("policies/random.cedar", &self.policies);
        files
    }

    pub(crate) fn world(&self) -> World {
        World::load(&self.files()).unwrap_or_else(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{}\n{}", mistakes.join("\n"), self.policies)
        })
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        let mut all = Vec::new();
        for user in 0..self.users.len() {
            for agent in 0..self.agents.len() {
                let task = [None, Some("triage"), Some("reading")][(user + agent) % 3];
                let mode = [Mode::Normal, Mode::Approvals][user % 2];
                all.push(Asked { user, agent, task, mode });
            }
        }
        all
    }

    pub(crate) fn facts(&self, world: &World, asked: &Asked) -> Facts {
        let act = Object::new().with("sub", format!("a{}", asked.agent));
        let claims = Object::new().with("sub", format!("u{}", asked.user)).with("act", act);
        let claims = Claims { issuer: DEVELOPMENT.to_owned(), claims };
        let mut identity = identify(world, &claims).unwrap();
        identity.task = asked.task.map(|task| TaskName::new(task).unwrap());
        let params = Object::new()
            .with("name", "search")
            .with("arguments", Object::new().with("query", "leave"));
        let upstream = UpstreamName::new("retrieval").unwrap();
        let id = CallId::new("c1").unwrap();
        let direction = Direction::ToUpstream;
        Facts {
            identity: Arc::new(identity),
            call: Call::new(id, upstream, direction, "tools/call", params).unwrap(),
            session: SessionState {
                id: SessionId::new("s1").unwrap(),
                mode: asked.mode,
                exposure: Label::default(),
                writes: 3,
                revision: 1,
                risk: None,
                fed: None,
            },
            now: Micros(NOW),
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference: None,
            earlier: None,
            exhausted: Vec::new(),
            plan: None,
            preview: None,
            broken: None,
            cited: None,
            flow: None,
            history: None,
            risk: None,
        }
    }
}

fn reader(dice: &mut Dice, size: &Size) -> Reader {
    match dice.roll(8) {
        0 => Reader::Everyone,
        1..3 => Reader::User(format!("u{}", dice.roll(size.users))),
        _ => Reader::Group(format!("g{}", dice.roll(size.groups))),
    }
}

fn readers(dice: &mut Dice, size: &Size, most: usize) -> BTreeSet<Reader> {
    let count = dice.roll(most + 1);
    (0..count).map(|_| reader(dice, size)).collect()
}

/// Folders within folders: what is shared or kept above is so below.
fn folders(dice: &mut Dice, size: &Size) -> Vec<Folder> {
    let mut all: Vec<Folder> = Vec::new();
    for at in 0..size.folders {
        let above = (!all.is_empty() && !dice.is(4)).then(|| dice.roll(all.len()));
        let (mut readers, mut denied) = (readers(dice, size, 2), BTreeSet::new());
        if dice.is(3) {
            denied = self::readers(dice, size, 1);
        }
        let mut within = Vec::new();
        let mut path = format!("f{at}");
        if let Some(above) = above.map(|above| &all[above]) {
            readers.extend(above.readers.iter().cloned());
            denied.extend(above.denied.iter().cloned());
            within = above.within.clone();
            within.push(above.path.clone());
            path = format!("{}/f{at}", above.path);
        }
        all.push(Folder { path, within, readers, denied });
    }
    all
}

fn time(dice: &mut Dice) -> Micros {
    let day = 86_400_000_000;
    let ago = i64::try_from(dice.roll(40)).unwrap() * day / 10;
    Micros(match dice.roll(12) {
        0 => *dice.pick(&[i64::MIN, i64::MIN + 5, -1, 0, i64::MAX - 3, i64::MAX]),
        1 => NOW + ago,
        _ => NOW - ago,
    })
}

fn document(dice: &mut Dice, size: &Size, folders: &[Vec<Folder>], at: usize) -> DocumentFacts {
    let source = *dice.pick(&[0, 0, 0, 0, 1, 1, 2, 2, 3]);
    let (name, tenant, _) = SOURCES[source];
    let folder = (!dice.is(6)).then(|| dice.pick(&folders[source]));
    let (mut readers, mut denied) = (readers(dice, size, 2), BTreeSet::new());
    if dice.is(4) {
        denied = self::readers(dice, size, 1);
    }
    let mut within = Vec::new();
    if let Some(folder) = folder {
        readers.extend(folder.readers.iter().cloned());
        denied.extend(folder.denied.iter().cloned());
        within = folder.within.clone();
        within.push(folder.path.clone());
    }
    let tags = ["pii", "secret", "draft", "legal"];
    DocumentFacts {
        id: format!("d{at}"),
        source: name.to_owned(),
        // Now and then one that says it is somebody else's.
        tenant: if dice.is(20) { "strange".to_owned() } else { tenant.to_owned() },
        folders: within,
        kind: (*dice.pick(&["runbook", "template", "ticket", "note"])).to_owned(),
        owner: (!dice.is(3)).then(|| format!("u{}", dice.roll(size.users))),
        curation: *dice.pick(&Curation::ALL),
        classification: *dice.pick(&Confidentiality::ALL),
        tags: tags.iter().filter(|_| dice.is(3)).map(|tag| (*tag).to_owned()).collect(),
        readers: (!dice.is(6)).then_some(readers),
        denied,
        changed: time(dice),
        confirmed: time(dice),
    }
}
