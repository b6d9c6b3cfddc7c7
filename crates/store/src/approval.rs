//! Approvals: requests that wait for people, what they answered, and that it is used once.
//!
//! A request is the refused call that asks; it is for one exact proposal (operation, arguments,
//! subject, agent, tenant, environment), which is found again by a name derived under the subject's
//! key. It is spent in the transaction of the intent, so that of two calls one gets it.

use crate::db::{DbError, Touched, values};
use crate::effect_key::{Name, proposal};
use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::leaf::{self, Answered};
use crate::payload::{Prepared, prepare_request};
use crate::store::{self, Store};
use crate::switch::Scopes;
use crate::writer::Writer;
use lockgate_core::rule::Refused;
use lockgate_types::evidence::Evidence;
use lockgate_types::facts::{Facts, Switch};
use lockgate_types::{CallId, Micros, Tenant};

/// Requests that may wait at once, of everybody.
pub const REQUESTS_MAX: u32 = 10_000;
/// Requests of one agent that may wait at once: it cannot crowd out those of others.
pub(crate) const REQUESTS_PER_AGENT_MAX: u32 = 100;
/// Requests looked at in one go for those whose time is over.
const SWEEP_MAX: u32 = 64;

/// What is asked of people, before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Names the proposal.
    pub(crate) proposal: Name,
    /// What has to be given: values of `@require_approval`.
    pub(crate) requirements: Vec<String>,
    pub(crate) scopes: Scopes,
    pub(crate) expires: Micros,
}

/// A request for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// The refused call that asks: its record is the evidence.
    pub call: CallId,
    /// Its entry.
    pub entry: u64,
    /// What has to be given: values of `@require_approval`.
    pub requirements: Vec<String>,
    /// What was given so far.
    pub given: Vec<Given>,
    /// How it stands.
    pub state: ApprovalState,
    /// When it ends by itself.
    pub expires: Micros,
    /// The tenant of who asks; `None`: what it is about cannot be read.
    pub(crate) tenant: Option<Tenant>,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// It waits for somebody.
    Pending,
    /// Everything that was required is given; the call can be made, once.
    Given,
    /// Somebody said no.
    Denied,
    /// Nobody answered, or nobody used it, in time.
    Expired,
    /// A switch was thrown over it.
    Cancelled,
    /// It can no longer lead to what was asked for: the rules have changed.
    Superseded,
    /// It was used.
    Spent,
}

impl ApprovalState {
    const ALL: [Self; 7] = [
        Self::Pending,
        Self::Given,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
        Self::Spent,
    ];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Given => "given",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Spent => "spent",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it may still lead to something.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Given)
    }
}

/// One person's agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What they agreed for: a value of `@require_approval`.
    pub requirement: String,
    /// Who: a pseudonym.
    pub approver: String,
    /// The call to the admin API by which they did.
    pub by: CallId,
}

/// Somebody's answer.
#[derive(Clone, Debug)]
pub enum ApprovalAnswer {
    /// They agree, for this requirement.
    Give {
        /// Which.
        requirement: String,
        /// How many have to agree for it.
        quorum: usize,
        /// Who: a pseudonym.
        approver: String,
    },
    /// They do not.
    Deny,
    /// Who asked does not want it any more.
    Cancel,
    /// Nobody does: by the rules of now it can no longer lead to what was asked for.
    Supersede,
}

impl Store {
    /// Records that a call was refused until somebody agrees, durably, and has it wait for that
    /// until `expires`, with what they need to see. Gives the request: that of an earlier call, if
    /// it asked for exactly the same.
    pub async fn ask(
        &self,
        refused: Refused,
        evidence: &Evidence,
        expires: Micros,
    ) -> Result<(CallId, Micros), StoreError> {
        let raise = refused.held().cloned();
        let (decision, facts) = refused.into_parts();
        let subject = self.subject_of(&facts.identity).await?;
        let question = Question {
            proposal: proposal(&facts, &subject),
            requirements: decision.approvals.clone(),
            scopes: Scopes::of(&facts),
            expires,
        };
        let evidence = evidence.to_json().to_canonical();
        let mut prepared = prepare_request(&facts, &decision, &evidence, &subject)?;
        prepared.raise = raise;
        match self.write(Change::Ask { prepared: Box::new(prepared), question }).await {
            Ok(Written::Asked { call, expires }) => Ok((call, expires)),
            Ok(_) => Err(store::unexpected()),
            Err(rejected) => Err(store::failed(rejected)),
        }
    }

