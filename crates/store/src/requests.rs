//! Requests for approval, read: page after page of those that are open, and what an agent has asked
//! for lately.

use crate::approval::{ApprovalRequest, call_id, failed};
use crate::db::values;
use crate::effect_key::proposal;
use crate::error::StoreError;
use crate::store::Store;
use crate::switch::Scopes;
use crate::writer::Writer;
use lockgate_types::evidence::History;
use lockgate_types::facts::Facts;
use lockgate_types::{CallId, Micros};

/// Requests that one read gives.
pub const REQUESTS_READ_MAX: u32 = 256;
/// Milliseconds of an agent's requests that are counted as evidence.
const HISTORY_MS: i64 = 24 * 60 * 60 * 1000;
/// Requests of everybody that are looked at for that, the latest ones.
const HISTORY_MAX: u32 = 10_000;

impl Store {
    /// Open requests for approval, those first that end first.
    pub async fn approval_requests(&self, max: u32) -> Result<Vec<ApprovalRequest>, StoreError> {
        let first = (Micros(i64::MIN), String::new());
        self.read(move |writer| writer.open_requests_after(&first, max)).await
    }

    /// The same, those that follow this one: how it stands by now does not matter. `None`: there is
    /// no such request.
    pub async fn approval_requests_after(
        &self,
        after: &CallId,
        max: u32,
    ) -> Result<Option<Vec<ApprovalRequest>>, StoreError> {
        let after = after.clone();
        self.read(move |writer| {
            let Some(request) = writer.request(&after)? else { return Ok(None) };
            let after = (request.expires, request.call.as_str().to_owned());
            writer.open_requests_after(&after, max).map(Some)
        })
        .await
    }

    /// Whether a request is for exactly what these facts ask for, by who they say.
    pub async fn is_request_for(
        &self,
        request: &CallId,
        facts: &Facts,
    ) -> Result<bool, StoreError> {
        let subject = self.subject_of(&facts.identity).await?;
        let (request, proposal) = (request.clone(), proposal(facts, &subject));
        self.read(move |writer| {
            let select = "SELECT 1 FROM approval WHERE call = ?1 AND proposal = ?2";
            writer.db.exists(select, values![request.as_str(), &proposal]).map_err(failed())
        })
        .await
    }

    /// What the agent of these facts has asked people for in the last day.
    pub async fn asked_lately(&self, facts: &Facts) -> Result<History, StoreError> {
        let agent = Scopes::of(facts).agent_text();
        self.read(move |writer| writer.asked_lately(&agent, writer.now())).await
    }
}

impl Writer {
    fn open_requests_after(
        &self,
        (expires, call): &(Micros, String),
        max: u32,
    ) -> Result<Vec<ApprovalRequest>, StoreError> {
        let select = "SELECT call FROM approval
            WHERE state IN ('pending', 'given') AND expires > ?1
            AND (expires > ?2 OR (expires = ?2 AND call > ?3))
            ORDER BY expires, call LIMIT ?4";
        let max = max.min(REQUESTS_READ_MAX);
        let given = values![self.now().0, expires.0, call, max];
        let calls: Vec<String> = self.db.rows(select, given, |row| row.get(0)).map_err(failed())?;
        let requests = calls.iter().map(|call| self.request(&call_id(call)?));
        requests.filter_map(Result::transpose).collect()
    }

    /// Requests of an agent by how they stand. The ids of calls begin with their time.
    fn asked_lately(&self, agent: &str, now: Micros) -> Result<History, StoreError> {
        let from = format!("{:012x}", (now.0 / 1000).saturating_sub(HISTORY_MS).max(0));
        let select = "SELECT state, count(*) FROM
            (SELECT state, agent FROM approval WHERE call >= ?1 ORDER BY call DESC LIMIT ?2)
            AS lately WHERE agent = ?3 GROUP BY state ORDER BY state";
        let counted = self
            .db
            .rows(select, values![&from, HISTORY_MAX, agent], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(History { window_ms: HISTORY_MS, requests: counted.map_err(failed())? })
    }
}
