//! What a channel says of who is behind it: a claim, held against it and never for it.

use crate::Kernel;
use crate::port::Refusal;
use lockgate_types::CallId;

impl Kernel {
    /// Whether a name that a channel gives could be that of whoever the call was made for: with or
    /// without what stands before subjects of their issuer, in whatever case.
    pub async fn could_be_requester(&self, call: &CallId, name: &str) -> Result<bool, Refusal> {
        let Some(facts) = self.facts_of(call).await? else { return Ok(false) };
        Ok(is_named(facts.identity.subject.as_str(), name))
    }
}

fn is_named(subject: &str, name: &str) -> bool {
    let bare = subject.rsplit_once(':').map_or(subject, |(_, bare)| bare);
    let name = name.trim().to_lowercase();
    [subject, bare].iter().any(|subject| subject.to_lowercase() == name)
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn a_name_is_compared_with_and_without_its_prefix() {
        for name in ["corp:Alice", "alice", "ALICE ", "Corp:alice"] {
            assert!(is_named("corp:alice", name), "{name}");
        }
        for name in ["bob", "corp", "", "alice2"] {
            assert!(!is_named("corp:alice", name), "{name}");
        }
    }
}
