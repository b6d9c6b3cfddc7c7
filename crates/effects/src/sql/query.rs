//! From the parser's tree of a query to ours: clause by clause, nothing left out.
//!
//! Every structure is taken apart whole, so that a new field of a new version of the parser does
//! not compile until somebody has decided about it.

use crate::sql::grants::Dialect;
use crate::sql::refusal::{Refusal, Rule};
use crate::sql::scope::{Reader, Scope};
use crate::sql::tree::{Body, Distinct, NamedQuery, Order, Query, Select, SetOperator};
use sqlparser::ast;

/// Names that `ORDER BY` and `GROUP BY` may mean: those of the columns of the result, where they
/// have one.
pub(super) type Names = Vec<Option<String>>;

impl Reader<'_> {
    /// A query within a scope.
    pub(super) fn query(
        &mut self,
        query: &ast::Query,
        parent: Option<&Scope<'_>>,
    ) -> Result<Query, Refusal> {
        self.descend()?;
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if !locks.is_empty() {
            return Err(Refusal::of(Rule::Clause, "`FOR UPDATE` and other locks", query));
        }
        let is_foreign = for_clause.is_some() || settings.is_some() || format_clause.is_some();
        if is_foreign || !pipe_operators.is_empty() {
            return Err(Refusal::of(Rule::Clause, "a clause of another database", query));
        }
        let outside = self.named.len();
        let named = self.with(with.as_ref(), parent)?;
        let (body, order) = self.body_in_order(body, order_by.as_ref(), parent)?;
        let (limit, offset) = self.limit(limit_clause.as_ref(), fetch.as_ref())?;
        self.named.truncate(outside);
        self.ascend();
        let columns = columns_of(&body);
        Ok(Query { named, body, order, limit, offset, columns })
    }

    fn with(
        &mut self,
        with: Option<&ast::With>,
        parent: Option<&Scope<'_>>,
    ) -> Result<Vec<NamedQuery>, Refusal> {
        let Some(with) = with else { return Ok(Vec::new()) };
        let ast::With { with_token: _, recursive, cte_tables } = with;
        if *recursive {
            return Err(Refusal::of(Rule::Clause, "`WITH RECURSIVE`", with));
        }
        cte_tables.iter().map(|cte| self.named_query(cte, parent)).collect()
    }

    fn named_query(
        &mut self,
        cte: &ast::Cte,
        parent: Option<&Scope<'_>>,
    ) -> Result<NamedQuery, Refusal> {
        let ast::Cte { alias, query, from, materialized, closing_paren_token: _ } = cte;
        let ast::TableAlias { explicit: _, name: said, columns, at } = alias;
        if from.is_some() || at.is_some() || columns.iter().any(|it| it.data_type.is_some()) {
            return Err(Refusal::of_name(Rule::Clause, said));
        }
        let query = self.query(query, parent)?;
        let name = self.name(said)?;
        // Were such a name ever out of view, the database would take it for a table of its own.
        if name.starts_with("pg_") || name.starts_with("sqlite_") {
            return Err(Refusal::of_name(Rule::Name, said));
        }
        let columns: Vec<&ast::Ident> = columns.iter().map(|column| &column.name).collect();
        let columns = self.names(&columns)?;
        let seen = if columns.is_empty() { query.columns.clone() } else { columns.clone() };
        if seen.len() != query.columns.len() || self.named.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::of_name(Rule::Name, said));
        }
        self.named.push((name.clone(), seen));
        let materialized = materialized.as_ref().map(|it| match it {
            ast::CteAsMaterialized::Materialized => true,
            ast::CteAsMaterialized::NotMaterialized => false,
        });
        Ok(NamedQuery { name, columns, materialized, query })
    }

    /// The body, and its order, which may name what the body sees.
    fn body_in_order(
        &mut self,
        body: &ast::SetExpr,
        order: Option<&ast::OrderBy>,
        parent: Option<&Scope<'_>>,
    ) -> Result<(Body, Vec<Order>), Refusal> {
        if let ast::SetExpr::Select(select) = without_parentheses(body) {
            let (select, scope, names) = self.select(select, parent)?;
            let order = self.result_order(order, &names, Some(&scope))?;
            return Ok((Body::Select(Box::new(select)), order));
        }
        let body = self.body(body, parent)?;
        let names = columns_of(&body).into_iter().map(Some).collect();
        let order = self.result_order(order, &names, None)?;
        Ok((body, order))
    }

    fn body(&mut self, body: &ast::SetExpr, parent: Option<&Scope<'_>>) -> Result<Body, Refusal> {
        match without_parentheses(body) {
            ast::SetExpr::Select(select) => {
                Ok(Body::Select(Box::new(self.select(select, parent)?.0)))
            }
            ast::SetExpr::Query(query) => Ok(Body::Query(Box::new(self.query(query, parent)?))),
            ast::SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.descend()?;
                let (operator, is_all) = set_operator(*op, *set_quantifier, body)?;
                let left = self.body(left, parent)?;
                let right = self.body(right, parent)?;
                self.ascend();
                if columns_of(&left).len() != columns_of(&right).len() {
                    let what = "both sides of a set operation have as many columns";
                    return Err(Refusal::of(Rule::Clause, what, body));
                }
                self.check_side(&left, true, body)?;
                self.check_side(&right, false, body)?;
                Ok(Body::Set { left: Box::new(left), operator, is_all, right: Box::new(right) })
            }
            ast::SetExpr::Values(_) => Err(Refusal::of(Rule::Clause, "`VALUES`", body)),
            ast::SetExpr::Table(_) => Err(Refusal::of(Rule::Clause, "`TABLE`", body)),
            ast::SetExpr::Insert(_)
            | ast::SetExpr::Update(_)
            | ast::SetExpr::Delete(_)
            | ast::SetExpr::Merge(_) => {
                Err(Refusal::of(Rule::OnlyQueries, "a write in place of a query", body))
            }
        }
    }

    /// SQLite has no parentheses around the sides of a set operation, and takes the operators from
    /// the left: what would need some is refused.
    fn check_side(&self, side: &Body, is_left: bool, said: &ast::SetExpr) -> Result<(), Refusal> {
        let is_plain = match side {
            Body::Select(_) => true,
            Body::Set { .. } => is_left,
            Body::Query(_) => false,
        };
        if self.dialect() == Dialect::Postgres || is_plain {
            return Ok(());
        }
        let what = "parentheses in a set operation, or `INTERSECT` after another operator";
        Err(Refusal::of(Rule::Clause, what, said))
    }

    fn select<'p>(
        &mut self,
        select: &ast::Select,
        parent: Option<&'p Scope<'p>>,
    ) -> Result<(Select, Scope<'p>, Names), Refusal> {
        let ast::Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        if into.is_some() {
            return Err(Refusal::of(Rule::Clause, "`SELECT INTO`", select));
        }
        if !named_window.is_empty() {
            return Err(Refusal::of(Rule::Clause, "`WINDOW`", select));
        }
        let is_foreign = !optimizer_hints.is_empty()
            || select_modifiers.is_some()
            || top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || qualify.is_some()
            || value_table_mode.is_some()
            || *flavor != ast::SelectFlavor::Standard;
        if is_foreign {
            return Err(Refusal::of(Rule::Clause, "a clause of another database", select));
        }
        let (from, scope) = self.from(from, parent)?;
        let (items, names) = self.items(projection, &scope)?;
        let distinct = self.distinct(distinct.as_ref(), &scope)?;
        let condition = self.optional(selection.as_ref(), &scope)?;
        let groups = self.groups(group_by, &names, &scope)?;
        let having = self.optional(having.as_ref(), &scope)?;
        let select = Select { distinct, items, from, condition, groups, having };
        Ok((select, scope, names))
    }

    fn distinct(
        &mut self,
        distinct: Option<&ast::Distinct>,
        scope: &Scope<'_>,
    ) -> Result<Distinct, Refusal> {
        match distinct {
            None | Some(ast::Distinct::All) => Ok(Distinct::No),
            Some(ast::Distinct::Distinct) => Ok(Distinct::Rows),
            Some(ast::Distinct::On(values)) if self.dialect() == Dialect::Postgres => {
                Ok(Distinct::On(self.expressions(values, scope)?))
            }
            Some(ast::Distinct::On(_)) => Err(Refusal::new(Rule::Clause, "`DISTINCT ON`")),
        }
    }
}

