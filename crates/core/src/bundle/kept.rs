//! `operations/<upstream>.pins.json`: accepted definitions as they were, so that a difference can
//! be shown line by line. Written by the command line; what decides is the pin in the declaration,
//! and a definition that is kept here has to be the one that is pinned.

use super::definition::{definition_digest, instructions_digest};
use super::places::Place;
use super::{Files, text};
use crate::declare::Operations;
use crate::mistake::Mistake;
use lockgate_types::appearance::is_hidden;
use lockgate_types::{Json, JsonLimits, Object};
use std::collections::BTreeMap;

/// The shape of such a file; a file of a bundle has a bound of its own.
const LIMITS: JsonLimits =
    JsonLimits { bytes_max: super::FILE_BYTES_MAX, depth_max: 128, members_max: 65_536 };

/// What mends a file that does not fit.
const HINT: &str = "`lockgate tools approve` writes this file; take out what does not fit";

/// The accepted definitions of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The instructions. `None`: none are kept. `Some(None)`: it is kept that there were none.
    pub instructions: Option<Option<String>>,
    /// The definitions, by the name of the tool, as the upstream gave them.
    pub tools: BTreeMap<String, Json>,
}

impl Kept {
    /// Where the accepted definitions of an upstream are, in a bundle.
    pub fn path(upstream: &str) -> String {
        format!("operations/{upstream}.pins.json")
    }

    /// What is kept of an upstream. Nothing, if there is no such file.
    pub fn of(files: &Files, upstream: &str) -> Result<Self, String> {
        match files.get(&Self::path(upstream)) {
            Some(bytes) => Self::read(bytes),
            None => Ok(Self::default()),
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let json = Json::parse(bytes, &LIMITS).map_err(|error| error.to_string())?;
        let Json::Object(members) = json else { return Err("it is not an object".to_owned()) };
        let mut kept = Self::default();
        for (name, member) in members {
            match (name.as_str(), member) {
                ("instructions", Json::Null) => kept.instructions = Some(None),
                ("instructions", Json::String(text)) => kept.instructions = Some(Some(text)),
                ("tools", Json::Object(tools)) => kept.tools = tools.into_iter().collect(),
                _ => return Err(format!("`{}` does not belong there", text::comment(&name, 80))),
            }
        }
        Ok(kept)
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let mut members = Object::new();
        match &self.instructions {
            Some(Some(text)) => members.set("instructions", text.as_str()),
            Some(None) => members.set("instructions", Json::Null),
            None => {}
        }
        let tools: Object =
            self.tools.iter().map(|(name, tool)| (name.clone(), tool.clone())).collect();
        members.set("tools", tools);
        format!("{}\n", visible(&text::pretty(&members.into())))
    }
}

/// JSON in which nothing is hidden from who reviews it: only strings have such characters.
fn visible(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if is_hidden(character) && character != '\n' {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(character);
        }
    }
    out
}

/// Checks what is kept against what is pinned.
pub(super) fn check(files: &Files, upstreams: Option<&[&String]>, mistakes: &mut Vec<Mistake>) {
    for (path, bytes) in files {
        let Place::Pins(upstream) = Place::of(path) else { continue };
        let mut found = |what: String, hint: &str| {
            let hint = hint.to_owned();
            mistakes.push(Mistake { file: path.clone(), line: None, what, hint });
        };
        if upstreams.is_some_and(|known| known.iter().all(|name| *name != upstream)) {
            found(format!("there is no upstream `{upstream}`"), "take the file away");
            continue;
        }
        match Kept::read(bytes) {
            Ok(kept) => {
                let Some(declared) = declared(files, upstream) else { continue };
                for (what, hint) in differing(&kept, &declared) {
                    found(what, hint);
                }
            }
            Err(what) => found(what, HINT),
        }
    }
}

/// The declarations, as far as they can be read: their own mistakes are named elsewhere. `None`:
/// not at all, so that nobody knows what is pinned.
fn declared(files: &Files, upstream: &str) -> Option<Operations> {
    let path = format!("operations/{upstream}.toml");
    let Some(bytes) = files.get(&path) else { return Some(Operations::default()) };
    let read = super::document::read::<Operations>(&path, bytes, &mut Vec::new());
    read.map(|(declared, _)| declared)
}

fn differing(kept: &Kept, declared: &Operations) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (name, definition) in &kept.tools {
        let shown = text::comment(name, 80);
        let pin = declared.tool.get(name).and_then(|tool| tool.pin.as_deref());
        let digest = definition_digest(definition).to_string();
        if pin != Some(digest.as_str()) {
            let what = format!("the definition kept of `{shown}` is not the one that is pinned");
            found.push((what, HINT));
        }
    }
    let pin = declared.server.as_ref().and_then(|server| server.instructions_pin.as_deref());
    if let Some(instructions) = &kept.instructions {
        let digest = instructions_digest(instructions.as_deref()).to_string();
        if pin != Some(digest.as_str()) {
            found.push(("the instructions kept are not those that are pinned".to_owned(), HINT));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let tool = Json::parse(br#"{"name":"a","inputSchema":{"x":1.0}}"#, &LIMITS).unwrap();
        for instructions in [None, Some(None), Some(Some("Hello\u{202e}\n\u{e0041}".to_owned()))] {
            let tools = [("a".to_owned(), tool.clone())].into();
            let kept = Kept { instructions, tools };
            assert!(!kept.to_text().contains('\u{202e}') && !kept.to_text().contains('\u{e0041}'));
            assert_eq!(Kept::read(kept.to_text().as_bytes()), Ok(kept));
        }
        for text in ["[]", "{", r#"{"tools":[]}"#, r#"{"other":{}}"#, r#"{"instructions":1}"#] {
            assert!(Kept::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
