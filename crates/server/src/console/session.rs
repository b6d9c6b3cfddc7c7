//! Who is signed in to the console: a token, held for a short time under a cookie's digest.
//!
//! Everything is in memory and ends with the token, or earlier. Nothing here says who somebody is:
//! the token is verified anew for every page. Links that sign somebody in once are kept the same
//! way.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_types::{Code, Digest, Micros, Redacted};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions of all people.
const SESSIONS_MAX: usize = 1024;
/// Sessions of one person: a new one ends the oldest.
const SESSIONS_PER_PERSON_MAX: usize = 8;
/// Microseconds after which somebody signs in again, although the token is still good.
const LASTS_US: i64 = 3600 * 1_000_000;
/// Links that nobody has opened yet.
const LINKS_MAX: usize = 64;
/// Microseconds for which a link can be opened.
const LINK_LASTS_US: i64 = 60 * 1_000_000;
/// Bytes of what only a browser knows.
const SECRET_BYTES: usize = 32;

/// Everybody who is signed in, and links that are open.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Digest, Session>>,
    links: Mutex<HashMap<Digest, Link>>,
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Session {
    /// What they signed in with.
    pub(super) token: Redacted<String>,
    /// What their forms carry.
    pub(super) form: Redacted<String>,
    /// When it ends.
    pub(super) until: Micros,
    /// Whose it is: issuer and subject.
    person: (String, String),
    since: Micros,
}

struct Link {
    token: Redacted<String>,
    until: Micros,
    subject: String,
}

/// A token that was verified, as somebody signs in with it.
pub(super) struct SignIn {
    pub(super) token: Redacted<String>,
    /// When the token ends.
    pub(super) expires: Micros,
    pub(super) person: (String, String),
}

impl Sessions {
    /// Signs somebody in. Gives what the cookie carries, and when it ends.
    pub(super) fn open(&self, sign_in: SignIn, now: Micros) -> Result<(String, Micros), Code> {
        let (cookie, form) = (secret()?, secret()?);
        let until = sign_in.expires.min(Micros(now.0.saturating_add(LASTS_US)));
        let mut open = lock(&self.open);
        open.retain(|_, session| session.until > now);
        let of_person = open.iter().filter(|(_, session)| session.person == sign_in.person);
        if of_person.clone().count() >= SESSIONS_PER_PERSON_MAX {
            let oldest = of_person.min_by_key(|(_, session)| session.since).map(|(key, _)| *key);
            oldest.and_then(|key| open.remove(&key));
        }
        if open.len() >= SESSIONS_MAX {
            return Err(Code::TooManySessions);
        }
        let SignIn { token, person, .. } = sign_in;
        let session = Session { token, form: Redacted::new(form), until, person, since: now };
        open.insert(Digest::of(cookie.as_bytes()), session);
        Ok((cookie, until))
    }

    /// The session of a cookie.
    pub(super) fn find(&self, cookie: &str, now: Micros) -> Option<Session> {
        let key = Digest::of(cookie.as_bytes());
        let mut open = lock(&self.open);
        let session = open.get(&key)?;
        if session.until <= now {
            open.remove(&key);
            return None;
        }
        Some(session.clone())
    }

    /// Forgets what is over, so that no token is held longer than it is good for.
    pub(super) fn forget_ended(&self, now: Micros) {
        lock(&self.open).retain(|_, session| session.until > now);
        lock(&self.links).retain(|_, link| link.until > now);
    }

    /// Signs out.
    pub(super) fn end(&self, cookie: &str) {
        lock(&self.open).remove(&Digest::of(cookie.as_bytes()));
    }

    /// A link that signs in with a token, once. Gives its secret, and when it ends.
    pub(super) fn link(&self, sign_in: &SignIn, now: Micros) -> Result<(String, Micros), Code> {
        let secret = secret()?;
        let until = sign_in.expires.min(Micros(now.0.saturating_add(LINK_LASTS_US)));
        let mut links = lock(&self.links);
        links.retain(|_, link| link.until > now);
        if links.len() >= LINKS_MAX {
            return Err(Code::TooManySessions);
        }
        let subject = sign_in.person.1.clone();
        let link = Link { token: sign_in.token.clone(), until, subject };
        links.insert(Digest::of(secret.as_bytes()), link);
        Ok((secret, until))
    }

