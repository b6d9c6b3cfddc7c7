//! What running a statement gives, and within which bounds.

use crate::sql::grants::Dialect;
use lockgate_types::{Json, JsonLimits, Object};
use std::time::Duration;

/// How long a statement may take, unless said otherwise: what an agent waits for without being
/// told that something is wrong.
pub(super) const RUN_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer, as JSON, unless said otherwise: more than a model reads.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The bounds of one run. The bound of rows is part of the grants.
#[derive(Clone, Copy, Debug)]
pub struct RunBounds {
    /// How long it may take.
    pub time: Duration,
    /// Bytes of its rows, as JSON.
    pub answer_bytes_max: usize,
}

impl Default for RunBounds {
    fn default() -> Self {
        Self { time: RUN_WITHIN, answer_bytes_max: ANSWER_BYTES_MAX }
    }
}

/// What a statement gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The names of the columns; two may be the same.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Json>>,
    /// Whether there is more that a bound of rows or bytes has cut off.
    pub is_truncated: bool,
}

impl Answer {
    /// The answer as a tool gives it.
    pub fn into_json(self) -> Json {
        let columns = self.columns.into_iter().map(Json::String).collect();
        let rows = self.rows.into_iter().map(Json::Array).collect();
        Object::new()
            .with("columns", Json::Array(columns))
            .with("rows", Json::Array(rows))
            .with("truncated", Json::Bool(self.is_truncated))
            .into()
    }
}

/// Why a checked statement gave nothing.
///
/// What a database says of itself is for the operator: its words may repeat values that a filter
/// keeps back or a mask hides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The statement was checked for another database.
    #[error("the statement was checked for {checked:?}")]
    Dialect {
        /// For which.
        checked: Dialect,
    },
    /// The database cannot be reached or opened.
    #[error("the database cannot be reached: hint: {detail}")]
    Unreachable {
        /// Why, for the operator.
        detail: String,
    },
    /// It is where the bundle does not allow it.
    #[error("the database is where it may not be: hint: {detail}")]
    NotAllowed {
        /// What is where, for the operator.
        detail: String,
    },
    /// It took longer than it may.
    #[error("the statement took longer than {} ms: hint: ask for less", after.as_millis())]
    TimedOut {
        /// The bound.
        after: Duration,
    },
    /// A change would have changed more than it may, and was taken back.
    #[error("the statement would change more than {max} rows: hint: change less")]
    TooManyChanges {
        /// The bound.
        max: u32,
    },
    /// A change whose commit was not answered.
    #[error("it is not known whether the change was committed")]
    InDoubt {
        /// Why, for the operator.
        detail: String,
    },
    /// A barrier of the database stopped what the check had let pass.
    #[error("a barrier within the database stopped the statement")]
    Barrier {
        /// Which, for the operator.
        detail: String,
    },
    /// The database refused or failed: a division by zero, a cast that fails, a missing table.
    #[error("the database answered with error `{state}`")]
    Database {
        /// Its code: SQLSTATE, or SQLite's extended result code.
        state: String,
        /// Its words, for the operator only.
        detail: String,
    },
    /// A value of a type that has no form in JSON here.
    #[error(
        "column `{column}` has values of type `{kind}`: hint: cast it to text, or leave it out"
    )]
    Value {
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
}

/// Gathers rows until there is no more, or a bound is met.
pub(super) struct Rows {
    rows: Vec<Vec<Json>>,
    rows_max: usize,
    bytes: usize,
    bytes_max: usize,
    is_truncated: bool,
}

impl Rows {
    pub(super) fn within(rows_max: u32, bounds: RunBounds) -> Self {
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let bytes_max = bounds.answer_bytes_max;
        Self { rows: Vec::new(), rows_max, bytes: 0, bytes_max, is_truncated: false }
    }

    /// Takes a row. `false`: there is no room for it, nor for another.
    pub(super) fn take(&mut self, row: Vec<Json>) -> bool {
        let mut written = Vec::new();
        for value in &row {
            value.write(&mut written);
            written.push(b',');
        }
        if self.rows.len() >= self.rows_max || self.bytes + written.len() > self.bytes_max {
            self.is_truncated = true;
            return false;
        }
        self.bytes += written.len();
        self.rows.push(row);
        true
    }

    pub(super) fn into_answer(self, columns: Vec<String>) -> Answer {
        Answer { columns, rows: self.rows, is_truncated: self.is_truncated }
    }
}

/// A number from its text; text that is no number of JSON's, such as `NaN`, stays text.
pub(super) fn number(text: String) -> Json {
    match Json::parse(text.as_bytes(), &JsonLimits::MESSAGE) {
        Ok(number @ Json::Number(_)) => number,
        _ => Json::String(text),
    }
}

/// A floating-point number, in the shortest digits that are this number.
pub(super) fn float(value: f64) -> Json {
    number(format!("{value:?}"))
}
