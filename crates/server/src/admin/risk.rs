//! The modes of sessions and tenants: shown with why, loosened and tightened by people.
//!
//! Who may is for policies to say: the arguments name the mode, and of a session the agent,
//! environment and tenant that it belongs to, and whether it is the caller's own.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_core::risk::{self, Scope};
use lockgate_store::{Direction, ModeSet, RISKS_READ_MAX, tenant_row};
use lockgate_types::facts::{Mode, SessionState};
use lockgate_types::risk::Reason;
use lockgate_types::{CallId, Code, SessionId, Tenant};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The modes that a person can loosen to.
pub(crate) const LOOSER: [&str; 3] = ["normal", "approvals", "read_only"];
/// The modes that a person can tighten to.
pub(crate) const STRICTER: [&str; 3] = ["approvals", "read_only", "locked"];

/// Sessions that something is held against.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Sessions {
    /// In the order of their ids. Those of which everything is forgotten are left out.
    sessions: Vec<Standing>,
    /// Where to go on. Absent: that was the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How a session or tenant stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Standing {
    /// The session's id in records, or the tenant's name.
    name: String,
    /// `normal`, `approvals`, `read_only` or `locked`.
    mode: &'static str,
    /// 0 to 1000, now.
    score: i64,
    /// Since when it has the mode, in microseconds since 1970. Absent: it always had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    /// When a timer loosens it, if nothing more happens. Absent: only a person does.
    #[serde(skip_serializing_if = "Option::is_none")]
    loosens_at: Option<i64>,
    /// The mode below which no timer goes, because a person has set it.
    floor: &'static str,
    /// What was held against it, the newest last.
    reasons: Vec<Why>,
    /// Who acted in it last. Absent of a tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    whose: Option<Whose>,
}

/// What was held against somebody.
#[derive(Serialize, JsonSchema)]
struct Why {
    /// Such as `refused` or `signal:injection`.
    class: String,
    /// What it has added to the score, before that decayed.
    points: i64,
    /// How often it has happened.
    times: i64,
    /// When it happened last, in microseconds since 1970.
    at: i64,
    /// In which call.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
}

/// Who acts in a session.
#[derive(Serialize, JsonSchema)]
struct Whose {
    agent: String,
    environment: String,
    /// A pseudonym.
    subject: String,
    tenant: String,
}

/// What became of a mode.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// As it was.
    was: &'static str,
    /// As it is: the same, if it was not to go that way.
    mode: &'static str,
    /// Whether it is a tenant that nothing here knows. Absent of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<bool>,
    /// The tenant that may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    meant: Option<String>,
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let max = asked.number("max").and_then(|max| u32::try_from(max).ok());
        let max = max.unwrap_or(RISKS_READ_MAX).min(RISKS_READ_MAX);
        let found = parts.kernel.store().risky_sessions(asked.text("after"), max).await?;
        let is_full = found.len() >= usize::try_from(max).unwrap_or(usize::MAX);
        let next = found.last().filter(|_| is_full).map(|last| last.id.to_string());
        let standing = found.iter().map(|state| parts.standing(state, state.id.as_str()));
        let sessions = standing.filter(|it| it.mode != "normal" || it.score > 0).collect();
        Reading::typed(&Sessions { sessions, next })
    };
    parts.govern(&asked, "sessions_read", perform).await
}

pub(super) async fn show(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let id = session(&asked)?;
        let kept = parts.kernel.store().kept_session(&id).await?;
        let state = kept.ok_or(Code::RecordNotFound)?;
        Reading::typed(&parts.standing(&state, id.as_str()))
    };
    parts.govern(&asked, "sessions_read", perform).await
}

pub(super) async fn posture(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let (tenant, row) = tenant(&asked)?;
        let state = match parts.kernel.store().kept_session(&row).await? {
            Some(state) => parts.standing(&state, tenant.as_str()),
            None => parts.quiet(tenant.as_str()),
        };
        Reading::typed(&state)
    };
    parts.govern(&asked, "posture_read", perform).await
}

pub(super) async fn loosen(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let id = session(&asked)?;
    let asked = parts.with_whose(asked, &id).await?;
    parts.set(&asked, "session_loosen", Direction::Loosen, (id, None)).await
}

pub(super) async fn tighten(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let id = session(&asked)?;
    let asked = parts.with_whose(asked, &id).await?;
    parts.set(&asked, "session_tighten", Direction::Tighten, (id, None)).await
}

pub(super) async fn posture_loosen(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (tenant, row) = tenant(&asked)?;
    parts.set(&asked, "posture_loosen", Direction::Loosen, (row, Some(tenant))).await
}

pub(super) async fn posture_tighten(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (tenant, row) = tenant(&asked)?;
    parts.set(&asked, "posture_tighten", Direction::Tighten, (row, Some(tenant))).await
}

