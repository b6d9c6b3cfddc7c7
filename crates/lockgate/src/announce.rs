//! `running.json` in the state directory: what a running gate leaves for other commands on this
//! machine. They go by it and not by the bundle on disk, which somebody may be in the middle of
//! changing: what stops things has to work then too.
//!
//! It grants nothing. Whether a token of the development issuer is good is the gate's to say.

use crate::client::AGENT;
use crate::place::Place;
use anyhow::{Context, Result};
use lockgate_core::World;
use lockgate_core::bundle::starter::CONSOLE_AGENT;
use lockgate_types::{Json, JsonLimits, Object};

/// What a running gate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Where it answers.
    pub url: String,
    /// As which of its own agents commands may sign for themselves. `None`: it has no development
    /// issuer.
    pub signs_for: Option<Vec<String>>,
}

impl Announced {
    /// What the gate with that state directory has said last. It may have ended since.
    pub(crate) fn read(place: &Place) -> Option<Self> {
        let json = read(place)?;
        let url = json.get("url").and_then(Json::as_str)?.to_owned();
        let agents = json.get("signs_for").and_then(Json::as_array);
        let signs_for = agents
            .map(|agents| agents.iter().filter_map(Json::as_str).map(str::to_owned).collect());
        Some(Self { url, signs_for })
    }
}

/// Leaves where a gate answers, and what commands may do about tokens.
pub(crate) fn write(place: &Place, url: &str, world: Option<&World>) -> Result<()> {
    let running = Object::new().with("pid", i64::from(std::process::id())).with("url", url);
    let signs_for = world.and_then(signs_for);
    replace(place, &running.with_some("signs_for", signs_for).into())
}

/// The same, once another bundle rules.
pub(crate) fn update(place: &Place, signs_for: Option<Json>) -> Result<()> {
    let Some(Json::Object(mut running)) = read(place) else { return Ok(()) };
    match signs_for {
        Some(signs_for) => running.set("signs_for", signs_for),
        None => drop(running.remove("signs_for")),
    }
    replace(place, &running.into())
}

/// The gate's own agents that a bundle knows, where it has a development issuer.
pub(crate) fn signs_for(world: &World) -> Option<Json> {
    world.gate.development.as_ref()?;
    let own = [AGENT, CONSOLE_AGENT].into_iter();
    let known = own.filter(|agent| world.principals.agent.contains_key(*agent));
    Some(Json::Array(known.map(Json::from).collect()))
}

fn read(place: &Place) -> Option<Json> {
    let bytes = std::fs::read(place.running_file()).ok()?;
    Json::parse(&bytes, &JsonLimits::OWN).ok()
}

/// Whole or not at all: somebody may be reading it.
fn replace(place: &Place, running: &Json) -> Result<()> {
    let path = place.running_file();
    let new = path.with_extension("json.new");
    let written = std::fs::write(&new, running.to_bytes());
    let written = written.and_then(|()| std::fs::rename(&new, &path));
    written.with_context(|| format!("writing `{}`", path.display()))
}