    /// Whom a link would sign in.
    pub(super) fn link_is_for(&self, secret: &str, now: Micros) -> Option<String> {
        let links = lock(&self.links);
        let link = links.get(&Digest::of(secret.as_bytes()))?;
        (link.until > now).then(|| link.subject.clone())
    }

    /// The token of a link, which is used up by this.
    pub(super) fn take_link(&self, secret: &str, now: Micros) -> Option<Redacted<String>> {
        let link = lock(&self.links).remove(&Digest::of(secret.as_bytes()))?;
        (link.until > now).then_some(link.token)
    }
}

/// What nobody can guess.
fn secret() -> Result<String, Code> {
    let mut bytes = [0_u8; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Code::InvariantBroken)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insertion or removal: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in(person: &str, expires_s: i64) -> SignIn {
        SignIn {
            token: Redacted::new(format!("token of {person}")),
            expires: at(expires_s),
            person: ("idp".to_owned(), person.to_owned()),
        }
    }

    fn at(seconds: i64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    #[test]
    fn a_session_ends_with_its_token_and_after_an_hour() {
        let sessions = Sessions::default();
        let (short, until) = sessions.open(sign_in("ann", 100), at(0)).unwrap();
        assert_eq!(until, at(100));
        assert!(sessions.find(&short, at(99)).is_some());
        assert!(sessions.find(&short, at(100)).is_none());
        let (long, until) = sessions.open(sign_in("ann", 100_000), at(0)).unwrap();
        assert_eq!(until, at(3600));
        assert!(sessions.find(&long, at(3600)).is_none());
        assert!(sessions.find("guessed", at(0)).is_none());
        let (left, _) = sessions.open(sign_in("ann", 100), at(0)).unwrap();
        sessions.end(&left);
        assert!(sessions.find(&left, at(1)).is_none());
        sessions.open(sign_in("ann", 100), at(0)).unwrap();
        sessions.link(&sign_in("ann", 100), at(0)).unwrap();
        sessions.forget_ended(at(99));
        assert_eq!((lock(&sessions.open).len(), lock(&sessions.links).len()), (1, 0));
        sessions.forget_ended(at(100));
        assert!(lock(&sessions.open).is_empty());
    }

    #[test]
    fn nobody_crowds_out_others() {
        let sessions = Sessions::default();
        let (bob, _) = sessions.open(sign_in("bob", 100), at(0)).unwrap();
        let first = sessions.open(sign_in("ann", 100), at(0)).unwrap().0;
        for second in 1..=i64::try_from(SESSIONS_PER_PERSON_MAX).unwrap() {
            sessions.open(sign_in("ann", 100), at(second)).unwrap();
        }
        assert!(sessions.find(&first, at(50)).is_none());
        assert!(sessions.find(&bob, at(50)).is_some());
        let filled = (0..SESSIONS_MAX)
            .map(|n| sessions.open(sign_in(&n.to_string(), 100), at(10)))
            .find_map(Result::err);
        assert_eq!(filled, Some(Code::TooManySessions));
        // What is over makes room.
        assert!(sessions.open(sign_in("late", 1000), at(101)).is_ok());
    }

    #[test]
    fn a_link_works_once_and_for_a_minute() {
        let sessions = Sessions::default();
        let (secret, until) = sessions.link(&sign_in("ann", 1000), at(0)).unwrap();
        assert_eq!(until, at(60));
        assert_eq!(sessions.link_is_for(&secret, at(59)).as_deref(), Some("ann"));
        assert!(sessions.link_is_for(&secret, at(60)).is_none());
        assert!(sessions.take_link(&secret, at(59)).is_some());
        assert!(sessions.take_link(&secret, at(59)).is_none());
        let (late, _) = sessions.link(&sign_in("ann", 1000), at(0)).unwrap();
        assert!(sessions.take_link(&late, at(60)).is_none());
        let filled = (0..=LINKS_MAX)
            .map(|_| sessions.link(&sign_in("ann", 1000), at(0)))
            .find_map(Result::err);
        assert_eq!(filled, Some(Code::TooManySessions));
    }
}
