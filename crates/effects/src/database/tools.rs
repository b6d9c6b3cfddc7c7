//! How the statements of a database look as tools of the protocol.

use super::plan::Plan;
use crate::sql::Dialect;
use lockgate_core::world::{Operation, Statement, StatementKind};
use lockgate_types::call::Effect;
use lockgate_types::{Json, Object, OperationName};
use std::fmt::Write as _;

impl Plan {
    /// The definitions of the tools, as `tools/list` gives them.
    pub(crate) fn tools(&self) -> Vec<Json> {
        let tool = |(name, operation): (&OperationName, &Operation)| {
            let statement = operation.statement.as_ref()?;
            let (_, name) = name.as_str().split_once('/')?;
            Some(self.tool(name, operation, statement))
        };
        self.operations.iter().filter_map(tool).collect()
    }

    fn tool(&self, name: &str, operation: &Operation, statement: &Statement) -> Json {
        let is_read = operation.effect == Effect::Read;
        let hints = Object::new()
            .with("readOnlyHint", is_read)
            .with("destructiveHint", operation.effect == Effect::Destructive)
            .with("openWorldHint", false);
        let output = match &statement.kind {
            StatementKind::Given | StatementKind::Query(_) => rows_schema(),
            StatementKind::Change(_) => change_schema(),
        };
        Object::new()
            .with("name", name)
            .with("description", self.description(statement))
            .with_some("inputSchema", operation.schema.clone())
            .with("outputSchema", output)
            .with("annotations", hints)
            .into()
    }

    /// What it is for, and for free statements what there is to ask for.
    fn description(&self, statement: &Statement) -> String {
        let mut text = statement.description.trim().to_owned();
        if !matches!(statement.kind, StatementKind::Given) {
            return text;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let (database, mark) = match self.dialect {
            Dialect::Postgres => ("PostgreSQL", "`$1`, `$2`"),
            Dialect::Sqlite => ("SQLite", "`?1`, `?2`"),
        };
        let _ = write!(
            text,
            "One query of {database}, without comments. Values that vary are parameters ({mark}). \
             At most {} rows are answered; `truncated` says whether there were more. Tables:",
            self.rows_max
        );
        for (name, table) in &self.tables {
            let _ = write!(text, "\n- {name} ({})", table.columns.join(", "));
            if let Some(description) = &table.description {
                let _ = write!(text, ": {}", description.trim());
            }
        }
        text
    }
}

fn of_type(kind: &str) -> Object {
    Object::new().with("type", kind)
}

fn object_schema(properties: Object) -> Json {
    let required: Vec<Json> = properties.iter().map(|(name, _)| Json::from(name)).collect();
    of_type("object").with("properties", properties).with("required", required).into()
}

fn rows_schema() -> Json {
    let columns = of_type("array").with("items", of_type("string"));
    let rows = of_type("array").with("items", of_type("array"));
    let properties = Object::new()
        .with("columns", columns)
        .with("rows", rows)
        .with("truncated", of_type("boolean"));
    object_schema(properties)
}

fn change_schema() -> Json {
    object_schema(Object::new().with("changed", of_type("integer")))
}
