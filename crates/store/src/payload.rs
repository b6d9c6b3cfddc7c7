//! What a call carried, apart from the log: committed to in the entry, sealed under the subject's
//! key.
//!
//! All parts that one entry commits to are sealed together, one row for one entry; the identity,
//! which changes with the token and not with the call, has a row of its own that many entries
//! share. Each part has its own salt, sealed with it, so that destroying the subject's key makes
//! every commitment meaningless.

use crate::cap::Reservation;
use crate::effect_key::{EffectKey, Name};
use crate::error::StoreError;
use crate::keys::{self, KEY_BYTES};
use crate::leaf::{self, Decided, Draft};
use crate::reading::StoredPart;
use crate::remembered::{Told, told_by};
use crate::risk::tenant_row;
use crate::subject::{KnownIdentity, Subject};
use crate::used::FollowedKind;
use lockgate_core::bundle::admin::{RESERVED, THROWS};
use lockgate_core::bundle::search::{COUNT, SEARCH};
use lockgate_core::risk::Raise;
use lockgate_ledger::Entry;
use lockgate_ledger::Kind;
use lockgate_types::call::Effect;
use lockgate_types::decision::{Decision, Verdict};
use lockgate_types::facts::{Facts, Mode, Part, SessionState};
use lockgate_types::history::History;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Commitment, Digest, Micros, Salt, SessionId, Tenant};
use std::sync::Arc;

/// Bytes of a result that is kept although nobody asked for it.
pub const RESULT_KEPT_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a refused call that are kept, with its arguments. Of a longer one its digest is: what
/// is not done needs no room that others lack.
pub const REFUSED_KEPT_BYTES_MAX: usize = 16 * 1024;

/// A sealed part. The numbers stand in the database and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    Identity = 0,
    Call = 1,
    Moment = 2,
    Decision = 3,
    /// The result as it was answered.
    Result = 4,
    /// The digest of a result that was not kept.
    ResultDigest = 5,
    /// What somebody who has to agree needs to see.
    Evidence = 6,
    /// The digest of a refused call that was not kept.
    CallDigest = 7,
}

impl Sealed {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Identity,
            1 => Self::Call,
            2 => Self::Moment,
            3 => Self::Decision,
            4 => Self::Result,
            5 => Self::ResultDigest,
            6 => Self::Evidence,
            7 => Self::CallDigest,
            _ => return None,
        })
    }

    /// The word of the part, which is also its name among an entry's commitments.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Call => "call",
            Self::Moment => "moment",
            Self::Decision => "decision",
            Self::Result => "result",
            Self::ResultDigest => "result_digest",
            Self::Evidence => "evidence",
            Self::CallDigest => "call_digest",
        }
    }

    /// The member of `commitments` that stands for it.
    pub(crate) const fn commitment_name(self) -> &'static str {
        match self {
            Self::ResultDigest => "result",
            Self::CallDigest => "call",
            other => other.as_str(),
        }
    }
}

/// What an intent or refusal entry commits to.
pub(crate) struct Commitments {
    pub(crate) identity: Commitment,
    pub(crate) call: Commitment,
    pub(crate) moment: Commitment,
    pub(crate) decision: Commitment,
    /// Of a request for approval.
    pub(crate) evidence: Option<Commitment>,
}

/// Parts before they are sealed: `kind ‖ salt ‖ length as u32 big-endian ‖ bytes`, one after the
/// other.
pub(crate) struct Pack {
    plain: Vec<u8>,
}

impl Pack {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { plain: Vec::with_capacity(capacity) }
    }

    pub(crate) fn add(
        &mut self,
        kind: Sealed,
        salt: Salt,
        bytes: &[u8],
    ) -> Result<Commitment, StoreError> {
        let length = u32::try_from(bytes.len());
        let length = length.map_err(|_| StoreError::Broken { rule: "a part is below 4 GiB" })?;
        self.plain.push(kind as u8);
        self.plain.extend_from_slice(&salt.0);
        self.plain.extend_from_slice(&length.to_be_bytes());
        self.plain.extend_from_slice(bytes);
        Ok(Commitment::to(&salt, bytes))
    }

    pub(crate) fn seal(
        &self,
        subject: &Subject,
        random: &[u8; KEY_BYTES],
        bound_to: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        subject.key.seal_with(random, bound_to, &self.plain)
    }
}

/// A part read back, with the commitment that its salt and bytes give.
pub(crate) struct Opened {
    pub(crate) kind: Sealed,
    pub(crate) commitment: Commitment,
    pub(crate) bytes: Vec<u8>,
}

