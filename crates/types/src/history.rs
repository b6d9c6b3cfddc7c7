//! What has happened before, as one decision sees it: chain rules ask for it.
//!
//! What happened is told by tags: the name of an operation, its effect (`effect:write`), and what
//! was met in results (`origin:anyone`, `confidentiality:confidential`, `pii:email`). It is kept
//! for a window, per session and per isolation group of its subject. The facts have exactly the
//! tags that the policies of an operation ask for, those that have not happened too: so the record
//! shows what was looked for and not found.

use crate::label::Label;
use crate::{CallId, Json, Micros, Object};
use std::collections::BTreeMap;

/// What begins the tag of an effect.
pub const EFFECT_TAG: &str = "effect:";
/// Tags that the facts of one call may have: what is read back with more is no history.
pub const TAGS_MAX: usize = 512;

/// What has happened, as far as an operation's policies ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The isolation group of the subject: a derived name that says nothing.
    pub group: String,
    /// For how long it is kept, in microseconds.
    pub window_us: i64,
    /// What the call itself will be remembered by, beside what it returns.
    pub counts: Vec<String>,
    /// What was asked for. `None`: it has not happened.
    pub tags: BTreeMap<String, Option<Passed>>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The first time.
    pub first: Step,
    /// The last time, within a sixteenth of the window.
    pub latest: Step,
    /// Whether it has happened in this session.
    pub is_here: bool,
}

/// A call by which something happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// When.
    pub at: Micros,
    /// Which call.
    pub call: CallId,
}

impl History {
    /// The tags of what has happened.
    pub fn passed(&self) -> impl Iterator<Item = (&str, &Passed)> {
        self.tags.iter().filter_map(|(tag, passed)| Some((tag.as_str(), passed.as_ref()?)))
    }

    /// Whether it is about what calls do, and not only about what they return: then whoever does
    /// and whoever asks take turns.
    pub fn is_about_deeds(&self) -> bool {
        let is_met = |tag: &String| Label::of_tag(tag) != Label::default();
        !self.counts.is_empty() || !self.tags.keys().all(is_met)
    }

    /// As recorded.
    pub fn to_json(&self) -> Json {
        let tags = self.tags.iter().map(|(tag, passed)| {
            let passed = passed.as_ref().map_or(Json::Null, |passed| {
                Object::new()
                    .with("first", passed.first.to_json())
                    .with("here", passed.is_here)
                    .with("latest", passed.latest.to_json())
                    .into()
            });
            (tag.clone(), passed)
        });
        let counts: Vec<Json> = self.counts.iter().map(|tag| tag.as_str().into()).collect();
        Object::new()
            .with("counts", counts)
            .with("group", self.group.as_str())
            .with("tags", tags.collect::<Object>())
            .with("window_us", self.window_us)
            .into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let counts = json.get("counts")?.as_array()?.iter();
        let tags = json.get("tags")?.as_object()?;
        if tags.iter().count() > TAGS_MAX {
            return None;
        }
        let passed = |json: &Json| {
            Some(match json {
                Json::Null => None,
                json => Some(Passed {
                    first: Step::from_json(json.get("first")?)?,
                    latest: Step::from_json(json.get("latest")?)?,
                    is_here: json.get("here")?.as_bool()?,
                }),
            })
        };
        let tags = tags.iter().map(|(tag, json)| Some((tag.to_owned(), passed(json)?)));
        Some(Self {
            group: json.get("group")?.as_str()?.to_owned(),
            window_us: json.get("window_us")?.as_i64()?,
            counts: counts.map(|tag| tag.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            tags: tags.collect::<Option<_>>()?,
        })
    }
}

impl Step {
    /// As recorded.
    pub fn to_json(&self) -> Json {
        Object::new().with("at", self.at.0).with("call", self.call.as_str()).into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let at = Micros(json.get("at")?.as_i64()?);
        Some(Self { at, call: CallId::new(json.get("call")?.as_str()?).ok()? })
    }
}
