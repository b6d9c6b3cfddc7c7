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
    /// What has to be true of what comes back.
    pub checks: AnswerChecks,
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
    /// Thousandths of the mean log-probability of a token below which an answer counts as
    /// uncertain, where its client has asked for log-probabilities: `-700`. Unset: none does.
    #[schemars(range(min = -100000, max = 0))]
    pub logprob_mean_min: Option<i32>,
}

/// What has to be true of an answer before anybody gets it. An entry may say so, and a task: the
/// stricter holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerChecks {
    /// A JSON Schema, as text: an answer that is no instance of it is refused.
    pub schema: Option<String>,
    /// What becomes of an answer that is not of the form that its request asks for
    /// (`response_format` and the like). Of a stream the answer is held until it is whole.
    pub asked_schema: CheckWord,
    /// What becomes of an answer that cites none of the sources in its prompt, as `[1]`, or one
    /// that is not there. Of a stream the answer is held until it is whole.
    pub citations: CheckWord,
    /// What becomes of an answer that says a long piece of its instructions over again.
    pub instructions: CheckWord,
    /// What becomes of an answer that says over again a long piece of what stands in its prompt and
    /// is confidential.
    pub verbatim: CheckWord,
    /// What becomes of an answer with markup that acts: scripts, frames, handlers.
    pub markup: CheckWord,
    /// What becomes of an answer with code that destroys, fetches and runs, or opens a way in. Of a
    /// stream every line is held until it is over.
    pub code: CheckWord,
}

/// What becomes of an answer that is not as it has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckWord {
    /// Nobody looks.
    #[default]
    Pass,
    /// It passes; that it was so is recorded, and held against the session as `[risk]` says.
    Note,
    /// It is refused.
    Refuse,
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
