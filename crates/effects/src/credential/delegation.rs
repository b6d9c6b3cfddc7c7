//! A caller's token, exchanged for one of an upstream's (RFC 8693): for the same subject, by the
//! same agent, for nobody else.
//!
//! What the endpoint issues is looked at before it is used. Its signature is the upstream's to
//! check; that it came over the declared address is enough to believe what it says of itself.

use super::endpoint::{ACCESS_TOKEN, Answered, Endpoint, Form, refused, unreadable};
use super::secret::Source;
use crate::trouble::Trouble;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_core::declare::Credential;
use lockgate_core::network::Network;
use lockgate_types::{Digest, Json, JsonLimits, Redacted};

/// Actors of one token, each acting for the one before.
const ACTORS_MAX: usize = 16;

/// How tokens are exchanged for one upstream.
pub(super) struct Delegation {
    endpoint: Endpoint,
    actor_token: Option<Source>,
    /// The upstream, and whether it is named by its address.
    audience: String,
    is_resource: bool,
    scope: Option<String>,
    subject_token_type: String,
    requested_token_type: Option<String>,
    is_opaque: bool,
}

impl Delegation {
    pub(super) fn new(declared: &Credential, allowed: &[Network]) -> Result<Self, String> {
        let (audience, is_resource) = match (&declared.audience, &declared.resource) {
            (Some(audience), None) => (audience.clone(), false),
            (None, Some(resource)) => (resource.clone(), true),
            (_, _) => return Err("its credential needs `audience` or `resource`".to_owned()),
        };
        let subject_token_type = declared.subject_token_type.as_deref().unwrap_or(ACCESS_TOKEN);
        Ok(Self {
            endpoint: Endpoint::new(declared, allowed)?,
            actor_token: declared.actor_token.as_ref().map(Source::new),
            audience,
            is_resource,
            scope: declared.scope.clone(),
            subject_token_type: subject_token_type.to_owned(),
            requested_token_type: declared.requested_token_type.clone(),
            is_opaque: declared.opaque_tokens,
        })
    }

    /// Exchanges a caller's token.
    pub(super) async fn exchange(&self, callers: &Redacted<String>) -> Result<Answered, Trouble> {
        let answered = self.endpoint.ask(self.form(callers).await?).await?;
        // Whatever the endpoint says: a caller's own token goes to no upstream.
        if answered.token == *callers {
            return Err(refused("it gave the caller's own token back"));
        }
        if !self.is_opaque {
            check(answered.token.expose(), callers.expose(), &self.audience)?;
        }
        Ok(answered)
    }

    async fn form(&self, callers: &Redacted<String>) -> Result<Form, Trouble> {
        let plain = |text: &str| Redacted::new(text.to_owned());
        let mut form: Form = vec![
            ("grant_type", plain("urn:ietf:params:oauth:grant-type:token-exchange")),
            ("subject_token", callers.clone()),
            ("subject_token_type", plain(&self.subject_token_type)),
            (if self.is_resource { "resource" } else { "audience" }, plain(&self.audience)),
        ];
        if let Some(actor) = &self.actor_token {
            let actor = actor.read().await.map_err(unreadable)?;
            form.push(("actor_token", plain(actor.expose())));
            form.push(("actor_token_type", plain(ACCESS_TOKEN)));
        }
        if let Some(scope) = &self.scope {
            form.push(("scope", plain(scope)));
        }
        if let Some(kind) = &self.requested_token_type {
            form.push(("requested_token_type", plain(kind)));
        }
        Ok(form)
    }
}

/// Whether an issued token is for the caller's subject, by the caller's agent, for the upstream
/// alone.
fn check(issued: &str, callers: &str, audience: &str) -> Result<(), Trouble> {
    let unreadable = || {
        refused("the issued token cannot be read (hint: `opaque_tokens = true`, if that is meant)")
    };
    let issued = claims(issued).ok_or_else(unreadable)?;
    let callers = claims(callers).ok_or_else(|| refused("the caller's token cannot be read"))?;
    let is_for_upstream = match issued.get("aud") {
        Some(Json::Array(all)) => matches!(all.as_slice(), [one] if one.as_str() == Some(audience)),
        one => one.and_then(Json::as_str) == Some(audience),
    };
    if !is_for_upstream {
        return Err(refused("the issued token is not for the upstream alone"));
    }
    let subject = callers.get("sub").and_then(Json::as_str);
    if subject.is_none() || issued.get("sub").and_then(Json::as_str) != subject {
        return Err(refused("the issued token is for another subject"));
    }
    let names_agent = match callers.at(&["act", "sub"]).and_then(Json::as_str) {
        Some(agent) => actors(&issued).any(|actor| actor == agent),
        None => client(&callers).is_some_and(|agent| {
            client(&issued) == Some(agent) || actors(&issued).any(|actor| actor == agent)
        }),
    };
    if !names_agent {
        return Err(refused("the issued token does not say which agent acts"));
    }
    Ok(())
}

