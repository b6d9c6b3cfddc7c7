//! `[guard]` of `models/<name>.toml`: what may be in a prompt that leaves, and in an answer that
//! is passed on.

use schemars::JsonSchema;
use serde::Deserialize;

/// What may be in a prompt, and in an answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Of what is sent.
    pub prompt: PromptGuard,
    /// Of what comes back.
    pub answer: AnswerGuard,
}

/// What may be in a prompt.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptGuard {
    /// What becomes of secrets.
    pub secrets: FoundWord,
    /// The kinds of personal data that are taken out: `email`, `phone`, `card`, `iban`, `ip`,
    /// `national_id`, or `*` for all.
    pub personal: Vec<String>,
    /// Whether what was taken out of personal data is put back where the answer names its
    /// placeholder: then the provider never has it, and the client does.
    pub restore: bool,
}

/// What may be in an answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerGuard {
    /// What becomes of secrets.
    pub secrets: FoundWord,
    /// The kinds of personal data that are taken out, as in a prompt.
    pub personal: Vec<String>,
    /// What becomes of links that would carry something out, and of images, which a reader fetches
    /// without being asked.
    pub links: LinksWord,
    /// The hosts that images may be fetched from.
    pub image_hosts: Vec<String>,
}

/// What becomes of something that is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FoundWord {
    /// It is taken out.
    #[default]
    Redact,
    /// All of it is refused.
    Refuse,
    /// It passes.
    Pass,
}

/// What becomes of links that would carry something out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinksWord {
    /// They are taken out.
    #[default]
    Strip,
    /// They pass.
    Pass,
}
