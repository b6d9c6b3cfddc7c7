//! What was decided, and why.

use crate::call::Effect;
use crate::history::Step;
use crate::{CanonicalObject, Code, Digest, Json, Object, PolicyName};
use std::collections::BTreeMap;

/// The answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be done, if every obligation is met.
    Allow,
    /// It may not.
    Deny,
    /// It may, once a person has agreed to exactly this.
    RequireApproval,
    /// It may, once the caller gives the plan that this proposes.
    RequirePlan,
}

impl Verdict {
    /// The word on the wire and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
            Self::RequirePlan => "require_plan",
        }
    }
}

/// What must be done for an allow to hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obligation {
    /// Remove these fields from the result: paths of member names with `*` for any name or index,
    /// or `pii:<kind>` for every occurrence in any text (`pii:email`, `pii:phone`, `pii:card`,
    /// `pii:iban`, `pii:ip`, `pii:national_id`), or `secret:*` for every secret in any text.
    Redact(Vec<String>),
    /// Show only the last characters of these columns of tabular results.
    Mask(Vec<String>),
    /// At most this many items in any array of the result.
    Cap(u32),
    /// Show only the rows of these tables that meet a condition. Databases alone can do that.
    Rows(Vec<RowFilter>),
    /// Keep the complete result with the record.
    LogMore,
    /// Take the links that nobody has asked for out of what is sent.
    Links,
}

/// A condition that the rows of a table have to meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowFilter {
    /// The table, as the bundle names it.
    pub table: String,
    /// An SQL condition over its columns, with `:name` where a value of the caller's identity
    /// stands.
    pub condition: String,
    /// Those values, by name. Empty until somebody calls, and never recorded with the obligation:
    /// they are in the recorded identity.
    pub values: BTreeMap<String, String>,
}

impl RowFilter {
    fn to_text(&self) -> String {
        format!("{}: {}", self.table, self.condition)
    }
}

impl Obligation {
    /// The word in annotations (`@obligation_<word>`) and records.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Redact(_) => "redact",
            Self::Mask(_) => "mask",
            Self::Cap(_) => "cap",
            Self::Rows(_) => "rows",
            Self::LogMore => "log",
            Self::Links => "links",
        }
    }

    /// As recorded: `redact:customer.email,pii:phone`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Redact(paths) | Self::Mask(paths) => {
                format!("{}:{}", self.word(), paths.join(","))
            }
            Self::Cap(max) => format!("cap:{max}"),
            Self::Rows(filters) => {
                let filters: Vec<String> = filters.iter().map(RowFilter::to_text).collect();
                format!("rows:{}", filters.join("; "))
            }
            Self::LogMore => "log:more".to_owned(),
            Self::Links => "links:strip".to_owned(),
        }
    }
}

/// One of the seven questions, as answered (design §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// 1: which operation, with what effect.
    Operation,
    /// 2: may this agent run it at all.
    Agent,
    /// 3: may it for this subject, in this tenant, environment, task.
    Subject,
    /// 4: which operations and fields exactly.
    Fields,
    /// 5: what data scope.
    Scope,
    /// 6: does a human have to agree.
    Approval,
    /// 7: is it forbidden under the present risk.
    Risk,
}

impl Question {
    /// In the order in which they are answered.
    pub const ALL: [Self; 7] = [
        Self::Operation,
        Self::Agent,
        Self::Subject,
        Self::Fields,
        Self::Scope,
        Self::Approval,
        Self::Risk,
    ];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Agent => "agent",
            Self::Subject => "subject",
            Self::Fields => "fields",
            Self::Scope => "scope",
            Self::Approval => "approval",
            Self::Risk => "risk",
        }
    }
}

/// How a person would have to sign in again for something to be allowed (RFC 9470).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    /// Values of `acr` that would do, the best first. Empty: any.
    pub acr_values: Vec<String>,
    /// How long ago it may be, in seconds.
    pub max_age_s: Option<u32>,
}

impl StepUp {
    /// What fulfils both: the shorter time, and the classes that both name where both name some.
    /// `None`: nothing does.
    pub fn and(mut self, other: Self) -> Option<Self> {
        self.max_age_s = match (self.max_age_s, other.max_age_s) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        match (self.acr_values.is_empty(), other.acr_values.is_empty()) {
            (true, _) => self.acr_values = other.acr_values,
            (false, true) => {}
            (false, false) => {
                self.acr_values.retain(|acr| other.acr_values.contains(acr));
                if self.acr_values.is_empty() {
                    return None;
                }
            }
        }
        Some(self)
    }

    /// As recorded and answered.
    pub fn to_json(&self) -> Json {
        let values: Vec<Json> = self.acr_values.iter().map(|acr| acr.as_str().into()).collect();
        Object::new()
            .with_some("acr_values", (!values.is_empty()).then_some(values))
            .with_some("max_age", self.max_age_s.map(i64::from))
            .into()
    }
}