/// What a caller's token says, besides when: one that says more or less is exchanged for another.
pub(super) fn says(callers: &str) -> Option<Digest> {
    let Json::Object(mut claims) = claims(callers)? else { return None };
    for claim in ["exp", "iat", "jti", "nbf"] {
        claims.remove(claim);
    }
    Some(Json::Object(claims).digest())
}

/// Who acts, outermost first.
fn actors(claims: &Json) -> impl Iterator<Item = &str> {
    let chain = std::iter::successors(claims.get("act"), |actor| actor.get("act"));
    chain.take(ACTORS_MAX).filter_map(|actor| actor.get("sub")?.as_str())
}

/// The client of a token that names no actor.
fn client(claims: &Json) -> Option<&str> {
    claims.get("client_id").or_else(|| claims.get("azp")).and_then(Json::as_str)
}

fn claims(token: &str) -> Option<Json> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
    Json::parse(&bytes, &JsonLimits::MESSAGE).ok().filter(|claims| claims.as_object().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn an_issued_token_is_for_the_same_two_and_the_upstream_alone() {
        let callers = token(r#"{"sub":"alice","act":{"sub":"bot"},"aud":"gate"}"#);
        let sound = r#"{"sub":"alice","act":{"sub":"gate","act":{"sub":"bot"}},"aud":"crm"}"#;
        let good = [
            sound.to_owned(),
            sound.replace(r#""crm""#, r#"["crm"]"#),
            r#"{"sub":"alice","act":{"sub":"bot"},"aud":"crm"}"#.to_owned(),
        ];
        for claims in good {
            assert_eq!(check(&token(&claims), &callers, "crm"), Ok(()), "{claims}");
        }
        for (from, to, why) in [
            (r#""crm""#, r#"["crm","erp"]"#, "alone"),
            (r#""crm""#, r#""gate""#, "alone"),
            (r#","aud":"crm""#, "", "alone"),
            ("alice", "mallory", "subject"),
            (r#""sub":"bot""#, r#""sub":"other""#, "agent"),
            (r#""act""#, r#""acts""#, "agent"),
            ("{", "{\"sub\":\"alice\",", "read"),
        ] {
            let refused = check(&token(&sound.replacen(from, to, 1)), &callers, "crm");
            let detail = refused.unwrap_err().detail;
            let is_about = detail.contains(why);
            assert!(is_about || (from == r#""act""# && detail.contains("agent")), "{detail}");
        }
        assert!(check("opaque", &callers, "crm").is_err());
    }

    #[test]
    fn a_token_that_says_something_else_is_another() {
        let says = |text: &str| says(&token(text)).unwrap();
        let first = says(r#"{"sub":"alice","exp":1,"iat":1,"jti":"a"}"#);
        assert_eq!(first, says(r#"{"jti":"b","exp":9,"sub":"alice"}"#));
        assert_ne!(first, says(r#"{"sub":"alice","scope":"all"}"#));
    }

    #[test]
    fn an_agent_that_is_a_client_stays_one() {
        let callers = token(r#"{"sub":"alice","azp":"bot"}"#);
        for (claims, is_good) in [
            (r#"{"sub":"alice","azp":"bot","aud":"crm"}"#, true),
            (r#"{"sub":"alice","azp":"gate","act":{"sub":"bot"},"aud":"crm"}"#, true),
            (r#"{"sub":"alice","azp":"gate","aud":"crm"}"#, false),
        ] {
            assert_eq!(check(&token(claims), &callers, "crm").is_ok(), is_good, "{claims}");
        }
    }
}
