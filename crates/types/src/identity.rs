//! Who acts, and for whom.

use crate::{
    AgentId, Environment, GroupName, Json, Micros, Object, RoleName, SubjectId, TaskName, Tenant,
};
use std::collections::BTreeSet;

/// What a verified token said, before the bundle has mapped it. Crypto is done; trust is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The name that the bundle gives the issuer.
    pub issuer: String,
    /// Every claim of the token, or of the fixed identity of a listener.
    pub claims: Object,
}

/// How the subject has signed in, as the token says. Nothing of it is guessed: what the token does
/// not say, or not in its usual form, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// `acr`: the class of the sign-in, in the issuer's words.
    pub acr: Option<String>,
    /// `amr`: by which means, in the words of RFC 8176.
    pub amr: BTreeSet<String>,
    /// `auth_time`: when, in seconds since 1970.
    pub at: Option<i64>,
}

impl Authentication {
    /// Seconds by which an issuer's clock may be ahead of the gate's.
    const AHEAD_MAX_S: i64 = 60;

    /// How long ago it was, in seconds. `None`: the token does not say, or it is yet to come.
    pub fn age_s(&self, now: Micros) -> Option<i64> {
        let age_s = (now.0 / 1_000_000).checked_sub(self.at?)?;
        (age_s >= -Self::AHEAD_MAX_S).then_some(age_s.max(0))
    }

    fn to_json(&self) -> Option<Json> {
        (*self != Self::default()).then(|| {
            let amr = (!self.amr.is_empty()).then(|| names(self.amr.iter().map(String::as_str)));
            Object::new()
                .with_some("acr", self.acr.as_deref())
                .with_some("amr", amr)
                .with_some("at", self.at)
                .into()
        })
    }

    fn from_json(json: Option<&Json>) -> Option<Self> {
        let Some(json) = json else { return Some(Self::default()) };
        Some(Self {
            acr: match json.get("acr") {
                Some(acr) => Some(acr.as_str()?.to_owned()),
                None => None,
            },
            amr: match json.get("amr") {
                Some(amr) => {
                    let amr = amr.as_array()?.iter();
                    amr.map(|means| means.as_str().map(str::to_owned)).collect::<Option<_>>()?
                }
                None => BTreeSet::new(),
            },
            at: match json.get("at") {
                Some(at) => Some(at.as_i64()?),
                None => None,
            },
        })
    }
}

/// The identity of one request: complete, so that a decision needs to look nothing up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name that the bundle gives the issuer.
    pub issuer: String,
    /// On whose behalf.
    pub subject: SubjectId,
    /// Who acts.
    pub agent: AgentId,
    /// In which tenant.
    pub tenant: Tenant,
    /// In which environment.
    pub environment: Environment,
    /// For which declared purpose.
    pub task: Option<TaskName>,
    /// Every group the subject is in, directly or through another.
    pub subject_groups: BTreeSet<GroupName>,
    /// Every role the subject holds.
    pub subject_roles: BTreeSet<RoleName>,
    /// Every group the agent is in, directly or through another.
    pub agent_groups: BTreeSet<GroupName>,
    /// How the subject has signed in.
    pub authentication: Authentication,
    /// What is the subject's own: addresses, accounts, names.
    pub own: BTreeSet<String>,
}

impl Identity {
    /// The opener of a session: sessions are bound to it.
    pub fn opener(&self) -> (String, SubjectId, AgentId) {
        (self.issuer.clone(), self.subject.clone(), self.agent.clone())
    }

    /// As recorded among the facts.
    pub fn to_json(&self) -> Json {
        let own = (!self.own.is_empty()).then(|| names(self.own.iter().map(String::as_str)));
        Object::new()
            .with("agent", self.agent.as_str())
            .with("agent_groups", names(self.agent_groups.iter().map(GroupName::as_str)))
            .with_some("authentication", self.authentication.to_json())
            .with("environment", self.environment.as_str())
            .with("issuer", self.issuer.as_str())
            .with_some("own", own)
            .with("subject", self.subject.as_str())
            .with("subject_groups", names(self.subject_groups.iter().map(GroupName::as_str)))
            .with("subject_roles", names(self.subject_roles.iter().map(RoleName::as_str)))
            .with_some("task", self.task.as_ref().map(TaskName::as_str))
            .with("tenant", self.tenant.as_str())
            .into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| json.get(name)?.as_str();
        Some(Self {
            issuer: text("issuer")?.to_owned(),
            subject: SubjectId::new(text("subject")?).ok()?,
            agent: AgentId::new(text("agent")?).ok()?,
            tenant: Tenant::new(text("tenant")?).ok()?,
            environment: Environment::new(text("environment")?).ok()?,
            task: match json.get("task") {
                Some(task) => Some(TaskName::new(task.as_str()?).ok()?),
                None => None,
            },
            subject_groups: set(json.get("subject_groups")?, GroupName::new)?,
            subject_roles: set(json.get("subject_roles")?, RoleName::new)?,
            agent_groups: set(json.get("agent_groups")?, GroupName::new)?,
            authentication: Authentication::from_json(json.get("authentication"))?,
            own: match json.get("own") {
                Some(own) => set(own, |value| Ok::<_, ()>(value.to_owned()))?,
                None => BTreeSet::new(),
            },
        })
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Json {
    Json::Array(names.map(Json::from).collect())
}

fn set<T: Ord, E>(json: &Json, read: fn(&str) -> Result<T, E>) -> Option<BTreeSet<T>> {
    json.as_array()?.iter().map(|item| read(item.as_str()?).ok()).collect()
}
