//! Plans: what a call that is made in two phases offers before it is made (`docs/two-phases.md`).
//!
//! A plan is the recorded proposal. What is given back to make the call is a reference to it: the
//! call that proposed, and a digest of everything that was offered.

use crate::{CallId, CanonicalObject, Digest, Json, Micros, Object};

/// The member of a request's `_meta` that carries the plan a caller gives.
pub const PLAN_META: &str = "dev.lockgate/plan";

/// The argument in which a caller may give it too: models fill in arguments, and few clients let
/// them fill in `_meta`. It is taken off before anything is decided.
pub const PLAN_ARGUMENT: &str = "lockgate_plan";

/// What is offered, taken apart by what can change before it is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who asks, through which agent, where.
    pub who: Digest,
    /// Exactly what would be sent.
    pub request: Digest,
    /// What the rules say of it: bundle, effect, obligations.
    pub decided: Digest,
    /// What the preview showed, if there is one.
    pub preview: Option<Digest>,
}

impl Terms {
    /// The digest that stands for all of it, of the proposal that this call made.
    pub fn digest(&self, proposal: &CallId) -> Digest {
        let mut out = CanonicalObject::new(512);
        out.digest("decided", &self.decided);
        if let Some(preview) = &self.preview {
            out.digest("preview", preview);
        }
        out.text("proposal", proposal.as_str());
        out.digest("request", &self.request);
        out.digest("who", &self.who);
        Digest::of(&out.finish())
    }
}

/// A plan that was proposed, as the record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The call that proposed it.
    pub call: CallId,
    /// When.
    pub made_at: Micros,
    /// What it offered.
    pub terms: Terms,
}

impl Plan {
    /// As recorded among the facts.
    pub fn to_json(&self) -> Json {
        let digest = |digest: Digest| digest.to_string();
        Object::new()
            .with("call", self.call.as_str())
            .with("decided", digest(self.terms.decided))
            .with("made_at", self.made_at.0)
            .with_some("preview", self.terms.preview.map(digest))
            .with("request", digest(self.terms.request))
            .with("who", digest(self.terms.who))
            .into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let digest = |name: &str| json.get(name)?.as_str()?.parse().ok();
        let preview = match json.get("preview") {
            Some(_) => Some(digest("preview")?),
            None => None,
        };
        Some(Self {
            call: CallId::new(json.get("call")?.as_str()?).ok()?,
            made_at: Micros(json.get("made_at")?.as_i64()?),
            terms: Terms {
                who: digest("who")?,
                request: digest("request")?,
                decided: digest("decided")?,
                preview,
            },
        })
    }
}

/// What the upstream's own preview showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The call that asked for it.
    pub call: CallId,
    /// The digest of what it showed and has to stay.
    pub digest: Digest,
}

impl Preview {
    /// As recorded among the facts.
    pub fn to_json(&self) -> Json {
        let digest = self.digest.to_string();
        Object::new().with("call", self.call.as_str()).with("digest", digest).into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        Some(Self {
            call: CallId::new(json.get("call")?.as_str()?).ok()?,
            digest: json.get("digest")?.as_str()?.parse().ok()?,
        })
    }
}

/// What a caller gives to take up a plan: `<call>.<64 hexadecimal digits>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRef {
    /// The call that proposed it.
    pub call: CallId,
    /// The digest of what it offered.
    pub digest: Digest,
}

impl PlanRef {
    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        let (call, digits) = text.rsplit_once('.')?;
        let digest = format!("sha256:{digits}").parse().ok()?;
        let read = Self { call: CallId::new(call).ok()?, digest };
        // One way to write it: it is a key too.
        (read.to_text() == text).then_some(read)
    }

    /// Writes it.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.call, hex::encode(self.digest.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, PlanRef, Preview, Terms};
    use crate::{CallId, Digest, Micros};

    #[test]
    fn plans_read_back_and_every_term_is_in_the_digest() {
        let call = CallId::new("c1").unwrap();
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        let terms = Terms { who: a, request: a, decided: a, preview: None };
        let others = [
            Terms { who: b, ..terms },
            Terms { request: b, ..terms },
            Terms { decided: b, ..terms },
            Terms { preview: Some(a), ..terms },
        ];
        for other in others {
            assert_ne!(other.digest(&call), terms.digest(&call));
            let plan = Plan { call: call.clone(), made_at: Micros(7), terms: other };
            assert_eq!(Plan::from_json(&plan.to_json()), Some(plan));
        }
        assert_ne!(terms.digest(&call), terms.digest(&CallId::new("c2").unwrap()));
        let preview = Preview { call: call.clone(), digest: a };
        assert_eq!(Preview::from_json(&preview.to_json()), Some(preview));
        let given = PlanRef { call, digest: a };
        assert_eq!(PlanRef::parse(&given.to_text()), Some(given.clone()));
        assert_eq!(PlanRef::parse(&given.to_text().to_uppercase()), None);
        assert_eq!(PlanRef::parse("c1"), None);
    }
}
