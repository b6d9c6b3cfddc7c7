//! Subjects as the record knows them: a random pseudonym and a key, both deleted when the subject
//! is erased.
//!
//! The database finds a subject by a name derived under the data key, so that neither it nor its
//! log says who anybody is. What the token said about a subject is sealed once per identity and
//! shared by entries.

use crate::db::{Db, values};
use crate::error::StoreError;
use crate::keys::{self, Derived, KEY_BYTES, SealingKey};
use crate::payload::{Pack, Sealed};
use crate::session::SessionKey;
use lockgate_types::identity::Identity;
use lockgate_types::{Commitment, Salt, SessionId, SubjectId};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Subjects whose keys are held in memory.
const SUBJECTS_IN_MEMORY_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Identities of one subject held in memory: agents and tasks that it acts through at one time.
const IDENTITIES_PER_SUBJECT_MAX: usize = 16;
/// Names of one subject's sessions and isolation groups held in memory: of what it does at one
/// time.
const NAMES_PER_SUBJECT_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Names under the data key held in memory: of counters, each of which every call of its scope asks
/// for.
const NAMES_IN_MEMORY_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A subject: what entries call it, and its key.
pub(crate) struct Subject {
    /// Its row, by which sealed payloads name it. Never given to another.
    pub(crate) row: i64,
    pub(crate) pseudonym: String,
    pub(crate) key: SealingKey,
    identities: Mutex<Vec<Arc<KnownIdentity>>>,
    names: Derived,
}

/// An identity that entries can commit to.
pub(crate) struct KnownIdentity {
    identity: Arc<Identity>,
    pub(crate) commitment: Commitment,
    pub(crate) sealed: Vec<u8>,
    is_stored: AtomicBool,
}

impl KnownIdentity {
    /// Whether its row is durable. Until then every call brings it along.
    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Acquire)
    }

    pub(crate) fn set_stored(&self) {
        self.is_stored.store(true, Ordering::Release);
    }
}

impl Subject {
    /// A subject from its row.
    pub(crate) fn new(
        row: i64,
        pseudonym: String,
        key: &[u8; KEY_BYTES],
    ) -> Result<Self, StoreError> {
        let key = SealingKey::new(key)?;
        let names = Derived::new(NAMES_PER_SUBJECT_MAX);
        Ok(Self { row, pseudonym, key, identities: Mutex::default(), names })
    }

    /// The identity with its commitment: sealed when first seen, remembered after.
    pub(crate) fn known_identity(
        &self,
        identity: &Arc<Identity>,
    ) -> Result<Arc<KnownIdentity>, StoreError> {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &&Arc<KnownIdentity>| {
            Arc::ptr_eq(&known.identity, identity) || known.identity == *identity
        };
        if let Some(known) = identities.iter().find(is_it) {
            return Ok(Arc::clone(known));
        }
        let [salt, nonce] = keys::random_keys()?;
        let bytes = identity.to_json().to_canonical();
        let mut pack = Pack::new(bytes.len() + 64);
        let commitment = pack.add(Sealed::Identity, Salt(salt), &bytes)?;
        let known = Arc::new(KnownIdentity {
            identity: Arc::clone(identity),
            commitment,
            sealed: pack.seal(self, &nonce, commitment.digest().as_bytes())?,
            is_stored: AtomicBool::new(false),
        });
        if identities.len() >= IDENTITIES_PER_SUBJECT_MAX {
            identities.remove(0);
        }
        identities.push(Arc::clone(&known));
        Ok(known)
    }

    /// The id of a session. Derived under the subject's key: once that is destroyed, no session
    /// leads to anybody.
    pub(crate) fn session_id(&self, key: &SessionKey) -> Result<SessionId, StoreError> {
        let id = key.id.as_ref().map_or("", |id| id.as_str());
        let fields = [
            "session",
            key.tenant.as_str(),
            key.environment.as_str(),
            &key.issuer,
            key.subject.as_str(),
            key.agent.as_str(),
            id,
        ];
        SessionId::new(&lettered("s_", &self.names.of(&self.key, &fields)))
            .map_err(|_| StoreError::Broken { rule: "a derived session id is an id" })
    }
}

impl Subject {
    /// The name of a subject's isolation group, derived as the ids of its sessions are.
    pub(crate) fn group_name(&self, key: &SessionKey, group: Option<&str>) -> String {
        let fields = [
            "isolation group",
            key.tenant.as_str(),
            key.environment.as_str(),
            &key.issuer,
            key.subject.as_str(),
            if group.is_some() { "declared" } else { "undeclared" },
            group.unwrap_or_default(),
        ];
        lettered("g_", &self.names.of(&self.key, &fields))
    }
}