fn set_operator(
    operator: ast::SetOperator,
    quantifier: ast::SetQuantifier,
    said: &ast::SetExpr,
) -> Result<(SetOperator, bool), Refusal> {
    let is_all = match quantifier {
        ast::SetQuantifier::All => true,
        ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
        ast::SetQuantifier::ByName
        | ast::SetQuantifier::AllByName
        | ast::SetQuantifier::DistinctByName => {
            return Err(Refusal::of(Rule::Clause, "a set operation by name", said));
        }
    };
    match operator {
        ast::SetOperator::Union => Ok((SetOperator::Union, is_all)),
        ast::SetOperator::Intersect => Ok((SetOperator::Intersect, is_all)),
        ast::SetOperator::Except => Ok((SetOperator::Except, is_all)),
        ast::SetOperator::Minus => Err(Refusal::of(Rule::Clause, "`MINUS`", said)),
    }
}

/// A body without the parentheses around it, which say nothing where there is nothing else in them.
fn without_parentheses(body: &ast::SetExpr) -> &ast::SetExpr {
    let mut body = body;
    while let ast::SetExpr::Query(query) = body {
        let ast::Query {
            with: None,
            body: inner,
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } = &**query
        else {
            return body;
        };
        if !locks.is_empty() || !pipe_operators.is_empty() {
            return body;
        }
        body = inner;
    }
    body
}

pub(super) fn columns_of(body: &Body) -> Vec<String> {
    match body {
        Body::Select(select) => select.items.iter().map(|item| item.name.clone()).collect(),
        Body::Query(query) => query.columns.clone(),
        Body::Set { left, .. } => columns_of(left),
    }
}
