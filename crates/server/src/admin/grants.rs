//! Who may read tiles for a while, because a recorded decision said so.
//!
//! A grant belongs to one complete identity, under one bundle, for the entries of one checkpoint
//! of one tenant's log;
//! it is bounded in time and in reads, and lives in memory only. A change of groups, roles or
//! bundle leaves no grant behind.

use lockgate_types::identity::Identity;
use lockgate_types::{Digest, Json, Micros, Object, Tenant};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Microseconds for which tiles are read on one decision: the time in which a large log is
/// verified.
pub(crate) const GRANT_US: i64 = 5 * 60 * 1_000_000;
/// Reads on one decision: a log of ten million entries has some eighty thousand files.
pub(crate) const GRANT_READS_MAX: u32 = 100_000;
/// Identities that hold a grant.
const GRANTS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The grants of one gate.
pub(crate) struct Grants {
    held: Mutex<LruCache<Digest, Grant>>,
}

struct Grant {
    bundle: Digest,
    size: u64,
    since: Micros,
    reads_left: u32,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self { held: Mutex::new(LruCache::new(GRANTS_MAX)) }
    }

    /// Lets an identity read the tiles of a tenant's log of that size.
    pub(crate) fn open(
        &self,
        (identity, tenant): (&Identity, &Tenant),
        bundle: Digest,
        size: u64,
        now: Micros,
    ) {
        let grant = Grant { bundle, size, since: now, reads_left: GRANT_READS_MAX };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.put(key(identity, tenant), grant);
    }

    /// Uses a grant for one read of a file that needs that many entries. Whether there is one.
    pub(crate) fn take(
        &self,
        (identity, tenant): (&Identity, &Tenant),
        bundle: Digest,
        size: u64,
        now: Micros,
    ) -> bool {
        let key = key(identity, tenant);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(grant) = held.get_mut(&key) else { return false };
        let age = now.0.saturating_sub(grant.since.0);
        // A clock that was set back ends a grant instead of prolonging it.
        if grant.bundle != bundle || !(0..GRANT_US).contains(&age) || grant.reads_left == 0 {
            held.pop(&key);
            return false;
        }
        if size > grant.size {
            return false;
        }
        grant.reads_left -= 1;
        true
    }
}

fn key(identity: &Identity, tenant: &Tenant) -> Digest {
    let both = Object::new().with("identity", identity.to_json()).with("log", tenant.as_str());
    Json::from(both).digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::{AgentId, Environment, RoleName, SubjectId};
    use std::collections::BTreeSet;

    fn identity(subject: &str) -> Identity {
        Identity {
            issuer: "corp".to_owned(),
            subject: SubjectId::new(subject).unwrap(),
            agent: AgentId::new("lockgate-cli").unwrap(),
            tenant: Tenant::new("default").unwrap(),
            environment: Environment::new("dev").unwrap(),
            task: None,
            subject_groups: BTreeSet::new(),
            subject_roles: BTreeSet::new(),
            authentication: Default::default(),
            own: Default::default(),
            agent_groups: BTreeSet::new(),
        }
    }

    fn log() -> Tenant {
        Tenant::new("default").unwrap()
    }

    #[test]
    fn a_grant_is_for_one_identity_bundle_size_and_time() {
        let (alice, bundle) = (identity("alice"), Digest::of(b"bundle"));
        let open = || {
            let grants = Grants::new();
            grants.open((&alice, &log()), bundle, 300, Micros(1000));
            grants
        };
        assert!(open().take((&alice, &log()), bundle, 300, Micros(1000)));
        assert!(open().take((&alice, &log()), bundle, 1, Micros(1000 + GRANT_US - 1)));
        assert!(!open().take((&alice, &log()), bundle, 301, Micros(1000)), "beyond the checkpoint");
        assert!(!open().take((&alice, &log()), bundle, 1, Micros(1000 + GRANT_US)), "too late");
        assert!(!open().take((&alice, &log()), bundle, 1, Micros(999)), "the clock was set back");
        assert!(
            !open().take((&alice, &log()), Digest::of(b"other"), 1, Micros(1000)),
            "another bundle"
        );
        assert!(
            !open().take((&identity("bob"), &log()), bundle, 1, Micros(1000)),
            "another subject"
        );
        let acme = Tenant::new("acme").unwrap();
        assert!(!open().take((&alice, &acme), bundle, 1, Micros(1000)), "another's log");
        let mut promoted = alice.clone();
        promoted.subject_roles.insert(RoleName::new("admin").unwrap());
        assert!(!open().take((&promoted, &log()), bundle, 1, Micros(1000)), "another role");
    }

    #[test]
    fn a_grant_is_used_up() {
        let (alice, bundle) = (identity("alice"), Digest::of(b"bundle"));
        let grants = Grants::new();
        grants.open((&alice, &log()), bundle, 300, Micros(0));
        for _ in 0..GRANT_READS_MAX {
            assert!(grants.take((&alice, &log()), bundle, 1, Micros(0)));
        }
        assert!(!grants.take((&alice, &log()), bundle, 1, Micros(0)));
    }

    #[test]
    fn a_bundle_that_came_back_revives_no_grant() {
        let (alice, bundle) = (identity("alice"), Digest::of(b"bundle"));
        let grants = Grants::new();
        grants.open((&alice, &log()), bundle, 300, Micros(0));
        assert!(!grants.take((&alice, &log()), Digest::of(b"other"), 1, Micros(0)));
        assert!(!grants.take((&alice, &log()), bundle, 1, Micros(0)));
    }
}
