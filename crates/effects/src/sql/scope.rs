//! Which name means what at one place of a statement.

use crate::sql::grants::{Dialect, Grants, Parameter};
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::tree::Expression;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use std::collections::BTreeSet;

/// Expressions and queries within one another. Deeper than anybody writes, and shallow enough for
/// the stack of a small thread.
const DEPTH_MAX: usize = 96;
/// Times that a statement names a table. Each may be a join with all the others.
const MENTIONS_MAX: usize = 32;
/// What the operator's expressions call the row that they are about.
pub(super) const ROW: &str = "row";

/// Reads one statement: what it may name, and what it has used of its bounds.
pub(super) struct Reader<'g> {
    pub(super) grants: &'g Grants,
    pub(super) parameters: &'g [Parameter],
    /// The parameters that occur, from 1.
    pub(super) used: BTreeSet<usize>,
    /// The queries of `WITH` that are in view, the nearest last, with their columns.
    pub(super) named: Vec<(String, Vec<String>)>,
    depth: usize,
    tables: usize,
}

impl<'g> Reader<'g> {
    pub(super) fn new(grants: &'g Grants, parameters: &'g [Parameter]) -> Self {
        let (used, named) = (BTreeSet::new(), Vec::new());
        Self { grants, parameters, used, named, depth: 0, tables: 0 }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.grants.dialect
    }

    /// A name as the database compares it.
    ///
    /// The parser takes text in `'…'` for a name in some places.
    pub(super) fn name(&self, name: &Ident) -> Result<String, Refusal> {
        match name.quote_style {
            None => Ok(name.value.to_ascii_lowercase()),
            Some('"') => Ok(self.dialect().compared(&name.value)),
            Some(_) => Err(Refusal::of_name(Rule::Name, name)),
        }
    }

    /// Several names.
    pub(super) fn names(&self, names: &[&Ident]) -> Result<Vec<String>, Refusal> {
        names.iter().map(|name| self.name(name)).collect()
    }

    /// The parts of a dotted name.
    pub(super) fn parts<'n>(&self, name: &'n ObjectName) -> Result<Vec<&'n Ident>, Refusal> {
        let part = |part: &'n ObjectNamePart| match part {
            ObjectNamePart::Identifier(name) => Ok(name),
            ObjectNamePart::Function(call) => Err(Refusal::of_name(Rule::Name, &call.name)),
        };
        name.0.iter().map(part).collect()
    }

    /// The only part of a name.
    pub(super) fn single(&self, name: &ObjectName) -> Result<String, Refusal> {
        match self.parts(name)?.as_slice() {
            [only] => self.name(only),
            _ => Err(Refusal::of(Rule::Name, format!("`{}`", shown(&name.to_string())), name)),
        }
    }

    /// One level deeper. Nothing goes on after a refusal, so only success comes back up.
    pub(super) fn descend(&mut self) -> Result<(), Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refusal::new(Rule::Size, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }

    pub(super) fn ascend(&mut self) {
        self.depth -= 1;
    }

    /// One more table.
    pub(super) fn count_table(&mut self) -> Result<(), Refusal> {
        self.tables += 1;
        if self.tables > MENTIONS_MAX {
            return Err(Refusal::new(Rule::Size, format!("more than {MENTIONS_MAX} tables")));
        }
        Ok(())
    }

    /// The number of a parameter, from its text: `$1`, `?1`.
    pub(super) fn parameter(&mut self, text: &str) -> Result<usize, Refusal> {
        let number = text.get(1..).and_then(|it| it.parse::<usize>().ok());
        match number.filter(|it| (1..=self.parameters.len()).contains(it)) {
            Some(number) => {
                self.used.insert(number);
                Ok(number)
            }
            None => Err(Refusal::new(Rule::Parameter, format!("`{}` was not given", shown(text)))),
        }
    }
}

/// What can be named within one query, and around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'p> {
    parent: Option<&'p Scope<'p>>,
    sources: Vec<(String, Vec<String>)>,
    /// What `*` gives, in order; a name without a source is looked up here.
    pub(super) row: Vec<(String, Expression)>,
    /// Whether every name without a source is a column of [`ROW`].
    is_operators: bool,
}

impl<'p> Scope<'p> {
    /// Nothing yet, within another scope.
    pub(super) fn within(parent: Option<&'p Scope<'p>>) -> Self {
        Self { parent, ..Self::default() }
    }

