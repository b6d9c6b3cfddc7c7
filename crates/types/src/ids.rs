//! Identifiers, each a type of its own, each with a grammar and a bound.

use std::fmt;

/// Why a text is not an identifier of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or with a character that the kind does not allow.
    #[error("`{text}` is not a valid {kind}: {rule}")]
    Grammar {
        /// The kind of identifier.
        kind: &'static str,
        /// The text, shortened.
        text: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Not `sha256:` and 64 hexadecimal digits.
    #[error("`{text}` is not a digest: it reads `sha256:` and 64 hexadecimal digits")]
    NotADigest {
        /// The text, shortened.
        text: String,
    },
}

/// Bytes of the longest identifier. Long enough for a SPIFFE id or a resource address, short enough
/// for a leaf.
pub const ID_BYTES_MAX: usize = 256;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks a text against the grammar of this kind.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > ID_BYTES_MAX || !text.chars().all(allowed) {
                    return Err(IdError::Grammar {
                        kind: $kind,
                        text: text.chars().take(80).collect(),
                        rule: $rule,
                    });
                }
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

fn is_printable(c: char) -> bool {
    !c.is_control()
}
fn is_slug(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '@' | '+')
}

id!(/// The human, or scheduled job, on whose behalf something happens: the issuer's prefix and JWT
    /// `sub`.
    SubjectId, "subject", "1 to 256 bytes without control characters", is_printable);
id!(/// The workload that acts: outermost JWT `act` (RFC 8693 §4.1), or what the bundle maps
    /// `client_id` to.
    AgentId, "agent", "1 to 256 bytes without control characters", is_printable);
id!(/// The isolation boundary.
    Tenant, "tenant", "lower-case letters, digits and `-`", is_slug);
id!(/// Where this gate runs: `dev`, `staging`, `prod`, or a name of the operator's.
    Environment, "environment", "lower-case letters, digits and `-`", is_slug);
id!(/// The declared purpose of the work.
    TaskName, "task", "lower-case letters, digits and `-`", is_slug);
id!(/// A group that a subject or agent belongs to.
    GroupName, "group", "1 to 256 bytes without control characters", is_printable);
id!(/// A role that a subject or agent holds.
    RoleName, "role", "1 to 256 bytes without control characters", is_printable);
id!(/// An upstream: a tool server that this gate stands in front of.
    UpstreamName, "upstream", "lower-case letters, digits and `-`", is_slug);
id!(/// An operation, as policies name it: `upstream/tool` for a tool, `upstream:method` for a
    /// built-in operation.
    OperationName, "operation", "1 to 256 bytes without control characters", is_printable);
id!(/// A policy: its `@id`, or its file and position.
    PolicyName, "policy", "1 to 256 bytes without control characters", is_printable);
id!(/// One conversation or run.
    SessionId, "session", "letters, digits and `-_.:/@+`", is_word);
id!(/// One call, minted at the rim: 32 hexadecimal digits, the first twelve a time.
    CallId, "call", "letters, digits and `-_.:/@+`", is_word);

impl OperationName {
    /// The operation of a tool.
    pub fn tool(upstream: &UpstreamName, tool: &str) -> Result<Self, IdError> {
        Self::new(&format!("{upstream}/{tool}"))
    }

    /// A built-in operation: a method of the protocol other than `tools/call`.
    pub fn builtin(upstream: &UpstreamName, method: &str) -> Result<Self, IdError> {
        Self::new(&format!("{upstream}:{method}"))
    }
}

/// Microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Micros(pub i64);
