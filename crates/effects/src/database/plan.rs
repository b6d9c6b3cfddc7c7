//! What may be asked of a database: its grants, its statements, and what each call means of them.
//! No I/O.

use crate::sql::{
    Change, Checked, Dialect, GrantError, Grants, Parameter, Refusal, RowFilter, TableGrant,
    change, check,
};
use lockgate_core::declare::{self, ArgumentWord, DialectWord};
use lockgate_core::statement::{self, Numbered};
use lockgate_core::world::{Operation, Prepared, StatementKind};
use lockgate_core::{World, bundle};
use lockgate_types::call::{Call, Reading};
use lockgate_types::decision::{self, Obligation};
use lockgate_types::{Json, Object, OperationName};
use std::collections::BTreeMap;

/// Characters of a masked value that stay readable, if it has more than twice as many. As where
/// results are masked that no database gave.
const MASK_SHOWS: usize = 4;
/// Stands where a text was removed.
const REDACTED: &str = "[redacted]";

/// What a bundle says of one database, with its grants parsed.
pub(crate) struct Plan {
    pub(crate) dialect: Dialect,
    /// The declared tables, by the names that the bundle has for them; numbered as in the grants.
    pub(crate) tables: Vec<(String, declare::Table)>,
    functions: Vec<String>,
    pub(crate) rows_max: u32,
    /// What is granted where no obligation takes anything away.
    pub(crate) open: Grants,
    pub(crate) operations: BTreeMap<OperationName, Operation>,
}

/// Why a statement that was allowed cannot be run as the decision says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// The check refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An obligation cannot be made part of it.
    #[error("an obligation cannot be met: {0}")]
    Obligation(String),
}

impl Plan {
    /// What a bundle says of a database.
    pub(crate) fn new(
        world: &World,
        upstream: &str,
        declared: &declare::Database,
    ) -> Result<Self, GrantError> {
        let dialect = dialect(declared.dialect);
        let tables = declared.table.iter().map(|(name, table)| (name.clone(), table.clone()));
        let tables: Vec<(String, declare::Table)> = tables.collect();
        let own = world.operations.iter();
        let own = own.filter(|(_, it)| it.upstream.as_str() == upstream && it.statement.is_some());
        let operations = own.map(|(name, operation)| (name.clone(), operation.clone())).collect();
        let (functions, rows_max) = (declared.functions.clone(), declared.rows_max);
        let granted = tables.iter().map(|(name, table)| grant(dialect, name, table)).collect();
        let open = grants(dialect, granted, &functions, rows_max)?;
        Ok(Self { dialect, tables, functions, rows_max, open, operations })
    }

    /// What the statement of a call reads, or why it is refused. `None`: it is no statement.
    pub(crate) fn read(&self, call: &Call) -> Option<Reading> {
        let operation = self.operations.get(&call.operation)?;
        match &operation.statement.as_ref()?.kind {
            StatementKind::Change(_) => Some(Reading::default()),
            StatementKind::Given | StatementKind::Query(_) => {
                Some(match self.query(operation, call.arguments(), &self.open) {
                    Ok(checked) => self.reading(&checked),
                    Err(refusal) => {
                        Reading { refusal: Some(refusal.to_string()), ..Reading::default() }
                    }
                })
            }
        }
    }

    fn reading(&self, checked: &Checked) -> Reading {
        let name = |number: &usize| self.tables.get(*number).map(|(name, _)| name.as_str());
        let reads = checked.reads();
        let tables = reads.tables.iter().filter_map(name).map(str::to_owned);
        let columns = reads.columns.iter();
        let columns = columns.filter_map(|(number, column)| {
            // In the spelling of the bundle, which is that of its policies.
            let (table, declared) = self.tables.get(*number)?;
            let declared = declared.columns.iter().find(|it| self.is_same(it, column))?;
            Some(format!("{table}.{declared}"))
        });
        let (mut tables, mut columns): (Vec<_>, Vec<_>) = (tables.collect(), columns.collect());
        tables.sort();
        columns.sort();
        Reading { tables, columns, ..Reading::default() }
    }

    /// A change to be made, with the values that a call gives; `None`: it is no change.
    pub(crate) fn change(&self, call: &Call) -> Option<Result<Change, Refusal>> {
        let statement = self.operations.get(&call.operation)?.statement.as_ref()?;
        let StatementKind::Change(prepared) = &statement.kind else { return None };
        Some(self.numbered(prepared).and_then(|numbered| {
            let value = |name: &String| self.value(name, call.arguments());
            let values = numbered.names.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            change(self.dialect, &numbered.text, &values)
        }))
    }

