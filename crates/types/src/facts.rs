//! Everything one decision depends on, gathered before deciding.

use crate::call::Call;
use crate::document::Cited;
use crate::flow::Provenance;
use crate::history::History;
use crate::identity::Identity;
use crate::label::Label;
use crate::plan::{Plan, Preview};
use crate::risk::{Risk, Seen};
use crate::{CallId, CanonicalObject, Json, Micros, Object, SessionId};
use std::sync::Arc;

/// The posture of a session or tenant. Risk may only tighten it; a person or a timer loosens it
/// (I6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As the policies say.
    #[default]
    Normal,
    /// Everything but reads needs a person.
    Approvals,
    /// Reads only.
    ReadOnly,
    /// Nothing.
    Locked,
}

impl Mode {
    /// The word in policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Approvals => "approvals",
            Self::ReadOnly => "read_only",
            Self::Locked => "locked",
        }
    }
    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Normal, Self::Approvals, Self::ReadOnly, Self::Locked]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

/// The state of one conversation: the fold of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Its key.
    pub id: SessionId,
    /// Its posture.
    pub mode: Mode,
    /// What it has been exposed to. In facts also what its subject's isolation group has been.
    pub exposure: Label,
    /// Effects other than reads so far.
    pub writes: i64,
    /// Grows with every change of mode or exposure. `writes` only counts, so that concurrent writes
    /// do not contend.
    pub revision: i64,
    /// How risky it has been. `None`: nothing was ever held against it. Where it is part of facts,
    /// [`Facts::risk`] says what a decision sees of it, and this is empty.
    pub risk: Option<Arc<Risk>>,
    /// Until when what is done in it is kept as what documents have fed: it was shown some. No
    /// part of facts: nothing is decided by it.
    pub fed: Option<Micros>,
}

/// A kill switch that is on (design §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// `global`, `tenant`, `environment`, `agent`, `tool` (an upstream), `operation` or `session`.
    pub scope: String,
    /// Which one; empty for `global`.
    pub name: String,
}

/// A human's answer to one exact proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What was asked for: the value of the `require_approval` annotation.
    pub requirement: String,
    /// The subject who agreed.
    pub approver: String,
}

/// How an effect stands that was asked for before, under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its outcome is recorded: it is answered again.
    Ended,
    /// Nobody knows whether it happened.
    InDoubt,
    /// It was asked for with other arguments.
    OtherArguments,
}

impl Standing {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::InDoubt => "in_doubt",
            Self::OtherArguments => "other_arguments",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ended, Self::InDoubt, Self::OtherArguments]
            .into_iter()
            .find(|standing| standing.as_str() == word)
    }
}

/// A cap that has no room for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The cap's name.
    pub cap: String,
    /// How much of it is used. `None` in records from before this was kept.
    pub used: Option<i64>,
    /// When its counter begins anew. `None`: it is of calls under way, and has room when one ends.
    pub resets_at: Option<Micros>,
}

/// Whose circuit breaker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerScope {
    /// The whole upstream's.
    Upstream,
    /// That of one operation.
    Operation,
}

impl BreakerScope {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Operation => "operation",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Upstream, Self::Operation].into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A circuit breaker that stops a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose it is.
    pub scope: BreakerScope,
    /// When it is worth asking again.
    pub until: Micros,
}

/// The call that asked before for what is asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Which call.
    pub call: CallId,
    /// How it stands.
    pub standing: Standing,
}

/// Everything one decision depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who. Shared: it changes with the token, not with the call.
    pub identity: Arc<Identity>,
    /// What.
    pub call: Call,
    /// The session as it was.
    pub session: SessionState,
    /// When.
    pub now: Micros,
    /// The switches that are on.
    pub switches: Vec<Switch>,
    /// The approvals that were given for this proposal.
    pub approvals: Vec<Approval>,
    /// How the operation as it is now differs from what was accepted.
    pub live_difference: Option<LiveDifference>,
    /// The same effect, asked for before.
    pub earlier: Option<Earlier>,
    /// The caps that have no room for this call.
    pub exhausted: Vec<Exhausted>,
    /// The plan that the caller gives, as the record has it. `None` if it gives none, or there is
    /// no such plan.
    pub plan: Option<Plan>,
    /// What the upstream's own preview shows, if there is one.
    pub preview: Option<Preview>,
    /// The circuit breaker that stops the call.
    pub broken: Option<Broken>,
    /// Where the values of its arguments came from. `None` where no policy asks.
    pub flow: Option<Provenance>,
    /// What has happened before. `None`: nothing in the bundle looks at it.
    pub history: Option<Arc<History>>,
    /// The risk of session and tenant. `None`: there is nothing to say of it.
    pub risk: Option<Box<Seen>>,
    /// What its citations come to. `None`: nobody has looked, since it need not cite anything.
    pub cited: Option<Box<Cited>>,
}

