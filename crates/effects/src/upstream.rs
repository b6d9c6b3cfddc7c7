//! One upstream: how it is reached, which eras it speaks, and with whose voice.
//!
//! Everything an upstream has is its own: connections, sessions, processes, bounds. None of it is
//! shared, so that whatever happens to one is not felt by another.

use crate::breaker::Breaker;
use crate::caller::Caller;
use crate::catalogue::Catalogues;
use crate::child::Child;
use crate::children::Children;
use crate::credential::{Credentials, Speaker, SwitchesOn};
use crate::exchange::FarEnd;
use crate::health::{Health, Pulse};
use crate::http::Http;
use crate::post::{Answer, Post, cancellation, deliver, send_aside, stateless_headers};
use crate::probe::{Eras, probe};
use crate::progress::Progress;
use crate::session::{Opened, Session, Slots};
use crate::share::Shares;
use crate::trouble::Trouble;
use crate::upstreams::EffectsSettings;
pub(crate) use crate::way::{Plans, Way, fingerprint};
use crate::way::{http, of_bundle};
use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::declare;
use lockgate_types::{Code, Digest, UpstreamName};
use lockgate_wire::headers::MirroredArgument;
use lockgate_wire::{Era, Notification, Request, RequestId};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Subscriptions that may be open at once. They are long, so they do not count as calls on their
/// way.
const SUBSCRIPTIONS_MAX: usize = 1024;

/// One upstream.
pub(crate) struct Upstream {
    pub(crate) name: UpstreamName,
    /// What it was configured with, to see whether that changed.
    pub(crate) fingerprint: String,
    pub(crate) timeout: Duration,
    pub(crate) way: Way,
    /// What the gate shows to it. `None`: nothing is sent in headers there.
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) eras: Eras,
    pub(crate) calls: Arc<Semaphore>,
    calls_max: usize,
    /// What each caller has of them.
    pub(crate) shares: Arc<Shares>,
    pub(crate) subscriptions: Arc<Semaphore>,
    pub(crate) subscription_shares: Arc<Shares>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) catalogues: Catalogues,
    pub(crate) pulse: Pulse,
    pub(crate) breaker: Arc<Breaker>,
    /// Cancelled when the bundle does not name it any more.
    pub(crate) removed: CancellationToken,
    ids: AtomicI64,
}

/// One caller's line to the upstream.
#[derive(Clone)]
pub(crate) enum Voice {
    Stateless(Arc<Http>),
    Session(Arc<Http>, Arc<Session>),
    Child(Arc<Child>),
}

/// Counts how often the upstream said that one of its lists changed.
#[derive(Default)]
pub(crate) struct Changes(AtomicU64);

