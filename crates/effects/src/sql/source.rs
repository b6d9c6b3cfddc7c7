//! What a query takes its rows from: tables, queries, and how they are joined.

use crate::sql::grants::Dialect;
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::scope::{Reader, Scope};
use crate::sql::tree::{Expression, Join, JoinCondition, JoinKind, Joined, Source, SourceKind};
use sqlparser::ast;
use sqlparser::ast::Spanned;

impl Reader<'_> {
    pub(super) fn from<'p>(
        &mut self,
        from: &[ast::TableWithJoins],
        parent: Option<&'p Scope<'p>>,
    ) -> Result<(Vec<Joined>, Scope<'p>), Refusal> {
        let mut all = Scope::within(parent);
        let mut found = Vec::new();
        for ast::TableWithJoins { relation, joins } in from {
            let mut own = Scope::within(parent);
            let first = self.source(relation, &mut own, &all, parent)?;
            let joins = joins
                .iter()
                .map(|join| self.join(join, &mut own, &all, parent))
                .collect::<Result<_, _>>()?;
            all.extend(own)?;
            found.push(Joined { first, joins });
        }
        Ok((found, all))
    }

    fn join<'p>(
        &mut self,
        join: &ast::Join,
        own: &mut Scope<'p>,
        before: &Scope<'p>,
        parent: Option<&'p Scope<'p>>,
    ) -> Result<Join, Refusal> {
        let ast::Join { relation, global, join_operator } = join;
        let Some((kind, constraint)) = join_kind(join_operator).filter(|_| !global) else {
            return Err(Refusal::of(Rule::Clause, "a join of another database", relation));
        };
        let left = own.row.clone();
        let source = self.source(relation, own, before, parent)?;
        let right: Vec<_> = own.row.iter().skip(left.len()).cloned().collect();
        let condition = match (kind, constraint) {
            (JoinKind::Cross, ast::JoinConstraint::None) => JoinCondition::None,
            (JoinKind::Cross, _) | (_, ast::JoinConstraint::None) => {
                let what = "a join without a condition, or a `CROSS JOIN` with one";
                return Err(Refusal::of(Rule::Clause, what, relation));
            }
            (_, ast::JoinConstraint::On(value)) => JoinCondition::On(self.expression(value, own)?),
            (_, ast::JoinConstraint::Using(names)) => {
                let names = names.iter().map(|name| self.single(name)).collect::<Result<_, _>>()?;
                JoinCondition::Using(names)
            }
            (_, ast::JoinConstraint::Natural) => {
                let is_shared = |name: &String| right.iter().any(|(other, _)| other == name);
                let names = left.iter().map(|(name, _)| name.clone()).filter(is_shared);
                JoinCondition::Using(names.collect())
            }
        };
        if let JoinCondition::Using(names) = &condition {
            own.row = self
                .merge(names, left, right)
                .ok_or_else(|| Refusal::of(Rule::Column, "the columns that join", relation))?;
        }
        Ok(Join { kind, source, condition })
    }

    /// What `*` gives after `USING`; `None` unless both sides have each column exactly once.
    fn merge(
        &self,
        names: &[String],
        left: Vec<(String, Expression)>,
        right: Vec<(String, Expression)>,
    ) -> Option<Vec<(String, Expression)>> {
        let occurs = |row: &[(String, Expression)], name: &String| {
            row.iter().filter(|(known, _)| known == name).count() == 1
        };
        let is_distinct = |name: &String| names.iter().filter(|it| *it == name).count() == 1;
        let is_joinable = |it: &String| occurs(&left, it) && occurs(&right, it) && is_distinct(it);
        if names.is_empty() || !names.iter().all(is_joinable) {
            return None;
        }
        let merged = |name: &String| (name.clone(), Expression::Bare(name.clone()));
        let rest = |row: Vec<(String, Expression)>| {
            row.into_iter().filter(|(name, _)| !names.contains(name)).collect::<Vec<_>>()
        };
        let mut row: Vec<(String, Expression)> = match self.dialect() {
            Dialect::Postgres => names.iter().map(merged).chain(rest(left)).collect(),
            Dialect::Sqlite => left
                .into_iter()
                .map(|(name, value)| match names.contains(&name) {
                    true => merged(&name),
                    false => (name, value),
                })
                .collect(),
        };
        row.extend(rest(right));
        Some(row)
    }

    fn source<'p>(
        &mut self,
        relation: &ast::TableFactor,
        own: &mut Scope<'p>,
        before: &Scope<'p>,
        parent: Option<&'p Scope<'p>>,
    ) -> Result<Source, Refusal> {
        let (kind, alias, columns) = match relation {
            ast::TableFactor::Table { .. } => self.table(relation)?,
            ast::TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() || (*lateral && self.dialect() == Dialect::Sqlite) {
                    return Err(Refusal::of(Rule::Clause, "`TABLESAMPLE`, `LATERAL`", relation));
                }
                let Some(alias) = alias else {
                    let what = "a subquery in `FROM` needs a name";
                    return Err(Refusal::of(Rule::Name, what, relation));
                };
                let query = if *lateral {
                    let mut beside = before.clone();
                    beside.extend(own.clone())?;
                    self.query(subquery, Some(&beside))?
                } else {
                    self.query(subquery, parent)?
                };
                let columns = query.columns.clone();
                let kind = SourceKind::Query { query: Box::new(query), is_lateral: *lateral };
                (kind, self.alias(alias)?, columns)
            }
            ast::TableFactor::Function { .. }
            | ast::TableFactor::TableFunction { .. }
            | ast::TableFactor::UNNEST { .. }
            | ast::TableFactor::JsonTable { .. }
            | ast::TableFactor::OpenJsonTable { .. }
            | ast::TableFactor::XmlTable { .. }
            | ast::TableFactor::SemanticView { .. } => {
                return Err(Refusal::of(
                    Rule::Function,
                    "a function in place of a table",
                    relation,
                ));
            }
            ast::TableFactor::NestedJoin { .. } => {
                return Err(Refusal::of(Rule::Clause, "a join in parentheses", relation));
            }
            ast::TableFactor::Pivot { .. }
            | ast::TableFactor::Unpivot { .. }
            | ast::TableFactor::UnpivotExpr { .. }
            | ast::TableFactor::MatchRecognize { .. } => {
                return Err(Refusal::of(Rule::Clause, "a clause of another database", relation));
            }
        };
        let scope_of_both = own.add(&alias, &columns);
        scope_of_both.map_err(|refusal| refusal.at(relation.span()))?;
        Ok(Source { name: alias, kind })
    }

    fn table(
        &mut self,
        relation: &ast::TableFactor,
    ) -> Result<(SourceKind, String, Vec<String>), Refusal> {
        let ast::TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = relation
        else {
            return Err(Refusal::of(Rule::Clause, "a source", relation));
        };
        if args.is_some() {
            return Err(Refusal::of(Rule::Function, "a function in place of a table", relation));
        }
        let has_more = !with_hints.is_empty()
            || version.is_some()
            || *with_ordinality
            || !partitions.is_empty()
            || json_path.is_some()
            || sample.is_some()
            || !index_hints.is_empty();
        if has_more {
            return Err(Refusal::of(Rule::Clause, "more than the name of a table", relation));
        }
        self.count_table()?;
        let parts = self.names(&self.parts(name)?)?;
        let (schema, table) = match parts.as_slice() {
            [table] => (None, table),
            [schema, table] => (Some(schema.as_str()), table),
            _ => return Err(unknown_table(name)),
        };
        let alias = alias.as_ref().map_or(Ok(table.clone()), |alias| self.alias(alias))?;
        let named = self.named.iter().rev().find(|(known, _)| schema.is_none() && known == table);
        if let Some((known, columns)) = named {
            return Ok((SourceKind::Named(known.clone()), alias, columns.clone()));
        }
        let mut granted = self.grants.find(schema, table);
        match (granted.next(), granted.next()) {
            (Some((number, table)), None) => {
                Ok((SourceKind::Table(number), alias, table.columns.clone()))
            }
            (Some(_), Some(_)) => {
                let what = format!("`{}` is in several schemas", shown(table));
                Err(Refusal::of(Rule::Name, what, name))
            }
            (None, _) => Err(unknown_table(name)),
        }
    }

    fn alias(&self, alias: &ast::TableAlias) -> Result<String, Refusal> {
        let ast::TableAlias { explicit: _, name, columns, at } = alias;
        if !columns.is_empty() || at.is_some() {
            let what = "names for the columns of a source";
            return Err(Refusal::new(Rule::Clause, what).at(name.span));
        }
        self.name(name)
    }
}

