//! Who speaks to an upstream, as far as credentials depend on it.

use crate::caller::Caller;
use lockgate_types::call::Effect;
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::{AgentId, Environment, Redacted, SubjectId, Tenant};
use std::sync::Arc;

/// What a caller has shown for itself with one request. It lives as long as the request, and is
/// neither recorded nor sent to an upstream.
#[derive(Clone, Debug, Default)]
pub enum Presented {
    /// No token.
    #[default]
    Nothing,
    /// A token that was verified.
    Token(Arc<Redacted<String>>),
    /// It is not there any more: the gate goes on by itself, after a crash or in the background.
    Gone,
}

/// What a credential is used for. A read never gets what writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Access {
    pub(crate) const fn of(effect: Effect) -> Self {
        match effect {
            Effect::Read | Effect::Nav => Self::Read,
            Effect::Write | Effect::Egress | Effect::Destructive => Self::Write,
        }
    }
}

/// Who calls: for whom, and by whom, an exchanged token is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    issuer: String,
    subject: SubjectId,
    agent: AgentId,
    tenant: Tenant,
    environment: Environment,
}

impl Who {
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            agent: identity.agent.clone(),
            tenant: identity.tenant.clone(),
            environment: identity.environment.clone(),
        }
    }
}

/// Who speaks.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) access: Access,
    pub(super) presented: Presented,
    /// `None`: the gate itself.
    who: Option<Arc<Identity>>,
    session: Option<Arc<str>>,
}

impl Speaker {
    /// The gate itself, which only reads.
    pub(crate) const fn gate() -> Self {
        Self { access: Access::Read, presented: Presented::Nothing, who: None, session: None }
    }

    /// A caller, with what it has presented.
    pub(crate) fn calling(caller: &Caller, access: Access, presented: Presented) -> Self {
        let session = caller.identity.as_ref().map(|_| caller.session_key.as_str().into());
        Self { access, presented, who: caller.identity.clone(), session }
    }

    /// A caller beside its calls: with what one of them went with.
    pub(crate) fn beside(caller: &Caller) -> Self {
        Self::calling(caller, Access::Read, Presented::Nothing)
    }

    /// The same, about something that only reads.
    pub(crate) fn reading(&self) -> Self {
        Self { access: Access::Read, ..self.clone() }
    }

    /// The same, once its request is over.
    pub(crate) fn afterwards(&self) -> Self {
        let presented = match self.presented {
            Presented::Gone => Presented::Gone,
            Presented::Nothing | Presented::Token(_) => Presented::Nothing,
        };
        Self { presented, ..self.clone() }
    }

    /// Whether the gate asks, and nobody waits who has a token.
    pub(super) const fn is_gate(&self) -> bool {
        self.who.is_none() || matches!(self.presented, Presented::Gone)
    }

    pub(crate) fn who(&self) -> Option<Who> {
        self.who.as_deref().map(Who::of)
    }

    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Whether a switch is about this. The gate itself belongs to its environment, of which it has
    /// one, and to no agent.
    pub(crate) fn is_in(&self, switch: &Switch, upstream: &str) -> bool {
        let who = self.who.as_ref();
        let name = switch.name.as_str();
        match switch.scope.as_str() {
            "tool" => name == upstream,
            "environment" => who.is_none_or(|who| who.environment.as_str() == name),
            "tenant" => who.is_some_and(|who| who.tenant.as_str() == name),
            "agent" => who.is_some_and(|who| who.agent.as_str() == name),
            "session" => self.session.as_deref() == Some(name),
            "operation" => false,
            _ => true,
        }
    }
}
