//! From an action, a principal and a resource to the policies whose scope they satisfy: exactly
//! those.
//!
//! Policies lie in buckets: one per operation, one per group of operations. Within a bucket, and
//! per leg, entries are sorted by the principal their scope names and then by the resource, so a
//! lookup is a few binary searches. `is` is settled when the index is built (for the principal:
//! which leg) or compared (for the resource: a number).

use super::{PolicyAt, Side};
use std::collections::{BTreeMap, HashMap};

/// An entity type, by its place in [`Names`].
pub(super) type TypeId = u16;

/// The entity types there always are.
pub(super) const USER: TypeId = 0;
pub(super) const AGENT: TypeId = 1;
pub(super) const GROUP: TypeId = 2;
pub(super) const ROLE: TypeId = 3;
pub(super) const TENANT: TypeId = 4;
pub(super) const UPSTREAM: TypeId = 5;
/// Their names. Resource types that the bundle declares follow.
pub(super) const BUILT_IN: [&str; 6] = ["User", "Agent", "Group", "Role", "Tenant", "Upstream"];

/// What a scope says about its principal or resource. Two scopes are equal if and only if their
/// keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u32);

impl Key {
    /// Says nothing.
    pub(super) const ANY: Self = Self(0);

    /// `== entity`
    pub(super) fn equal(entity: EntityAt) -> Self {
        Self(entity.0.saturating_mul(2).saturating_add(1))
    }

    /// `in entity`
    pub(super) fn within(entity: EntityAt) -> Self {
        Self(entity.0.saturating_mul(2).saturating_add(2))
    }

    /// The entity it names.
    fn entity(self) -> Option<EntityAt> {
        self.0.checked_sub(1).map(|number| EntityAt(number / 2))
    }
}

/// An entity that some scope names, by its place in [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntityAt(u32);

/// The entities that scopes name. What is not here can match no scope that names an entity.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    // order-free: only looked up
    by_type: Vec<HashMap<Box<str>, u32>>,
    types: Vec<TypeId>,
}

impl Names {
    /// The place of an entity, if a scope names it.
    pub(super) fn find(&self, kind: TypeId, name: &str) -> Option<EntityAt> {
        self.by_type.get(usize::from(kind))?.get(name).copied().map(EntityAt)
    }

    /// The place of an entity, made if there is none.
    pub(super) fn intern(&mut self, kind: TypeId, name: &str) -> EntityAt {
        if let Some(found) = self.find(kind, name) {
            return found;
        }
        let at = u32::try_from(self.types.len()).unwrap_or(u32::MAX);
        while self.by_type.len() <= usize::from(kind) {
            // order-free: only looked up
            self.by_type.push(HashMap::new());
        }
        if let Some(names) = self.by_type.get_mut(usize::from(kind)) {
            names.insert(name.into(), at);
        }
        self.types.push(kind);
        EntityAt(at)
    }

    fn kind(&self, entity: EntityAt) -> Option<TypeId> {
        self.types.get(entity.0 as usize).copied()
    }
}

/// A policy's place in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) principal: Key,
    pub(super) resource: Key,
    /// `resource is T`, said or implied by `== T::"…"`.
    pub(super) resource_type: Option<TypeId>,
    pub(super) policy: PolicyAt,
}

/// The buckets of one operation: its own, and those of its groups.
pub(super) type Buckets = Box<[u32]>;

/// The index.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) names: Names,
    buckets: Vec<Bucket>,
    bucket_of: BTreeMap<Box<str>, u32>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    agent: Vec<Entry>,
    subject: Vec<Entry>,
}

impl Bucket {
    fn side(&self, side: Side) -> &[Entry] {
        match side {
            Side::Agent => &self.agent,
            Side::Subject => &self.subject,
        }
    }
}

/// Who asks, as keys: itself and everything it is in.
pub(super) struct PrincipalKeys(Vec<Key>);

/// What is asked for, as keys.
pub(super) struct ResourceKeys {
    keys: [Key; 4],
    kind: TypeId,
}

impl PrincipalKeys {
    /// The keys of an entity and its ancestors. Every scope that holds for it has one of them.
    pub(super) fn new<'a>(
        names: &Names,
        (kind, name): (TypeId, &str),
        ancestors: impl Iterator<Item = (TypeId, &'a str)>,
    ) -> Self {
        let mut keys = vec![Key::ANY];
        if let Some(own) = names.find(kind, name) {
            keys.extend([Key::equal(own), Key::within(own)]);
        }
        keys.extend(ancestors.filter_map(|(kind, name)| names.find(kind, name)).map(Key::within));
        Self(keys)
    }
}

impl ResourceKeys {
    /// The keys of a resource and of the upstream it is in.
    pub(super) fn new(names: &Names, (kind, name): (TypeId, &str), upstream: &str) -> Self {
        let mut keys = [Key::ANY; 4];
        let found = [
            names.find(kind, name).map(Key::equal),
            names.find(kind, name).map(Key::within),
            names.find(UPSTREAM, upstream).map(Key::within),
        ];
        for (slot, key) in keys.iter_mut().skip(1).zip(found) {
            *slot = key.unwrap_or(Key::ANY);
        }
        Self { keys, kind }
    }

