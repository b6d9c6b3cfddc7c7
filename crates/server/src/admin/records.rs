//! Records, read back: one call with everything in it, or page after page of decided calls.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_store::{Payload, Record, Recorded, StoredPart, Trace, TraceEntry};
use lockgate_types::{CallId, Code, Json, JsonLimits, Object, Tenant};
use std::sync::Arc;

/// Entries of one page.
pub(crate) const ENTRIES_MAX: i64 = 1000;
/// Entries of a page, where nothing is asked for.
const ENTRIES_DEFAULT: u64 = 500;
/// Entries that are asked of the store at once: their payloads are in memory together.
const ENTRIES_AT_ONCE: u64 = 4;
/// Bytes of payloads after which an answer ends: readers read at most 64 MiB.
const PAYLOAD_BYTES_MAX: usize = 24 << 20;

pub(super) async fn trace(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let trace = parts.kernel.store().trace(&call).await?.ok_or(Code::RecordNotFound)?;
        Ok(Reading::json(trace_json(&call, trace)?))
    };
    parts.govern(&asked, "traces_read", perform).await
}

pub(super) fn trace_json(call: &CallId, trace: Trace) -> Result<Object, Problem> {
    let mut entries = Vec::with_capacity(trace.entries.len());
    let (mut bytes, mut is_cut) = (0, trace.is_cut);
    for TraceEntry { index, tenant, hash, leaf, payload } in trace.entries {
        let mut entry = Object::new()
            .with("index", integer(index))
            .with("leaf", leaf)
            .with("leaf_hash", hash.to_string())
            .with_some("tenant", tenant.as_ref().map(Tenant::as_str));
        match payload {
            Payload::None => {}
            Payload::Erased => entry.set("erased", true),
            Payload::Present(parts) => {
                bytes += parts.iter().map(|part| part.bytes.len()).sum::<usize>();
                if bytes > PAYLOAD_BYTES_MAX {
                    is_cut = true;
                } else {
                    entry.set("payload", payload_json(&parts)?);
                }
            }
        }
        entries.push(entry.into());
    }
    let answer = Object::new().with("call", call.as_str()).with("entries", Json::Array(entries));
    Ok(answer.with_some("is_cut", is_cut.then_some(true)))
}

fn payload_json(parts: &[StoredPart]) -> Result<Object, Problem> {
    let mut payload = Object::new();
    for part in parts {
        let value = match part.name {
            "call_digest" | "result_digest" => {
                String::from_utf8_lossy(&part.bytes).into_owned().into()
            }
            _ => json(&part.bytes)?,
        };
        payload.set(part.name, value);
    }
    Ok(payload)
}

pub(super) async fn page(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || Ok(Reading::json(parts.page(&asked).await?));
    parts.govern(&asked, "records_read", perform).await
}

impl Parts {
    async fn page(&self, asked: &Asked) -> Result<Object, Problem> {
        let from = asked.number("from").unwrap_or(0);
        let until = asked.number("until").unwrap_or(u64::MAX);
        let looked_at = asked.number("max").unwrap_or(ENTRIES_DEFAULT);
        let end = from.saturating_add(looked_at).min(until);
        let (mut at, mut bytes) = (from, 0);
        let mut records = Vec::new();
        loop {
            let count = end.saturating_sub(at).min(ENTRIES_AT_ONCE);
            let count = u32::try_from(count).unwrap_or(0);
            let some = self.kernel.store().records(at, count).await?;
            at = some.next;
            for record in some.records {
                bytes += record.recorded.as_ref().map_or(0, length);
                records.push(record_json(record)?);
            }
            if at >= end.min(some.size) || count == 0 || bytes > PAYLOAD_BYTES_MAX {
                let is_more = at < until.min(some.size);
                return Ok(Object::new()
                    .with("records", Json::Array(records))
                    .with_some("next", is_more.then(|| integer(at)))
                    .with("size", integer(some.size)));
            }
        }
    }
}

fn length(recorded: &Recorded) -> usize {
    let Recorded { identity, call, moment, decision } = recorded;
    [identity, call, moment, decision].into_iter().map(Vec::len).sum()
}

fn record_json(record: Record) -> Result<Json, Problem> {
    let answer = Object::new()
        .with("index", integer(record.index))
        .with("kind", record.kind.as_str())
        .with("call", record.call.as_str());
    let Some(recorded) = record.recorded else {
        let why = if record.is_too_large { "too_large" } else { "erased" };
        return Ok(answer.with(why, true).into());
    };
    let facts = Object::new()
        .with("identity", json(&recorded.identity)?)
        .with("call", json(&recorded.call)?)
        .with("moment", json(&recorded.moment)?);
    Ok(answer.with("facts", facts).with("decision", json(&recorded.decision)?).into())
}

/// What the store gives back was held against its commitment, and was JSON when it was written.
fn json(bytes: &[u8]) -> Result<Json, Problem> {
    Json::parse(bytes, &JsonLimits::OWN).map_err(|_| Code::LedgerCorrupt.into())
}

fn integer(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
