//! The way of one call to a database: prepared under its decision's obligations, let through the
//! switches, run, and answered as a tool answers.

use super::plan::PrepareError;
use crate::bundled::{besides_tools, in_era};
use crate::exchange::{End, FarEnd};
use crate::perform::{admit, conclude};
use crate::sql::{Answer, RunError};
use crate::trouble::{Came, Trouble, stopped};
use crate::upstream::{Upstream, Way};
use crate::upstreams::Through;
use lockgate_store::{Pass, RoomForRows};
use lockgate_types::call::Call;
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::{Code, Json, Object};
use lockgate_wire::Era;
use std::sync::Arc;

/// The member of a result's `_meta` that names the tables whose rows were filtered.
pub const FILTERED_META: &str = "dev.lockgate/filtered";

/// Performs a call that a recorded decision allows, to its end.
pub(crate) async fn perform(
    upstream: Arc<Upstream>,
    call: Call,
    decision: Option<Decision>,
    era: Era,
    through: Through,
    far: FarEnd,
) {
    let Through { pass, watch, room, .. } = through;
    let end = match admit(&upstream, &far.speaker, false) {
        Ok(_place) => answer(&upstream, &call, decision, era, (pass, room)).await,
        Err(trouble) => Err(trouble),
    };
    conclude(&upstream, watch, end, &far).await;
}

async fn answer(
    upstream: &Upstream,
    call: &Call,
    decision: Option<Decision>,
    era: Era,
    (pass, room): (Option<Pass>, Option<RoomForRows>),
) -> Result<End, Trouble> {
    let (Way::Database(database), Some(decision)) = (&upstream.way, decision) else {
        return Err(Trouble::before(Code::InvariantBroken, "no decision about a database"));
    };
    if database.bundle != decision.bundle {
        let detail = "another bundle describes the database by now";
        return Err(Trouble::before(Code::FactsMoved, detail));
    }
    if call.method != "tools/call" {
        return Ok(besides_tools(&call.method));
    }
    if let Some(pass) = &pass {
        pass.ready().await;
    }
    let leave = || match &pass {
        Some(pass) => pass.leave().map_err(|stop| stopped(&stop)),
        None => Ok(()),
    };
    let (ran, kind) = match database.plan.change(call) {
        Some(change) => {
            let change = change.map_err(|refusal| unprepared(refusal.into()))?;
            let opened = database.writer().await?;
            let rows_max = room.as_ref().map_or(u32::MAX, |room| room.max);
            let rows_max = rows_max.min(database.plan.rows_max);
            leave()?;
            let changed = opened.executor.change(&change, rows_max).await;
            let changed = changed.map(|it| i64::try_from(it).unwrap_or(i64::MAX));
            let changed = changed.map(|changed| Object::new().with("changed", changed).into());
            (changed, Kind::Change)
        }
        None => {
            let checked = database.plan.prepare(call, &decision.obligations).map_err(unprepared)?;
            let opened = database.reader().await?;
            leave()?;
            let answer = opened.executor.run(&checked).await.map(Answer::into_json);
            (answer, Kind::Query)
        }
    };
    match ran {
        Ok(value) => Ok(End::Result(result(value, filtered(&decision.obligations), era))),
        Err(error) => match room.filter(|room| is_beyond(&error, room)) {
            Some(room) => Ok(End::Result(no_room(&room, era))),
            None => failed(error, era, kind),
        },
    }
}

/// Whether a change was taken back for want of room in a cap.
fn is_beyond(error: &RunError, room: &RoomForRows) -> bool {
    matches!(error, RunError::TooManyChanges { max } if *max == room.max)
}

fn no_room(room: &RoomForRows, era: Era) -> Json {
    let RoomForRows { cap, max } = room;
    let said = format!("the cap `{cap}` has room for {max} rows, and this would change more");
    said_with(&said, Code::CapReached, era)
}

fn unprepared(error: PrepareError) -> Trouble {
    let code = match &error {
        PrepareError::Refused(_) => Code::StatementRefused,
        PrepareError::Obligation(_) => Code::ObligationUnknown,
    };
    Trouble::before(code, error.to_string())
}

/// What a statement gave, as a tool's result.
fn result(value: Json, filtered: Option<Object>, era: Era) -> Json {
    let block = Object::new().with("type", "text").with("text", value.to_string());
    let result = Object::new().with("content", vec![Json::from(block)]);
    in_era(result.with("structuredContent", value).with_some("_meta", filtered), era)
}

/// Which tables' rows a decision filters, for whoever wonders why one is missing.
fn filtered(obligations: &[Obligation]) -> Option<Object> {
    let filters = obligations.iter().find_map(|obligation| match obligation {
        Obligation::Rows(filters) => Some(filters),
        Obligation::Redact(_)
        | Obligation::Mask(_)
        | Obligation::Cap(_)
        | Obligation::LogMore
        | Obligation::Links => None,
    })?;
    let mut tables: Vec<Json> = filters.iter().map(|it| it.table.as_str().into()).collect();
    tables.dedup();
    Some(Object::new().with(FILTERED_META, tables))
}

/// What was run.
#[derive(Clone, Copy)]
enum Kind {
    Query,
    Change,
}

impl Kind {
    /// What a failure comes to: a change was taken back; a query has left, and its answer is not
    /// whole.
    fn trouble(self, code: Code, detail: String) -> Trouble {
        match self {
            Self::Query => Trouble::after(code, detail),
            Self::Change => Trouble::before(code, detail),
        }
    }
}

/// The database's own words are for operators: they may repeat what a filter keeps back.
fn failed(error: RunError, era: Era, kind: Kind) -> Result<End, Trouble> {
    let said = error.to_string();
    match error {
        RunError::TimedOut { .. } => {
            Err(kind.trouble(Code::UpstreamTimeout, said).by(Came::ByStatement))
        }
        RunError::Unreachable { detail } => Err(Trouble::before(Code::UpstreamUnreachable, detail)),
        RunError::NotAllowed { detail } => Err(Trouble::before(Code::AddressRefused, detail)),
        RunError::Dialect { .. } => Err(Trouble::before(Code::InvariantBroken, said)),
        RunError::InDoubt { detail } => Err(Trouble::after(Code::UpstreamTruncated, detail)),
        RunError::Barrier { detail } => {
            tracing::error!(detail, "a barrier stopped a statement that the check let pass");
            Err(kind.trouble(Code::StatementFailed, said))
        }
        RunError::Database { detail, .. } => {
            tracing::warn!(detail, "the database refused a statement");
            Ok(End::Result(failure(&said, era)))
        }
        RunError::Value { .. } | RunError::TooManyChanges { .. } => {
            Ok(End::Result(failure(&said, era)))
        }
    }
}

/// A failure as a tool reports one: what the caller can mend by asking otherwise.
fn failure(said: &str, era: Era) -> Json {
    said_with(said, Code::StatementFailed, era)
}

fn said_with(said: &str, code: Code, era: Era) -> Json {
    let text = format!("{said} ({code})");
    let block = Object::new().with("type", "text").with("text", text);
    let result = Object::new().with("content", vec![Json::from(block)]).with("isError", true);
    in_era(result, era)
}
