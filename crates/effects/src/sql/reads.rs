//! Which tables and columns a statement names: found in our tree, for whoever decides about it.
//!
//! What a name means has been settled before. Where a name stands for one of several columns
//! (`USING`), all of them count: too much is found rather than too little.

use crate::sql::grants::Grants;
use crate::sql::tree::{
    Arguments, Body, Bound, Call, Distinct, Expression, Join, JoinCondition, Order, Query, Select,
    Source, SourceKind, Window,
};
use std::collections::BTreeSet;

/// What a statement names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Tables, by their numbers in the grants.
    pub tables: BTreeSet<usize>,
    /// Columns, each with the number of its table.
    pub columns: BTreeSet<(usize, String)>,
}

pub(super) fn reads(grants: &Grants, query: &Query) -> Reads {
    let mut finder = Finder { grants, found: Reads::default(), sources: Vec::new() };
    finder.query(query);
    finder.found
}

/// The sources that are in view, the nearest last. One that is no table has shown its columns where
/// it is made.
struct Finder<'q> {
    grants: &'q Grants,
    found: Reads,
    sources: Vec<(&'q str, Option<usize>)>,
}

impl<'q> Finder<'q> {
    fn query(&mut self, query: &'q Query) {
        for named in &query.named {
            self.query(&named.query);
        }
        let outside = self.sources.len();
        self.body(&query.body);
        // Still in view: an order may name what a select has.
        self.orders(&query.order);
        self.sources.truncate(outside);
    }

    fn body(&mut self, body: &'q Body) {
        match body {
            Body::Select(select) => self.select(select),
            Body::Query(query) => self.query(query),
            Body::Set { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
        }
    }

    fn select(&mut self, select: &'q Select) {
        let Select { distinct, items, from, condition, groups, having } = select;
        for joined in from {
            self.source(&joined.first);
            for Join { source, condition, .. } in &joined.joins {
                self.source(source);
                match condition {
                    JoinCondition::None => {}
                    JoinCondition::On(value) => self.expression(value),
                    JoinCondition::Using(names) => names.iter().for_each(|name| self.bare(name)),
                }
            }
        }
        match distinct {
            Distinct::No | Distinct::Rows => {}
            Distinct::On(values) => self.expressions(values),
        }
        items.iter().for_each(|item| self.expression(&item.value));
        condition.iter().chain(having).for_each(|value| self.expression(value));
        self.expressions(groups);
    }

    fn source(&mut self, source: &'q Source) {
        let number = match &source.kind {
            SourceKind::Table(number) => {
                self.found.tables.insert(*number);
                Some(*number)
            }
            SourceKind::Named(_) => None,
            SourceKind::Query { query, .. } => {
                self.query(query);
                None
            }
        };
        self.sources.push((&source.name, number));
    }

    fn column(&mut self, source: &str, name: &str) {
        let nearest = self.sources.iter().rev().find(|(known, _)| *known == source);
        if let Some((_, Some(number))) = nearest {
            self.found.columns.insert((*number, name.to_owned()));
        }
    }

    fn bare(&mut self, name: &str) {
        for (_, number) in &self.sources {
            let Some(number) = *number else { continue };
            let table = self.grants.tables.get(number);
            if table.is_some_and(|table| table.columns.iter().any(|it| it == name)) {
                self.found.columns.insert((number, name.to_owned()));
            }
        }
    }

    fn orders(&mut self, orders: &'q [Order]) {
        orders.iter().for_each(|order| self.expression(&order.value));
    }

    fn expressions(&mut self, values: &'q [Expression]) {
        values.iter().for_each(|value| self.expression(value));
    }

    fn expression(&mut self, value: &'q Expression) {
        match value {
            Expression::Column { source, name } => self.column(source, name),
            Expression::Bare(name) => self.bare(name),
            Expression::Number(_)
            | Expression::Text(_)
            | Expression::Boolean(_)
            | Expression::Null
            | Expression::Parameter(_) => {}
            Expression::Prefix { operand, .. }
            | Expression::Postfix { operand, .. }
            | Expression::Cast { operand, .. }
            | Expression::Extract { operand, .. } => self.expression(operand),
            Expression::Binary { left, right, .. } => {
                self.expression(left);
                self.expression(right);
            }
            Expression::Like { operand, pattern, escape, .. } => {
                self.expression(operand);
                self.expression(pattern);
                escape.iter().for_each(|escape| self.expression(escape));
            }
            Expression::Between { operand, low, high, .. } => {
                [operand, low, high].into_iter().for_each(|it| self.expression(it));
            }
            Expression::InList { operand, list, .. } => {
                self.expression(operand);
                self.expressions(list);
            }
            Expression::InQuery { operand, query, .. } => {
                self.expression(operand);
                self.query(query);
            }
            Expression::Exists { query, .. } | Expression::Query(query) => self.query(query),
            Expression::Case { operand, branches, otherwise } => {
                operand.iter().chain(otherwise).for_each(|it| self.expression(it));
                for (when, then) in branches {
                    self.expression(when);
                    self.expression(then);
                }
            }
            Expression::Call(call) => self.call(call),
        }
    }

    fn call(&mut self, call: &'q Call) {
        let Call { function: _, arguments, within_group, filter, window } = call;
        match arguments {
            Arguments::None | Arguments::Star => {}
            Arguments::List { values, order, .. } => {
                self.expressions(values);
                self.orders(order);
            }
        }
        self.orders(within_group);
        filter.iter().for_each(|filter| self.expression(filter));
        let Some(Window { partition, order, frame }) = window else { return };
        self.expressions(partition);
        self.orders(order);
        let Some(frame) = frame else { return };
        for bound in [Some(&frame.start), frame.end.as_ref()].into_iter().flatten() {
            match bound {
                Bound::Preceding(Some(value)) | Bound::Following(Some(value)) => {
                    self.expression(value);
                }
                Bound::CurrentRow | Bound::Preceding(None) | Bound::Following(None) => {}
            }
        }
    }
}
