//! The rows of a query of PostgreSQL, asked by `effects`, under its rules for statements and for
//! what leaves the gate.

use lockgate_core::declare;
use lockgate_core::network::Network;
use lockgate_effects::sql::{PostgresDatabase, RowsError, RunBounds, RunError, Told};
use lockgate_retrieval::connect::{Answer, Ask, ConnectError, DOCUMENTS_MAX};
use lockgate_types::{Json, Redacted};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long one query may take, from the first row to the last: the snapshot that it holds keeps
/// its database from tidying up.
const ASKED_WITHIN: Duration = Duration::from_secs(300);

/// Classes of errors that say that the query does not fit what is there: of data, and of names and
/// rights. Others pass: of a server that ends, or has no room.
const MISTAKES: [&str; 2] = ["22", "42"];

/// A query of PostgreSQL.
pub(super) struct Postgres {
    address: Redacted<String>,
    allowed: Vec<Network>,
    statement: String,
    functions: Vec<String>,
    runtime: Handle,
}

impl Postgres {
    pub(super) fn new(
        declared: &declare::QueryConnector,
        address: Redacted<String>,
        runtime: Handle,
    ) -> Self {
        let allowed = declared.allow_networks.iter();
        Self {
            address,
            allowed: allowed.filter_map(|text| Network::parse(text)).collect(),
            statement: declared.statement.clone(),
            functions: declared.functions.clone(),
            runtime,
        }
    }
}

impl Ask for Postgres {
    fn ask(&mut self, answer: &mut dyn Answer) -> Result<(), ConnectError> {
        let rows_max = u32::try_from(DOCUMENTS_MAX).unwrap_or(u32::MAX);
        let asking = async {
            let bounds = RunBounds { time: ASKED_WITHIN, ..RunBounds::default() };
            let database = PostgresDatabase::at(&self.address, &self.allowed, bounds)?;
            let query = (self.statement.as_str(), self.functions.as_slice());
            let told = &mut |told: Told<'_>| match told {
                Told::Columns(names) => answer.columns(names.to_vec()),
                Told::Row(values) => answer.row(values.into_iter().map(text).collect()),
            };
            database.each_row(query, rows_max, told).await
        };
        self.runtime.block_on(asking).map_err(failed)
    }
}

/// A value as text. `None`: there is none.
fn text(value: Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// The database's own words may repeat what is in it: they are for the log.
fn failed(error: RowsError<ConnectError>) -> ConnectError {
    let why = error.to_string();
    match error {
        RowsError::Ended(error) => error,
        RowsError::Refused { .. } | RowsError::Granted(_) | RowsError::MayWrite { .. } => {
            ConnectError::Mismatch { why }
        }
        RowsError::Run(error) => match error {
            RunError::NotAllowed { detail } => ConnectError::Elsewhere { why: detail },
            RunError::Value { .. } => ConnectError::Mismatch { why },
            RunError::Barrier { detail } => {
                tracing::error!(detail, "a barrier stopped the query of a source");
                ConnectError::Mismatch { why }
            }
            RunError::Database { state, detail } => {
                tracing::warn!(state, detail, "the database refused the query of a source");
                match MISTAKES.iter().any(|class| state.starts_with(class)) {
                    true => ConnectError::Mismatch { why },
                    false => ConnectError::Away { why },
                }
            }
            RunError::Unreachable { .. }
            | RunError::TimedOut { .. }
            | RunError::TooManyChanges { .. }
            | RunError::InDoubt { .. }
            | RunError::Dialect { .. } => ConnectError::Away { why },
        },
    }
}
