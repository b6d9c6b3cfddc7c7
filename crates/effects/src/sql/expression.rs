//! From the parser's tree of an expression to ours.
//!
//! Each kind of expression is either taken apart or named among the refused ones: there is no
//! `_` that would let a new one pass.

use crate::sql::binding;
use crate::sql::functions::Special;
use crate::sql::grants::{Dialect, Grants, Parameter};
use crate::sql::lex;
use crate::sql::operators::{prefix, refused};
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::scope::{Reader, Scope};
use crate::sql::tree::Expression;
use crate::sql::types;
use sqlparser::ast;
use sqlparser::ast::{Expr, Value};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// Levels that the parser itself descends. It counts several for one of ours, and parentheses too,
/// of which we write many: what we accept must be readable again. It has a stack that grows.
pub(super) const PARSER_DEPTH_MAX: usize = 800;

/// A filter or mask of the operator's: an expression over the columns of one row.
pub(super) fn operator_expression(
    text: &str,
    values: &[Parameter],
    grants: &Grants,
) -> Result<Expression, Refusal> {
    lex::on_large_stack(|| operator_expression_here(text, values, grants))
}

fn operator_expression_here(
    text: &str,
    values: &[Parameter],
    grants: &Grants,
) -> Result<Expression, Refusal> {
    let tokens = lex::tokens(grants.dialect, text)?;
    let mut parser = Parser::new(grants.dialect.grammar())
        .with_recursion_limit(PARSER_DEPTH_MAX)
        .with_tokens_with_locations(tokens);
    let syntax = |error: sqlparser::parser::ParserError| {
        Refusal::new(Rule::Syntax, shown(&error.to_string()))
    };
    let parsed = parser.parse_expr().map_err(syntax)?;
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        let what = format!("`{}`", shown(&rest.token.to_string()));
        return Err(Refusal::new(Rule::Syntax, what).at(rest.span));
    }
    let mut reader = Reader::new(grants, values);
    let expression = reader.expression(&parsed, &Scope::of_operator())?;
    reader.check_all_used()?;
    Ok(expression)
}