/// Takes a pack apart; `None` if it is not one.
pub(crate) fn unpack(plain: &[u8]) -> Option<Vec<Opened>> {
    let mut parts = Vec::new();
    let mut rest = plain;
    while let Some((kind, tail)) = rest.split_first() {
        let (salt, tail) = tail.split_first_chunk::<KEY_BYTES>()?;
        let (length, tail) = tail.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (bytes, tail) = tail.split_at_checked(length)?;
        let commitment = Commitment::to(&Salt(*salt), bytes);
        parts.push(Opened { kind: Sealed::from_number(*kind)?, commitment, bytes: bytes.to_vec() });
        rest = tail;
    }
    Some(parts)
}

/// A decided call, ready to be written: everything expensive has been done on the caller's thread.
pub(crate) struct Prepared {
    pub(crate) leaf: Draft,
    pub(crate) sealed: Vec<u8>,
    pub(crate) subject: Arc<Subject>,
    pub(crate) identity: Arc<KnownIdentity>,
    pub(crate) call: CallId,
    pub(crate) tenant: Tenant,
    pub(crate) within: Option<CallId>,
    pub(crate) effect: Effect,
    /// What makes another call the same effect.
    pub(crate) key: Option<EffectKey>,
    /// The request for approval that it uses up, and the name of its proposal.
    pub(crate) approval: Option<(CallId, Name)>,
    /// What it takes of caps.
    pub(crate) reservations: Vec<Reservation>,
    /// The bundle it was decided under.
    pub(crate) bundle: Digest,
    /// Whether it throws a switch: then any bundle that has ruled may have allowed it.
    pub(crate) throws: bool,
    /// The session as it was when the facts were gathered.
    pub(crate) before: SessionState,
    /// What had happened, as far as it was asked for.
    pub(crate) history: Option<Arc<History>>,
    /// What its session remembers of it. `None`: nothing.
    pub(crate) told: Option<Told>,
    /// As what it is kept of what documents have fed. `None`: its session was shown none.
    pub(crate) followed: Option<FollowedKind>,
    /// The tenant's row, and its mode as it was then. Nothing of the gate's own depends on that.
    pub(crate) posture: Option<(SessionId, Mode)>,
    /// Who asked.
    pub(crate) who: Arc<Identity>,
    /// What is held against the session with this.
    pub(crate) raise: Option<Raise>,
    /// What it was decided from, where performing it decides more: each document of a search.
    pub(crate) facts: Option<Arc<Facts>>,
    pub(crate) at: Micros,
}

/// Writes, commits to and seals the parts of a decided call.
pub(crate) fn prepare(
    kind: Kind,
    facts: &Facts,
    decision: &Decision,
    subject: &Arc<Subject>,
    is_shared: bool,
) -> Result<Prepared, StoreError> {
    prepare_with(kind, (facts, decision), None, subject, is_shared)
}

/// The same of a call that waits for somebody, with the evidence.
pub(crate) fn prepare_request(
    facts: &Facts,
    decision: &Decision,
    evidence: &[u8],
    subject: &Arc<Subject>,
) -> Result<Prepared, StoreError> {
    prepare_with(Kind::Refusal, (facts, decision), Some(evidence), subject, false)
}

fn prepare_with(
    kind: Kind,
    (facts, decision): (&Facts, &Decision),
    evidence: Option<&[u8]>,
    subject: &Arc<Subject>,
    is_shared: bool,
) -> Result<Prepared, StoreError> {
    let identity = subject.known_identity(&facts.identity)?;
    let (part, call) = match facts.part(Part::Call) {
        call if is_kept(decision, &call) => (Sealed::Call, call),
        // Committed to under a salt, like the digest of a result.
        call => (Sealed::CallDigest, Digest::of(&call).to_string().into_bytes()),
    };
    let moment = facts.part(Part::Moment);
    let answer = decision.to_canonical();
    let [call_salt, moment_salt, decision_salt, nonce] = keys::random_keys()?;
    let [call_salt, moment_salt, decision_salt] = [call_salt, moment_salt, decision_salt].map(Salt);

    let more = evidence.map_or(0, |evidence| evidence.len() + 64);
    let mut pack = Pack::new(call.len() + moment.len() + answer.len() + 128 + more);
    let commitments = Commitments {
        identity: identity.commitment,
        call: pack.add(part, call_salt, &call)?,
        moment: pack.add(Sealed::Moment, moment_salt, &moment)?,
        decision: pack.add(Sealed::Decision, decision_salt, &answer)?,
        evidence: match evidence {
            Some(evidence) => {
                let [salt] = keys::random_keys()?;
                Some(pack.add(Sealed::Evidence, Salt(salt), evidence)?)
            }
            None => None,
        },
    };
    let sealed = pack.seal(subject, &nonce, facts.call.id.as_str().as_bytes())?;
    let decided = Decided { facts, decision, subject: &subject.pseudonym, commitments };
    Ok(Prepared {
        leaf: leaf::decided(kind, &decided, is_shared),
        sealed,
        subject: Arc::clone(subject),
        identity,
        call: facts.call.id.clone(),
        tenant: facts.identity.tenant.clone(),
        within: facts.call.parent.clone(),
        effect: decision.effect,
        key: None,
        approval: None,
        reservations: Vec::new(),
        bundle: decision.bundle,
        throws: facts.call.operation.as_str() == THROWS,
        before: facts.session.clone(),
        history: facts.history.clone(),
        told: told_by(kind, facts),
        followed: followed_as(kind, facts, decision),
        posture: match facts.call.upstream.as_str() == RESERVED {
            true => None,
            false => Some((tenant_row(&facts.identity.tenant)?, tenant_mode(facts))),
        },
        who: Arc::clone(&facts.identity),
        raise: None,
        facts: decides_documents(facts).then(|| Arc::new(facts.clone())),
        at: facts.now,
    })
}