    /// The scope of a filter or mask.
    pub(super) fn of_operator() -> Self {
        Self { is_operators: true, ..Self::default() }
    }

    /// Adds a source.
    pub(super) fn add(&mut self, name: &str, columns: &[String]) -> Result<(), Refusal> {
        if self.has_source(name) {
            return Err(Refusal::new(Rule::Name, format!("`{name}` names two sources")));
        }
        self.sources.push((name.to_owned(), columns.to_vec()));
        let row = columns.iter().map(|column| (column.clone(), column_of(name, column)));
        self.row.extend(row);
        Ok(())
    }

    /// Adds all that another scope has.
    pub(super) fn extend(&mut self, other: Scope<'_>) -> Result<(), Refusal> {
        if let Some((name, _)) = other.sources.iter().find(|(name, _)| self.has_source(name)) {
            return Err(Refusal::new(Rule::Name, format!("`{name}` names two sources")));
        }
        self.sources.extend(other.sources);
        self.row.extend(other.row);
        Ok(())
    }

    fn has_source(&self, name: &str) -> bool {
        self.sources.iter().any(|(known, _)| known == name)
    }

    /// All columns of a source of this query.
    pub(super) fn columns_of(&self, source: &str) -> Option<&[String]> {
        let found = self.sources.iter().find(|(name, _)| name == source);
        found.map(|(_, columns)| columns.as_slice())
    }

    /// Whether this is the scope of a filter or mask.
    pub(super) fn is_operators(&self) -> bool {
        self.is_operators
    }

    /// Whether this query itself, without what is around it, has a column of that name.
    pub(super) fn has_column(&self, name: &str) -> bool {
        self.row.iter().any(|(known, _)| known == name)
    }

    /// The column that `source.name` means.
    pub(super) fn qualified(
        &self,
        source: &str,
        name: &str,
        said: &Ident,
    ) -> Result<Expression, Refusal> {
        if self.is_operators {
            return match source == ROW {
                true => Ok(column_of(ROW, name)),
                false => Err(Refusal::of_name(Rule::Name, said)),
            };
        }
        match (self.columns_of(source), self.parent) {
            (Some(columns), _) => match columns.iter().filter(|it| *it == name).count() {
                1 => Ok(column_of(source, name)),
                0 => Err(Refusal::of_name(Rule::Column, said)),
                _ => Err(ambiguous(said)),
            },
            (None, Some(parent)) => parent.qualified(source, name, said),
            (None, None) => {
                let what = format!("`{}` is no source of this query", shown(source));
                Err(Refusal::new(Rule::Table, what).at(said.span))
            }
        }
    }

    /// The column that a name without a source means.
    pub(super) fn bare(&self, name: &str, said: &Ident) -> Result<Expression, Refusal> {
        if self.is_operators {
            return Ok(column_of(ROW, name));
        }
        let mut found = self.row.iter().filter(|(known, _)| known == name);
        match (found.next(), found.next(), self.parent) {
            (Some((_, value)), None, _) => Ok(value.clone()),
            (Some(_), Some(_), _) => Err(ambiguous(said)),
            (None, _, Some(parent)) => {
                let value = parent.bare(name, said)?;
                self.check_unshadowed(&value, said)?;
                Ok(value)
            }
            (None, _, None) if self.has_source(name) => {
                let what = format!("`{}` means a whole row here", shown(name));
                Err(Refusal::new(Rule::Column, what).at(said.span))
            }
            (None, _, None) => Err(Refusal::of_name(Rule::Column, said)),
        }
    }

    /// A column of an outer query is written with its source, which must not mean another one here.
    fn check_unshadowed(&self, value: &Expression, said: &Ident) -> Result<(), Refusal> {
        match value {
            Expression::Column { source, .. } if self.has_source(source) => Err(ambiguous(said)),
            _ => Ok(()),
        }
    }
}

pub(super) fn column_of(source: &str, name: &str) -> Expression {
    Expression::Column { source: source.to_owned(), name: name.to_owned() }
}

fn ambiguous(said: &Ident) -> Refusal {
    let what = format!("`{}` means more than one column", shown(&said.value));
    Refusal::new(Rule::Name, what).at(said.span)
}