    /// A statement to be run, with the obligations of the decision that allowed it made part of it.
    pub(crate) fn prepare(
        &self,
        call: &Call,
        obligations: &[Obligation],
    ) -> Result<Checked, PrepareError> {
        let unknown = || PrepareError::Obligation("there is no such statement".to_owned());
        let operation = self.operations.get(&call.operation).ok_or_else(unknown)?;
        let grants = self.narrowed(obligations)?;
        Ok(self.query(operation, call.arguments(), &grants)?)
    }

    /// The query that a call asks for, checked against grants.
    fn query(
        &self,
        operation: &Operation,
        arguments: Option<&Object>,
        grants: &Grants,
    ) -> Result<Checked, Refusal> {
        let kind = operation.statement.as_ref().map(|statement| &statement.kind);
        match kind {
            Some(StatementKind::Given) => {
                let sql = arguments.and_then(|it| it.get("sql")).and_then(Json::as_str);
                let given = arguments.and_then(|it| it.get("parameters"));
                let given = given.and_then(Json::as_array).unwrap_or_default();
                let parameters: Option<Vec<Parameter>> =
                    given.iter().map(Parameter::from_json).collect();
                let Some(parameters) = parameters else {
                    return Err(Refusal::of_parameter("a value that is no text, number or truth"));
                };
                check(sql.unwrap_or_default(), &parameters, grants)
            }
            Some(StatementKind::Query(prepared)) => {
                let numbered = self.numbered(prepared)?;
                let value = |name: &String| self.value(name, arguments);
                let parameters = numbered.names.iter().map(value).collect::<Result<Vec<_>, _>>()?;
                check(&numbered.text, &parameters, grants)
            }
            Some(StatementKind::Change(_)) | None => {
                Err(Refusal::of_parameter("a statement that is no query"))
            }
        }
    }

    fn numbered(&self, prepared: &Prepared) -> Result<Numbered, Refusal> {
        statement::number(&prepared.text, self.mark())
            .map_err(|fault| Refusal::of_parameter(fault.as_str()))
    }

    fn value(&self, name: &str, arguments: Option<&Object>) -> Result<Parameter, Refusal> {
        match arguments.and_then(|arguments| arguments.get(name)) {
            None => Ok(Parameter::Null),
            Some(value) => Parameter::from_json(value)
                .ok_or_else(|| Refusal::of_parameter(&format!("`{name}` cannot be bound"))),
        }
    }

    /// Whether a statement of the bundle's could ever be run: with some value for each argument.
    pub(crate) fn trial(&self, operation: &Operation) -> Result<(), Refusal> {
        let prepared = match operation.statement.as_ref().map(|statement| &statement.kind) {
            Some(StatementKind::Query(prepared)) => prepared,
            Some(StatementKind::Change(prepared)) => {
                let text = self.numbered(prepared)?.text;
                return change(self.dialect, &text, &[]).map(drop);
            }
            Some(StatementKind::Given) | None => return Ok(()),
        };
        let numbered = self.numbered(prepared)?;
        let value = |name: &String| match prepared.arguments.get(name).map(|it| it.kind) {
            Some(ArgumentWord::Integer) => Parameter::Integer(1),
            Some(ArgumentWord::Number) => Parameter::Decimal("1.5".to_owned()),
            Some(ArgumentWord::Boolean) => Parameter::Boolean(true),
            Some(ArgumentWord::String) | None => Parameter::Text(String::new()),
        };
        let values: Vec<Parameter> = numbered.names.iter().map(value).collect();
        check(&numbered.text, &values, &self.open).map(drop)
    }

    /// A look at each table, to see whether it is there as it is declared.
    pub(crate) fn looks(&self) -> Vec<(String, Checked)> {
        let look = |(name, table): &(String, declare::Table)| {
            let quoted = |text: &str| format!("\"{text}\"");
            let columns: Vec<String> = table.columns.iter().map(|it| quoted(it)).collect();
            let relation: Vec<String> = name.split('.').map(quoted).collect();
            let text = format!("SELECT {} FROM {} LIMIT 0", columns.join(", "), relation.join("."));
            Some((name.clone(), check(&text, &[], &self.open).ok()?))
        };
        self.tables.iter().filter_map(look).collect()
    }

    // Obligations.

