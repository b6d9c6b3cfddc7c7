//! What a query gives: its columns, how they are grouped and ordered, and how many rows.

use crate::sql::grants::{Dialect, Parameter, UNNAMED};
use crate::sql::query::Names;
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::scope::{Reader, Scope, column_of};
use crate::sql::tree::{Expression, Item, Order};
use sqlparser::ast;

impl Reader<'_> {
    pub(super) fn items(
        &mut self,
        projection: &[ast::SelectItem],
        scope: &Scope<'_>,
    ) -> Result<(Vec<Item>, Names), Refusal> {
        let (mut items, mut names) = (Vec::new(), Vec::new());
        for said in projection {
            match said {
                ast::SelectItem::UnnamedExpr(value) => {
                    let value = self.expression(value, scope)?;
                    let name = name_of(&value);
                    // SQLite orders by the names of columns and aliases only.
                    let is_known = self.dialect() == Dialect::Postgres || is_column(&value);
                    names.push(is_known.then(|| name.clone()));
                    items.push(Item { value, name });
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    let name = self.name(alias)?;
                    names.push(Some(name.clone()));
                    items.push(Item { value: self.expression(expr, scope)?, name });
                }
                ast::SelectItem::Wildcard(options) => {
                    check_wildcard(options, said)?;
                    let all = scope.row.iter().cloned();
                    let all: Vec<Item> = all.map(|(name, value)| Item { value, name }).collect();
                    names.extend(all.iter().map(|item| Some(item.name.clone())));
                    items.extend(all);
                }
                ast::SelectItem::QualifiedWildcard(kind, options) => {
                    check_wildcard(options, said)?;
                    let all = self.all_of(kind, scope)?;
                    names.extend(all.iter().map(|item| Some(item.name.clone())));
                    items.extend(all);
                }
                ast::SelectItem::ExprWithAliases { .. } => {
                    return Err(Refusal::of(Rule::Clause, "several names of one column", said));
                }
            }
        }
        if items.is_empty() {
            return Err(Refusal::new(Rule::Clause, "a query without columns"));
        }
        Ok((items, names))
    }

    fn all_of(
        &self,
        kind: &ast::SelectItemQualifiedWildcardKind,
        scope: &Scope<'_>,
    ) -> Result<Vec<Item>, Refusal> {
        let name = match kind {
            ast::SelectItemQualifiedWildcardKind::ObjectName(name) => name,
            ast::SelectItemQualifiedWildcardKind::Expr(value) => {
                return Err(Refusal::of(Rule::Expression, "the fields of a value", value));
            }
        };
        let source = self.single(name)?;
        let Some(columns) = scope.columns_of(&source) else {
            let what = format!("`{}` is no source of this query", shown(&source));
            return Err(Refusal::of(Rule::Table, what, name));
        };
        let item =
            |column: &String| Item { value: column_of(&source, column), name: column.clone() };
        Ok(columns.iter().map(item).collect())
    }

    pub(super) fn groups(
        &mut self,
        groups: &ast::GroupByExpr,
        names: &Names,
        scope: &Scope<'_>,
    ) -> Result<Vec<Expression>, Refusal> {
        let ast::GroupByExpr::Expressions(values, modifiers) = groups else {
            return Err(Refusal::new(Rule::Clause, "`GROUP BY ALL`"));
        };
        if !modifiers.is_empty() {
            return Err(Refusal::new(Rule::Clause, "a modifier of `GROUP BY`"));
        }
        let mut found = Vec::new();
        for value in values {
            // A column of the sources comes before one of the result, unlike in `ORDER BY`.
            let is_input = match value {
                ast::Expr::Identifier(name) => scope.has_column(&self.name(name)?),
                _ => false,
            };
            found.push(match self.result_name(value, names)? {
                Some(name) if !is_input => name,
                _ => self.expression(value, scope)?,
            });
        }
        Ok(found)
    }

    /// What a value means as a column of the result: by its number, or by its name.
    fn result_name(&self, value: &ast::Expr, names: &Names) -> Result<Option<Expression>, Refusal> {
        match value {
            ast::Expr::Identifier(said) => {
                let name = self.name(said)?;
                match names.iter().flatten().filter(|it| **it == name).count() {
                    0 => Ok(None),
                    1 => Ok(Some(Expression::Bare(name))),
                    _ => {
                        let what = format!("`{}` means more than one column", shown(&name));
                        Err(Refusal::new(Rule::Name, what).at(said.span))
                    }
                }
            }
            ast::Expr::Value(said) => match &said.value {
                ast::Value::Number(text, _) => match text.parse::<usize>() {
                    Ok(number) if (1..=names.len()).contains(&number) => {
                        Ok(Some(Expression::Number(number.to_string())))
                    }
                    _ => Err(Refusal::of(Rule::Clause, "an order by a constant", value)),
                },
                _ => Err(Refusal::of(Rule::Clause, "an order by a constant", value)),
            },
            _ => Ok(None),
        }
    }

    pub(super) fn result_order(
        &mut self,
        order: Option<&ast::OrderBy>,
        names: &Names,
        scope: Option<&Scope<'_>>,
    ) -> Result<Vec<Order>, Refusal> {
        let Some(ast::OrderBy { kind, interpolate }) = order else { return Ok(Vec::new()) };
        let ast::OrderByKind::Expressions(terms) = kind else {
            return Err(Refusal::new(Rule::Clause, "`ORDER BY ALL`"));
        };
        if interpolate.is_some() {
            return Err(Refusal::new(Rule::Clause, "`INTERPOLATE`"));
        }
        let mut found = Vec::new();
        for term in terms {
            let value = match (self.result_name(&term.expr, names)?, scope) {
                (Some(value), _) => value,
                (None, Some(scope)) => self.expression(&term.expr, scope)?,
                (None, None) => {
                    let what = "the order of a set operation names a column of its result";
                    return Err(Refusal::of(Rule::Clause, what, &term.expr));
                }
            };
            found.push(ordered(term, value)?);
        }
        Ok(found)
    }

    /// An order over values of the sources: in a window or an aggregate.
    pub(super) fn order(
        &mut self,
        terms: &[ast::OrderByExpr],
        scope: &Scope<'_>,
    ) -> Result<Vec<Order>, Refusal> {
        let mut found = Vec::new();
        for term in terms {
            let value = self.expression(&term.expr, scope)?;
            found.push(ordered(term, value)?);
        }
        Ok(found)
    }

    // How much of it is given.

    pub(super) fn limit(
        &mut self,
        limit: Option<&ast::LimitClause>,
        fetch: Option<&ast::Fetch>,
    ) -> Result<(Option<u64>, Option<u64>), Refusal> {
        let (limit, offset) = match limit {
            None => (None, None),
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => {
                (Some(limit), Some(offset))
            }
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(Refusal::new(Rule::Clause, "`LIMIT BY`"));
                }
                (limit.as_ref(), offset.as_ref().map(|it| &it.value))
            }
        };
        let limit = limit.map(|it| self.count(it)).transpose()?;
        let offset = offset.map(|it| self.count(it)).transpose()?;
        let Some(ast::Fetch { with_ties, percent, quantity }) = fetch else {
            return Ok((limit, offset));
        };
        if *with_ties || *percent || limit.is_some() {
            return Err(Refusal::new(Rule::Clause, "`FETCH` with more than a number of rows"));
        }
        let fetched = quantity.as_ref().map_or(Ok(1), |it| self.count(it))?;
        Ok((Some(fetched), offset))
    }

    /// A number of rows: known now, since it is compared with the bound.
    fn count(&mut self, value: &ast::Expr) -> Result<u64, Refusal> {
        let what = "a number of rows that is no integer from 0";
        let found = match value {
            ast::Expr::Value(said) => match &said.value {
                ast::Value::Number(text, _) => text.parse::<i64>().ok(),
                ast::Value::Placeholder(text) => {
                    let number = self.parameter(text)?;
                    match self.parameters.get(number - 1) {
                        Some(Parameter::Integer(value)) => Some(*value),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        };
        let found = found.and_then(|it| u64::try_from(it).ok());
        found.ok_or_else(|| Refusal::of(Rule::Clause, what, value))
    }
}

fn check_wildcard(
    options: &ast::WildcardAdditionalOptions,
    said: &ast::SelectItem,
) -> Result<(), Refusal> {
    let ast::WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let is_plain = opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none();
    match is_plain {
        true => Ok(()),
        false => Err(Refusal::of(Rule::Clause, "more than `*`", said)),
    }
}

fn ordered(term: &ast::OrderByExpr, value: Expression) -> Result<Order, Refusal> {
    let ast::OrderByExpr { expr, options, with_fill } = term;
    let ast::OrderByOptions { sort, nulls_first } = options;
    let is_descending = match sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(_)) => {
            return Err(Refusal::of(Rule::Clause, "`ORDER BY … USING`", expr));
        }
    };
    if with_fill.is_some() {
        return Err(Refusal::of(Rule::Clause, "`WITH FILL`", expr));
    }
    Ok(Order { value, is_descending, nulls_first: *nulls_first })
}

fn is_column(value: &Expression) -> bool {
    matches!(value, Expression::Column { .. } | Expression::Bare(_))
}

/// What a column of the result is called that nobody named.
fn name_of(value: &Expression) -> String {
    match value {
        Expression::Column { name, .. } | Expression::Bare(name) => name.clone(),
        Expression::Call(call) => call.function.name().to_owned(),
        Expression::Cast { operand, .. } => name_of(operand),
        _ => UNNAMED.to_owned(),
    }
}
