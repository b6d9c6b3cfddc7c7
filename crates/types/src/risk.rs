//! What a session or a tenant has come to, as risk sees it: a score, why, and since when.
//!
//! These are words only: how a score rises and falls is `core`'s, where it is kept is `store`'s.

use crate::facts::Mode;
use crate::{CallId, Json, Micros, Object};
use std::sync::Arc;

/// Reasons that are kept: one of each class, the oldest goes first.
pub const REASONS_MAX: usize = 8;
/// Bytes of the name of a class.
pub const CLASS_BYTES_MAX: usize = 48;

/// Why a score is what it is: what happened, of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Of which class it is, such as `refused` or `signal:injection`.
    pub class: String,
    /// What it has added to the score.
    pub points: i64,
    /// How often it has happened.
    pub times: i64,
    /// When it happened last.
    pub at: Micros,
    /// In which call, if in one.
    pub call: Option<CallId>,
}

impl Reason {
    /// As it is recorded.
    pub fn to_json(&self) -> Json {
        Object::new()
            .with("at", self.at.0)
            .with_some("call", self.call.as_ref().map(CallId::as_str))
            .with("class", self.class.as_str())
            .with("points", self.points)
            .with("times", self.times)
            .into()
    }

    /// Reads it back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let integer = |name: &str| json.get(name)?.as_i64();
        Some(Self {
            class: json.get("class")?.as_str()?.to_owned(),
            points: integer("points")?,
            times: integer("times")?,
            at: Micros(integer("at")?),
            call: match json.get("call") {
                Some(call) => Some(CallId::new(call.as_str()?).ok()?),
                None => None,
            },
        })
    }
}

/// The risk of one session or tenant, as it is kept beside its mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// Thousandths of a point, at `at`.
    pub level: i64,
    /// When something was added last.
    pub at: Micros,
    /// Since when the mode is what it is.
    pub since: Micros,
    /// What a person has set: no timer goes below it.
    pub floor: Mode,
    /// Why, oldest first.
    pub reasons: Vec<Reason>,
    /// Who acted in it last. `None` for a tenant, and where nobody has yet.
    pub whose: Option<Arc<Whose>>,
}

impl Default for Risk {
    fn default() -> Self {
        Self {
            level: 0,
            at: Micros(0),
            since: Micros(0),
            floor: Mode::Normal,
            reasons: Vec::new(),
            whose: None,
        }
    }
}

/// Who acts in a session, as records name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The agent.
    pub agent: String,
    /// The environment.
    pub environment: String,
    /// The subject, by pseudonym.
    pub subject: String,
    /// The tenant.
    pub tenant: String,
}

impl Risk {
    /// As it is kept.
    pub fn to_json(&self) -> Json {
        let whose = self.whose.as_ref().map(|whose| {
            let whose = Object::new()
                .with("agent", whose.agent.as_str())
                .with("environment", whose.environment.as_str())
                .with("subject", whose.subject.as_str())
                .with("tenant", whose.tenant.as_str());
            Json::from(whose)
        });
        Object::new()
            .with("at", self.at.0)
            .with("floor", self.floor.as_str())
            .with("level", self.level)
            .with("reasons", reasons_json(&self.reasons))
            .with("since", self.since.0)
            .with_some("whose", whose)
            .into()
    }

    /// Reads it back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let integer = |name: &str| json.get(name)?.as_i64();
        Some(Self {
            level: integer("level")?,
            at: Micros(integer("at")?),
            since: Micros(integer("since")?),
            floor: Mode::from_word(json.get("floor")?.as_str()?)?,
            reasons: reasons_from(json)?,
            whose: match json.get("whose") {
                Some(whose) => {
                    let text = |name: &str| Some(whose.get(name)?.as_str()?.to_owned());
                    Some(Arc::new(Whose {
                        agent: text("agent")?,
                        environment: text("environment")?,
                        subject: text("subject")?,
                        tenant: text("tenant")?,
                    }))
                }
                None => None,
            },
        })
    }
}

/// What a decision sees of a session's or tenant's risk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its mode.
    pub mode: Mode,
    /// Its score now, 0 to 1000.
    pub score: i64,
    /// Since when it has that mode.
    pub since: Micros,
    /// When a timer loosens it, if nothing more happens. `None`: only a person does.
    pub loosens_at: Option<Micros>,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            mode: Mode::Normal,
            score: 0,
            since: Micros(0),
            loosens_at: None,
            reasons: Vec::new(),
        }
    }
}

impl Standing {
    /// Whether there is nothing to say of it.
    pub fn is_quiet(&self) -> bool {
        self.mode == Mode::Normal && self.score == 0 && self.reasons.is_empty()
    }

    /// As it is recorded.
    pub fn to_json(&self) -> Json {
        Object::new()
            .with_some("loosens_at", self.loosens_at.map(|at| at.0))
            .with("mode", self.mode.as_str())
            .with("reasons", reasons_json(&self.reasons))
            .with("score", self.score)
            .with("since", self.since.0)
            .into()
    }

    /// Reads it back.
    pub fn from_json(json: &Json) -> Option<Self> {
        Some(Self {
            mode: Mode::from_word(json.get("mode")?.as_str()?)?,
            score: json.get("score")?.as_i64()?,
            since: Micros(json.get("since")?.as_i64()?),
            loosens_at: match json.get("loosens_at") {
                Some(at) => Some(Micros(at.as_i64()?)),
                None => None,
            },
            reasons: reasons_from(json)?,
        })
    }
}

/// The risk that a decision depends on. The stricter mode of the two holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The session's.
    pub session: Standing,
    /// The tenant's.
    pub tenant: Standing,
}

impl Seen {
    /// As it is recorded.
    pub fn to_json(&self) -> Json {
        let tenant = self.tenant.to_json();
        Object::new().with("session", self.session.to_json()).with("tenant", tenant).into()
    }

    /// Reads it back.
    pub fn from_json(json: &Json) -> Option<Self> {
        Some(Self {
            session: Standing::from_json(json.get("session")?)?,
            tenant: Standing::from_json(json.get("tenant")?)?,
        })
    }
}

fn reasons_json(reasons: &[Reason]) -> Json {
    Json::Array(reasons.iter().map(Reason::to_json).collect())
}

fn reasons_from(json: &Json) -> Option<Vec<Reason>> {
    json.get("reasons")?.as_array()?.iter().map(Reason::from_json).collect()
}
