//! Sessions that applications have opened for agents, and the tokens by which these join them.
//!
//! A token is random and given out once: the database knows it by a name derived under the data
//! key, which opens nothing. What a session is bound to is sealed under its subject's key, so that
//! only that subject's agent joins it, and nobody once the subject is erased.

use crate::db::{DbError, values};
use crate::error::StoreError;
use crate::keys;
use crate::remembered::Told;
use crate::session::SessionKey;
use crate::store::Store;
use crate::subject::Subject;
use crate::writer::Writer;
use lockgate_types::identity::Identity;
use lockgate_types::{
    AgentId, CallId, Json, JsonLimits, Micros, Object, Redacted, SessionId, TaskName,
};

/// Sessions that are open at once of one subject.
pub const OPENED_MAX: u32 = 256;
/// How often one session is told something.
pub const TOLD_MAX: u32 = 256;
/// What every token begins with.
const TOKEN_PREFIX: &str = "lgs_";
/// What the ids begin with that sessions of this kind are carried under.
const CARRIED_PREFIX: &str = "opened_";
/// Sessions forgotten in one go, of those whose time is over.
const SWEEP_MAX: u32 = 256;

/// A session that is about to be opened. Nothing of it is kept yet.
pub struct MintedSession {
    /// By what an agent joins it. This is the only time that anybody sees it.
    pub token: Redacted<String>,
    /// As records name it.
    pub session: SessionId,
    /// For which agent.
    pub agent: AgentId,
    /// For which purpose alone, if one was declared.
    pub task: Option<TaskName>,
}

/// A session that an application has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// As records name it.
    pub session: SessionId,
    /// For which agent.
    pub agent: AgentId,
    /// For which purpose alone, if one was declared.
    pub task: Option<TaskName>,
    /// Until when.
    pub until: Micros,
}

/// What became of showing a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// No session that is open has it.
    Unknown,
    /// It is of another identity's session.
    NotYours,
    /// It is this identity's, carried under this id, until then.
    Joined(SessionId, Micros),
}

/// What became of telling a session something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It remembers it.
    Told,
    /// There is no such session that this application has opened.
    Unknown,
    /// It was told as much as it remembers.
    Full,
}

/// What a session is bound to.
struct Bound {
    agent: AgentId,
    application: AgentId,
    environment: String,
    task: Option<TaskName>,
    tenant: String,
}

impl Bound {
    fn to_bytes(&self) -> Vec<u8> {
        let bound = Object::new()
            .with("agent", self.agent.as_str())
            .with("application", self.application.as_str())
            .with("environment", self.environment.as_str())
            .with_some("task", self.task.as_ref().map(TaskName::as_str))
            .with("tenant", self.tenant.as_str());
        Json::from(bound).to_canonical()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let json = Json::parse(bytes, &JsonLimits::OWN).ok()?;
        let text = |name: &str| json.get(name)?.as_str();
        Some(Self {
            agent: AgentId::new(text("agent")?).ok()?,
            application: AgentId::new(text("application")?).ok()?,
            environment: text("environment")?.to_owned(),
            task: match text("task") {
                Some(task) => Some(TaskName::new(task).ok()?),
                None => None,
            },
            tenant: text("tenant")?.to_owned(),
        })
    }

    /// Whether it is of this tenant and environment.
    fn is_of(&self, identity: &Identity) -> bool {
        self.tenant == identity.tenant.as_str() && self.environment == identity.environment.as_str()
    }

    /// Whether this identity may join.
    fn may_join(&self, identity: &Identity) -> bool {
        let is_for_task = self.task.is_none() || self.task == identity.task;
        self.is_of(identity) && self.agent == identity.agent && is_for_task
    }

    /// Whether this identity is the application that has opened it.
    fn is_opener(&self, identity: &Identity) -> bool {
        self.is_of(identity) && self.application == identity.agent
    }
}

