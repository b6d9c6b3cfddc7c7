//! Sessions that applications open for agents, with what their person has said; and the token by
//! which an agent joins one.
//!
//! A session is of the application's own subject: who has no token of a person opens nothing for
//! them. It belongs to one agent, in this tenant and environment, and ends by itself. Joining
//! changes whose conversation a call belongs to, never who calls: what subject and isolation group
//! have met, and what is held against them, comes along.

use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use crate::words::Words;
use lockgate_store::{Joining, MintedSession, OPENED_MAX, OpenedSession, Said, TOLD_MAX};
use lockgate_types::identity::Identity;
use lockgate_types::{AgentId, CallId, Code, Digest, Json, Micros, SessionId, TaskName};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long a session lasts that an application opens.
pub const OPENED_LASTS_S: i64 = 24 * 60 * 60;
/// Tokens of sessions whose bearers are remembered.
pub const JOINED_MAX: usize = 4096;
/// How long a node of a fleet remembers one: another may have ended its session.
const JOINED_FOR_US: i64 = 1_000_000;
/// Bytes of a token that is looked at.
const TOKEN_BYTES_MAX: usize = 128;

/// Who has joined which session, to be asked before the record.
pub(crate) struct Joined(Mutex<Recent>);

struct Recent {
    by_token: LruCache<Digest, Entry>,
    /// How often somebody had been erased.
    forgotten: u64,
    /// How often a session was ended here.
    ended: u64,
}

struct Entry {
    identity: Arc<Identity>,
    /// As it is carried.
    session: SessionId,
    until: Micros,
}

impl Default for Joined {
    fn default() -> Self {
        let max = NonZeroUsize::new(JOINED_MAX).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(Recent { by_token: LruCache::new(max), forgotten: 0, ended: 0 }))
    }
}

impl Joined {
    fn lock(&self, forgotten: u64) -> MutexGuard<'_, Recent> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.forgotten != forgotten {
            recent.by_token.clear();
            recent.forgotten = forgotten;
        }
        recent
    }
}

impl Kernel {
    /// Makes the token of a session for an agent, to be opened with [`Self::open_session`].
    pub async fn mint_session(
        &self,
        application: &Identity,
        agent: &AgentId,
        task: Option<&TaskName>,
    ) -> Result<MintedSession, Refusal> {
        let minted = self.parts.store.mint_session(application, agent, task).await;
        minted.map_err(|error| not_recorded(&error))
    }

    /// Opens a session with what the application was told, by the call that asks for it. Gives
    /// until when it lasts.
    pub async fn open_session(
        &self,
        application: &Identity,
        minted: &MintedSession,
        told: &Json,
        by: &CallId,
    ) -> Result<Micros, Refusal> {
        self.believed(application, told)?;
        self.exists(&minted.agent, application)?;
        let at = self.parts.clock.now();
        let until = Micros(at.0.saturating_add(OPENED_LASTS_S * 1_000_000));
        let opened = self.parts.store.open_session(application, minted, until, (by, at)).await;
        match opened.map_err(|error| not_recorded(&error))? {
            true => Ok(until),
            false => {
                let mut refusal = Refusal::of(Code::TooManySessions);
                refusal.reason = format!("{OPENED_MAX} sessions are open for this subject");
                Err(refusal)
            }
        }
    }

    /// Tells a session that this application has opened more of what the person has said.
    pub async fn tell_session(
        &self,
        application: &Identity,
        session: &SessionId,
        told: &Json,
        by: &CallId,
    ) -> Result<(), Refusal> {
        self.believed(application, told)?;
        let at = self.parts.clock.now();
        let said = self.parts.store.tell_session(application, session, (by, at)).await;
        match said.map_err(|error| not_recorded(&error))? {
            Said::Told => {
                self.parts.flows.forget(session);
                Ok(())
            }
            Said::Unknown => Err(Refusal::of(Code::RecordNotFound)),
            Said::Full => {
                let mut refusal = Refusal::of(Code::TooManySessions);
                refusal.reason = format!("a session is told {TOLD_MAX} times at most");
                "open another session".clone_into(&mut refusal.remedy);
                Err(refusal)
            }
        }
    }

    /// Ends a session that this application has opened: nobody joins it any more.
    pub async fn end_session(
        &self,
        application: &Identity,
        session: &SessionId,
    ) -> Result<(), Refusal> {
        let store = &self.parts.store;
        let ended = store.end_session(application, session).await;
        if !ended.map_err(|error| not_recorded(&error))? {
            return Err(Refusal::of(Code::RecordNotFound));
        }
        let mut recent = self.parts.joined.lock(store.forgotten());
        recent.by_token.clear();
        recent.ended += 1;
        Ok(())
    }

    /// The sessions that this application has open for its subject.
    pub async fn opened_sessions(
        &self,
        application: &Identity,
    ) -> Result<Vec<OpenedSession>, Refusal> {
        let opened = self.parts.store.opened_sessions(application).await;
        opened.map_err(|error| not_recorded(&error))
    }

    /// The session whose token somebody shows: to be put into their
    /// [`Proposal`](crate::Proposal). Whatever is not exactly theirs and open is refused.
    pub async fn join_session(
        &self,
        identity: &Arc<Identity>,
        token: &str,
    ) -> Result<SessionId, Refusal> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::of(Code::SessionTokenRefused));
        }
        let store = &self.parts.store;
        let (name, now) = (Digest::of(token.as_bytes()), self.parts.clock.now());
        let before = {
            let mut recent = self.parts.joined.lock(store.forgotten());
            let known = recent.by_token.get(&name);
            let known = known.filter(|it| it.until > now && it.identity == *identity);
            if let Some(entry) = known {
                return Ok(entry.session.clone());
            }
            (recent.forgotten, recent.ended)
        };
        let joining = store.join_session(identity, token).await;
        match joining.map_err(|error| not_recorded(&error))? {
            Joining::Unknown => Err(Refusal::of(Code::SessionTokenRefused)),
            Joining::NotYours => Err(Refusal::of(Code::SessionTokenNotYours)),
            Joining::Joined(session, until) => {
                let soon = Micros(now.0.saturating_add(JOINED_FOR_US));
                let until = if store.is_shared() { until.min(soon) } else { until };
                let entry =
                    Entry { identity: Arc::clone(identity), session: session.clone(), until };
                let mut recent = self.parts.joined.lock(store.forgotten());
                // Else it may have been ended since it was looked up.
                if (recent.forgotten, recent.ended) == before {
                    recent.by_token.put(name, entry);
                }
                Ok(session)
            }
        }
    }

    /// Whether anybody can act through this agent where the application is.
    fn exists(&self, agent: &AgentId, application: &Identity) -> Result<(), Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let declared = world.principals.agent.get(agent.as_str());
        let here = application.environment.as_str();
        let exists = declared.is_some_and(|agent| agent.environments.iter().any(|it| it == here));
        exists.then_some(()).ok_or_else(|| Refusal::of(Code::UnknownAgent))
    }

    /// What an application was told, if it is believed.
    fn believed(&self, application: &Identity, told: &Json) -> Result<Words, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let words = Words::told(&world, application, told);
        words.ok_or_else(|| Refusal::of(Code::WordsNotBelieved))
    }
}
