//! What a condition comes to where only the operation is known: enough to see that a policy can
//! never be about it. Whatever else a condition asks is unknown here, and so are errors.

use super::Action;
use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, UnaryOp, Var};

/// Levels of a condition that are looked at. What is deeper is unknown.
const DEPTH_MAX: usize = 64;

/// Whether a condition can hold for this operation, whoever asks with whatever arguments.
pub(super) fn can_hold(condition: &Expr, action: &Action) -> bool {
    truth(condition, action, 0) != Some(false)
}

fn truth(expr: &Expr, action: &Action, depth: usize) -> Option<bool> {
    if depth > DEPTH_MAX {
        return None;
    }
    let truth = |expr| truth(expr, action, depth + 1);
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Bool(is_so)) => Some(*is_so),
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => truth(arg).map(|is_so| !is_so),
        ExprKind::And { left, right } => either(false, truth(left), truth(right)),
        ExprKind::Or { left, right } => either(true, truth(left), truth(right)),
        ExprKind::BinaryApp { op, arg1, arg2 } => match (op, arg1.expr_kind()) {
            (BinaryOp::Eq, ExprKind::Var(Var::Action)) => {
                named(arg2).map(|uid| uid == action.entity.uid())
            }
            (BinaryOp::In, ExprKind::Var(Var::Action)) => is_in(action, arg2),
            _ => None,
        },
        _ => None,
    }
}

/// What two parts come to, of which one that is `decisive` decides.
fn either(decisive: bool, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(one), _) | (_, Some(one)) if one == decisive => Some(decisive),
        (Some(_), Some(_)) => Some(!decisive),
        _ => None,
    }
}

fn is_in(action: &Action, of: &Expr) -> Option<bool> {
    let is_one =
        |uid: &EntityUID| uid == action.entity.uid() || action.entity.is_descendant_of(uid);
    match of.expr_kind() {
        ExprKind::Set(of) => {
            let named: Option<Vec<&EntityUID>> = of.iter().map(named).collect();
            named.map(|of| of.into_iter().any(is_one))
        }
        _ => named(of).map(is_one),
    }
}

fn named(expr: &Expr) -> Option<&EntityUID> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => Some(uid),
        _ => None,
    }
}