impl Store {
    /// Makes a token, and the name of the session that it will open to this subject's agent.
    pub async fn mint_session(
        &self,
        identity: &Identity,
        agent: &AgentId,
        task: Option<&TaskName>,
    ) -> Result<MintedSession, StoreError> {
        let subject = self.subject_of(identity).await?;
        let [random] = keys::random_keys()?;
        let token = format!("{TOKEN_PREFIX}{}", hex::encode(random));
        let key = SessionKey {
            tenant: identity.tenant.clone(),
            environment: identity.environment.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            agent: agent.clone(),
            id: Some(self.carried(&token)?),
        };
        Ok(MintedSession {
            token: Redacted::new(token),
            session: subject.session_id(&key)?,
            agent: agent.clone(),
            task: task.cloned(),
        })
    }

    /// Opens a session, and has it remember what the call told that opened it. `false`: its subject
    /// has as many as there may be.
    pub async fn open_session(
        &self,
        identity: &Identity,
        minted: &MintedSession,
        until: Micros,
        (by, at): (&CallId, Micros),
    ) -> Result<bool, StoreError> {
        let subject = self.subject_of(identity).await?;
        let bound = Bound {
            agent: minted.agent.clone(),
            application: identity.agent.clone(),
            environment: identity.environment.as_str().to_owned(),
            task: minted.task.clone(),
            tenant: identity.tenant.as_str().to_owned(),
        };
        let sealed = subject.key.seal(&bound_to(&minted.session), &bound.to_bytes())?;
        let (session, by, row) = (minted.session.clone(), by.clone(), subject.row);
        let token = self.token_name(minted.token.expose());
        self.read(move |writer| {
            let db = &writer.db;
            let count = "SELECT COUNT(*) FROM opened WHERE subject = ?1 AND until > ?2";
            let open = db.row(count, values![row, writer.now().0], |row| row.get::<i64>(0));
            if open.map_err(failed())?.unwrap_or(0) >= i64::from(OPENED_MAX) {
                return Ok(false);
            }
            // First what it was told: one that is open without it would know less than its
            // application thinks.
            writer.have_remembered(session.as_str(), &by, at)?;
            let insert = "INSERT INTO opened (session, token, subject, sealed, until)
                VALUES (?1, ?2, ?3, ?4, ?5)";
            let given = values![session.as_str(), &token, row, &sealed, until.0];
            db.execute(insert, given).map_err(failed())?;
            Ok(true)
        })
        .await
    }

    /// Who shows a token.
    pub async fn join_session(
        &self,
        identity: &Identity,
        token: &str,
    ) -> Result<Joining, StoreError> {
        let (name, now) = (self.token_name(token), self.queue().now());
        let found = self.read_aside(move |db| {
            let select =
                "SELECT session, sealed, until FROM opened WHERE token = ?1 AND until > ?2";
            let found = db.row(select, values![&name, now.0], |row| {
                Ok((row.get::<String>(0)?, row.get::<Vec<u8>>(1)?, row.get::<i64>(2)?))
            });
            found.map_err(failed())
        });
        let Some((session, sealed, until)) = found.await? else { return Ok(Joining::Unknown) };
        let subject = self.subject_of(identity).await?;
        Ok(match opened(&subject, &session, &sealed) {
            Some(bound) if bound.may_join(identity) => {
                Joining::Joined(self.carried(token)?, Micros(until))
            }
            Some(_) | None => Joining::NotYours,
        })
    }

    /// Has a session remember what a call tells it, if this application has opened it.
    pub async fn tell_session(
        &self,
        identity: &Identity,
        session: &SessionId,
        (by, at): (&CallId, Micros),
    ) -> Result<Said, StoreError> {
        if !self.is_openers(identity, session).await? {
            return Ok(Said::Unknown);
        }
        let (session, by) = (session.clone(), by.clone());
        self.read(move |writer| {
            let count = "SELECT COUNT(*) FROM remembered WHERE session = ?1 AND told = ?2";
            let given = values![session.as_str(), Told::Words as i64];
            let told = writer.db.row(count, given, |row| row.get::<i64>(0));
            if told.map_err(failed())?.unwrap_or(0) >= i64::from(TOLD_MAX) {
                return Ok(Said::Full);
            }
            writer.have_remembered(session.as_str(), &by, at)?;
            Ok(Said::Told)
        })
        .await
    }