/// Half of a derived name as digits, behind what says of what it is.
fn lettered(prefix: &str, name: &[u8; 32]) -> String {
    let mut digits = [0; 32];
    // The buffer has the length of the digits, which are ASCII, so neither can fail.
    let _ = hex::encode_to_slice(name.first_chunk::<16>().unwrap_or(&[0; 16]), &mut digits);
    let digits = std::str::from_utf8(&digits).unwrap_or_default();
    let mut lettered = String::with_capacity(prefix.len() + digits.len());
    lettered.push_str(prefix);
    lettered.push_str(digits);
    lettered
}

/// The subjects in memory, and the key that wraps their keys.
pub(crate) struct Subjects {
    /// How often somebody was forgotten.
    forgotten: AtomicU64,
    data_key: SealingKey,
    names: Derived,
    recent: Mutex<LruCache<(String, SubjectId), Arc<Subject>>>,
}

/// Looks a subject up.
pub(crate) fn find(
    db: &Db,
    subjects: &Subjects,
    lookup: &[u8; 32],
) -> Result<Option<Subject>, StoreError> {
    let select = "SELECT id, pseudonym, wrapped FROM subject WHERE lookup = ?1";
    let found: Option<(i64, String, Vec<u8>)> = db
        .row(select, values![lookup], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(StoreError::database("reading a subject"))?;
    let Some((row, pseudonym, wrapped)) = found else { return Ok(None) };
    let key = subjects.unwrap_key(lookup, &wrapped)?;
    Subject::new(row, pseudonym, &key).map(Some)
}

/// A subject's row before it is written.
pub(crate) struct NewSubject {
    pub(crate) pseudonym: String,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) key: Zeroizing<[u8; KEY_BYTES]>,
}

impl Subjects {
    pub(crate) fn new(data_key: SealingKey) -> Self {
        Self {
            forgotten: AtomicU64::new(0),
            data_key,
            names: Derived::new(NAMES_IN_MEMORY_MAX),
            recent: Mutex::new(LruCache::new(SUBJECTS_IN_MEMORY_MAX)),
        }
    }

    /// A name that says nothing to whoever reads the database without the data key.
    pub(crate) fn derive(&self, fields: &[&str]) -> [u8; 32] {
        self.data_key.derive(fields)
    }

    /// The same of a name that is asked for again and again. It is remembered with what it was
    /// derived of, until somebody is forgotten.
    pub(crate) fn remembered(&self, fields: &[&str]) -> [u8; 32] {
        self.names.of(&self.data_key, fields)
    }

    /// The name under which the database finds a subject.
    pub(crate) fn lookup(&self, issuer: &str, subject: &SubjectId) -> [u8; 32] {
        self.data_key.derive(&["subject", issuer, subject.as_str()])
    }

    pub(crate) fn recent(&self, issuer: &str, subject: &SubjectId) -> Option<Arc<Subject>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(&(issuer.to_owned(), subject.clone())).cloned()
    }

    /// How often somebody was forgotten: to be asked before a subject is looked up.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Keeps a subject in memory; if another caller was faster, that one stays. Not if somebody was
    /// forgotten since it was looked up: it may be this one.
    pub(crate) fn remember(
        &self,
        issuer: &str,
        subject: &SubjectId,
        known: Arc<Subject>,
        forgotten_before: u64,
    ) -> Arc<Subject> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if self.forgotten() != forgotten_before {
            return known;
        }
        Arc::clone(recent.get_or_insert((issuer.to_owned(), subject.clone()), || known))
    }

    pub(crate) fn forget(&self, issuer: &str, subject: &SubjectId) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        recent.pop(&(issuer.to_owned(), subject.clone()));
        self.names.clear();
    }

    /// Keys are asked of the database again.
    pub(crate) fn forget_all(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        recent.clear();
        self.names.clear();
    }

    /// A random pseudonym and a random key, wrapped.
    pub(crate) fn invent(&self, lookup: &[u8; 32]) -> Result<NewSubject, StoreError> {
        let mut name = [0; 16];
        keys::fill_random(&mut name)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        keys::fill_random(key.as_mut_slice())?;
        let wrapped = self.data_key.seal(lookup, key.as_slice())?;
        Ok(NewSubject { pseudonym: format!("u_{}", hex::encode(name)), wrapped, key })
    }

    /// The key in a subject's row.
    pub(crate) fn unwrap_key(
        &self,
        lookup: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, StoreError> {
        let key = self.data_key.open(lookup, wrapped);
        let key = key.and_then(|key| key.as_slice().try_into().ok().map(Zeroizing::new));
        key.ok_or_else(|| {
            StoreError::corrupt(None, "a subject's key does not open with `keys/data.key`")
        })
    }
}