impl Changes {
    pub(crate) fn note(&self, method: &str) {
        if method.starts_with("notifications/") && method.ends_with("/list_changed") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Upstream {
    pub(crate) fn new(
        name: UpstreamName,
        declared: &declare::Upstream,
        answer_bytes_max: usize,
        settings: &EffectsSettings,
        plan: Option<(Digest, Plans)>,
        switches: &SwitchesOn,
    ) -> Self {
        let pulse = Pulse::new();
        let changes = Arc::new(Changes::default());
        let timeout = Duration::from_millis(u64::from(declared.timeout_ms));
        let fingerprint = fingerprint(declared, answer_bytes_max, plan.as_ref().map(|it| &it.0));
        let speaks_http =
            declared.url.is_some() || declared.api.is_some() || declared.model.is_some();
        let credentials = speaks_http
            .then(|| Credentials::new(name.as_str(), declared, Arc::clone(switches)).map(Arc::new));
        let own = (credentials.clone(), answer_bytes_max);
        let way = match (&declared.url, &declared.command) {
            (None, None) => of_bundle(declared, plan, timeout, own),
            (Some(url), None) => http(url, declared, own).map(|http| Way::Http {
                http: Arc::new(http),
                sessions: Slots::new(settings.sessions_max),
            }),
            (None, Some(command)) => Children::new(
                command,
                declared,
                answer_bytes_max,
                settings,
                &pulse.stderr,
                &changes,
            )
            .map(Way::Child),
            _ => Err("it needs a `command` or a `url`, and not both".to_owned()),
        };
        let way = way.unwrap_or_else(|reason| {
            pulse.is_unwell(&Trouble::before(Code::UpstreamUnreachable, reason.clone()));
            Way::Broken(reason)
        });
        let calls_max = usize::try_from(declared.in_flight_max).unwrap_or(usize::MAX);
        let calls_max = calls_max.min(Semaphore::MAX_PERMITS);
        let share = declared.in_flight_per_identity_max.map(usize::try_from);
        let share = share.map_or_else(|| Shares::of(calls_max), |it| it.unwrap_or(usize::MAX));
        let breaker = Arc::new(Breaker::new(name.clone(), &declared.breaker));
        Self {
            name,
            fingerprint,
            timeout,
            way,
            credentials: credentials.and_then(Result::ok),
            eras: Eras::new(declared.era),
            calls: Arc::new(Semaphore::new(calls_max)),
            calls_max,
            shares: Shares::new(share),
            subscriptions: Arc::new(Semaphore::new(SUBSCRIPTIONS_MAX)),
            subscription_shares: Shares::new(Shares::of(SUBSCRIPTIONS_MAX)),
            changes,
            catalogues: Catalogues::new(),
            pulse,
            breaker,
            removed: CancellationToken::new(),
            ids: AtomicI64::new(1),
        }
    }

    /// The bundle that it belongs to, if its tools are that bundle's.
    pub(crate) const fn bundle(&self) -> Option<&Digest> {
        match &self.way {
            Way::Database(database) => Some(&database.bundle),
            Way::Api(api) => Some(&api.bundle),
            Way::Memory(memory) => Some(&memory.bundle),
            Way::Library(library) => Some(&library.bundle),
            Way::Http { .. } | Way::Child(_) | Way::Model(_) | Way::Broken(_) => None,
        }
    }

    /// An id that no other request to this upstream has had.
    pub(crate) fn fresh_id(&self) -> RequestId {
        RequestId::Integer(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A line on which this caller is heard, in the caller's own era if the upstream speaks it.
    pub(crate) async fn voice(&self, caller: &Caller, speaker: &Speaker) -> Result<Voice, Trouble> {
        match self.ready_voice(caller) {
            Some(voice) => Ok(voice),
            // Boxed: opening a line is rare and needs much room.
            None => Box::pin(self.open_line(caller, speaker)).await,
        }
    }

    /// The same, if nothing has to be asked or opened first.
    fn ready_voice(&self, caller: &Caller) -> Option<Voice> {
        let Way::Http { http, .. } = &self.way else { return self.open_voice(&caller.session_key) };
        match self.eras.first(caller.era) {
            Era::Stateless if self.eras.is_known(Era::Stateless) => {
                Some(Voice::Stateless(Arc::clone(http)))
            }
            Era::Stateless => None,
            Era::Sessions => self.open_voice(&caller.session_key),
        }
    }

    async fn open_line(&self, caller: &Caller, speaker: &Speaker) -> Result<Voice, Trouble> {
        let (http, sessions) = match &self.way {
            Way::Http { http, sessions } => (http, sessions),
            Way::Child(children) => {
                let ids = || self.fresh_id();
                return children.voice(caller, &self.eras, &ids).await.map(Voice::Child);
            }
            Way::Database(_) | Way::Api(_) | Way::Memory(_) | Way::Library(_) | Way::Model(_) => {
                let detail = "it has no line to speak on";
                return Err(Trouble::before(Code::UpstreamProtocol, detail));
            }
            Way::Broken(reason) => {
                return Err(Trouble::before(Code::UpstreamUnreachable, reason.clone()));
            }
        };
        for era in self.eras.order(caller.era) {
            match era {
                Era::Stateless => {
                    if self.speaks_stateless(http, caller, speaker).await? {
                        return Ok(Voice::Stateless(Arc::clone(http)));
                    }
                }
                Era::Sessions => {
                    if let Some(session) = self.session(http, sessions, (caller, speaker)).await? {
                        return Ok(Voice::Session(Arc::clone(http), session));
                    }
                }
            }
        }
        let detail = "it speaks neither era of the protocol at this address";
        Err(Trouble::before(Code::UpstreamProtocol, detail))
    }

    async fn speaks_stateless(
        &self,
        http: &Arc<Http>,
        caller: &Caller,
        speaker: &Speaker,
    ) -> Result<bool, Trouble> {
        if self.eras.is_known(Era::Stateless) {
            return Ok(true);
        }
        let speaks = probe(http, caller, speaker, self.fresh_id()).await?;
        self.eras.learn(Era::Stateless, speaks);
        Ok(speaks)
    }

    async fn session(
        &self,
        http: &Arc<Http>,
        sessions: &Slots<Session>,
        (caller, speaker): (&Caller, &Speaker),
    ) -> Result<Option<Arc<Session>>, Trouble> {
        if let Some(session) = sessions.get(&caller.session_key) {
            return Ok(Some(session));
        }
        let mut declined = false;
        let opened = sessions
            .get_or_open(
                &caller.session_key,
                |evicted| evicted.close(http),
                || async {
                    match Session::open(http, caller, speaker, self.fresh_id()).await? {
                        Opened::Ready(session) => Ok(session),
                        Opened::Declined(error) => {
                            declined = true;
                            let detail = format!("it declines a session: {}", error.message);
                            Err(Trouble::before(Code::UpstreamProtocol, detail))
                        }
                    }
                },
            )
            .await;
        match opened {
            Ok(session) => {
                self.eras.learn(Era::Sessions, true);
                Ok(Some(session))
            }
            Err(trouble) if declined && self.eras.is_only(Era::Sessions) => Err(trouble),
            Err(_) if declined => {
                self.eras.learn(Era::Sessions, false);
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends one request once, and stays with it until its answer.
    pub(crate) async fn attempt(
        &self,
        voice: &Voice,
        request: &Request,
        extra: Extra<'_>,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Answer, Trouble> {
        match voice {
            Voice::Stateless(http) => {
                let mut headers = stateless_headers(request, extra.mirrored)?;
                extra.add_key(&mut headers)?;
                let speaker = far.speaker.clone();
                Post { http, session: None, headers, request, speaker }.run(far, progress).await
            }
            Voice::Session(http, session) => {
                let mut headers = session.headers();
                extra.add_key(&mut headers)?;
                let (speaker, session) = (far.speaker.clone(), Some(&**session));
                Post { http, session, headers, request, speaker }.run(far, progress).await
            }
            Voice::Child(child) => child.run(request, far, progress).await,
        }
    }

    /// Forgets a session that the upstream does not know any more.
    pub(crate) fn forget(&self, caller: &Caller, voice: &Voice) {
        if let (Way::Http { sessions, .. }, Voice::Session(_, session)) = (&self.way, voice) {
            sessions.forget(&caller.session_key, session);
        }
    }

    /// The bundle does not name it any more: what is idle ends now, the rest with its last call.
    pub(crate) fn remove(&self) {
        self.removed.cancel();
        self.close_idle(Duration::ZERO);
    }

    /// The line that is already open for that caller, if there is one.
    pub(crate) fn open_voice(&self, key: &str) -> Option<Voice> {
        match &self.way {
            Way::Http { http, sessions } => {
                sessions.get(key).map(|session| Voice::Session(Arc::clone(http), session))
            }
            Way::Child(children) => children.get(key).map(Voice::Child),
            Way::Database(_)
            | Way::Api(_)
            | Way::Memory(_)
            | Way::Library(_)
            | Way::Model(_)
            | Way::Broken(_) => None,
        }
    }

    /// Ends what is open for that caller.
    pub(crate) fn close_session(&self, key: &str) {
        match &self.way {
            Way::Http { http, sessions } => {
                if let Some(session) = sessions.take(key) {
                    session.close(http);
                }
            }
            Way::Child(children) => children.close(key),
            Way::Database(_)
            | Way::Api(_)
            | Way::Memory(_)
            | Way::Library(_)
            | Way::Model(_)
            | Way::Broken(_) => {}
        }
    }

    /// Ends what nobody has used for a while.
    pub(crate) fn close_idle(&self, idle: Duration) {
        match &self.way {
            Way::Http { http, sessions } => {
                sessions.take_idle(idle).iter().for_each(|session| session.close(http));
            }
            Way::Child(children) => children.close_idle(idle),
            Way::Database(_)
            | Way::Api(_)
            | Way::Memory(_)
            | Way::Library(_)
            | Way::Model(_)
            | Way::Broken(_) => {}
        }
    }

    /// How it is doing.
    pub(crate) fn health(&self) -> Health {
        let (state, since, last_error) = self.pulse.read();
        let (sessions, pids) = match &self.way {
            Way::Http { sessions, .. } => (sessions.all().len(), Vec::new()),
            Way::Child(children) => {
                let pids = children.pids();
                (pids.len(), pids)
            }
            Way::Database(_)
            | Way::Api(_)
            | Way::Memory(_)
            | Way::Library(_)
            | Way::Model(_)
            | Way::Broken(_) => (0, Vec::new()),
        };
        Health {
            upstream: self.name.clone(),
            state,
            since,
            eras: self.eras.known(),
            last_error,
            breakers: self.breaker.standing(),
            stderr: self.pulse.stderr.lines(),
            in_flight: self.calls_max.saturating_sub(self.calls.available_permits()),
            sessions,
            pids,
        }
    }
}

impl Voice {
    pub(crate) fn era(&self) -> Era {
        match self {
            Self::Stateless(_) => Era::Stateless,
            Self::Session(..) => Era::Sessions,
            Self::Child(child) => child.era,
        }
    }

    /// Says something that has no answer, and waits until it is delivered.
    pub(crate) async fn notify(&self, notification: &Notification) -> Result<(), Trouble> {
        let body = notification.to_bytes();
        match self {
            // The stateless era over HTTP has no notifications from client to server.
            Self::Stateless(_) => Ok(()),
            Self::Session(http, session) => {
                deliver(http, session.headers(), body, &session.speaker).await
            }
            Self::Child(child) => child.write(body).await,
        }
    }

    /// Tells the upstream that a request is not waited for any more.
    pub(crate) fn give_up(&self, id: &RequestId, reason: &str) {
        let body = cancellation(id, Some(reason));
        match self {
            Self::Stateless(_) => {}
            Self::Session(http, session) => {
                send_aside(http, session.headers(), body, session.speaker.clone());
            }
            Self::Child(child) => child.write_aside(body),
        }
    }
}

/// What a request's headers say besides.
#[derive(Clone, Copy)]
pub(crate) struct Extra<'a> {
    /// Arguments that are repeated in headers.
    pub(crate) mirrored: &'a [MirroredArgument],
    /// The header for an idempotency key, and the key.
    pub(crate) key: Option<&'a (String, String)>,
}

impl Extra<'_> {
    /// Nothing.
    pub(crate) const NONE: Self = Self { mirrored: &[], key: None };

    fn add_key(&self, headers: &mut HeaderMap) -> Result<(), Trouble> {
        let Some((name, key)) = self.key else { return Ok(()) };
        let (Ok(name), Ok(key)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(key.as_str()))
        else {
            let detail = "the header for the idempotency key cannot be written";
            return Err(Trouble::before(Code::InvariantBroken, detail));
        };
        headers.insert(name, key);
        Ok(())
    }
}
