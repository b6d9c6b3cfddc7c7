//! What a policy's body speaks about, found by walking it once at load.

use super::Sought;
use super::past::Past;
use cedar_policy_core::ast::{
    BinaryOp, EntityReference, EntityUID, Expr, ExprKind, Literal,
    PrincipalOrResourceConstraint as Scope, Var,
};
use cedar_policy_core::pst;
use std::collections::BTreeSet;

/// The arguments that a body speaks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mentions {
    /// None.
    #[default]
    Nothing,
    /// Members of `context.input`, by name.
    Names(Box<[Box<str>]>),
    /// `context` or `context.input` as a whole.
    Everything,
}

impl Mentions {
    /// Whether one of these arguments is spoken about.
    pub(super) fn touch(&self, names: &[&str]) -> bool {
        if names.is_empty() {
            return false;
        }
        match self {
            Self::Nothing => false,
            Self::Names(mine) => mine.iter().any(|name| names.contains(&&**name)),
            Self::Everything => true,
        }
    }
}

/// The members of `context` that bodies speak about: of the others it makes no difference what
/// they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// These.
    Names(Box<[Box<str>]>),
    /// Any: a body speaks about `context` as a whole.
    All,
}

impl Members {
    /// Those of all these bodies.
    pub(super) fn of<'b>(bodies: impl IntoIterator<Item = &'b Expr>) -> Self {
        let mut names = BTreeSet::new();
        let mut bodies = bodies.into_iter();
        match bodies.all(|body| name_context(body, &mut names)) {
            true => Self::Names(names.into_iter().map(Box::from).collect()),
            false => Self::All,
        }
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|it| **it == *name),
            Self::All => true,
        }
    }
}

/// Gathers the members of the context that a body speaks about. `false`: it speaks about all of it.
fn name_context<'b>(expr: &'b Expr, names: &mut BTreeSet<&'b str>) -> bool {
    if let Some(path) = context_path(expr) {
        return match path.first() {
            Some(name) => {
                names.insert(*name);
                true
            }
            None => false,
        };
    }
    children(expr).into_iter().all(|inner| name_context(inner, names))
}

/// What a body speaks about.
#[derive(Clone, Debug, Default)]
pub(super) struct Speech {
    input: BTreeSet<String>,
    has_whole_input: bool,
    /// Whether it speaks about the principal.
    pub(super) asks_principal: bool,
    /// Whether it asks where values came from.
    pub(super) asks_flow: bool,
    /// What it asks of the past.
    pub(super) past: Past,
    /// Entities the body names.
    pub(super) entities: BTreeSet<EntityUID>,
    /// Texts `x` of `context.approvals.contains("x")`.
    pub(super) approvals: BTreeSet<String>,
    /// Texts that are looked for in `context.tables` and in `context.columns`.
    pub(super) tables: BTreeSet<String>,
    /// The same of columns.
    pub(super) columns: BTreeSet<String>,
    /// Names of attributes, wherever they stand: at most these of a document are looked at.
    pub(super) attributes: BTreeSet<String>,
}

impl Speech {
    /// Walks a body.
    pub(super) fn of(body: Option<&Expr>) -> Self {
        let mut speech = Self::default();
        if let Some(body) = body {
            speech.walk(body);
        }
        speech
    }

    /// The arguments among it.
    pub(super) fn mentions(&self) -> Mentions {
        if self.has_whole_input {
            return Mentions::Everything;
        }
        if self.input.is_empty() {
            return Mentions::Nothing;
        }
        Mentions::Names(self.input.iter().map(|name| name.as_str().into()).collect())
    }

    /// What it looks for among what statements read.
    pub(super) fn sought(&self) -> Sought {
        let all = |texts: &BTreeSet<String>| texts.iter().cloned().collect();
        Sought {
            tables: all(&self.tables),
            columns: all(&self.columns),
            past: all(&self.past.tags),
        }
    }

    fn walk(&mut self, expr: &Expr) {
        if self.past.note(expr) {
            return;
        }
        if let Some(path) = context_path(expr) {
            match path.as_slice() {
                [] => (self.has_whole_input, self.asks_flow) = (true, true),
                ["input"] => self.has_whole_input = true,
                ["flow", ..] => self.asks_flow = true,
                ["input", name, ..] => {
                    self.input.insert((*name).to_owned());
                }
                _ => {}
            }
            return;
        }
        self.note(expr);
        for inner in children(expr) {
            self.walk(inner);
        }
    }