/// How an operation as its upstream offers it now differs from what a person accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDifference {
    /// In which way.
    pub kind: Difference,
    /// The digest of the definition as it is now.
    pub live: crate::Digest,
    /// The operation, or what was found, that it is about. Empty where it is about the definition
    /// alone.
    pub about: String,
}

/// In which way an operation differs from what was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Its definition is another one, or gone.
    Definition,
    /// The server's instructions are others.
    Instructions,
    /// Its definition was accepted under another name.
    Renamed,
    /// Its name is taken for that of another operation.
    LookAlike,
    /// Its name is also that of another operation.
    Collision,
    /// Its description names a tool of another server.
    NamesOther,
    /// Something in its definition is hidden, or speaks to the model.
    Found,
}

impl Difference {
    /// Every way.
    pub const ALL: [Self; 7] = [
        Self::Definition,
        Self::Instructions,
        Self::Renamed,
        Self::LookAlike,
        Self::Collision,
        Self::NamesOther,
        Self::Found,
    ];

    /// The word in declarations and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Instructions => "instructions",
            Self::Renamed => "renamed",
            Self::LookAlike => "look_alike",
            Self::Collision => "collision",
            Self::NamesOther => "names_other",
            Self::Found => "found",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|difference| difference.as_str() == word)
    }
}

impl LiveDifference {
    /// A definition that is another one.
    pub fn of_definition(live: crate::Digest) -> Self {
        Self { kind: Difference::Definition, live, about: String::new() }
    }

    /// A changed definition is its digest, as it has always been recorded.
    pub(crate) fn to_json(&self) -> Json {
        if self.kind == Difference::Definition && self.about.is_empty() {
            return self.live.to_string().into();
        }
        Object::new()
            .with("about", self.about.as_str())
            .with("kind", self.kind.as_str())
            .with("live", self.live.to_string())
            .into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        if let Some(digest) = json.as_str() {
            return Some(Self::of_definition(digest.parse().ok()?));
        }
        Some(Self {
            kind: Difference::from_word(json.get("kind")?.as_str()?)?,
            live: json.get("live")?.as_str()?.parse().ok()?,
            about: json.get("about")?.as_str()?.to_owned(),
        })
    }
}

/// A part of the facts as it is recorded: each part is stored once, by commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// [`Facts::identity`].
    Identity,
    /// [`Facts::call`].
    Call,
    /// All the rest.
    Moment,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Call, Self::Moment];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Call => "call",
            Self::Moment => "moment",
        }
    }
}

impl Facts {
    /// The canonical bytes of one part.
    pub fn part(&self, part: Part) -> Vec<u8> {
        match part {
            Part::Identity => self.identity.to_json().to_canonical(),
            Part::Call => self.call.to_canonical(),
            Part::Moment => self.moment(),
        }
    }