    /// The request that has everything it needs and is for exactly this call, if there is one.
    pub async fn given_for(&self, facts: &Facts) -> Result<Option<ApprovalRequest>, StoreError> {
        let subject = self.subject_of(&facts.identity).await?;
        let proposal = proposal(facts, &subject);
        self.read(move |writer| writer.given_for(&proposal, writer.now())).await
    }

    /// One request for approval, however it stands.
    pub async fn approval_request(
        &self,
        call: &CallId,
    ) -> Result<Option<ApprovalRequest>, StoreError> {
        let call = call.clone();
        self.read(move |writer| writer.request(&call)).await
    }

    /// Records an answer to a request for approval, given by a call to the admin API. `false`: it
    /// does not wait for that any more.
    pub async fn answer_approval(
        &self,
        call: &CallId,
        answer: ApprovalAnswer,
        by: &CallId,
    ) -> Result<bool, StoreError> {
        let change = Change::Answer { call: call.clone(), answer, by: by.clone() };
        match self.write(change).await {
            Ok(Written::Answered) => Ok(true),
            Ok(Written::Nothing) => Ok(false),
            Ok(_) => Err(store::unexpected()),
            Err(rejected) => Err(store::failed(rejected)),
        }
    }
}

impl Writer {
    /// Records a refused call that asks for approval; one that asks for the same as another joins
    /// it.
    pub(crate) fn ask(
        &mut self,
        prepared: &Prepared,
        question: &Question,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        if let Some((call, expires)) = self.open_request(&question.proposal, prepared.at)? {
            self.refused(prepared)?;
            return Ok(Ok(Written::Asked { call, expires }));
        }
        let (all, of_agent) = self.open_requests(&question.scopes.agent_text())?;
        for (count, max) in [(all, REQUESTS_MAX), (of_agent, REQUESTS_PER_AGENT_MAX)] {
            if count >= max {
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                return Ok(Err(Rejected::Failed(StoreError::Overloaded { max })));
            }
        }
        let receipt = self.refused(prepared)?;
        let requirements = question.requirements.join("\n");
        let insert = "INSERT INTO approval
            (call, proposal, entry, requirements, scopes, state, expires, agent)
            VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6, ?7)";
        let written = self.db.execute(
            insert,
            values![
                prepared.call.as_str(),
                &question.proposal,
                receipt.place,
                &requirements,
                &question.scopes.to_text(),
                question.expires.0,
                &question.scopes.agent_text()
            ],
        );
        written.map_err(StoreError::database("writing a request for approval"))?;
        self.set_news(&prepared.call, receipt.place, ApprovalState::Pending, prepared.at)?;
        Ok(Ok(Written::Asked { call: prepared.call.clone(), expires: question.expires }))
    }

    fn open_request(
        &self,
        proposal: &Name,
        now: Micros,
    ) -> Result<Option<(CallId, Micros)>, StoreError> {
        let select = "SELECT call, expires FROM approval
            WHERE proposal = ?1 AND state IN ('pending', 'given') AND expires > ?2";
        let found: Option<(String, i64)> = self
            .db
            .row(select, values![proposal, now.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed())?;
        found.map(|(call, expires)| Ok((call_id(&call)?, Micros(expires)))).transpose()
    }

    fn open_requests(&self, agent: &str) -> Result<(u32, u32), StoreError> {
        let select = "SELECT count(*), count(*) FILTER (WHERE agent = ?1) FROM approval
            WHERE state IN ('pending', 'given')";
        let counted = self.db.row(select, values![agent], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(counted.map_err(failed())?.unwrap_or_default())
    }

    /// A request, and what was given for it.
    pub(crate) fn request(&self, call: &CallId) -> Result<Option<ApprovalRequest>, StoreError> {
        let select =
            "SELECT entry, requirements, state, expires, scopes FROM approval WHERE call = ?1";
        let found: Option<(u64, (String, String), i64, String)> = self
            .db
            .row(select, values![call.as_str()], |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?), row.get(3)?, row.get(4)?))
            })
            .map_err(failed())?;
        let Some((entry, (requirements, state), expires, scopes)) = found else {
            return Ok(None);
        };
        let state = ApprovalState::from_word(&state);
        Ok(Some(ApprovalRequest {
            call: call.clone(),
            entry,
            requirements: requirements.lines().map(str::to_owned).collect(),
            given: self.given(call)?,
            state: state.ok_or_else(|| StoreError::corrupt(None, "an approval has no state"))?,
            expires: Micros(expires),
            tenant: Scopes::from_text(&scopes).map(|scopes| scopes.tenant().clone()),
        }))
    }

    fn given(&self, call: &CallId) -> Result<Vec<Given>, StoreError> {
        let select = "SELECT requirement, approver, by_call FROM agreement WHERE call = ?1";
        let rows: Vec<(String, String, String)> = self
            .db
            .rows(select, values![call.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(failed())?;
        rows.into_iter()
            .map(|(requirement, approver, by)| {
                Ok(Given { requirement, approver, by: call_id(&by)? })
            })
            .collect()
    }

    /// What is given for a proposal and not used: the request, if everything is.
    pub(crate) fn given_for(
        &self,
        proposal: &Name,
        now: Micros,
    ) -> Result<Option<ApprovalRequest>, StoreError> {
        let Some((call, _)) = self.open_request(proposal, now)? else { return Ok(None) };
        let request = self.request(&call)?;
        Ok(request.filter(|request| request.state == ApprovalState::Given))
    }

    /// Records somebody's answer. `Nothing`: the request does not wait for one any more.
    pub(crate) fn answer(
        &mut self,
        call: &CallId,
        answer: &ApprovalAnswer,
        by: &CallId,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let now = self.now();
        let request = self.request(call)?;
        let Some(request) = request.filter(|it| it.state.is_open() && it.expires > now) else {
            return Ok(Ok(Written::Nothing));
        };
        let of = (call, request.tenant.as_ref());
        match answer {
            ApprovalAnswer::Deny => self.move_to(&of, ApprovalState::Denied, Some(by), now)?,
            ApprovalAnswer::Cancel => self.move_to(&of, ApprovalState::Cancelled, Some(by), now)?,
            ApprovalAnswer::Supersede => {
                self.move_to(&of, ApprovalState::Superseded, Some(by), now)?;
            }
            ApprovalAnswer::Give { requirement, quorum, approver } => {
                let is_wanted = request.requirements.contains(requirement)
                    && request.state == ApprovalState::Pending;
                if !is_wanted {
                    return Ok(Ok(Written::Nothing));
                }
                self.agree(&request, requirement, *quorum, approver, by, now)?;
            }
        }
        Ok(Ok(Written::Answered))
    }

    fn agree(
        &mut self,
        request: &ApprovalRequest,
        requirement: &str,
        quorum: usize,
        approver: &str,
        by: &CallId,
        now: Micros,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO agreement (call, requirement, approver, by_call, met)
                      VALUES (?1, ?2, ?3, ?4, 0) ON CONFLICT DO NOTHING";
        let call = request.call.as_str();
        let given = values![call, requirement, approver, by.as_str()];
        self.db.execute(insert, given).map_err(failed())?;
        let agreed = request.given.iter().filter(|given| given.requirement == requirement);
        let others = agreed.filter(|given| given.approver != approver).count();
        if others.saturating_add(1) < quorum {
            return Ok(());
        }
        let update = "UPDATE agreement SET met = 1 WHERE call = ?1 AND requirement = ?2";
        self.db.execute(update, values![call, requirement]).map_err(failed())?;
        let select =
            "SELECT count(DISTINCT requirement) FROM agreement WHERE call = ?1 AND met = 1";
        let met: Option<u64> =
            self.db.row(select, values![call], |row| row.get(0)).map_err(failed())?;
        if met.unwrap_or_default() >= request.requirements.len() as u64 {
            let of = (&request.call, request.tenant.as_ref());
            self.move_to(&of, ApprovalState::Given, Some(by), now)?;
        }
        Ok(())
    }

    /// Writes how a request stands from now on, in the log of its tenant and beside it.
    fn move_to(
        &mut self,
        (call, tenant): &(&CallId, Option<&Tenant>),
        state: ApprovalState,
        by: Option<&CallId>,
        now: Micros,
    ) -> Result<(), StoreError> {
        let answered = Answered { call, state: state.as_str(), by };
        let whose = self.whose(*tenant)?;
        let receipt = self.append(whose, &leaf::approval(&answered, now), now)?;
        self.set_news(call, receipt.place, state, now)?;
        let update = "UPDATE approval SET state = ?2 WHERE call = ?1";
        let written = self.db.execute(update, values![call.as_str(), state.as_str()]);
        written.map(drop).map_err(failed())
    }

    /// Whether a request has everything it needs, and is for this proposal.
    pub(crate) fn is_given(&self, request: &CallId, proposal: &Name) -> Result<bool, StoreError> {
        let given = self.given_for(proposal, self.now())?;
        Ok(given.is_some_and(|given| given.call == *request))
    }

    /// Uses a request up for a call, within the transaction of its intent.
    pub(crate) fn spend(
        &mut self,
        request: &CallId,
        by: &CallId,
        tenant: &Tenant,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.move_to(&(request, Some(tenant)), ApprovalState::Spent, Some(by), now)
    }

    /// No approval outlives a switch.
    pub(crate) fn cancel_within(&mut self, switch: &Switch) -> Result<(), StoreError> {
        let select = "SELECT call, scopes FROM approval WHERE state IN ('pending', 'given')";
        let open: Vec<(String, String)> =
            self.db.rows(select, &[], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())?;
        let now = self.now();
        for (call, scopes) in open {
            // Where it cannot be told whether it is within, it is.
            let scopes = Scopes::from_text(&scopes);
            if scopes.as_ref().is_none_or(|scopes| scopes.is_in(switch)) {
                let call = call_id(&call)?;
                let of = (&call, scopes.as_ref().map(Scopes::tenant));
                self.move_to(&of, ApprovalState::Cancelled, None, now)?;
            }
        }
        Ok(())
    }

    /// Ends requests whose time is over, a few at a time. A transaction of its own.
    pub(crate) fn expire_requests(&mut self, now: Micros) -> Result<(), StoreError> {
        let select = "SELECT call, scopes FROM approval
            WHERE state IN ('pending', 'given') AND expires <= ?1 LIMIT ?2";
        let look = |writer: &Self| -> Result<Vec<(String, String)>, StoreError> {
            let read = |row: &crate::db::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            writer.db.rows(select, values![now.0, SWEEP_MAX], read).map_err(failed())
        };
        let over = look(self)?;
        if over.is_empty() {
            return Ok(());
        }
        let mut touched = Touched::default();
        touched.reads_ruling();
        for (call, _) in &over {
            touched.add("request", call.as_bytes());
        }
        self.begin(&touched)?;
        let expire = |writer: &mut Self| {
            // Another node may have been faster.
            for (call, scopes) in look(writer)?.iter().filter(|found| over.contains(found)) {
                let (call, scopes) = (call_id(call)?, Scopes::from_text(scopes));
                let of = (&call, scopes.as_ref().map(Scopes::tenant));
                writer.move_to(&of, ApprovalState::Expired, None, now)?;
            }
            writer.commit()
        };
        let expired = expire(self);
        if expired.is_err() {
            self.roll_back();
        }
        expired
    }
}

pub(crate) fn call_id(text: &str) -> Result<CallId, StoreError> {
    CallId::new(text).map_err(|error| StoreError::corrupt(None, error))
}

pub(crate) fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing an approval")
}
