//! Why a statement is refused: by which rule, over what, and where in the caller's text.

use sqlparser::ast::{Ident, Spanned};
use sqlparser::tokenizer::{Location, Span};
use std::fmt;

/// A statement that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Which rule refuses it.
    pub rule: Rule,
    /// What was not allowed: a name, a construct, a character.
    pub what: String,
    /// Where it begins, if that is known.
    pub place: Option<Place>,
}

/// A place in the caller's text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// The rules, in the order in which they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Text, tokens, depth, tables or the rewritten statement over their bounds.
    Size,
    /// A character that databases and parsers do not read alike, or that a reader does not see.
    Character,
    /// A token that no accepted statement needs: comments, other quotations, other operators.
    Token,
    /// Not SQL as the parser knows it.
    Syntax,
    /// More than one statement, or none.
    OneStatement,
    /// A statement other than a query.
    OnlyQueries,
    /// A clause that is not on the list.
    Clause,
    /// An expression that is not on the list.
    Expression,
    /// A type that values may not be cast to.
    Type,
    /// A function that is not granted.
    Function,
    /// A table that is not granted.
    Table,
    /// A column that is not granted, or does not exist.
    Column,
    /// A name that means two things, or that no statement needs.
    Name,
    /// A parameter that was not given, or that has no meaning where it stands.
    Parameter,
}

impl Rule {
    /// The rule in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Size => "the statement is too large",
            Self::Character => "a character that is not accepted",
            Self::Token => "a token that is not accepted",
            Self::Syntax => "not SQL that is understood",
            Self::OneStatement => "exactly one statement is accepted",
            Self::OnlyQueries => "only a query is accepted",
            Self::Clause => "a clause that is not accepted",
            Self::Expression => "an expression that is not accepted",
            Self::Type => "a type that is not accepted",
            Self::Function => "a function that is not granted",
            Self::Table => "a table that is not granted",
            Self::Column => "a column that is not granted",
            Self::Name => "a name that is not accepted",
            Self::Parameter => "a parameter that is not accepted",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.describe(), self.what)?;
        match self.place {
            Some(Place { line, column }) => write!(f, ", at line {line}, column {column}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// A refusal without a place.
    pub(super) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into(), place: None }
    }

    /// A refusal over a construct of the statement.
    pub(super) fn of(rule: Rule, what: impl Into<String>, construct: &impl Spanned) -> Self {
        Self::new(rule, what).at(construct.span())
    }

    /// A refusal over a value that cannot be bound, or over what cannot be read as a statement.
    pub(crate) fn of_parameter(what: &str) -> Self {
        Self::new(Rule::Parameter, what)
    }

    /// A refusal over a name.
    pub(super) fn of_name(rule: Rule, name: &Ident) -> Self {
        Self::new(rule, format!("`{}`", shown(&name.value))).at(name.span)
    }

    pub(super) fn at(self, span: Span) -> Self {
        self.at_location(span.start)
    }

    pub(super) fn at_location(mut self, start: Location) -> Self {
        if start.line > 0 {
            self.place = Some(Place { line: start.line, column: start.column });
        }
        self
    }
}

/// Characters of a caller's text that are repeated in a message.
const SHOWN_MAX: usize = 80;

/// A part of the caller's text as it may stand in a message: without what a terminal would act on.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    cut.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}