/// Why not: everything a caller, an operator and an auditor need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The stable code.
    pub code: Code,
    /// Which question it failed.
    pub question: Question,
    /// What exactly, for the caller: lower case, no final period. No values of arguments.
    pub reason: String,
    /// What would make it allowed.
    pub remedy: String,
    /// The policies that decided.
    pub policies: Vec<PolicyName>,
    /// How to sign in for it, if that is what is missing.
    pub step_up: Option<Box<StepUp>>,
    /// What had happened before that the deciding policies look at, in order of time.
    pub path: Vec<PathStep>,
}

/// A step on the way to a refusal: what happened, and by which call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// What happened: a tag of the history.
    pub tag: String,
    /// By which call, and when: the first time.
    pub step: Step,
}

impl PathStep {
    /// As recorded and answered.
    pub fn to_json(&self) -> Json {
        Object::new()
            .with("at", self.step.at.0)
            .with("call", self.step.call.as_str())
            .with("tag", self.tag.as_str())
            .into()
    }
}

/// A decision: the value that is recorded, and that replay reproduces byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// Under which bundle.
    pub bundle: Digest,
    /// What the operation does, as declared.
    pub effect: Effect,
    /// What must be done for an allow to hold, sorted, without repetition.
    pub obligations: Vec<Obligation>,
    /// The policies that permitted, or that decided against; sorted.
    pub policies: Vec<PolicyName>,
    /// Why not. With `Allow`: the denial that was observed and not enforced.
    pub denial: Option<Denial>,
    /// Who has to agree, for `RequireApproval`: values of `@require_approval`.
    pub approvals: Vec<String>,
}

impl Decision {
    /// Whether a denial was observed instead of enforced (I1).
    pub fn is_observed(&self) -> bool {
        self.verdict == Verdict::Allow && self.denial.is_some()
    }

    /// As recorded.
    pub fn to_json(&self) -> Json {
        let names = |policies: &[PolicyName]| {
            Json::Array(policies.iter().map(|p| p.as_str().into()).collect())
        };
        let denial = self.denial.as_ref().map(|denial| {
            let path: Vec<Json> = denial.path.iter().map(PathStep::to_json).collect();
            Object::new()
                .with("code", denial.code.as_str())
                .with_some("path", (!path.is_empty()).then_some(path))
                .with("policies", names(&denial.policies))
                .with("question", denial.question.as_str())
                .with("reason", denial.reason.as_str())
                .with("remedy", denial.remedy.as_str())
                .with_some("step_up", denial.step_up.as_deref().map(StepUp::to_json))
        });
        let approvals: Vec<Json> = self.approvals.iter().map(|text| text.as_str().into()).collect();
        let obligations: Vec<Json> = self.obligations.iter().map(|o| o.to_text().into()).collect();
        Object::new()
            .with("approvals", approvals)
            .with("bundle", self.bundle.to_string())
            .with_some("denial", denial)
            .with("effect", self.effect.as_str())
            .with("obligations", obligations)
            .with("policies", names(&self.policies))
            .with("verdict", self.verdict.as_str())
            .into()
    }

    /// The bytes that are recorded, and that replay compares: those of [`Decision::to_json`].
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = CanonicalObject::new(512);
        out.texts("approvals", self.approvals.iter().map(String::as_str));
        out.digest("bundle", &self.bundle);
        if let Some(denial) = &self.denial {
            out.open("denial");
            out.text("code", denial.code.as_str());
            if !denial.path.is_empty() {
                let path = denial.path.iter().map(PathStep::to_json);
                out.json("path", &Json::Array(path.collect()));
            }
            out.texts("policies", denial.policies.iter().map(PolicyName::as_str));
            out.text("question", denial.question.as_str());
            out.text("reason", &denial.reason);
            out.text("remedy", &denial.remedy);
            if let Some(step_up) = &denial.step_up {
                out.json("step_up", &step_up.to_json());
            }
            out.close();
        }
        out.text("effect", self.effect.as_str());
        let obligations: Vec<String> = self.obligations.iter().map(Obligation::to_text).collect();
        out.texts("obligations", obligations.iter().map(String::as_str));
        out.texts("policies", self.policies.iter().map(PolicyName::as_str));
        out.text("verdict", self.verdict.as_str());
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::StepUp;

    fn needs(acr_values: &[&str], max_age_s: Option<u32>) -> StepUp {
        let acr_values = acr_values.iter().map(|acr| (*acr).to_owned()).collect();
        StepUp { acr_values, max_age_s }
    }

    #[test]
    fn what_fulfils_both_fulfils_each() {
        let either = needs(&["a", "b"], None);
        let fresh = needs(&[], Some(300));
        assert_eq!(either.clone().and(fresh.clone()), Some(needs(&["a", "b"], Some(300))));
        assert_eq!(fresh.clone().and(either.clone()), Some(needs(&["a", "b"], Some(300))));
        assert_eq!(either.clone().and(needs(&["b", "c"], Some(60))), Some(needs(&["b"], Some(60))));
        assert_eq!(fresh.and(needs(&[], Some(60))), Some(needs(&[], Some(60))));
        // No one sign-in is both.
        assert_eq!(either.and(needs(&["c"], None)), None);
    }
}
