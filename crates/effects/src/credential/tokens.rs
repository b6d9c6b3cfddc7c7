//! Tokens that were issued, until they are renewed, withdrawn or too old.
//!
//! Many callers make one request: whoever comes first asks, the others wait for what it gets, also
//! where that is a refusal. A token is asked for anew while the old one is still good, so that
//! nobody waits for that but one. How a token is asked for is known by whoever calls.

use crate::trouble::Trouble;
use http::HeaderValue;
use lockgate_store::Scopes;
use lockgate_types::facts::Switch;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tokens of one credential that are kept.
const TOKENS_MAX: usize = 4096;
/// Sessions, and places for switches, that are known to use one token.
const USES_MAX: usize = 64;
/// The longest that a token is used, however long it could be: what its subject may do changes.
const USED_FOR: Duration = Duration::from_secs(60 * 60);
/// How long before its end a token is renewed, or a quarter of its life if that is shorter.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);
/// How long a token is taken to be as good as another one would be.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long nobody asks again after a request has failed.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// A token as it came.
pub(super) struct Issued {
    /// Marked as sensitive: it does not print.
    pub(super) value: HeaderValue,
    pub(super) lives: Duration,
}

/// The tokens of one credential.
pub(super) struct Tokens<K> {
    slots: Mutex<HashMap<K, Arc<Slot>>>,
    clock: Clock,
}

/// What time it is.
type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    /// Held by whoever asks for a token.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    failed: Option<(Instant, Trouble)>,
    used: Option<Instant>,
    scopes: Vec<Scopes>,
    sessions: BTreeSet<String>,
    /// Whoever was to use it may not any more: nothing that is still on its way is kept.
    is_dropped: bool,
}

#[derive(Clone)]
struct Token {
    value: HeaderValue,
    issued: Instant,
    renew_at: Instant,
    ends_at: Instant,
}

/// Who uses a token.
pub(super) struct Use<'a> {
    /// Where the call belongs, for switches.
    pub(super) scopes: Option<&'a Scopes>,
    pub(super) session: Option<&'a str>,
}

impl<K: Eq + Hash + Clone> Tokens<K> {
    pub(super) fn new() -> Self {
        Self::by(Box::new(Instant::now))
    }

    fn by(clock: Clock) -> Self {
        Self { slots: Mutex::default(), clock }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that is good now, if one is kept that will do.
    pub(super) fn kept(&self, will_do: impl Fn(&K) -> bool) -> Option<HeaderValue> {
        let (slots, now) = (self.lock(), (self.clock)());
        slots.iter().filter(|(key, _)| will_do(key)).find_map(|(_, slot)| {
            let state = slot.lock();
            let token = state.token.as_ref().filter(|token| now < token.ends_at)?;
            Some(token.value.clone())
        })
    }

    /// A token that is good now: the one that is kept, or one that is asked for.
    pub(super) async fn get<F>(
        &self,
        key: &K,
        by: Use<'_>,
        ask: impl FnOnce() -> F,
    ) -> Result<HeaderValue, Trouble>
    where
        F: Future<Output = Result<Issued, Trouble>>,
    {
        let arrived = (self.clock)();
        let slot = self.slot(key);
        let (token, is_due) = slot.look(arrived, by);
        let _turn = match token {
            Some(token) if !is_due => return Ok(token.value),
            // One asks; the others go on with what is good for a while.
            Some(token) => match slot.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(token.value),
            },
            None => slot.turn.lock().await,
        };
        if let Some(known) = slot.known_since(arrived, (self.clock)()) {
            return known;
        }
        let issued = ask().await;
        slot.take(issued, (self.clock)())
    }

