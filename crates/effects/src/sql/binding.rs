//! Which operators may stand beside each other without parentheses.
//!
//! Databases disagree, with each other and with the parser, about what binds more closely: `||`
//! and `*`, `->>` and `+`, `LIKE` and `=`. No misreading could reach beyond the grants, but an
//! answer to another question is wrong too. So only those stand beside each other that everybody
//! reads alike.

use crate::sql::refusal::{Refusal, Rule};
use sqlparser::ast::{BinaryOperator, CastKind, Expr, UnaryOperator};

/// How closely an expression holds together without parentheses around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A name, a literal, a call: nothing can come between its parts.
    Whole,
    /// `COLLATE`, `AT TIME ZONE`, `::`.
    Suffix,
    /// `->`, `->>`, `#>`, `#>>`.
    Path,
    Concatenation,
    Arithmetic,
    /// `~`, `@>` and their like.
    Match,
    /// Comparisons, and the tests beside them: `LIKE`, `IN`, `BETWEEN`, `IS`.
    Comparison,
    /// `NOT`, `AND`, `OR`.
    Logic,
}

/// Refuses an expression with an operand that needs parentheses.
pub(super) fn check(value: &Expr) -> Result<(), Refusal> {
    let class = class(value);
    let is_doubtful = |operand: &Expr| !may_hold(class, self::class(operand));
    match operands(value).into_iter().flatten().find(|operand| is_doubtful(operand)) {
        Some(operand) => {
            let what = "operators that not everybody binds alike: hint: use parentheses";
            Err(Refusal::of(Rule::Expression, what, operand))
        }
        None => Ok(()),
    }
}

fn may_hold(class: Class, operand: Class) -> bool {
    match class {
        Class::Whole | Class::Logic => true,
        Class::Suffix => matches!(operand, Class::Whole | Class::Suffix),
        Class::Path => matches!(operand, Class::Whole | Class::Suffix | Class::Path),
        Class::Concatenation => {
            matches!(operand, Class::Whole | Class::Suffix | Class::Concatenation)
        }
        Class::Arithmetic => matches!(operand, Class::Whole | Class::Suffix | Class::Arithmetic),
        Class::Match => matches!(operand, Class::Whole | Class::Suffix),
        Class::Comparison => matches!(
            operand,
            Class::Whole | Class::Suffix | Class::Path | Class::Concatenation | Class::Arithmetic
        ),
    }
}

fn class(value: &Expr) -> Class {
    match value {
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::And | BinaryOperator::Or => Class::Logic,
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => Class::Arithmetic,
            BinaryOperator::StringConcat => Class::Concatenation,
            BinaryOperator::Arrow
            | BinaryOperator::LongArrow
            | BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow => Class::Path,
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::Gt
            | BinaryOperator::LtEq
            | BinaryOperator::GtEq
            | BinaryOperator::Glob => Class::Comparison,
            // Every other one is refused anyway, or holds nothing that is not whole.
            _ => Class::Match,
        },
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => Class::Logic,
        Expr::UnaryOp { .. } => Class::Arithmetic,
        Expr::Cast { kind: CastKind::DoubleColon, .. }
        | Expr::Collate { .. }
        | Expr::AtTimeZone { .. } => Class::Suffix,
        _ if operands(value).iter().any(Option::is_some) => Class::Comparison,
        _ => Class::Whole,
    }
}

/// The operands that no bracket or word parts from what is beside the expression.
fn operands(value: &Expr) -> [Option<&Expr>; 3] {
    match value {
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right) => [Some(left), Some(right), None],
        Expr::UnaryOp { expr, .. }
        | Expr::Cast { kind: CastKind::DoubleColon, expr, .. }
        | Expr::Collate { expr, .. }
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::InList { expr, .. }
        | Expr::InSubquery { expr, .. } => [Some(expr), None, None],
        Expr::AtTimeZone { timestamp, time_zone } => [Some(timestamp), Some(time_zone), None],
        Expr::Like { expr, pattern, escape_char, .. }
        | Expr::ILike { expr, pattern, escape_char, .. } => {
            [Some(expr), Some(pattern), escape_char.as_deref()]
        }
        Expr::Between { expr, low, high, .. } => [Some(expr), Some(low), Some(high)],
        _ => [None, None, None],
    }
}