fn unknown_table(name: &ast::ObjectName) -> Refusal {
    Refusal::of(Rule::Table, format!("`{}`", shown(&name.to_string())), name)
}

fn join_kind(operator: &ast::JoinOperator) -> Option<(JoinKind, &ast::JoinConstraint)> {
    match operator {
        ast::JoinOperator::Join(it) | ast::JoinOperator::Inner(it) => Some((JoinKind::Inner, it)),
        ast::JoinOperator::Left(it) | ast::JoinOperator::LeftOuter(it) => {
            Some((JoinKind::Left, it))
        }
        ast::JoinOperator::Right(it) | ast::JoinOperator::RightOuter(it) => {
            Some((JoinKind::Right, it))
        }
        ast::JoinOperator::FullOuter(it) => Some((JoinKind::Full, it)),
        ast::JoinOperator::CrossJoin(it) => Some((JoinKind::Cross, it)),
        ast::JoinOperator::Semi(_)
        | ast::JoinOperator::LeftSemi(_)
        | ast::JoinOperator::RightSemi(_)
        | ast::JoinOperator::Anti(_)
        | ast::JoinOperator::LeftAnti(_)
        | ast::JoinOperator::RightAnti(_)
        | ast::JoinOperator::CrossApply
        | ast::JoinOperator::OuterApply
        | ast::JoinOperator::AsOf { .. }
        | ast::JoinOperator::StraightJoin(_)
        | ast::JoinOperator::ArrayJoin
        | ast::JoinOperator::LeftArrayJoin
        | ast::JoinOperator::InnerArrayJoin => None,
    }
}
