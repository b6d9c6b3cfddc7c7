//! Every method of the protocol revisions this gate speaks, in one table.
//!
//! What a message means is decided by its method name alone, never by its shape (I2). A name that
//! is not here is unknown, and unknown is refused unless the bundle forwards it. The table says who
//! may send a method, in which era it exists, what part it plays, and what it does to the world
//! where nobody declared otherwise.

use crate::call::{Direction, Effect};

/// The two families of protocol revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2025-06-18 and 2025-11-25: `initialize`, sessions, requests from server to client.
    Sessions,
    /// 2026-07-28: every request carries its own `_meta`; servers ask through `input_required`.
    Stateless,
}

impl Era {
    /// The word in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Stateless => "stateless",
        }
    }
}

/// Which part a method plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens, describes or keeps up the connection: the gate answers by itself.
    Lifecycle,
    /// Lists what there is: answered from the catalogue, filtered by what is not certainly denied.
    List,
    /// A call: decided, recorded, performed.
    Call,
    /// Says something and gets no answer.
    Notification,
}

/// Who may send a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Both.
    Either,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// As on the wire.
    pub name: &'static str,
    /// Its part.
    pub kind: Kind,
    /// Who sends it where sessions exist; `None` if it does not exist there.
    pub in_sessions: Option<Sender>,
    /// Who sends it in the stateless era; `None` if it does not exist there. What a server asks
    /// inside an `input_required` result is not sent as a message, so it is absent here.
    pub in_stateless: Option<Sender>,
    /// What it does to the world.
    pub effect: Effect,
}

impl Method {
    /// Who may send it in that era.
    pub const fn sender(&self, era: Era) -> Option<Sender> {
        match era {
            Era::Sessions => self.in_sessions,
            Era::Stateless => self.in_stateless,
        }
    }

    /// Whether it may travel that way in that era.
    pub const fn may_travel(&self, era: Era, direction: Direction) -> bool {
        matches!(
            (self.sender(era), direction),
            (Some(Sender::Either), _)
                | (Some(Sender::Client), Direction::ToUpstream)
                | (Some(Sender::Server), Direction::ToClient)
        )
    }

    /// Whether a stateless server may answer it with `input_required`.
    pub fn may_require_input(&self) -> bool {
        matches!(self.name, "tools/call" | "prompts/get" | "resources/read")
    }

    /// Whether a stateless result of it must say how long it may be cached, and for whom.
    pub fn is_cacheable(&self) -> bool {
        self.kind == Kind::List || matches!(self.name, "resources/read" | "server/discover")
    }
}

/// The method of that name.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// What an upstream has besides its tools: the operations `<upstream>:<method>` of policies, with
/// the effect each has where nobody declared otherwise, and the way it travels.
///
/// `tasks/*` may in 2025-11-25 travel both ways; they are one operation each.
pub const BUILTIN_METHODS: &[(&str, Effect, Direction)] = &[
    ("tools/list", Effect::Read, Direction::ToUpstream),
    ("resources/list", Effect::Read, Direction::ToUpstream),
    ("resources/templates/list", Effect::Read, Direction::ToUpstream),
    ("prompts/list", Effect::Read, Direction::ToUpstream),
    ("resources/read", Effect::Read, Direction::ToUpstream),
    ("prompts/get", Effect::Read, Direction::ToUpstream),
    ("completion/complete", Effect::Read, Direction::ToUpstream),
    ("logging/setLevel", Effect::Read, Direction::ToUpstream),
    ("resources/subscribe", Effect::Read, Direction::ToUpstream),
    ("resources/unsubscribe", Effect::Read, Direction::ToUpstream),
    ("subscriptions/listen", Effect::Read, Direction::ToUpstream),
    ("tasks/get", Effect::Read, Direction::ToUpstream),
    ("tasks/result", Effect::Read, Direction::ToUpstream),
    ("tasks/list", Effect::Read, Direction::ToUpstream),
    ("tasks/update", Effect::Write, Direction::ToUpstream),
    ("tasks/cancel", Effect::Write, Direction::ToUpstream),
    ("sampling/createMessage", Effect::Egress, Direction::ToClient),
    ("elicitation/create", Effect::Egress, Direction::ToClient),
    ("roots/list", Effect::Read, Direction::ToClient),
];

const fn row(
    name: &'static str,
    kind: Kind,
    in_sessions: Option<Sender>,
    in_stateless: Option<Sender>,
    effect: Effect,
) -> Method {
    Method { name, kind, in_sessions, in_stateless, effect }
}

const CLIENT: Option<Sender> = Some(Sender::Client);
const SERVER: Option<Sender> = Some(Sender::Server);
const EITHER: Option<Sender> = Some(Sender::Either);

