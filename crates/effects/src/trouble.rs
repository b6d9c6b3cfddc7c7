//! Why something could not be had from an upstream.

use crate::exchange::End;
use lockgate_store::Stop;
use lockgate_types::{Code, UpstreamName};
use lockgate_wire::RpcError;

/// Why something could not be had from an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// No upstream of that name is configured.
    #[error("there is no upstream `{name}`")]
    Unknown {
        /// The name.
        name: UpstreamName,
    },
    /// The upstream answered with an error of its own.
    #[error("the upstream answered with error {}: {}", error.number, error.message)]
    Answered {
        /// Its error.
        error: RpcError,
    },
    /// The upstream did not answer, or not in its protocol.
    #[error("{code}: {detail}")]
    Failed {
        /// Why.
        code: Code,
        /// What exactly, for the operator.
        detail: String,
        /// Whether bytes may have reached the upstream.
        dispatched: bool,
    },
}

impl EffectError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => Code::UnknownName,
            Self::Answered { .. } => Code::UpstreamProtocol,
            Self::Failed { code, .. } => *code,
        }
    }
}

/// A failure on its way up inside this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) dispatched: bool,
    pub(crate) came: Came,
}

/// How a failure came about, where its code does not say whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// As the code says.
    AsItSays,
    /// The caller ended the call, or left a question without an answer.
    ByCaller,
    /// The upstream answered with this HTTP status and nothing of the protocol.
    ByStatus(u16),
    /// A statement took too long, and was taken back: the database itself was there.
    ByStatement,
}

impl Trouble {
    /// Nothing has left yet, or what left was certainly not acted upon.
    pub(crate) fn before(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), dispatched: false, came: Came::AsItSays }
    }

    /// Bytes have left: what became of them is not known.
    pub(crate) fn after(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), dispatched: true, came: Came::AsItSays }
    }

    /// What it is if nothing may have left after all.
    pub(crate) fn if_left(self, has_left: bool) -> Self {
        Self { dispatched: self.dispatched && has_left, ..self }
    }

    pub(crate) fn by(self, came: Came) -> Self {
        Self { came, ..self }
    }

    pub(crate) fn into_end(self) -> End {
        End::Failed { code: self.code, detail: self.detail, dispatched: self.dispatched }
    }
}

impl From<Trouble> for EffectError {
    fn from(trouble: Trouble) -> Self {
        Self::Failed { code: trouble.code, detail: trouble.detail, dispatched: trouble.dispatched }
    }
}

/// A switch stops a call at the door: nothing of it has left.
pub(crate) fn stopped(stop: &Stop) -> Trouble {
    Trouble::before(stop.code(), stop.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_left_is_not_in_doubt() {
        let timeout = || Trouble::after(Code::UpstreamTimeout, "");
        assert!(!timeout().if_left(false).dispatched);
        assert!(timeout().if_left(true).dispatched);
        assert!(!Trouble::before(Code::UpstreamUnreachable, "").if_left(true).dispatched);
    }
}
