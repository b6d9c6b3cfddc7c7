//! Which eras an upstream speaks: configured, or found out by asking and remembered.
//!
//! The caller's own era is tried first, so that nothing needs to be translated where nothing must
//! be.

use crate::caller::Caller;
use crate::credential::Speaker;
use crate::http::{ERROR_BODY_BYTES_MAX, Http, Kind, insufficient, kind};
use crate::post::read_message;
use crate::post::stateless_headers;
use crate::session::{answer_to, is_wrong_era, not_yet};
use crate::trouble::Trouble;
use http::StatusCode;
use lockgate_core::declare;
use lockgate_types::{Code, Json, Object};
use lockgate_wire::{Era, Request, RequestId, RpcError, era, numbers};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an upstream is believed not to speak an era: it may be replaced.
const NO_MEMORY: Duration = Duration::from_secs(60);

/// What is known about the eras of one upstream.
pub(crate) struct Eras {
    configured: Option<Era>,
    found: Mutex<Found>,
}

#[derive(Clone, Copy, Default)]
struct Found {
    sessions: Option<(bool, Instant)>,
    stateless: Option<(bool, Instant)>,
}

impl Found {
    fn of(&self, era: Era) -> Option<(bool, Instant)> {
        match era {
            Era::Sessions => self.sessions,
            Era::Stateless => self.stateless,
        }
    }
}

impl Eras {
    pub(crate) fn new(configured: Option<declare::Era>) -> Self {
        let configured = configured.map(|configured| match configured {
            declare::Era::Sessions => Era::Sessions,
            declare::Era::Stateless => Era::Stateless,
        });
        Self { configured, found: Mutex::new(Found::default()) }
    }

    fn found(&self) -> Found {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The eras to try for a caller of that era, the best first.
    pub(crate) fn order(&self, caller: Era) -> Vec<Era> {
        if let Some(configured) = self.configured {
            return vec![configured];
        }
        let other = match caller {
            Era::Sessions => Era::Stateless,
            Era::Stateless => Era::Sessions,
        };
        let found = self.found();
        let is_possible = |era: &Era| match found.of(*era) {
            Some((false, when)) => when.elapsed() > NO_MEMORY,
            Some((true, _)) | None => true,
        };
        let possible: Vec<Era> = [caller, other].into_iter().filter(is_possible).collect();
        if possible.is_empty() { vec![caller, other] } else { possible }
    }

    /// The era that is tried first for a caller of that era.
    pub(crate) fn first(&self, caller: Era) -> Era {
        match self.configured {
            Some(configured) => configured,
            None if self.is_known(caller) => caller,
            None => self.order(caller).first().copied().unwrap_or(caller),
        }
    }

    /// Whether it certainly speaks that era.
    pub(crate) fn is_known(&self, era: Era) -> bool {
        self.configured == Some(era) || matches!(self.found().of(era), Some((true, _)))
    }

    /// Whether it is configured to speak that era only.
    pub(crate) fn is_only(&self, era: Era) -> bool {
        self.configured == Some(era)
    }

    pub(crate) fn learn(&self, era: Era, speaks: bool) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Some((speaks, Instant::now()));
        match era {
            Era::Sessions => found.sessions = now,
            Era::Stateless => found.stateless = now,
        }
    }

    /// Asks again next time: the upstream did not behave as it was believed to.
    pub(crate) fn doubt(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Found::default();
    }

    /// The eras it certainly speaks.
    pub(crate) fn known(&self) -> Vec<Era> {
        [Era::Sessions, Era::Stateless].into_iter().filter(|era| self.is_known(*era)).collect()
    }
}

/// The parameters with which a stateless upstream is asked as that caller.
pub(crate) fn own_params(caller: &Caller) -> Object {
    let info = caller.info();
    let info = info.as_object().cloned().unwrap_or_default();
    era::stateless_params(&info, &caller.capabilities)
}

/// Asks an HTTP upstream whether it is stateless.
pub(crate) async fn probe(
    http: &Arc<Http>,
    caller: &Caller,
    speaker: &Speaker,
    id: RequestId,
) -> Result<bool, Trouble> {
    let request = Request::new(id, "server/discover", own_params(caller));
    let headers = stateless_headers(&request, &[])?;
    let response = http.post(headers, request.to_bytes(), &speaker.reading()).await;
    let response = response.map_err(not_yet)?;
    let status = response.status();
    match kind(&response) {
        Kind::Json => {
            let is_ok = status.is_success();
            let bound = if is_ok { http.answer_bytes_max } else { ERROR_BODY_BYTES_MAX };
            let body = http.body(response, bound).await.map_err(not_yet)?;
            let message = read_message(&body, http.answer_bytes_max);
            match message.and_then(|message| answer_to(message, &request.id)) {
                Ok(outcome) => Ok(is_stateless(&outcome)),
                // A server of the other era may say no in whichever form it likes.
                Err(_) if is_wrong_era(status) || status.is_success() => Ok(false),
                Err(_) if status == StatusCode::FORBIDDEN => Err(insufficient()),
                Err(trouble) => Err(not_yet(trouble)),
            }
        }
        Kind::Events | Kind::Other if status == StatusCode::FORBIDDEN => Err(insufficient()),
        Kind::Events | Kind::Other if is_wrong_era(status) || status.is_success() => Ok(false),
        Kind::Events | Kind::Other => {
            let detail = format!("HTTP {status} when asked what it speaks");
            Err(Trouble::before(Code::UpstreamUnreachable, detail))
        }
    }
}

/// Whether an answer to `server/discover` is one of the stateless era.
pub(crate) fn is_stateless(outcome: &Result<Json, RpcError>) -> bool {
    match outcome {
        Ok(result) => era::of_opening(result) == Some(Era::Stateless),
        // One that names a version spoken here among its own is asked again with that version.
        Err(error) if error.number == numbers::UNSUPPORTED_VERSION => {
            let versions = error.data.as_ref().and_then(|data| data.get("supported")?.as_array());
            let spoken = |version: &Json| {
                version.as_str().is_some_and(|version| era::STATELESS_VERSIONS.contains(&version))
            };
            versions.is_some_and(|versions| versions.iter().any(spoken))
        }
        Err(error) => {
            matches!(error.number, numbers::HEADER_MISMATCH | numbers::MISSING_CAPABILITY)
        }
    }
}
