//! Calls of functions: which may be granted, which usually are, and how they are written.
//!
//! A function of the database itself is written with the schema `pg_catalog`, so that nobody can
//! put another one of that name in its way (CVE-2018-1058).

use crate::sql::grants::Dialect;
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::scope::{Reader, Scope};
use crate::sql::tree::{Arguments, Bound, Call, Expression, Frame, Function, Window};
use sqlparser::ast;
use sqlparser::ast::Expr;

/// Functions that only compute, and whose result is not much longer than their arguments.
const USUAL_POSTGRES: &[&str] = &[
    "abs",
    "avg",
    "bool_and",
    "bool_or",
    "btrim",
    "cbrt",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "corr",
    "count",
    "cume_dist",
    "current_date",
    "current_timestamp",
    "date_part",
    "date_trunc",
    "dense_rank",
    "every",
    "exp",
    "first_value",
    "floor",
    "greatest",
    "initcap",
    "jsonb_array_length",
    "jsonb_typeof",
    "lag",
    "last_value",
    "lead",
    "least",
    "left",
    "length",
    "ln",
    "localtimestamp",
    "log",
    "lower",
    "ltrim",
    "max",
    "md5",
    "min",
    "mod",
    "mode",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "power",
    "rank",
    "regr_slope",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "split_part",
    "sqrt",
    "starts_with",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "strpos",
    "substr",
    "sum",
    "to_char",
    "to_date",
    "translate",
    "trunc",
    "upper",
    "var_pop",
    "var_samp",
    "variance",
    "width_bucket",
];

const USUAL_SQLITE: &[&str] = &[
    "abs",
    "avg",
    "ceil",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "floor",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json_array_length",
    "json_extract",
    "json_type",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "lower",
    "ltrim",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "string_agg",
    "substr",
    "sum",
    "time",
    "total",
    "trim",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
];

/// Parts of PostgreSQL's grammar that look like functions and have no schema.
const KEYWORDS_POSTGRES: &[&str] = &[
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "current_date",
    "current_timestamp",
    "localtimestamp",
];

/// Words that are values.
const VALUES: &[&str] = &["current_date", "current_time", "current_timestamp", "localtimestamp"];

/// Beginnings of names that no operator can mean to grant: they act on the server, wait, run SQL,
/// or read files, settings, the catalogue and other sessions.
const NEVER_PREFIXES: &[&str] = &[
    "pg_",
    "lo_",
    "dblink",
    "txid_",
    "inet_",
    "binary_upgrade_",
    "currtid",
    "query_to_",
    "table_to_",
    "cursor_to_",
    "schema_to_",
    "database_to_",
    "has_",
    "to_reg",
    "sqlite",
    "fts",
    "crosstab",
    "plpgsql_",
    "plperl_",
    "plpython",
    "brin_",
    "gin_",
    "ts_stat",
    "ts_rewrite",
    "row_security",
    "file_",
    "file_fdw",
    "postgres_fdw",
    "adminpack",
    "amcheck",
    "bt_index",
];

/// The same, whole names.
const NEVER: &[&str] = &[
    "set_config",
    "current_setting",
    "nextval",
    "setval",
    "currval",
    "lastval",
    "setseed",
    "current_user",
    "session_user",
    "current_role",
    "user",
    "current_schema",
    "current_schemas",
    "current_database",
    "current_catalog",
    "current_query",
    "version",
    "connectby",
    "obj_description",
    "col_description",
    "shobj_description",
    "format_type",
    "getdatabaseencoding",
    "suppress_redundant_updates_trigger",
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "lsmode",
    "randomblob",
    "zeroblob",
    "last_insert_rowid",
    "changes",
    "total_changes",
];

pub(super) fn usual(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Postgres => USUAL_POSTGRES,
        Dialect::Sqlite => USUAL_SQLITE,
    }
}

/// Whether nobody can be granted a function, whatever schema it is in.
pub(super) fn is_never_granted(name: &str) -> bool {
    let bare = name.rsplit('.').next().unwrap_or(name);
    let is_system = name.starts_with("pg_") || name.starts_with("information_schema.");
    is_system
        || NEVER.contains(&bare)
        || NEVER_PREFIXES.iter().any(|prefix| bare.starts_with(prefix))
}

/// A function that the grammar writes in a way of its own, as a plain call.
pub(super) struct Special<'e> {
    pub(super) name: &'static str,
    pub(super) arguments: Vec<&'e Expr>,
}

impl Function {
    /// Its name without a schema.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Keyword(name) => name,
            Self::BuiltIn(name) | Self::Own { name, .. } => name,
        }
    }
}