    fn moment(&self) -> Vec<u8> {
        let pair = |(a, x): (&str, &str), (b, y): (&str, &str)| {
            Json::from(Object::new().with(a, x).with(b, y))
        };
        let approvals = self.approvals.iter();
        let approvals = approvals
            .map(|a| pair(("approver", &a.approver), ("requirement", &a.requirement)))
            .collect();
        let switches =
            self.switches.iter().map(|s| pair(("name", &s.name), ("scope", &s.scope))).collect();
        let session = &self.session;
        let mut out = CanonicalObject::new(256);
        out.json("approvals", &Json::Array(approvals));
        if let Some(Broken { scope, until }) = &self.broken {
            out.open("broken");
            out.text("scope", scope.as_str());
            out.integer("until", until.0);
            out.close();
        }
        if let Some(cited) = &self.cited {
            out.json("cited", &cited.to_json());
        }
        if let Some(Earlier { call, standing }) = &self.earlier {
            out.open("earlier");
            out.text("call", call.as_str());
            out.text("standing", standing.as_str());
            out.close();
        }
        if !self.exhausted.is_empty() {
            let exhausted = self.exhausted.iter().map(|exhausted| {
                let cap = Object::new().with("cap", exhausted.cap.as_str());
                let cap = cap.with_some("resets_at", exhausted.resets_at.map(|at| at.0));
                Json::from(cap.with_some("used", exhausted.used))
            });
            out.json("exhausted", &Json::Array(exhausted.collect()));
        }
        out.open("exposure");
        session.exposure.write(&mut out);
        out.close();
        if let Some(flow) = &self.flow {
            out.json("flow", &flow.to_json());
        }
        if let Some(history) = &self.history {
            out.json("history", &history.to_json());
        }
        if let Some(live) = &self.live_difference {
            out.json("live_difference", &live.to_json());
        }
        out.text("mode", session.mode.as_str());
        out.integer("now", self.now.0);
        if let Some(plan) = &self.plan {
            out.json("plan", &plan.to_json());
        }
        if let Some(preview) = &self.preview {
            out.json("preview", &preview.to_json());
        }
        out.integer("revision", session.revision);
        if let Some(risk) = &self.risk {
            out.json("risk", &risk.to_json());
        }
        out.text("session", session.id.as_str());
        out.json("switches", &Json::Array(switches));
        out.integer("writes", session.writes);
        out.finish()
    }

    /// Reads the facts back from their three parts.
    pub fn from_parts(identity: &Json, call: &Json, moment: &Json) -> Option<Self> {
        let text = |json: &Json, name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let approvals = moment.get("approvals")?.as_array()?.iter();
        let switches = moment.get("switches")?.as_array()?.iter();
        Some(Self {
            identity: Arc::new(Identity::from_json(identity)?),
            call: Call::from_json(call)?,
            session: SessionState {
                id: SessionId::new(moment.get("session")?.as_str()?).ok()?,
                mode: Mode::from_word(moment.get("mode")?.as_str()?)?,
                exposure: Label::from_json(moment.get("exposure")?)?,
                writes: moment.get("writes")?.as_i64()?,
                revision: moment.get("revision")?.as_i64()?,
                risk: None,
                fed: None,
            },
            now: Micros(moment.get("now")?.as_i64()?),
            switches: switches
                .map(|s| Some(Switch { scope: text(s, "scope")?, name: text(s, "name")? }))
                .collect::<Option<_>>()?,
            approvals: approvals
                .map(|a| {
                    Some(Approval {
                        requirement: text(a, "requirement")?,
                        approver: text(a, "approver")?,
                    })
                })
                .collect::<Option<_>>()?,
            live_difference: some(moment, "live_difference", LiveDifference::from_json)?,
            exhausted: match moment.get("exhausted") {
                Some(exhausted) => exhausted
                    .as_array()?
                    .iter()
                    .map(|it| {
                        let resets_at = some_integer(it, "resets_at")?.map(Micros);
                        let used = some_integer(it, "used")?;
                        Some(Exhausted { cap: text(it, "cap")?, used, resets_at })
                    })
                    .collect::<Option<_>>()?,
                None => Vec::new(),
            },
            plan: some(moment, "plan", Plan::from_json)?,
            preview: some(moment, "preview", Preview::from_json)?,
            broken: match moment.get("broken") {
                Some(broken) => Some(Broken {
                    scope: BreakerScope::from_word(broken.get("scope")?.as_str()?)?,
                    until: Micros(broken.get("until")?.as_i64()?),
                }),
                None => None,
            },
            flow: some(moment, "flow", Provenance::from_json)?,
            history: some(moment, "history", History::from_json)?.map(Arc::new),
            risk: some(moment, "risk", Seen::from_json)?.map(Box::new),
            cited: some(moment, "cited", Cited::from_json)?.map(Box::new),
            earlier: match moment.get("earlier") {
                Some(earlier) => Some(Earlier {
                    call: CallId::new(earlier.get("call")?.as_str()?).ok()?,
                    standing: Standing::from_word(earlier.get("standing")?.as_str()?)?,
                }),
                None => None,
            },
        })
    }
}

/// A member that may be absent, and can be read where it is not.
fn some<T>(json: &Json, name: &str, read: fn(&Json) -> Option<T>) -> Option<Option<T>> {
    match json.get(name) {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}

/// A member that may be absent, and is an integer where it is not.
fn some_integer(json: &Json, name: &str) -> Option<Option<i64>> {
    match json.get(name) {
        Some(value) => value.as_i64().map(Some),
        None => Some(None),
    }
}
