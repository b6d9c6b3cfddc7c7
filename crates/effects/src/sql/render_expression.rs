//! The writer's part for expressions: each with its own parentheses, whatever is around it.

use crate::sql::grants::{Dialect, Parameter};
use crate::sql::render::Writer;
use crate::sql::tree::{Arguments, Bound, Call, Expression, Function, Window};

impl Writer<'_> {
    pub(super) fn expression(&mut self, value: &Expression) {
        match value {
            Expression::Column { source, name } => self.column(source, name),
            Expression::Bare(name) => self.name(name),
            Expression::Number(text) => self.put(text),
            Expression::Text(text) => self.text(text),
            Expression::Boolean(true) => self.put("TRUE"),
            Expression::Boolean(false) => self.put("FALSE"),
            Expression::Null => self.put("NULL"),
            Expression::Parameter(number) => self.parameter(*number),
            Expression::Query(query) => self.subquery(query),
            Expression::Call(call) => self.call(call),
            Expression::Exists { is_negated, query } => {
                self.put(if *is_negated { "(NOT EXISTS " } else { "(EXISTS " });
                self.subquery(query);
                self.put(")");
            }
            Expression::Cast { operand, kind } => {
                self.put("CAST(");
                self.expression(operand);
                self.put(&format!(" AS {kind})"));
            }
            Expression::Extract { field, operand } => {
                self.put(&format!("EXTRACT({field} FROM "));
                self.expression(operand);
                self.put(")");
            }
            Expression::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref());
            }
            _ => {
                self.put("(");
                self.operation(value);
                self.put(")");
            }
        }
    }

    fn operation(&mut self, value: &Expression) {
        match value {
            Expression::Prefix { operator, operand } => {
                self.put(&format!("{operator} "));
                self.expression(operand);
            }
            Expression::Postfix { operand, operator } => {
                self.expression(operand);
                self.put(&format!(" {operator}"));
            }
            Expression::Binary { left, operator, right } => {
                self.expression(left);
                self.put(&format!(" {operator} "));
                self.expression(right);
            }
            Expression::Like { operand, operator, pattern, escape } => {
                self.expression(operand);
                self.put(&format!(" {operator} "));
                self.expression(pattern);
                if let Some(escape) = escape {
                    self.put(" ESCAPE ");
                    self.expression(escape);
                }
            }
            Expression::Between { operand, is_negated, low, high } => {
                self.expression(operand);
                self.put(if *is_negated { " NOT BETWEEN " } else { " BETWEEN " });
                self.expression(low);
                self.put(" AND ");
                self.expression(high);
            }
            Expression::InList { operand, is_negated, list } => {
                self.expression(operand);
                self.put(if *is_negated { " NOT IN (" } else { " IN (" });
                self.list(list, Self::expression);
                self.put(")");
            }
            Expression::InQuery { operand, is_negated, query } => {
                self.expression(operand);
                self.put(if *is_negated { " NOT IN " } else { " IN " });
                self.subquery(query);
            }
            // Everything else has no parentheses around it.
            _ => self.expression(value),
        }
    }

    pub(super) fn column(&mut self, source: &str, name: &str) {
        if let Some(table) = self.row_of.and_then(|number| self.grants.tables.get(number)) {
            self.footprint.reads.insert((table.name.clone(), name.to_owned()));
        }
        self.name(source);
        self.put(".");
        self.name(name);
    }

    fn text(&mut self, text: &str) {
        self.put("'");
        self.put(&text.replace('\'', "''"));
        self.put("'");
    }

    /// A parameter; one that is null has no type that a comparison could fail over.
    fn parameter(&mut self, number: usize) {
        let number = self.parameters_from + number;
        let (is_null, is_decimal) = match number.checked_sub(1).and_then(|at| self.values.get(at)) {
            Some(Parameter::Null) => (true, false),
            Some(Parameter::Decimal(_)) => (false, true),
            Some(Parameter::Boolean(_) | Parameter::Integer(_) | Parameter::Text(_)) | None => {
                (false, false)
            }
        };
        match (self.grants.dialect, is_null, is_decimal) {
            (_, true, _) => self.put("NULL"),
            // Bound as text, since its digits are all that is known of it.
            (Dialect::Postgres, _, true) => self.put(&format!("CAST(${number} AS numeric)")),
            (Dialect::Sqlite, _, true) => self.put(&format!("CAST(?{number} AS NUMERIC)")),
            (Dialect::Postgres, _, false) => self.put(&format!("${number}")),
            (Dialect::Sqlite, _, false) => self.put(&format!("?{number}")),
        }
    }

    fn case(
        &mut self,
        operand: Option<&Expression>,
        branches: &[(Expression, Expression)],
        otherwise: Option<&Expression>,
    ) {
        self.put("CASE");
        if let Some(operand) = operand {
            self.put(" ");
            self.expression(operand);
        }
        for (condition, result) in branches {
            self.put(" WHEN ");
            self.expression(condition);
            self.put(" THEN ");
            self.expression(result);
        }
        if let Some(otherwise) = otherwise {
            self.put(" ELSE ");
            self.expression(otherwise);
        }
        self.put(" END");
    }

    fn call(&mut self, call: &Call) {
        self.function(&call.function);
        match &call.arguments {
            Arguments::None => {}
            Arguments::Star => self.put("(*)"),
            Arguments::List { is_distinct, values, order } => {
                self.put(if *is_distinct { "(DISTINCT " } else { "(" });
                self.list(values, Self::expression);
                if !order.is_empty() {
                    self.put(" ORDER BY ");
                    self.list(order, Self::order);
                }
                self.put(")");
            }
        }
        if !call.within_group.is_empty() {
            self.put(" WITHIN GROUP (ORDER BY ");
            self.list(&call.within_group, Self::order);
            self.put(")");
        }
        if let Some(filter) = &call.filter {
            self.put(" FILTER (WHERE ");
            self.expression(filter);
            self.put(")");
        }
        if let Some(window) = &call.window {
            self.window(window);
        }
    }

    fn function(&mut self, function: &Function) {
        self.footprint.calls.insert(function.name().to_ascii_lowercase());
        match (function, self.grants.dialect) {
            (Function::Keyword(name), _) => self.put(name),
            (Function::BuiltIn(name), Dialect::Postgres) => {
                self.put("\"pg_catalog\".");
                self.name(name);
            }
            (Function::BuiltIn(name), Dialect::Sqlite) => self.name(name),
            (Function::Own { schema, name }, _) => {
                self.name(schema);
                self.put(".");
                self.name(name);
            }
        }
    }

    fn window(&mut self, window: &Window) {
        self.put(" OVER (");
        if !window.partition.is_empty() {
            self.put("PARTITION BY ");
            self.list(&window.partition, Self::expression);
        }
        if !window.order.is_empty() {
            self.put(" ORDER BY ");
            self.list(&window.order, Self::order);
        }
        if let Some(frame) = &window.frame {
            self.put(&format!(" {} ", frame.unit));
            match &frame.end {
                None => self.bound(&frame.start),
                Some(end) => {
                    self.put("BETWEEN ");
                    self.bound(&frame.start);
                    self.put(" AND ");
                    self.bound(end);
                }
            }
        }
        self.put(")");
    }

    fn bound(&mut self, bound: &Bound) {
        let (value, word) = match bound {
            Bound::CurrentRow => return self.put("CURRENT ROW"),
            Bound::Preceding(value) => (value, " PRECEDING"),
            Bound::Following(value) => (value, " FOLLOWING"),
        };
        match value {
            None => self.put("UNBOUNDED"),
            Some(value) => self.expression(value),
        }
        self.put(word);
    }
}
