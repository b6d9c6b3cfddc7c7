//! The queries that can be written: nothing that this tree has no room for reaches a database.
//!
//! Every name in it is resolved: a column says which source it is of, a table is the number of its
//! grant. Parentheses have no node, since every operation is written with its own.

use std::collections::BTreeSet;

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) named: Vec<NamedQuery>,
    pub(super) body: Body,
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<u64>,
    pub(super) offset: Option<u64>,
    /// The names of what it gives.
    pub(super) columns: Vec<String>,
}

/// A query of a `WITH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedQuery {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) materialized: Option<bool>,
    pub(super) query: Query,
}

/// What a query gives, before it is ordered and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Select(Box<Select>),
    Query(Box<Query>),
    Set { left: Box<Body>, operator: SetOperator, is_all: bool, right: Box<Body> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetOperator {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Select {
    pub(super) distinct: Distinct,
    pub(super) items: Vec<Item>,
    pub(super) from: Vec<Joined>,
    pub(super) condition: Option<Expression>,
    pub(super) groups: Vec<Expression>,
    pub(super) having: Option<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Distinct {
    No,
    Rows,
    On(Vec<Expression>),
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: Expression,
    pub(super) name: String,
}

/// A source, with what is joined to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) first: Source,
    pub(super) joins: Vec<Join>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) kind: JoinKind,
    pub(super) source: Source,
    pub(super) condition: JoinCondition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Cross,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JoinCondition {
    None,
    On(Expression),
    Using(Vec<String>),
}

/// What rows come from. Each has a name of its own within its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) kind: SourceKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourceKind {
    /// A granted table, by its number in the grants.
    Table(usize),
    /// A query of a `WITH`.
    Named(String),
    Query {
        query: Box<Query>,
        is_lateral: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) value: Expression,
    pub(super) is_descending: bool,
    pub(super) nulls_first: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A column of a source.
    Column {
        source: String,
        name: String,
    },
    /// A column that `USING` merged, or a column of the result: both are written without a source.
    Bare(String),
    Number(String),
    Text(String),
    Boolean(bool),
    Null,
    /// A parameter, from 1.
    Parameter(usize),
    /// A sign or a word before its operand.
    Prefix {
        operator: &'static str,
        operand: Box<Expression>,
    },
    /// A test or a collation after its operand.
    Postfix {
        operand: Box<Expression>,
        operator: &'static str,
    },
    Binary {
        left: Box<Expression>,
        operator: &'static str,
        right: Box<Expression>,
    },
    Like {
        operand: Box<Expression>,
        operator: &'static str,
        pattern: Box<Expression>,
        escape: Option<Box<Expression>>,
    },
    Between {
        operand: Box<Expression>,
        is_negated: bool,
        low: Box<Expression>,
        high: Box<Expression>,
    },
    InList {
        operand: Box<Expression>,
        is_negated: bool,
        list: Vec<Expression>,
    },
    InQuery {
        operand: Box<Expression>,
        is_negated: bool,
        query: Box<Query>,
    },
    Exists {
        is_negated: bool,
        query: Box<Query>,
    },
    Query(Box<Query>),
    Case {
        operand: Option<Box<Expression>>,
        branches: Vec<(Expression, Expression)>,
        otherwise: Option<Box<Expression>>,
    },
    Cast {
        operand: Box<Expression>,
        kind: String,
    },
    Extract {
        field: &'static str,
        operand: Box<Expression>,
    },
    Call(Box<Call>),
}

/// A call of a granted function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Arguments,
    pub(super) within_group: Vec<Order>,
    pub(super) filter: Option<Expression>,
    pub(super) window: Option<Window>,
}

/// How a function is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// A part of the grammar, such as `COALESCE`: it has no schema.
    Keyword(&'static str),
    /// A function of the database itself.
    BuiltIn(String),
    /// A function of the operator's, in a schema.
    Own { schema: String, name: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// Not even parentheses: `CURRENT_DATE`.
    None,
    /// `count(*)`.
    Star,
    List {
        is_distinct: bool,
        values: Vec<Expression>,
        order: Vec<Order>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) partition: Vec<Expression>,
    pub(super) order: Vec<Order>,
    pub(super) frame: Option<Frame>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) unit: &'static str,
    pub(super) start: Bound,
    pub(super) end: Option<Bound>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    CurrentRow,
    Preceding(Option<Box<Expression>>),
    Following(Option<Box<Expression>>),
}

/// What a statement as it is written reads and calls, for barriers that look at it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Tables and columns, the ones that filters and masks read included.
    pub(super) reads: BTreeSet<(String, String)>,
    /// Functions, in lower case.
    pub(super) calls: BTreeSet<String>,
}