    fn slot(&self, key: &K) -> Arc<Slot> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= TOKENS_MAX {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.lock().used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                slots.remove(&oldest);
            }
        }
        let slot = Arc::new(Slot::default());
        slots.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    /// The upstream does not accept a token: it is not used again, unless it has only just been
    /// issued. Then another would be accepted no more, and asking for one with each call would be
    /// felt by its issuer.
    pub(super) fn withdraw(&self, refused: &HeaderValue) {
        let now = (self.clock)();
        let is_stale = |token: &Token| token.value == *refused && now >= token.issued + FRESH_FOR;
        for slot in self.lock().values() {
            let mut state = slot.lock();
            if state.token.as_ref().is_some_and(is_stale) {
                state.token = None;
            }
        }
    }

    /// Drops what a switch stops the use of, and what nobody could use any more.
    pub(super) fn drop_stopped(&self, switches: &[Switch]) {
        self.drop_if(|state| {
            let is_stopped = |scopes: &Scopes| switches.iter().any(|switch| scopes.is_in(switch));
            state.scopes.iter().any(is_stopped)
        });
        let now = (self.clock)();
        self.lock().retain(|_, slot| {
            let has_ended = slot.lock().token.as_ref().is_some_and(|token| token.ends_at <= now);
            // Whoever holds it is asking for another.
            !has_ended || Arc::strong_count(slot) > 1
        });
    }

    /// Drops what a session has used that has ended.
    pub(super) fn drop_session(&self, session: &str) {
        self.drop_if(|state| state.sessions.contains(session));
    }

    /// Drops everything.
    pub(super) fn drop_all(&self) {
        self.drop_if(|_| true);
    }

    fn drop_if(&self, is_over: impl Fn(&State) -> bool) {
        self.lock().retain(|_, slot| {
            let mut state = slot.lock();
            if is_over(&state) {
                state.token = None;
                state.is_dropped = true;
            }
            !state.is_dropped
        });
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that is good now, and whether it is time for another. Notes who uses it.
    fn look(&self, now: Instant, by: Use<'_>) -> (Option<Token>, bool) {
        let mut state = self.lock();
        state.used = Some(now);
        if let Some(scopes) = by.scopes
            && !state.scopes.contains(scopes)
        {
            if state.scopes.len() >= USES_MAX {
                state.scopes.remove(0);
            }
            state.scopes.push(scopes.clone());
        }
        if let Some(session) = by.session
            && !state.sessions.contains(session)
        {
            if state.sessions.len() >= USES_MAX {
                state.sessions.pop_first();
            }
            state.sessions.insert(session.to_owned());
        }
        let has_just_failed =
            state.failed.as_ref().is_some_and(|(when, _)| now < *when + FAILED_FOR);
        let token = state.token.clone().filter(|token| now < token.ends_at);
        let is_due = token.as_ref().is_some_and(|token| token.renew_at <= now);
        (token, is_due && !has_just_failed)
    }

    /// What somebody else got meanwhile, or was refused.
    fn known_since(&self, arrived: Instant, now: Instant) -> Option<Result<HeaderValue, Trouble>> {
        let state = self.lock();
        if let Some(token) = state.token.as_ref().filter(|token| now < token.renew_at) {
            return Some(Ok(token.value.clone()));
        }
        let (when, trouble) = state.failed.as_ref()?;
        let is_recent = *when >= arrived || now < *when + FAILED_FOR;
        // What could not be renewed is good until its end.
        let good = state.token.as_ref().filter(|token| now < token.ends_at);
        let known = good.map_or_else(|| Err(trouble.clone()), |token| Ok(token.value.clone()));
        is_recent.then_some(known)
    }

    fn take(&self, issued: Result<Issued, Trouble>, now: Instant) -> Result<HeaderValue, Trouble> {
        let mut state = self.lock();
        match issued {
            Ok(Issued { value, lives }) => {
                let lives = lives.min(USED_FOR);
                let ends_at = now + lives;
                let renew_at = ends_at - RENEWED_BEFORE.min(lives / 4);
                state.failed = None;
                if !state.is_dropped {
                    state.token =
                        Some(Token { value: value.clone(), issued: now, renew_at, ends_at });
                }
                Ok(value)
            }
            Err(trouble) => {
                state.failed = Some((now, trouble.clone()));
                // What could not be renewed is good until its end.
                match state.token.as_ref().filter(|token| now < token.ends_at) {
                    Some(token) => Ok(token.value.clone()),
                    None => Err(trouble),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::Code;
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    const NOBODY: Use<'_> = Use { scopes: None, session: None };

    /// An issuer that numbers its tokens, each good for 100 s.
    #[derive(Default)]
    struct Issuer {
        asked: AtomicU32,
        is_away: AtomicBool,
    }

    impl Issuer {
        async fn ask(&self) -> Result<Issued, Trouble> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            // Everybody else comes while it takes its time.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            if self.is_away.load(Ordering::Relaxed) {
                return Err(Trouble::before(Code::TokenEndpointAway, "away"));
            }
            let value = HeaderValue::from_str(&number.to_string()).unwrap();
            Ok(Issued { value, lives: Duration::from_secs(100) })
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }

        async fn get(&self, tokens: &Tokens<u8>) -> Result<String, Code> {
            let got = tokens.get(&0, NOBODY, || self.ask()).await;
            let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
            got.map(text).map_err(|trouble| trouble.code)
        }

        async fn many(&self, tokens: &Tokens<u8>) -> Vec<Result<String, Code>> {
            futures_util::future::join_all((0..50).map(|_| self.get(tokens))).await
        }
    }

    /// Tokens, and a clock that goes when it is told to, by seconds.
    fn tokens<K: Eq + Hash + Clone>() -> (Tokens<K>, impl Fn(u64)) {
        let (began, passed) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let clock = Arc::clone(&passed);
        let clock = move || began + Duration::from_secs(clock.load(Ordering::Relaxed));
        let pass = move |seconds| {
            passed.fetch_add(seconds, Ordering::Relaxed);
        };
        (Tokens::by(Box::new(clock)), pass)
    }

    fn all(got: &[Result<String, Code>], token: &str) -> usize {
        got.iter().filter(|got| got.as_deref() == Ok(token)).count()
    }

    #[tokio::test]
    async fn many_make_one_request_and_renew_it_in_good_time() {
        let ((tokens, pass), issuer) = (tokens(), Issuer::default());
        assert_eq!((all(&issuer.many(&tokens).await, "1"), issuer.asked()), (50, 1));
        // Three quarters of its life are over: one asks for another, and nobody waits for it.
        pass(80);
        let got = issuer.many(&tokens).await;
        assert_eq!((all(&got, "2"), all(&got, "1"), issuer.asked()), (1, 49, 2));
        assert_eq!((issuer.get(&tokens).await.unwrap().as_str(), issuer.asked()), ("2", 2));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_waited_and_an_old_token_is_used_to_its_end() {
        let ((tokens, pass), issuer) = (tokens(), Issuer::default());
        let away = |is: bool| issuer.is_away.store(is, Ordering::Relaxed);
        away(true);
        let got = issuer.many(&tokens).await;
        assert!(got.iter().all(|got| *got == Err(Code::TokenEndpointAway)));
        assert_eq!(issuer.asked(), 1, "one request, and no storm after it");
        pass(2);
        away(false);
        assert_eq!(issuer.get(&tokens).await.unwrap(), "2");
        away(true);
        pass(90);
        assert_eq!((all(&issuer.many(&tokens).await, "2"), issuer.asked()), (50, 3));
        pass(11);
        assert_eq!(issuer.get(&tokens).await, Err(Code::TokenEndpointAway));
    }

    #[tokio::test]
    async fn what_is_dropped_while_it_is_asked_for_is_not_kept() {
        let ((tokens, _), issuer) = (tokens(), Issuer::default());
        let by = Use { scopes: None, session: Some("s") };
        let asking = tokens.get(&0, by, || issuer.ask());
        let dropping = async { tokens.drop_session("s") };
        let (got, ()) = tokio::join!(asking, dropping);
        assert_eq!((got.unwrap().to_str().unwrap(), tokens.kept(|_| true)), ("1", None));
    }

    #[tokio::test]
    async fn what_is_not_accepted_is_asked_for_anew_and_not_with_each_call() {
        let ((tokens, pass), issuer) = (tokens(), Issuer::default());
        let refuse = async |token: &'static str| {
            tokens.withdraw(&HeaderValue::from_static(token));
            issuer.get(&tokens).await.unwrap()
        };
        assert_eq!(refuse("0").await, "1");
        assert_eq!(refuse("1").await, "1", "it has only just been issued");
        pass(5);
        assert_eq!(refuse("0").await, "1", "it was another that was not accepted");
        assert_eq!(refuse("1").await, "2");
    }

    #[tokio::test]
    async fn they_are_bounded() {
        let (tokens, pass) = tokens();
        for key in 0..TOKENS_MAX + 10 {
            let issued = || async {
                let value = HeaderValue::from_static("x");
                Ok(Issued { value, lives: Duration::from_secs(1 << 20) })
            };
            drop(tokens.get(&key, NOBODY, issued).await.unwrap());
            if key == 0 {
                pass(1);
            }
        }
        let kept = tokens.lock().len();
        assert_eq!((kept, tokens.kept(|key| *key == 0)), (TOKENS_MAX, None));
    }
}
