//! From our tree to the text that the database gets.
//!
//! Every name is quoted, every operation has its parentheses, text is in `'…'` with `'` doubled
//! and, for PostgreSQL, never has a backslash: there is one way to read it. The same writer gives
//! the caller's statement as it was understood, without filters and masks, for the record.

use crate::sql::grants::{Dialect, Grants, Parameter, Table};
use crate::sql::scope::ROW;
use crate::sql::tree::{
    Body, Distinct, Footprint, Item, Join, JoinCondition, JoinKind, Joined, Order, Query, Select,
    SetOperator, Source, SourceKind,
};
use std::collections::BTreeMap;

/// A fence: neither database moves a condition from outside into a subquery that is cut, so no
/// expression of the caller's is evaluated on a row that the filter keeps back. Without it, an
/// error such as that of a cast would tell what is in such a row.
const FENCE_POSTGRES: &str = " OFFSET 0";
/// SQLite's fence is a limit; this one is never reached.
const FENCE_SQLITE: &str = " LIMIT 9223372036854775807";

/// The statement as the caller meant it.
pub(super) fn as_understood(grants: &Grants, query: &Query) -> String {
    let mut writer = Writer::new(grants, &[], Form::Understood);
    writer.query(query, query.limit);
    writer.out
}

/// The statement as the database gets it, the values of its parameters, and what it touches.
pub(super) fn as_run(
    grants: &Grants,
    parameters: &[Parameter],
    query: &Query,
) -> (String, Vec<Parameter>, Footprint) {
    let mut writer = Writer::new(grants, parameters, Form::Run);
    // One more than may be answered, so that it is known whether there are more.
    let rows = u64::from(grants.rows_max) + 1;
    writer.query(query, Some(query.limit.map_or(rows, |limit| limit.min(rows))));
    (writer.out, writer.values, writer.footprint)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Understood,
    Run,
}

pub(super) struct Writer<'g> {
    pub(super) grants: &'g Grants,
    form: Form,
    out: String,
    pub(super) values: Vec<Parameter>,
    /// Where the values of a table's filter begin, by table and filter.
    filter_values: BTreeMap<(usize, usize), usize>,
    /// What a parameter's number is counted from: 0 for the caller's.
    pub(super) parameters_from: usize,
    pub(super) footprint: Footprint,
    /// The table whose filter or mask is being written.
    pub(super) row_of: Option<usize>,
}

impl<'g> Writer<'g> {
    fn new(grants: &'g Grants, parameters: &[Parameter], form: Form) -> Self {
        Self {
            grants,
            form,
            out: String::new(),
            values: parameters.to_vec(),
            filter_values: BTreeMap::new(),
            parameters_from: 0,
            footprint: Footprint::default(),
            row_of: None,
        }
    }