    fn note(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::Var(Var::Principal) => self.asks_principal = true,
            ExprKind::Lit(Literal::EntityUID(uid)) => {
                self.entities.insert(uid.as_ref().clone());
            }
            ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => {
                self.attributes.insert(attr.to_string());
            }
            ExprKind::ExtHasAttr { attrs, .. } => {
                self.attributes.extend(attrs.iter().map(|attr| attr.to_string()));
            }
            ExprKind::BinaryApp {
                op: op @ (BinaryOp::Contains | BinaryOp::ContainsAny | BinaryOp::ContainsAll),
                arg1,
                arg2,
            } => {
                let texts = match context_path(arg1).as_deref() {
                    Some(["approvals"]) if *op == BinaryOp::Contains => &mut self.approvals,
                    Some(["tables"]) => &mut self.tables,
                    Some(["columns"]) => &mut self.columns,
                    _ => return,
                };
                texts.extend(texts_of(arg2));
            }
            _ => {}
        }
    }
}

/// The texts that an expression is, or is a set of.
fn texts_of(expr: &Expr) -> Vec<String> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => vec![text.to_string()],
        ExprKind::Set(items) => items.iter().flat_map(texts_of).collect(),
        _ => Vec::new(),
    }
}

/// The names of `context.a.b`, `context has a.b`; `[]` is `context` itself.
pub(super) fn context_path(expr: &Expr) -> Option<Vec<&str>> {
    match expr.expr_kind() {
        ExprKind::Var(Var::Context) => Some(Vec::new()),
        ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
            let mut path = context_path(expr)?;
            path.push(attr.as_str());
            Some(path)
        }
        ExprKind::ExtHasAttr { expr, attrs } => {
            let mut path = context_path(expr)?;
            path.extend(attrs.iter().map(|attr| attr.as_str()));
            Some(path)
        }
        _ => None,
    }
}

pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => vec![],
        ExprKind::If { test_expr, then_expr, else_expr } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(members) => members.values().collect(),
    }
}

/// The same body without source positions, which would keep its file's text alive and cost time at
/// every step.
pub(super) fn without_positions(body: &Expr) -> Expr {
    match pst::Expr::try_from(body.clone()) {
        Ok(bare) => Expr::from(bare),
        Err(_) => body.clone(),
    }
}

/// A principal scope, as people read it.
pub(super) fn whom(scope: &Scope) -> String {
    let named = |reference: &EntityReference| match reference {
        EntityReference::EUID(uid) => {
            let name: &str = uid.eid().as_ref();
            match uid.entity_type().to_string().as_str() {
                "User" => format!("`{name}`"),
                "Agent" => format!("the agent `{name}`"),
                "Group" => format!("members of group `{name}`"),
                "Role" => format!("holders of role `{name}`"),
                "Tenant" => format!("everybody in tenant `{name}`"),
                other => format!("`{other}::{name}`"),
            }
        }
        EntityReference::Slot(_) => "nobody".to_owned(),
    };
    match scope {
        Scope::Any => "everybody".to_owned(),
        Scope::Is(kind) if kind.to_string() == "Agent" => "every agent".to_owned(),
        Scope::Is(_) => "every user".to_owned(),
        Scope::Eq(reference) | Scope::In(reference) | Scope::IsIn(_, reference) => named(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::{Expr, Members};

    #[test]
    fn what_a_body_may_see_of_the_context_is_among_what_is_made() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["context.mode == \"normal\""], &["mode"]),
            (&["context has task && context.task like \"a*\""], &["task"]),
            (&["context has exposure.readers"], &["exposure"]),
            (&["context[\"now\"] > 1", "principal == context.agent"], &["agent", "now"]),
            (
                &["if context.input has n then true else {a: context.writes} == {a: 1}"],
                &["input", "writes"],
            ),
            (&["context.history.contains(\"u0/op1\")"], &["history"]),
            (&["1 == 1"], &[]),
        ];
        for (bodies, names) in cases {
            let bodies = bodies.iter().map(|body| body.parse::<Expr>().unwrap());
            let found = Members::of(&bodies.collect::<Vec<_>>());
            let names = names.iter().map(|name| Box::from(*name)).collect();
            assert_eq!(found, Members::Names(names));
        }
        let whole: [Expr; 1] = ["context == {mode: \"normal\"}".parse().unwrap()];
        assert_eq!(Members::of(&whole), Members::All);
        assert!(Members::All.has("mode"));
    }
}