impl Parts {
    async fn set(
        &self,
        asked: &Asked,
        operation: &str,
        direction: Direction,
        (id, tenant): (SessionId, Option<Tenant>),
    ) -> Result<Reading, Problem> {
        let to = Mode::from_word(asked.text("to")).ok_or(Code::AdminBadRequest)?;
        let tenant = tenant.as_ref();
        let perform = async |by: CallId| {
            let store = self.kernel.store();
            // Nobody loosens what was never heard of: that would be a slip of the pen.
            if direction == Direction::Loosen && store.kept_session(&id).await?.is_none() {
                return Err(Code::RecordNotFound.into());
            }
            // Asked before: it has a log once this is recorded.
            let (unknown, meant) = match tenant {
                Some(tenant) => {
                    let unknown = self.unknown("tenant", tenant.as_str()).await;
                    (Some(unknown.is_some()), unknown.and_then(|it| it.meant))
                }
                None => (None, None),
            };
            let rules = self.kernel.world().and_then(|world| world.risk.clone());
            let at = self.kernel.clock().now();
            let set = store.set_mode(id, (direction, to), rules, (&by, at)).await?;
            let ModeSet { was, now } = set;
            Reading::typed(&Changed { was: was.as_str(), mode: now.as_str(), unknown, meant })
        };
        self.govern_call(asked, operation, None, perform).await
    }

    /// The arguments with what policies may want to know of the session.
    async fn with_whose(&self, asked: Asked, id: &SessionId) -> Result<Asked, Problem> {
        let store = self.kernel.store();
        let state = store.kept_session(id).await?;
        let whose = state.and_then(|state| state.risk.as_ref()?.whose.clone());
        let Some(whose) = whose else { return Ok(asked) };
        let is_own = store.pseudonym(&asked.identity).await? == whose.subject;
        let arguments = asked.arguments.clone();
        let arguments = arguments
            .with("agent", whose.agent.as_str())
            .with("environment", whose.environment.as_str())
            .with("own", is_own)
            .with("tenant", whose.tenant.as_str());
        Ok(asked.with(arguments))
    }

    fn standing(&self, state: &SessionState, name: &str) -> Standing {
        let world = self.kernel.world();
        let rules = world.as_ref().and_then(|world| world.risk.as_ref());
        let is_tenant = name != state.id.as_str();
        let scope = if is_tenant { Scope::Tenant } else { Scope::Session };
        let (kept, now) = (state.risk.as_deref(), self.kernel.clock().now());
        let scale = rules.map(|rules| rules.scale(scope));
        let seen = risk::standing(scale, state.mode, kept, now);
        let whose = kept.and_then(|risk| risk.whose.as_deref()).map(|whose| Whose {
            agent: whose.agent.clone(),
            environment: whose.environment.clone(),
            subject: whose.subject.clone(),
            tenant: whose.tenant.clone(),
        });
        Standing {
            name: name.to_owned(),
            mode: seen.mode.as_str(),
            score: seen.score,
            since: (seen.since.0 > 0).then_some(seen.since.0),
            loosens_at: seen.loosens_at.map(|at| at.0),
            floor: kept.map_or(Mode::Normal, |risk| risk.floor).as_str(),
            reasons: seen.reasons.iter().map(why).collect(),
            whose,
        }
    }

    /// A tenant that nothing was ever held against.
    fn quiet(&self, name: &str) -> Standing {
        Standing {
            name: name.to_owned(),
            mode: Mode::Normal.as_str(),
            score: 0,
            since: None,
            loosens_at: None,
            floor: Mode::Normal.as_str(),
            reasons: Vec::new(),
            whose: None,
        }
    }
}

fn why(reason: &Reason) -> Why {
    Why {
        class: reason.class.clone(),
        points: reason.points,
        times: reason.times,
        at: reason.at.0,
        call: reason.call.as_ref().map(ToString::to_string),
    }
}

/// Whether that is how records name sessions.
pub(super) fn is_session(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = text.strip_prefix("s_").filter(|digits| digits.len() == 32);
    digits.is_some_and(|digits| digits.bytes().all(is_digit))
}

/// A session as records name it: `s_` and 32 hexadecimal digits, never the row of a tenant.
fn session(asked: &Asked) -> Result<SessionId, Problem> {
    let text = asked.text("session");
    let id = SessionId::new(text).ok().filter(|_| is_session(text));
    let reason = "a session is named as records name it: `s_` and 32 hexadecimal digits";
    id.ok_or_else(|| Problem::because(Code::AdminBadRequest, reason))
}

fn tenant(asked: &Asked) -> Result<(Tenant, SessionId), Problem> {
    let tenant = Tenant::new(asked.text("tenant"));
    let tenant = tenant.map_err(|error| Problem::request(error.to_string()))?;
    let row = tenant_row(&tenant)?;
    Ok((tenant, row))
}