/// Whether a call is kept whole. What may still be done is: after somebody agrees, or with a plan.
fn is_kept(decision: &Decision, call: &[u8]) -> bool {
    decision.verdict != Verdict::Deny || call.len() <= REFUSED_KEPT_BYTES_MAX
}

/// Whether it finds or counts documents, each of which is decided from the same facts.
fn decides_documents(facts: &Facts) -> bool {
    [SEARCH, COUNT].contains(&facts.call.operation.as_str())
}

/// Whether it looks for documents, and may be cited.
pub(crate) fn is_search(facts: &Facts) -> bool {
    facts.call.operation.as_str() == SEARCH
}

/// As what a call is kept of what documents have fed, if its session was shown some of late. What
/// the gate does for itself rests on none, and an answer that is repeated changes nothing.
fn followed_as(kind: Kind, facts: &Facts, decision: &Decision) -> Option<FollowedKind> {
    let is_fed = facts.session.fed.is_some_and(|until| facts.now < until);
    if !is_fed || facts.call.upstream.as_str() == RESERVED {
        return None;
    }
    Some(match (kind, decision.effect) {
        (Kind::Refusal, _) => FollowedKind::Refused,
        (Kind::Repeat, _) | (_, Effect::Read) => FollowedKind::Read,
        _ => FollowedKind::Change,
    })
}

fn tenant_mode(facts: &Facts) -> Mode {
    facts.risk.as_ref().map_or(Mode::Normal, |seen| seen.tenant.mode)
}

/// A result, sealed: whole if it is small or somebody asked for it, else its digest.
pub(crate) struct SealedResult {
    pub(crate) commitment: Commitment,
    pub(crate) sealed: Vec<u8>,
}

/// Commits to and seals a result.
pub(crate) fn seal_result(
    result: &[u8],
    keep_all: bool,
    subject: &Subject,
    call: &CallId,
) -> Result<SealedResult, StoreError> {
    let [salt, nonce] = keys::random_keys()?;
    let is_kept = keep_all || result.len() <= RESULT_KEPT_BYTES_MAX;
    let mut pack = Pack::new(if is_kept { result.len() + 64 } else { 128 });
    let commitment = if is_kept {
        pack.add(Sealed::Result, Salt(salt), result)?
    } else {
        // Committed to under a salt as well: the bare digest of a guessable result would give it
        // away.
        let digest = Digest::of(result).to_string();
        pack.add(Sealed::ResultDigest, Salt(salt), digest.as_bytes())?
    };
    let sealed = pack.seal(subject, &nonce, call.as_str().as_bytes())?;
    Ok(SealedResult { commitment, sealed })
}

/// What an entry commits to under a name.
pub(crate) fn committed(entry: &Entry, name: &str) -> Option<Commitment> {
    let digest = entry.members().get("commitments")?.get(name)?.as_str()?.parse().ok()?;
    Some(Commitment::from_digest(digest))
}

/// Parts as they were read back, each held against its commitment in the entry.
pub(crate) fn held_against(
    index: u64,
    entry: &Entry,
    opened: Vec<Opened>,
) -> Result<Vec<StoredPart>, StoreError> {
    let held = opened.into_iter().map(|Opened { kind, commitment, bytes }| {
        let name = kind.as_str();
        if committed(entry, kind.commitment_name()) != Some(commitment) {
            let what = format!("entry {index}: its {name} is not what was logged");
            return Err(StoreError::corrupt(Some(index), what));
        }
        Ok(StoredPart { name, bytes })
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pack_reads_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)) {
            let mut pack = Pack::new(0);
            let mut commitments = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let salt = Salt([u8::try_from(at).unwrap(); 32]);
                commitments.push(pack.add(Sealed::Call, salt, part).unwrap());
            }
            let opened = unpack(&pack.plain).unwrap();
            prop_assert_eq!(opened.iter().map(|part| part.commitment).collect::<Vec<_>>(), commitments);
            prop_assert!(opened.iter().map(|part| &part.bytes).eq(&parts));
        }

        #[test]
        fn any_bytes_are_a_pack_or_not(plain in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&plain);
        }
    }
}