/// Every method of 2025-06-18, 2025-11-25 and 2026-07-28 (with its tasks extension).
pub const METHODS: &[Method] = &[
    row("initialize", Kind::Lifecycle, CLIENT, None, Effect::Read),
    row("ping", Kind::Lifecycle, EITHER, None, Effect::Read),
    row("server/discover", Kind::Lifecycle, None, CLIENT, Effect::Read),
    row("tools/list", Kind::List, CLIENT, CLIENT, Effect::Read),
    row("resources/list", Kind::List, CLIENT, CLIENT, Effect::Read),
    row("resources/templates/list", Kind::List, CLIENT, CLIENT, Effect::Read),
    row("prompts/list", Kind::List, CLIENT, CLIENT, Effect::Read),
    // What a tool does is declared per tool; what nobody declared is destructive.
    row("tools/call", Kind::Call, CLIENT, CLIENT, Effect::Destructive),
    row("resources/read", Kind::Call, CLIENT, CLIENT, Effect::Read),
    row("prompts/get", Kind::Call, CLIENT, CLIENT, Effect::Read),
    row("completion/complete", Kind::Call, CLIENT, CLIENT, Effect::Read),
    row("logging/setLevel", Kind::Call, CLIENT, None, Effect::Read),
    row("resources/subscribe", Kind::Call, CLIENT, None, Effect::Read),
    row("resources/unsubscribe", Kind::Call, CLIENT, None, Effect::Read),
    row("subscriptions/listen", Kind::Call, None, CLIENT, Effect::Read),
    row("tasks/get", Kind::Call, EITHER, CLIENT, Effect::Read),
    row("tasks/result", Kind::Call, EITHER, None, Effect::Read),
    row("tasks/list", Kind::Call, EITHER, None, Effect::Read),
    row("tasks/update", Kind::Call, None, CLIENT, Effect::Write),
    row("tasks/cancel", Kind::Call, EITHER, CLIENT, Effect::Write),
    row("sampling/createMessage", Kind::Call, SERVER, None, Effect::Egress),
    row("elicitation/create", Kind::Call, SERVER, None, Effect::Egress),
    row("roots/list", Kind::Call, SERVER, None, Effect::Read),
    row("notifications/initialized", Kind::Notification, CLIENT, None, Effect::Read),
    row("notifications/cancelled", Kind::Notification, EITHER, EITHER, Effect::Read),
    row("notifications/progress", Kind::Notification, EITHER, SERVER, Effect::Read),
    row("notifications/message", Kind::Notification, SERVER, SERVER, Effect::Read),
    row("notifications/tools/list_changed", Kind::Notification, SERVER, SERVER, Effect::Read),
    row("notifications/resources/list_changed", Kind::Notification, SERVER, SERVER, Effect::Read),
    row("notifications/resources/updated", Kind::Notification, SERVER, SERVER, Effect::Read),
    row("notifications/prompts/list_changed", Kind::Notification, SERVER, SERVER, Effect::Read),
    row("notifications/roots/list_changed", Kind::Notification, CLIENT, None, Effect::Read),
    row("notifications/elicitation/complete", Kind::Notification, SERVER, None, Effect::Read),
    row("notifications/tasks/status", Kind::Notification, EITHER, None, Effect::Read),
    row("notifications/tasks", Kind::Notification, None, SERVER, Effect::Read),
    row("notifications/subscriptions/acknowledged", Kind::Notification, None, SERVER, Effect::Read),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (at, method) in METHODS.iter().enumerate() {
            assert_eq!(find(method.name), Some(method));
            assert!(METHODS[at + 1..].iter().all(|other| other.name != method.name));
            assert!(method.in_sessions.is_some() || method.in_stateless.is_some());
            let is_notification = method.kind == Kind::Notification;
            assert_eq!(is_notification, method.name.starts_with("notifications/"));
        }
        assert_eq!(find("tools/Call"), None);
        assert_eq!(find("TOOLS/CALL"), None);
        assert_eq!(find("tools/call "), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn the_builtin_operations_are_what_is_decided_besides_tools() {
        let decided: Vec<_> = METHODS
            .iter()
            .filter(|m| matches!(m.kind, Kind::List | Kind::Call) && m.name != "tools/call")
            .map(|m| {
                let direction = match m.in_sessions.or(m.in_stateless) {
                    Some(Sender::Server) => Direction::ToClient,
                    Some(Sender::Client | Sender::Either) | None => Direction::ToUpstream,
                };
                (m.name, m.effect, direction)
            })
            .collect();
        assert_eq!(decided, BUILTIN_METHODS);
    }

    #[test]
    fn methods_travel_only_the_way_the_revision_says() {
        let may = |name: &str, era, direction| find(name).unwrap().may_travel(era, direction);
        assert!(may("tools/call", Era::Stateless, Direction::ToUpstream));
        assert!(!may("tools/call", Era::Sessions, Direction::ToClient));
        assert!(may("sampling/createMessage", Era::Sessions, Direction::ToClient));
        assert!(!may("sampling/createMessage", Era::Sessions, Direction::ToUpstream));
        assert!(!may("sampling/createMessage", Era::Stateless, Direction::ToClient));
        for removed in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
            assert!(may(removed, Era::Sessions, Direction::ToUpstream));
            assert!(!may(removed, Era::Stateless, Direction::ToUpstream));
        }
    }
}
