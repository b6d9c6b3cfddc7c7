//! The operators that are accepted, and every kind of expression that is not.

use crate::sql::grants::Dialect;
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::scope::Reader;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

impl Reader<'_> {
    /// The operators that are accepted, as they are written.
    #[expect(clippy::too_many_lines, reason = "a line for each operator")]
    pub(super) fn operator(
        &self,
        operator: &BinaryOperator,
        said: &Expr,
    ) -> Result<&'static str, Refusal> {
        let postgres = |text| match self.dialect() {
            Dialect::Postgres => Some(text),
            Dialect::Sqlite => None,
        };
        let found = match operator {
            BinaryOperator::Plus => Some("+"),
            BinaryOperator::Minus => Some("-"),
            BinaryOperator::Multiply => Some("*"),
            BinaryOperator::Divide => Some("/"),
            BinaryOperator::Modulo => Some("%"),
            BinaryOperator::StringConcat => Some("||"),
            BinaryOperator::Gt => Some(">"),
            BinaryOperator::Lt => Some("<"),
            BinaryOperator::GtEq => Some(">="),
            BinaryOperator::LtEq => Some("<="),
            BinaryOperator::Eq => Some("="),
            BinaryOperator::NotEq => Some("<>"),
            BinaryOperator::And => Some("AND"),
            BinaryOperator::Or => Some("OR"),
            BinaryOperator::Arrow => Some("->"),
            BinaryOperator::LongArrow => Some("->>"),
            BinaryOperator::PGRegexMatch => postgres("~"),
            BinaryOperator::PGRegexIMatch => postgres("~*"),
            BinaryOperator::PGRegexNotMatch => postgres("!~"),
            BinaryOperator::PGRegexNotIMatch => postgres("!~*"),
            BinaryOperator::HashArrow => postgres("#>"),
            BinaryOperator::HashLongArrow => postgres("#>>"),
            BinaryOperator::AtArrow => postgres("@>"),
            BinaryOperator::ArrowAt => postgres("<@"),
            BinaryOperator::Glob if self.dialect() == Dialect::Sqlite => Some("GLOB"),
            BinaryOperator::Spaceship
            | BinaryOperator::Xor
            | BinaryOperator::BitwiseOr
            | BinaryOperator::BitwiseAnd
            | BinaryOperator::BitwiseXor
            | BinaryOperator::DuckIntegerDivide
            | BinaryOperator::MyIntegerDivide
            | BinaryOperator::Match
            | BinaryOperator::Regexp
            | BinaryOperator::Glob
            | BinaryOperator::Custom(_)
            | BinaryOperator::PGBitwiseXor
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight
            | BinaryOperator::PGExp
            | BinaryOperator::PGOverlap
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGILikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGNotILikeMatch
            | BinaryOperator::PGStartsWith
            | BinaryOperator::AtAt
            | BinaryOperator::HashMinus
            | BinaryOperator::AtQuestion
            | BinaryOperator::Question
            | BinaryOperator::QuestionAnd
            | BinaryOperator::QuestionPipe
            | BinaryOperator::PGCustomBinaryOperator(_)
            | BinaryOperator::Overlaps
            | BinaryOperator::DoubleHash
            | BinaryOperator::LtDashGt
            | BinaryOperator::AndLt
            | BinaryOperator::AndGt
            | BinaryOperator::LtLtPipe
            | BinaryOperator::PipeGtGt
            | BinaryOperator::AndLtPipe
            | BinaryOperator::PipeAndGt
            | BinaryOperator::LtCaret
            | BinaryOperator::GtCaret
            | BinaryOperator::QuestionHash
            | BinaryOperator::QuestionDash
            | BinaryOperator::QuestionDashPipe
            | BinaryOperator::QuestionDoublePipe
            | BinaryOperator::At
            | BinaryOperator::TildeEq
            | BinaryOperator::Assignment => None,
        };
        found.ok_or_else(|| {
            let what = format!("operator `{}`", shown(&operator.to_string()));
            Refusal::of(Rule::Expression, what, said)
        })
    }
}

pub(super) fn prefix(operator: UnaryOperator, said: &Expr) -> Result<&'static str, Refusal> {
    match operator {
        UnaryOperator::Not => Ok("NOT"),
        UnaryOperator::Minus => Ok("-"),
        UnaryOperator::Plus => Ok("+"),
        UnaryOperator::AtDashAt
        | UnaryOperator::BangNot
        | UnaryOperator::BitwiseNot
        | UnaryOperator::DoubleAt
        | UnaryOperator::Hash
        | UnaryOperator::PGAbs
        | UnaryOperator::PGCubeRoot
        | UnaryOperator::PGPostfixFactorial
        | UnaryOperator::PGPrefixFactorial
        | UnaryOperator::PGSquareRoot
        | UnaryOperator::QuestionDash
        | UnaryOperator::QuestionPipe => {
            Err(Refusal::of(Rule::Expression, format!("operator `{operator}`"), said))
        }
    }
}

/// Every kind of expression that is refused, or that comes here because of its form.
pub(super) fn refused(value: &Expr) -> Refusal {
    let what = match value {
        Expr::CompoundFieldAccess { .. } => "a part of a composite value",
        Expr::Array(_) | Expr::InUnnest { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            "an array, `ANY` or `ALL`"
        }
        Expr::Tuple(_) | Expr::Struct { .. } | Expr::Named { .. } => "a row in place of a value",
        Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => "grouping sets",
        Expr::Convert { .. } | Expr::Cast { .. } => "a cast in another form",
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "`*` in place of a value",
        Expr::SimilarTo { .. } | Expr::RLike { .. } | Expr::Like { .. } | Expr::ILike { .. } => {
            "a match other than `LIKE` and, in PostgreSQL, `ILIKE` and `~`"
        }
        Expr::InList { .. } => "`IN ()`",
        Expr::TypedString(_) | Expr::Prefixed { .. } => "a literal with a type",
        Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsJson { .. }
        | Expr::IsNormalized { .. } => "this test",
        Expr::JsonAccess { .. }
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Overlay { .. }
        | Expr::Collate { .. }
        | Expr::AtTimeZone { .. }
        | Expr::Dictionary(_)
        | Expr::Map(_)
        | Expr::Interval(_)
        | Expr::MatchAgainst { .. }
        | Expr::OuterJoin(_)
        | Expr::Prior(_)
        | Expr::Lambda(_)
        | Expr::MemberOf(_) => "this expression, or this form of it",
        // Taken apart before: to be here is a mistake of ours, and still a refusal.
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::Nested(_)
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Case { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_) => "this expression",
    };
    Refusal::of(Rule::Expression, what, value)
}