    /// What is granted where obligations take away.
    pub(crate) fn narrowed(&self, obligations: &[Obligation]) -> Result<Grants, PrepareError> {
        let granted = self.tables.iter().map(|(name, table)| grant(self.dialect, name, table));
        let mut granted: Vec<TableGrant> = granted.collect();
        let mut rows_max = self.rows_max;
        for obligation in obligations {
            match obligation {
                Obligation::Rows(filters) => {
                    for filter in filters {
                        self.filter(filter, &mut granted)?;
                    }
                }
                Obligation::Mask(columns) => self.hide(columns, mask, &mut granted),
                Obligation::Cap(max) => rows_max = rows_max.min(*max),
                // Redaction follows, since it hides more.
                Obligation::Redact(_) | Obligation::LogMore | Obligation::Links => {}
            }
        }
        for obligation in obligations {
            if let Obligation::Redact(paths) = obligation {
                // Personal data is looked for in the answer.
                let paths: Vec<String> =
                    paths.iter().filter(|path| !path.starts_with("pii:")).cloned().collect();
                self.hide(&paths, redaction, &mut granted);
            }
        }
        let made = grants(self.dialect, granted, &self.functions, rows_max);
        made.map_err(|error| PrepareError::Obligation(error.to_string()))
    }

    fn filter(
        &self,
        filter: &decision::RowFilter,
        granted: &mut [TableGrant],
    ) -> Result<(), PrepareError> {
        let at = self.tables.iter().position(|(name, _)| *name == filter.table);
        let Some(grant) = at.and_then(|at| granted.get_mut(at)) else {
            let what = format!("there is no table `{}`", filter.table);
            return Err(PrepareError::Obligation(what));
        };
        let numbered = statement::number(&filter.condition, self.mark());
        let Numbered { text, names } =
            numbered.map_err(|fault| PrepareError::Obligation(fault.as_str().to_owned()))?;
        let value = |name: &String| match filter.values.get(name) {
            Some(value) => Ok(Parameter::Text(value.clone())),
            None => Err(PrepareError::Obligation(format!("`:{name}` has no value"))),
        };
        let values = names.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        grant.filters.push(RowFilter { condition: text, values });
        Ok(())
    }

    /// Puts something in place of every column that a target names.
    fn hide(&self, targets: &[String], with: fn(&str) -> String, granted: &mut [TableGrant]) {
        for ((name, _), grant) in self.tables.iter().zip(granted) {
            for column in grant.columns.clone() {
                if targets.iter().any(|target| self.names(target, name, &column)) {
                    grant.masks.insert(column.clone(), with(&format!("\"{column}\"")));
                }
            }
        }
    }

    /// Whether a target names a column: `email`, `*.email`, `customers.email`. What stands before
    /// the column's name counts only where it is the name of a table: a path that was written for
    /// something else hides too much rather than too little.
    fn names(&self, target: &str, table: &str, column: &str) -> bool {
        let (before, last) = target.rsplit_once('.').unwrap_or(("", target));
        let is_elsewhere = before != table && self.tables.iter().any(|(known, _)| known == before);
        (last == "*" || self.is_same(last, column)) && !is_elsewhere
    }

    /// Whether two names are one to the database.
    fn is_same(&self, one: &str, other: &str) -> bool {
        match self.dialect {
            Dialect::Postgres => one == other,
            Dialect::Sqlite => one.eq_ignore_ascii_case(other),
        }
    }

    pub(crate) fn mark(&self) -> char {
        bundle::mark(match self.dialect {
            Dialect::Postgres => DialectWord::Postgres,
            Dialect::Sqlite => DialectWord::Sqlite,
        })
    }
}

fn dialect(word: DialectWord) -> Dialect {
    match word {
        DialectWord::Postgres => Dialect::Postgres,
        DialectWord::Sqlite => Dialect::Sqlite,
    }
}

fn grant(dialect: Dialect, name: &str, table: &declare::Table) -> TableGrant {
    let usual = match dialect {
        Dialect::Postgres => "public",
        Dialect::Sqlite => "main",
    };
    let (schema, name) = name.split_once('.').unwrap_or((usual, name));
    let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    TableGrant::new(schema, name, &columns)
}

fn grants(
    dialect: Dialect,
    tables: Vec<TableGrant>,
    functions: &[String],
    rows_max: u32,
) -> Result<Grants, GrantError> {
    let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
    Grants::new(dialect, tables, &functions, rows_max)
}

/// The last characters of a long value, and nothing of a short one.
fn mask(column: &str) -> String {
    let text = format!("CAST({column} AS text)");
    let (longer, from) = (2 * MASK_SHOWS, MASK_SHOWS - 1);
    format!(
        "CASE WHEN {column} IS NULL THEN NULL WHEN length({text}) > {longer} \
         THEN '****' || substr({text}, length({text}) - {from}) ELSE '****' END"
    )
}

fn redaction(column: &str) -> String {
    format!("CASE WHEN {column} IS NULL THEN NULL ELSE '{REDACTED}' END")
}