    fn accept(&self, entry: &Entry) -> bool {
        self.keys.contains(&entry.resource)
            && entry.resource_type.is_none_or(|kind| kind == self.kind)
    }
}

/// Entries up to which looking at each is cheaper than searching.
const SCAN_MAX: usize = 16;

impl Index {
    /// The number of the bucket of an operation or group, made if there is none.
    pub(super) fn bucket(&mut self, action: &str) -> u32 {
        if let Some(found) = self.bucket_of.get(action) {
            return *found;
        }
        let at = u32::try_from(self.buckets.len()).unwrap_or(u32::MAX);
        self.buckets.push(Bucket::default());
        self.bucket_of.insert(action.into(), at);
        at
    }

    /// Puts a policy into a bucket.
    pub(super) fn insert(&mut self, bucket: u32, side: Side, entry: Entry) {
        if let Some(bucket) = self.buckets.get_mut(bucket as usize) {
            match side {
                Side::Agent => bucket.agent.push(entry),
                Side::Subject => bucket.subject.push(entry),
            }
        }
    }

    /// Sorts every bucket and forgets what only building needs. Must come between inserts and
    /// lookups.
    pub(super) fn finish(&mut self) {
        self.bucket_of = BTreeMap::new();
        for bucket in &mut self.buckets {
            for side in [&mut bucket.agent, &mut bucket.subject] {
                side.sort_unstable();
                side.shrink_to_fit();
            }
        }
    }

    /// The policies whose whole scope holds, sorted, each once.
    pub(super) fn candidates(
        &self,
        buckets: &Buckets,
        side: Side,
        principal: &PrincipalKeys,
        resource: &ResourceKeys,
    ) -> Vec<PolicyAt> {
        let mut found = Vec::with_capacity(16);
        self.for_principal(buckets, side, principal, |entries| {
            if entries.len() <= SCAN_MAX {
                found.extend(entries.iter().filter(|e| resource.accept(e)).map(|e| e.policy));
                return;
            }
            for (at, key) in resource.keys.iter().enumerate() {
                if at > 0 && *key == Key::ANY {
                    continue;
                }
                let same = equal_range(entries, |e| e.resource.cmp(key));
                found.extend(same.iter().filter(|e| resource.accept(e)).map(|e| e.policy));
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The policies whose scope may hold for some resource of this type in this upstream, and
    /// whether it holds for every one.
    pub(super) fn possible(
        &self,
        buckets: &Buckets,
        side: Side,
        principal: &PrincipalKeys,
        (kind, upstream): (TypeId, &str),
    ) -> Vec<(PolicyAt, bool)> {
        let upstream = self.names.find(UPSTREAM, upstream);
        let mut found = Vec::new();
        self.for_principal(buckets, side, principal, |entries| {
            for entry in entries {
                if entry.resource_type.is_some_and(|wanted| wanted != kind) {
                    continue;
                }
                let Some(entity) = entry.resource.entity() else {
                    found.push((entry.policy, true));
                    continue;
                };
                if Some(entity) == upstream {
                    found.push((entry.policy, true));
                } else if kind != UPSTREAM && self.names.kind(entity) == Some(kind) {
                    found.push((entry.policy, false));
                }
            }
        });
        found
    }

    /// The policies whose principal scope holds, whatever their resource, sorted, each once.
    pub(super) fn of_principal(
        &self,
        buckets: &Buckets,
        side: Side,
        principal: &PrincipalKeys,
    ) -> Vec<PolicyAt> {
        let mut found = Vec::new();
        self.for_principal(buckets, side, principal, |entries| {
            found.extend(entries.iter().map(|entry| entry.policy));
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Every policy of these buckets, whoever asks.
    pub(super) fn all(&self, buckets: &Buckets, side: Side) -> Vec<PolicyAt> {
        let buckets = buckets.iter().filter_map(|at| self.buckets.get(*at as usize));
        let mut found: Vec<PolicyAt> =
            buckets.flat_map(|bucket| bucket.side(side)).map(|entry| entry.policy).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn for_principal(
        &self,
        buckets: &Buckets,
        side: Side,
        principal: &PrincipalKeys,
        mut visit: impl FnMut(&[Entry]),
    ) {
        for bucket in buckets.iter().filter_map(|at| self.buckets.get(*at as usize)) {
            let entries = bucket.side(side);
            if entries.is_empty() {
                continue;
            }
            for key in &principal.0 {
                let same = equal_range(entries, |e| e.principal.cmp(key));
                if !same.is_empty() {
                    visit(same);
                }
            }
        }
    }
}

fn equal_range(entries: &[Entry], order: impl Fn(&Entry) -> std::cmp::Ordering) -> &[Entry] {
    let from = entries.partition_point(|e| order(e).is_lt());
    let rest = entries.get(from..).unwrap_or_default();
    let len = rest.partition_point(|e| order(e).is_eq());
    rest.get(..len).unwrap_or_default()
}
