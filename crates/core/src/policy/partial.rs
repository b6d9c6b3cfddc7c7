//! What is left of a condition once everything but the document is known: for which documents it
//! holds, and for which it cannot be evaluated.
//!
//! What does not speak about the document is evaluated by Cedar itself. Of what does, each form is
//! either said exactly, errors included, or the whole condition is refused: nothing is ever put in
//! its place.

mod term;

use super::document::trait_of;
use super::schema::DOCUMENT;
use crate::retrieve::filter::{FILTER_TRAITS_MAX, Filter};
use cedar_policy_core::ast::{
    BinaryOp, Entity, EntityUID, Expr, ExprKind, Literal, SlotEnv, UnaryOp, Value, ValueKind, Var,
};
use cedar_policy_core::entities::{Dereference, Entities};
use cedar_policy_core::evaluator::Evaluator;
use term::{
    Found, Term, always, attribute, contains, each_in, entities_of, entity_of, equal, has,
    is_among, long,
};

/// Levels of one condition.
const DEPTH_MAX: usize = 64;
/// Characters of an expression that a refusal names.
const NAMED_CHARS_MAX: usize = 200;

/// The documents for which a condition holds, and those for which it cannot be evaluated. No
/// document is in both.
pub(super) struct Truth {
    pub(super) holds: Filter,
    pub(super) fails: Filter,
}

/// A condition, or a part of one, that no filter can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    /// The expression, shortened.
    pub(crate) expression: String,
}

impl Unsupported {
    fn of(expr: &Expr) -> Self {
        Self { expression: expr.to_string().chars().take(NAMED_CHARS_MAX).collect() }
    }

    pub(super) fn too_large() -> Self {
        Self { expression: format!("more than {FILTER_TRAITS_MAX} traits") }
    }

    pub(super) fn of_rows() -> Self {
        Self { expression: "`@obligation_rows`".to_owned() }
    }
}

type Answer<T> = Result<T, Unsupported>;

/// The evaluation of conditions for one principal.
pub(super) struct Partial<'e> {
    evaluator: &'e Evaluator<'e>,
    entities: &'e Entities,
    slots: SlotEnv,
}

impl<'e> Partial<'e> {
    pub(super) fn new(evaluator: &'e Evaluator<'e>, entities: &'e Entities) -> Self {
        Self { evaluator, entities, slots: SlotEnv::new() }
    }

    /// For which documents a condition holds, and for which it cannot be evaluated.
    pub(super) fn truth(&self, expr: &Expr) -> Answer<Truth> {
        self.truth_at(expr, 0)
    }