    /// Ends a session, if this application has opened it. `false`: there is none.
    pub async fn end_session(
        &self,
        identity: &Identity,
        session: &SessionId,
    ) -> Result<bool, StoreError> {
        if !self.is_openers(identity, session).await? {
            return Ok(false);
        }
        let session = session.clone();
        self.read(move |writer| {
            let end = "DELETE FROM opened WHERE session = ?1";
            let ended = writer.db.execute(end, values![session.as_str()]);
            ended.map(|rows| rows > 0).map_err(failed())
        })
        .await
    }

    /// The sessions that this application has opened for this subject, those first that end first.
    pub async fn opened_sessions(
        &self,
        identity: &Identity,
    ) -> Result<Vec<OpenedSession>, StoreError> {
        let subject = self.subject_of(identity).await?;
        let row = subject.row;
        let found = self.read(move |writer| {
            let select = "SELECT session, sealed, until FROM opened
                WHERE subject = ?1 AND until > ?2 ORDER BY until, session LIMIT ?3";
            let given = values![row, writer.now().0, OPENED_MAX];
            let found = writer.db.rows(select, given, |row| {
                Ok((row.get::<String>(0)?, row.get::<Vec<u8>>(1)?, row.get::<i64>(2)?))
            });
            found.map_err(failed())
        });
        let own = found.await?.into_iter().filter_map(|(session, sealed, until)| {
            let bound = opened(&subject, &session, &sealed)?;
            let is_own = bound.is_opener(identity);
            let session = SessionId::new(&session).ok().filter(|_| is_own)?;
            let Bound { agent, task, .. } = bound;
            Some(OpenedSession { session, agent, task, until: Micros(until) })
        });
        Ok(own.collect())
    }

    /// Whether a session is open, and this application has opened it for this subject.
    async fn is_openers(
        &self,
        identity: &Identity,
        session: &SessionId,
    ) -> Result<bool, StoreError> {
        let name = session.clone();
        let found = self.read(move |writer| {
            let select = "SELECT sealed FROM opened WHERE session = ?1 AND until > ?2";
            let given = values![name.as_str(), writer.now().0];
            let found = writer.db.row(select, given, |row| row.get::<Vec<u8>>(0));
            found.map_err(failed())
        });
        let Some(sealed) = found.await? else { return Ok(false) };
        let subject = self.subject_of(identity).await?;
        let bound = opened(&subject, session.as_str(), &sealed);
        Ok(bound.is_some_and(|bound| bound.is_opener(identity)))
    }

    /// What the database calls a token.
    fn token_name(&self, token: &str) -> [u8; 32] {
        self.memory().subjects.derive(&["session token", token])
    }

    /// The id under which the session of a token is carried. It tells nobody the token.
    fn carried(&self, token: &str) -> Result<SessionId, StoreError> {
        let name = self.memory().subjects.derive(&["session of a token", token]);
        let short = name.first_chunk::<16>().copied().unwrap_or_default();
        SessionId::new(&format!("{CARRIED_PREFIX}{}", hex::encode(short)))
            .map_err(|_| StoreError::Broken { rule: "a derived session id is an id" })
    }
}

impl Writer {
    fn have_remembered(&self, session: &str, by: &CallId, at: Micros) -> Result<(), StoreError> {
        let insert = "INSERT INTO remembered (session, told, at, call) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO NOTHING";
        let given = values![session, Told::Words as i64, at.0, by.as_str()];
        self.db.execute(insert, given).map(drop).map_err(failed())
    }

    /// Forgets sessions whose time is over, a few at a time.
    pub(crate) fn sweep_opened(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM opened WHERE session IN
            (SELECT session FROM opened WHERE until < ?1 ORDER BY until LIMIT ?2)";
        self.db.execute(delete, values![now.0, SWEEP_MAX]).map(drop)
    }
}

fn opened(subject: &Subject, session: &str, sealed: &[u8]) -> Option<Bound> {
    let session = SessionId::new(session).ok()?;
    Bound::read(&subject.key.open(&bound_to(&session), sealed)?)
}

fn bound_to(session: &SessionId) -> Vec<u8> {
    format!("opened session {session}").into_bytes()
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing a session that was opened")
}