impl Reader<'_> {
    pub(super) fn special_call(
        &mut self,
        special: &Special<'_>,
        said: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Expression, Refusal> {
        if !self.grants.functions.contains(special.name) {
            return Err(Refusal::of(Rule::Function, format!("`{}`", special.name), said));
        }
        let mut values = Vec::new();
        for argument in &special.arguments {
            values.push(self.expression(argument, scope)?);
        }
        let function = Function::BuiltIn(special.name.to_owned());
        let arguments = Arguments::List { is_distinct: false, values, order: Vec::new() };
        let call =
            Call { function, arguments, within_group: Vec::new(), filter: None, window: None };
        Ok(Expression::Call(Box::new(call)))
    }

    /// A call of a granted function.
    pub(super) fn call(
        &mut self,
        said: &ast::Function,
        scope: &Scope<'_>,
    ) -> Result<Expression, Refusal> {
        let ast::Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = said;
        let function = self.function(name)?;
        let is_foreign = *uses_odbc_syntax
            || *parameters != ast::FunctionArguments::None
            || null_treatment.is_some();
        if is_foreign {
            return Err(Refusal::of(Rule::Expression, "a call of another database", name));
        }
        let arguments = self.arguments(&function, args, name, scope)?;
        let within_group = self.order(within_group, scope)?;
        let filter = self.optional(filter.as_deref(), scope)?;
        let window = match over {
            None => None,
            Some(ast::WindowType::WindowSpec(window)) => Some(self.window(window, scope)?),
            Some(ast::WindowType::NamedWindow(name)) => {
                return Err(Refusal::of_name(Rule::Clause, name));
            }
        };
        let call = Call { function, arguments, within_group, filter, window };
        Ok(Expression::Call(Box::new(call)))
    }

    fn function(&self, name: &ast::ObjectName) -> Result<Function, Refusal> {
        let refusal =
            || Refusal::of(Rule::Function, format!("`{}`", shown(&name.to_string())), name);
        let parts = self.parts(name)?;
        let is_quoted = parts.iter().any(|part| part.quote_style.is_some());
        let parts = self.names(&parts)?;
        let is_postgres = self.dialect() == Dialect::Postgres;
        match parts.as_slice() {
            [name] if self.grants.functions.contains(name) => {
                let keywords = if is_postgres { KEYWORDS_POSTGRES } else { VALUES };
                match keywords.iter().find(|it| *it == name) {
                    Some(keyword) if !is_quoted => Ok(Function::Keyword(keyword)),
                    Some(_) => Err(refusal()),
                    None => Ok(Function::BuiltIn(name.clone())),
                }
            }
            [schema, name] if is_postgres && schema == "pg_catalog" => {
                match self.grants.functions.contains(name)
                    && !KEYWORDS_POSTGRES.contains(&name.as_str())
                {
                    true => Ok(Function::BuiltIn(name.clone())),
                    false => Err(refusal()),
                }
            }
            [schema, name] if self.grants.functions.contains(&format!("{schema}.{name}")) => {
                Ok(Function::Own { schema: schema.clone(), name: name.clone() })
            }
            _ => Err(refusal()),
        }
    }

    fn arguments(
        &mut self,
        function: &Function,
        said: &ast::FunctionArguments,
        name: &ast::ObjectName,
        scope: &Scope<'_>,
    ) -> Result<Arguments, Refusal> {
        let is_value = VALUES.contains(&function.name());
        let list = match said {
            ast::FunctionArguments::None if is_value => return Ok(Arguments::None),
            ast::FunctionArguments::List(list) if !is_value => list,
            ast::FunctionArguments::None
            | ast::FunctionArguments::Subquery(_)
            | ast::FunctionArguments::List(_) => {
                return Err(Refusal::of(Rule::Expression, "arguments in this form", name));
            }
        };
        let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
        let order = match clauses.as_slice() {
            [] => Vec::new(),
            [ast::FunctionArgumentClause::OrderBy(terms)] => self.order(terms, scope)?,
            _ => return Err(Refusal::of(Rule::Clause, "a clause within a call", name)),
        };
        let is_distinct = *duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
        if let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)] = args.as_slice() {
            let is_count = *function == Function::BuiltIn("count".to_owned());
            return match is_count && !is_distinct && order.is_empty() {
                true => Ok(Arguments::Star),
                false => Err(Refusal::of(Rule::Expression, "`*` in a call", name)),
            };
        }
        let mut values = Vec::new();
        for argument in args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) = argument else {
                let what = "a named argument, or `*` in a call";
                return Err(Refusal::of(Rule::Expression, what, name));
            };
            values.push(self.expression(value, scope)?);
        }
        Ok(Arguments::List { is_distinct, values, order })
    }

    fn window(&mut self, said: &ast::WindowSpec, scope: &Scope<'_>) -> Result<Window, Refusal> {
        let ast::WindowSpec { window_name, partition_by, order_by, window_frame } = said;
        if let Some(name) = window_name {
            return Err(Refusal::of_name(Rule::Clause, name));
        }
        let partition = self.expressions(partition_by, scope)?;
        let order = self.order(order_by, scope)?;
        let Some(ast::WindowFrame { units, start_bound, end_bound }) = window_frame else {
            return Ok(Window { partition, order, frame: None });
        };
        let unit = match units {
            ast::WindowFrameUnits::Rows => "ROWS",
            ast::WindowFrameUnits::Range => "RANGE",
            ast::WindowFrameUnits::Groups => "GROUPS",
        };
        let start = self.bound(start_bound, scope)?;
        let end = end_bound.as_ref().map(|bound| self.bound(bound, scope)).transpose()?;
        Ok(Window { partition, order, frame: Some(Frame { unit, start, end }) })
    }

    fn bound(&mut self, said: &ast::WindowFrameBound, scope: &Scope<'_>) -> Result<Bound, Refusal> {
        let mut value = |value: &Option<Box<Expr>>| {
            let value = self.optional(value.as_deref(), scope)?;
            Ok::<_, Refusal>(value.map(Box::new))
        };
        Ok(match said {
            ast::WindowFrameBound::CurrentRow => Bound::CurrentRow,
            ast::WindowFrameBound::Preceding(said) => Bound::Preceding(value(said)?),
            ast::WindowFrameBound::Following(said) => Bound::Following(value(said)?),
        })
    }
}