    fn truth_at(&self, expr: &Expr, depth: usize) -> Answer<Truth> {
        if depth > DEPTH_MAX {
            return Err(Unsupported::of(expr));
        }
        let truth = match expr.expr_kind() {
            _ if !speaks_of_document(expr, 0) => self.known_truth(expr)?,
            ExprKind::And { left, right } => {
                let left = self.truth_at(left, depth + 1)?;
                if left.holds.is_nothing() {
                    return Ok(left);
                }
                let right = self.truth_at(right, depth + 1)?;
                let fails = Filter::every([left.holds.clone(), right.fails]);
                Truth {
                    holds: Filter::every([left.holds, right.holds]),
                    fails: Filter::any([left.fails, fails]),
                }
            }
            ExprKind::Or { left, right } => {
                let left = self.truth_at(left, depth + 1)?;
                let is_false = left.is_false();
                if is_false.is_nothing() {
                    return Ok(left);
                }
                let right = self.truth_at(right, depth + 1)?;
                let fails = Filter::every([is_false.clone(), right.fails]);
                let holds = Filter::every([is_false, right.holds]);
                Truth {
                    holds: Filter::any([left.holds, holds]),
                    fails: Filter::any([left.fails, fails]),
                }
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => {
                let inner = self.truth_at(arg, depth + 1)?;
                Truth { holds: inner.is_false(), fails: inner.fails }
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                self.choice([test_expr, then_expr, else_expr], depth)?
            }
            _ => match self.term(expr, depth + 1)? {
                Found { term: Term::Truth(holds), fails } => Truth::of(holds, fails),
                Found { fails, .. } if fails.is_everything() => Truth::of(Filter::nothing(), fails),
                _ => return Err(Unsupported::of(expr)),
            },
        };
        match truth.holds.traits() + truth.fails.traits() > FILTER_TRAITS_MAX {
            true => Err(Unsupported::too_large()),
            false => Ok(truth),
        }
    }

    fn choice(&self, [test, then, or]: [&Expr; 3], depth: usize) -> Answer<Truth> {
        let test = self.truth_at(test, depth + 1)?;
        let is_false = test.is_false();
        let never = || Truth { holds: Filter::nothing(), fails: Filter::nothing() };
        // A branch that is never taken need not be sayable.
        let branch = |expr, when: &Filter| match when.is_nothing() {
            true => Ok(never()),
            false => self.truth_at(expr, depth + 1),
        };
        let (then, or) = (branch(then, &test.holds)?, branch(or, &is_false)?);
        let either = |one: Filter, other: Filter| {
            let one = Filter::every([test.holds.clone(), one]);
            Filter::any([one, Filter::every([is_false.clone(), other])])
        };
        Ok(Truth {
            holds: either(then.holds, or.holds),
            fails: Filter::any([test.fails.clone(), either(then.fails, or.fails)]),
        })
    }

    fn known_truth(&self, expr: &Expr) -> Answer<Truth> {
        let found = self.known(expr);
        match found.term {
            Term::Known(value) => match value.value_kind() {
                ValueKind::Lit(Literal::Bool(true)) => {
                    Ok(Truth::of(Filter::everything(), found.fails))
                }
                ValueKind::Lit(Literal::Bool(false)) => {
                    Ok(Truth::of(Filter::nothing(), found.fails))
                }
                _ => Err(Unsupported::of(expr)),
            },
            _ => Err(Unsupported::of(expr)),
        }
    }

    /// What does not speak about the document: Cedar knows.
    fn known(&self, expr: &Expr) -> Found {
        match self.evaluator.interpret(expr, &self.slots) {
            Ok(value) => Found::of(Term::Known(value)),
            Err(_) => Found { term: Term::Known(Value::from(false)), fails: Filter::everything() },
        }
    }

    fn term(&self, expr: &Expr, depth: usize) -> Answer<Found> {
        if depth > DEPTH_MAX {
            return Err(Unsupported::of(expr));
        }
        if !speaks_of_document(expr, 0) {
            return Ok(self.known(expr));
        }
        let unsupported = || Unsupported::of(expr);
        match expr.expr_kind() {
            ExprKind::Var(Var::Resource) => Ok(Found::of(Term::Resource)),
            ExprKind::GetAttr { expr: of, attr } => {
                let of = self.term(of, depth + 1)?;
                attribute(of, attr).ok_or_else(unsupported)
            }
            ExprKind::HasAttr { expr: of, attr } => {
                let of = self.term(of, depth + 1)?;
                has(of, &[attr.as_str()]).ok_or_else(unsupported)
            }
            ExprKind::ExtHasAttr { expr: of, attrs } => {
                let of = self.term(of, depth + 1)?;
                let path: Vec<&str> = attrs.iter().map(|attr| attr.as_str()).collect();
                has(of, &path).ok_or_else(unsupported)
            }
            ExprKind::Is { expr: of, entity_type } => {
                let of = self.term(of, depth + 1)?;
                let kind = entity_type.to_string();
                let is = match of.term {
                    Term::Resource => kind == DOCUMENT,
                    Term::Owner => kind == "User",
                    _ => return Err(unsupported()),
                };
                Ok(Found { term: Term::Truth(always(is)), fails: of.fails })
            }
            ExprKind::Like { expr: of, pattern } => {
                let of = self.term(of, depth + 1)?;
                let Term::Text(text) = of.term else { return Err(unsupported()) };
                let words = text.words().ok_or_else(unsupported)?;
                let words = words.into_iter().filter(|word| pattern.wildcard_match(word));
                let is = words.filter_map(|word| text.is(word));
                Ok(Found { term: Term::Truth(Filter::any(is)), fails: of.fails })
            }
            ExprKind::UnaryApp { op: UnaryOp::Neg, arg } => {
                let of = self.term(arg, depth + 1)?;
                let Term::Number(number) = of.term else { return Err(unsupported()) };
                Ok(number.negated().checked(of.fails))
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                let (one, two) = (self.term(arg1, depth + 1)?, self.term(arg2, depth + 1)?);
                let fails = Filter::any([one.fails, two.fails]);
                if fails.is_everything() {
                    return Ok(Found { term: Term::Truth(Filter::nothing()), fails });
                }
                self.binary(*op, (one.term, two.term), fails).ok_or_else(unsupported)
            }
            ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::If { .. }
            | ExprKind::UnaryApp { op: UnaryOp::Not, .. } => {
                let truth = self.truth_at(expr, depth + 1)?;
                Ok(Found { term: Term::Truth(truth.holds), fails: truth.fails })
            }
            _ => Err(unsupported()),
        }
    }

    fn binary(&self, op: BinaryOp, terms: (Term, Term), fails: Filter) -> Option<Found> {
        let is = match (op, terms) {
            (BinaryOp::Eq, (one, two)) => equal(&one, &two)?,
            (BinaryOp::Less, (Term::Number(one), Term::Known(two))) => {
                one.at_least(i128::from(long(&two)?)).inverted()
            }
            (BinaryOp::Less, (Term::Known(one), Term::Number(two))) => {
                two.at_least(i128::from(long(&one)?) + 1)
            }
            (BinaryOp::LessEq, (Term::Number(one), Term::Known(two))) => {
                one.at_least(i128::from(long(&two)?) + 1).inverted()
            }
            (BinaryOp::LessEq, (Term::Known(one), Term::Number(two))) => {
                two.at_least(i128::from(long(&one)?))
            }
            (BinaryOp::Add, (Term::Number(number), Term::Known(known)))
            | (BinaryOp::Add, (Term::Known(known), Term::Number(number))) => {
                return Some(number.plus(i128::from(long(&known)?)).checked(fails));
            }
            (BinaryOp::Sub, (Term::Number(number), Term::Known(known))) => {
                return Some(number.plus(-i128::from(long(&known)?)).checked(fails));
            }
            (BinaryOp::Sub, (Term::Known(known), Term::Number(number))) => {
                let difference = number.negated().plus(i128::from(long(&known)?));
                return Some(difference.checked(fails));
            }
            (BinaryOp::In, (one, two)) => self.within(&one, &two)?,
            (BinaryOp::Contains, (set, item)) => contains(&set, &item)?,
            (BinaryOp::ContainsAll, (set, Term::Known(items))) => {
                Filter::every(each_in(&set, &items)?)
            }
            (BinaryOp::ContainsAny, (set, Term::Known(items)))
            | (BinaryOp::ContainsAny, (Term::Known(items), set)) => {
                Filter::any(each_in(&set, &items)?)
            }
            _ => return None,
        };
        Some(Found { term: Term::Truth(is), fails })
    }

    /// `one in two`.
    fn within(&self, one: &Term, two: &Term) -> Option<Filter> {
        match (one, two) {
            (Term::Resource, Term::Known(known)) => {
                let named = entities_of(known)?.into_iter();
                Some(Filter::any(named.filter_map(|uid| trait_of(uid).map(Filter::Is))))
            }
            (Term::Known(known), Term::Groups(_) | Term::Users(_) | Term::Owner) => {
                let uid = entity_of(known)?;
                let above: Vec<&EntityUID> = match self.entities.entity(uid) {
                    Dereference::Data(entity) => Entity::ancestors(entity).collect(),
                    Dereference::NoSuchEntity | Dereference::Residual(_) => Vec::new(),
                };
                let all = above.into_iter().chain([uid]);
                Some(Filter::any(all.map(|uid| is_among(uid, two))))
            }
            _ => None,
        }
    }
}

impl Truth {
    fn of(holds: Filter, fails: Filter) -> Self {
        Self { holds: Filter::every([holds, fails.clone().inverted()]), fails }
    }

    /// The documents for which it does not hold, and can be evaluated.
    fn is_false(&self) -> Filter {
        Filter::every([self.holds.clone().inverted(), self.fails.clone().inverted()])
    }
}

/// Whether an expression speaks about the document. What is nested too deeply does.
fn speaks_of_document(expr: &Expr, depth: usize) -> bool {
    matches!(expr.expr_kind(), ExprKind::Var(Var::Resource))
        || depth > DEPTH_MAX
        || super::expression::children(expr)
            .into_iter()
            .any(|inner| speaks_of_document(inner, depth + 1))
}