    pub(super) fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub(super) fn name(&mut self, name: &str) {
        self.out.push('"');
        // Names have no `"`; doubling it here makes that no condition of safety.
        self.out.push_str(&name.replace('"', "\"\""));
        self.out.push('"');
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.put(", ");
            }
            write(self, item);
        }
    }

    // Queries.

    fn query(&mut self, query: &Query, limit: Option<u64>) {
        if !query.named.is_empty() {
            self.put("WITH ");
            self.list(&query.named, |writer, named| {
                writer.name(&named.name);
                if !named.columns.is_empty() {
                    writer.put(" (");
                    writer.list(&named.columns, |writer, column| writer.name(column));
                    writer.put(")");
                }
                writer.put(match named.materialized {
                    None => " AS (",
                    Some(true) => " AS MATERIALIZED (",
                    Some(false) => " AS NOT MATERIALIZED (",
                });
                writer.query(&named.query, named.query.limit);
                writer.put(")");
            });
            self.put(" ");
        }
        self.body(&query.body);
        if !query.order.is_empty() {
            self.put(" ORDER BY ");
            self.list(&query.order, Self::order);
        }
        match (limit, query.offset, self.grants.dialect) {
            (Some(limit), _, _) => self.put(&format!(" LIMIT {limit}")),
            // SQLite has no offset without a limit.
            (None, Some(_), Dialect::Sqlite) => self.put(FENCE_SQLITE),
            (None, _, _) => {}
        }
        if let Some(offset) = query.offset {
            self.put(&format!(" OFFSET {offset}"));
        }
    }

    pub(super) fn subquery(&mut self, query: &Query) {
        self.put("(");
        self.query(query, query.limit);
        self.put(")");
    }

    fn body(&mut self, body: &Body) {
        match body {
            Body::Select(select) => self.select(select),
            Body::Query(query) => self.subquery(query),
            Body::Set { left, operator, is_all, right } => {
                self.side(left);
                self.put(match operator {
                    SetOperator::Union => " UNION",
                    SetOperator::Intersect => " INTERSECT",
                    SetOperator::Except => " EXCEPT",
                });
                self.put(if *is_all { " ALL " } else { " " });
                self.side(right);
            }
        }
    }

    fn side(&mut self, side: &Body) {
        match (self.grants.dialect, side) {
            (Dialect::Sqlite, _) | (_, Body::Query(_)) => self.body(side),
            (Dialect::Postgres, _) => {
                self.put("(");
                self.body(side);
                self.put(")");
            }
        }
    }

    fn select(&mut self, select: &Select) {
        self.put("SELECT ");
        match &select.distinct {
            Distinct::No => {}
            Distinct::Rows => self.put("DISTINCT "),
            Distinct::On(values) => {
                self.put("DISTINCT ON (");
                self.list(values, Self::expression);
                self.put(") ");
            }
        }
        self.list(&select.items, |writer, Item { value, name }| {
            writer.expression(value);
            writer.put(" AS ");
            writer.name(name);
        });
        if !select.from.is_empty() {
            self.put(" FROM ");
            self.list(&select.from, Self::joined);
        }
        if let Some(condition) = &select.condition {
            self.put(" WHERE ");
            self.expression(condition);
        }
        if !select.groups.is_empty() {
            self.put(" GROUP BY ");
            self.list(&select.groups, Self::expression);
        }
        if let Some(having) = &select.having {
            self.put(" HAVING ");
            self.expression(having);
        }
    }

    fn joined(&mut self, joined: &Joined) {
        self.source(&joined.first);
        for Join { kind, source, condition } in &joined.joins {
            self.put(match kind {
                JoinKind::Inner => " JOIN ",
                JoinKind::Left => " LEFT JOIN ",
                JoinKind::Right => " RIGHT JOIN ",
                JoinKind::Full => " FULL JOIN ",
                JoinKind::Cross => " CROSS JOIN ",
            });
            self.source(source);
            match condition {
                JoinCondition::None => {}
                JoinCondition::On(value) => {
                    self.put(" ON ");
                    self.expression(value);
                }
                JoinCondition::Using(names) => {
                    self.put(" USING (");
                    self.list(names, |writer, name| writer.name(name));
                    self.put(")");
                }
            }
        }
    }

    fn source(&mut self, source: &Source) {
        match &source.kind {
            SourceKind::Table(number) => self.table(*number),
            SourceKind::Named(name) => self.name(name),
            SourceKind::Query { query, is_lateral } => {
                self.put(if *is_lateral { "LATERAL " } else { "" });
                self.subquery(query);
            }
        }
        self.put(" AS ");
        self.name(&source.name);
    }

    /// A table: as it was understood its name, as it is run the part of it that is granted.
    fn table(&mut self, number: usize) {
        let grants = self.grants;
        let Some(table) = grants.tables.get(number) else { return };
        if self.form == Form::Understood {
            return self.relation(table);
        }
        self.row_of = Some(number);
        self.put("(SELECT ");
        for (at, column) in table.columns.iter().enumerate() {
            self.put(if at > 0 { ", " } else { "" });
            match table.masks.get(column) {
                Some(mask) => self.expression(mask),
                None => self.column(ROW, column),
            }
            self.put(" AS ");
            self.name(column);
        }
        self.put(" FROM ");
        self.relation(table);
        self.put(" AS ");
        self.name(ROW);
        self.filters(number, table);
        if !table.filters.is_empty() {
            self.put(match grants.dialect {
                Dialect::Postgres => FENCE_POSTGRES,
                Dialect::Sqlite => FENCE_SQLITE,
            });
        }
        self.put(")");
        self.row_of = None;
    }

    /// All filters of a table, each within parentheses of its own as any operation is.
    fn filters(&mut self, number: usize, table: &Table) {
        if !table.filters.is_empty() {
            self.put(" WHERE ");
            self.put(&"(".repeat(table.filters.len() - 1));
        }
        for (at, (filter, values)) in table.filters.iter().enumerate() {
            self.put(if at > 0 { " AND " } else { "" });
            self.parameters_from = self.values_of(number, at, values);
            self.expression(filter);
            self.parameters_from = 0;
            self.put(if at > 0 { ")" } else { "" });
        }
    }

    /// Where the values of a filter are among the parameters; there once, however often the table
    /// occurs.
    fn values_of(&mut self, table: usize, filter: usize, values: &[Parameter]) -> usize {
        let next = self.values.len();
        let from = *self.filter_values.entry((table, filter)).or_insert(next);
        if from == next {
            self.values.extend(values.iter().cloned());
        }
        from
    }

    fn relation(&mut self, table: &Table) {
        self.name(&table.schema);
        self.put(".");
        self.name(&table.name);
    }

    pub(super) fn order(&mut self, order: &Order) {
        self.expression(&order.value);
        self.put(if order.is_descending { " DESC" } else { "" });
        self.put(match order.nulls_first {
            None => "",
            Some(true) => " NULLS FIRST",
            Some(false) => " NULLS LAST",
        });
    }
}