impl Reader<'_> {
    /// Every parameter that was given occurs: one too many is a mistake somewhere.
    pub(super) fn check_all_used(&self) -> Result<(), Refusal> {
        match (1..=self.parameters.len()).find(|number| !self.used.contains(number)) {
            Some(number) => {
                let what = format!("parameter {number} was given and is not used");
                Err(Refusal::new(Rule::Parameter, what))
            }
            None => Ok(()),
        }
    }

    pub(super) fn expressions(
        &mut self,
        values: &[Expr],
        scope: &Scope<'_>,
    ) -> Result<Vec<Expression>, Refusal> {
        values.iter().map(|value| self.expression(value, scope)).collect()
    }

    pub(super) fn optional(
        &mut self,
        value: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Option<Expression>, Refusal> {
        value.map(|value| self.expression(value, scope)).transpose()
    }

    fn boxed(&mut self, value: &Expr, scope: &Scope<'_>) -> Result<Box<Expression>, Refusal> {
        Ok(Box::new(self.expression(value, scope)?))
    }

    /// An expression within a scope.
    pub(super) fn expression(
        &mut self,
        value: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Expression, Refusal> {
        // Parentheses have no meaning of their own, and so no level.
        let mut value = value;
        while let Expr::Nested(inner) = value {
            value = inner;
        }
        self.descend()?;
        binding::check(value)?;
        let found = match value {
            Expr::Identifier(name) => scope.bare(&self.name(name)?, name)?,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [source, name] => scope.qualified(&self.name(source)?, &self.name(name)?, name)?,
                _ => {
                    let what = "a column with more than the name of its source";
                    return Err(Refusal::of(Rule::Name, what, value));
                }
            },
            Expr::Value(said) => self.value(&said.value).map_err(|it| it.at(said.span))?,
            Expr::UnaryOp { op, expr } => {
                let operator = prefix(*op, value)?;
                Expression::Prefix { operator, operand: self.boxed(expr, scope)? }
            }
            Expr::BinaryOp { left, op, right } => {
                let operator = self.operator(op, value)?;
                let left = self.boxed(left, scope)?;
                Expression::Binary { left, operator, right: self.boxed(right, scope)? }
            }
            Expr::Function(function) => self.call(function, scope)?,
            _ => self.test(value, scope)?,
        };
        self.ascend();
        Ok(found)
    }

    fn value(&mut self, value: &Value) -> Result<Expression, Refusal> {
        match value {
            Value::Number(text, false) => Ok(Expression::Number(text.clone())),
            Value::SingleQuotedString(text) => Ok(Expression::Text(text.clone())),
            Value::Boolean(value) => Ok(Expression::Boolean(*value)),
            Value::Null => Ok(Expression::Null),
            Value::Placeholder(text) => Ok(Expression::Parameter(self.parameter(text)?)),
            Value::Number(_, true)
            | Value::DollarQuotedString(_)
            | Value::TripleSingleQuotedString(_)
            | Value::TripleDoubleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::SingleQuotedByteStringLiteral(_)
            | Value::DoubleQuotedByteStringLiteral(_)
            | Value::TripleSingleQuotedByteStringLiteral(_)
            | Value::TripleDoubleQuotedByteStringLiteral(_)
            | Value::SingleQuotedRawStringLiteral(_)
            | Value::DoubleQuotedRawStringLiteral(_)
            | Value::TripleSingleQuotedRawStringLiteral(_)
            | Value::TripleDoubleQuotedRawStringLiteral(_)
            | Value::NationalStringLiteral(_)
            | Value::QuoteDelimitedStringLiteral(_)
            | Value::NationalQuoteDelimitedStringLiteral(_)
            | Value::HexStringLiteral(_)
            | Value::DoubleQuotedString(_) => Err(Refusal::new(Rule::Token, "a literal")),
        }
    }

    /// Tests: what answers true or false.
    fn test(&mut self, value: &Expr, scope: &Scope<'_>) -> Result<Expression, Refusal> {
        let postfix = |reader: &mut Self, operand: &Expr, operator| {
            Ok(Expression::Postfix { operand: reader.boxed(operand, scope)?, operator })
        };
        match value {
            Expr::IsNull(it) => postfix(self, it, "IS NULL"),
            Expr::IsNotNull(it) => postfix(self, it, "IS NOT NULL"),
            Expr::IsTrue(it) => postfix(self, it, "IS TRUE"),
            Expr::IsNotTrue(it) => postfix(self, it, "IS NOT TRUE"),
            Expr::IsFalse(it) => postfix(self, it, "IS FALSE"),
            Expr::IsNotFalse(it) => postfix(self, it, "IS NOT FALSE"),
            Expr::IsDistinctFrom(left, right) => {
                self.binary(left, "IS DISTINCT FROM", right, scope)
            }
            Expr::IsNotDistinctFrom(left, right) => {
                self.binary(left, "IS NOT DISTINCT FROM", right, scope)
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let operator = if *negated { "NOT LIKE" } else { "LIKE" };
                self.like(operator, expr, pattern, escape_char.as_deref(), scope)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char }
                if self.dialect() == Dialect::Postgres =>
            {
                let operator = if *negated { "NOT ILIKE" } else { "ILIKE" };
                self.like(operator, expr, pattern, escape_char.as_deref(), scope)
            }
            Expr::Between { expr, negated, low, high } => Ok(Expression::Between {
                operand: self.boxed(expr, scope)?,
                is_negated: *negated,
                low: self.boxed(low, scope)?,
                high: self.boxed(high, scope)?,
            }),
            Expr::InList { expr, list, negated } if !list.is_empty() => Ok(Expression::InList {
                operand: self.boxed(expr, scope)?,
                is_negated: *negated,
                list: self.expressions(list, scope)?,
            }),
            Expr::InSubquery { expr, subquery, negated } => {
                let operand = self.boxed(expr, scope)?;
                let query = self.subquery(subquery, scope)?;
                if query.columns.len() != 1 {
                    return Err(Refusal::of(Rule::Expression, "`IN` of several columns", value));
                }
                Ok(Expression::InQuery { operand, is_negated: *negated, query })
            }
            Expr::Exists { subquery, negated } => {
                let query = self.subquery(subquery, scope)?;
                Ok(Expression::Exists { is_negated: *negated, query })
            }
            _ => self.composite(value, scope),
        }
    }

    fn binary(
        &mut self,
        left: &Expr,
        operator: &'static str,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Expression, Refusal> {
        let left = self.boxed(left, scope)?;
        Ok(Expression::Binary { left, operator, right: self.boxed(right, scope)? })
    }

    fn like(
        &mut self,
        operator: &'static str,
        operand: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Expression, Refusal> {
        Ok(Expression::Like {
            operand: self.boxed(operand, scope)?,
            operator,
            pattern: self.boxed(pattern, scope)?,
            escape: self.optional(escape, scope)?.map(Box::new),
        })
    }

    /// A subquery sees what is around it. Filters and masks have none: what they say has to be
    /// decidable from the row.
    fn subquery(
        &mut self,
        query: &ast::Query,
        scope: &Scope<'_>,
    ) -> Result<Box<crate::sql::tree::Query>, Refusal> {
        if scope.is_operators() {
            return Err(Refusal::of(Rule::Expression, "a subquery in a filter or mask", query));
        }
        Ok(Box::new(self.query(query, Some(scope))?))
    }

    /// What has parts of its own kind.
    fn composite(&mut self, value: &Expr, scope: &Scope<'_>) -> Result<Expression, Refusal> {
        match value {
            Expr::Subquery(query) => {
                let query = self.subquery(query, scope)?;
                if query.columns.len() != 1 {
                    return Err(Refusal::of(Rule::Expression, "a value of several columns", value));
                }
                Ok(Expression::Query(query))
            }
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                let operand = self.optional(operand.as_deref(), scope)?.map(Box::new);
                let mut branches = Vec::new();
                for ast::CaseWhen { condition, result } in conditions {
                    let condition = self.expression(condition, scope)?;
                    branches.push((condition, self.expression(result, scope)?));
                }
                let otherwise = self.optional(else_result.as_deref(), scope)?.map(Box::new);
                Ok(Expression::Case { operand, branches, otherwise })
            }
            Expr::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => {
                let kind = types::cast(self.dialect(), data_type)?;
                Ok(Expression::Cast { operand: self.boxed(expr, scope)?, kind })
            }
            Expr::TypedString(typed) if self.dialect() == Dialect::Postgres => {
                let ast::TypedString { data_type, value: text, uses_odbc_syntax } = typed;
                let kind = types::cast(self.dialect(), data_type)?;
                if *uses_odbc_syntax {
                    return Err(Refusal::of(Rule::Expression, "a literal in braces", value));
                }
                Ok(Expression::Cast { operand: Box::new(self.value(&text.value)?), kind })
            }
            Expr::Interval(interval) => self.interval(interval, value, scope),
            Expr::Extract { field, syntax: ast::ExtractSyntax::From, expr } => {
                let field = types::field(self.dialect(), field)
                    .ok_or_else(|| Refusal::of(Rule::Expression, "a field of `EXTRACT`", value))?;
                Ok(Expression::Extract { field, operand: self.boxed(expr, scope)? })
            }
            Expr::AtTimeZone { timestamp, time_zone } if self.dialect() == Dialect::Postgres => {
                self.binary(timestamp, "AT TIME ZONE", time_zone, scope)
            }
            Expr::Collate { expr, collation } => {
                let name = self.single(collation)?;
                let operator = types::collation(self.dialect(), &name)
                    .ok_or_else(|| Refusal::of(Rule::Name, "a collation", collation))?;
                Ok(Expression::Postfix { operand: self.boxed(expr, scope)?, operator })
            }
            _ => self.special(value, scope),
        }
    }

    fn interval(
        &mut self,
        interval: &ast::Interval,
        said: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Expression, Refusal> {
        let ast::Interval {
            value,
            leading_field,
            leading_precision,
            last_field,
            fractional_seconds_precision,
        } = interval;
        let is_plain = leading_field.is_none()
            && leading_precision.is_none()
            && last_field.is_none()
            && fractional_seconds_precision.is_none()
            && is_text(value);
        if self.dialect() != Dialect::Postgres || !is_plain {
            let what = "an interval other than `INTERVAL '1 day'`";
            return Err(Refusal::of(Rule::Expression, what, said));
        }
        Ok(Expression::Cast { operand: self.boxed(value, scope)?, kind: "interval".to_owned() })
    }

    /// Functions that the grammar writes in a way of their own.
    fn special(&mut self, value: &Expr, scope: &Scope<'_>) -> Result<Expression, Refusal> {
        let special = match value {
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                let name = if matches!(value, Expr::Ceil { .. }) { "ceil" } else { "floor" };
                let plain = ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime);
                (*field == plain).then(|| Special { name, arguments: vec![expr] })
            }
            Expr::Position { expr, r#in } if self.dialect() == Dialect::Postgres => {
                Some(Special { name: "strpos", arguments: vec![r#in, expr] })
            }
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                let mut arguments: Vec<&Expr> = vec![expr, from];
                arguments.extend(substring_for.as_deref());
                Some(Special { name: "substr", arguments })
            }
            Expr::Trim { expr, trim_where, trim_what, trim_characters } => {
                let name = match (self.dialect(), trim_where) {
                    (Dialect::Postgres, None | Some(ast::TrimWhereField::Both)) => "btrim",
                    (Dialect::Sqlite, None | Some(ast::TrimWhereField::Both)) => "trim",
                    (_, Some(ast::TrimWhereField::Leading)) => "ltrim",
                    (_, Some(ast::TrimWhereField::Trailing)) => "rtrim",
                };
                let mut arguments: Vec<&Expr> = vec![expr];
                arguments.extend(trim_what.as_deref());
                arguments.extend(trim_characters.iter().flatten());
                (arguments.len() <= 2).then_some(Special { name, arguments })
            }
            _ => return Err(refused(value)),
        };
        match special {
            Some(special) => self.special_call(&special, value, scope),
            None => Err(Refusal::of(Rule::Expression, "a form of this function", value)),
        }
    }
}

fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Value(said) if matches!(said.value, Value::SingleQuotedString(_)))
}
