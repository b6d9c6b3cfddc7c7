//! The registry: which models there are, who answers for a name, and what a provider is asked.
//!
//! Compiled from `models/*.toml` and the providers in `lockgate.toml`. It knows nothing of whether
//! a provider is up, or of who may ask: that is for `route` and `decide`.

mod name;

pub use name::{NAME_BYTES_MAX, Pattern};

use crate::declare::{self, ConfidentialityWord, FamilyWord, RiskTierWord};
use lockgate_types::UpstreamName;
use lockgate_types::label::Confidentiality;
use lockgate_types::model::{Deadlines, ModelApi, ModelAsked, TOKENS_MAX, Usage};
use std::collections::BTreeMap;

/// Millionths of a hundredth: what spending is counted in, so that the price of one token is a
/// whole number of them.
pub const SPEND_UNITS: i64 = 1_000_000;

impl FamilyWord {
    /// The word in declarations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Azure => "azure",
        }
    }

    /// The interfaces of its providers.
    pub const fn apis(self) -> &'static [ModelApi] {
        match self {
            Self::OpenAi | Self::Azure => &[
                ModelApi::ChatCompletions,
                ModelApi::Responses,
                ModelApi::Embeddings,
                ModelApi::Models,
            ],
            Self::Anthropic => &[ModelApi::Messages, ModelApi::CountTokens, ModelApi::Models],
        }
    }

    /// Whether its providers have an interface.
    pub fn has(self, api: ModelApi) -> bool {
        self.apis().contains(&api)
    }
}

impl RiskTierWord {
    /// The word in declarations and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl declare::Provider {
    /// Path and query below `base_url` at which an interface is asked for a model.
    pub fn target(&self, api: ModelApi, id: &str) -> String {
        let method = api.method();
        if self.family != FamilyWord::Azure {
            return format!("/{method}");
        }
        let version = self.api_version.as_deref().unwrap_or_default();
        match api {
            ModelApi::Models => format!("/openai/models?api-version={version}"),
            // It names its deployment in the body.
            ModelApi::Responses => format!("/openai/responses?api-version={version}"),
            ModelApi::ChatCompletions
            | ModelApi::Embeddings
            | ModelApi::Messages
            | ModelApi::CountTokens => {
                let deployments = self.deployments.as_deref().unwrap_or("openai/deployments");
                format!("/{deployments}/{id}/{method}?api-version={version}")
            }
        }
    }
}

/// The entries of a bundle.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: BTreeMap<String, Model>,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Model {
    /// As declared.
    pub declared: declare::Model,
    /// The provider.
    pub upstream: UpstreamName,
    /// The family of its provider.
    pub family: FamilyWord,
    /// The names by which clients ask.
    pub asks: Vec<Pattern>,
    /// How confidential what it is sent may be.
    pub ceiling: Confidentiality,
    /// The entries that stand in for it, those of these included, in order.
    pub stands_in: Vec<String>,
    /// How long it may take.
    pub deadlines: Deadlines,
}

impl Registry {
    /// A registry of these entries, which have been checked.
    pub(crate) fn new(entries: BTreeMap<String, Model>) -> Self {
        Self { entries }
    }

    /// The entry of that name.
    pub fn get(&self, entry: &str) -> Option<&Model> {
        self.entries.get(entry)
    }

    /// Every entry, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Model)> {
        self.entries.iter().map(|(name, model)| (name.as_str(), model))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry for which a client asks by this name, through one of these interfaces: exactly so,
    /// or else by a pattern, or else by the one that takes whatever is left. Of several, the one
    /// whose interface comes first.
    pub fn find(&self, asked: &str, apis: &[ModelApi]) -> Option<(&str, &Model)> {
        let matching = |(name, model)| {
            let model: &Model = model;
            let api = apis.iter().position(|api| model.family.has(*api))?;
            let rank = model.asks.iter().filter(|it| it.matches(asked)).map(Pattern::rank).min();
            rank.map(|rank| ((rank, api), name, model))
        };
        let found = self.iter().filter_map(matching);
        let found = found.min_by_key(|(rank, name, _)| (*rank, *name));
        found.map(|(_, name, model)| (name, model))
    }

    /// The entry that what is asked is to be answered by, if the bundle has it.
    pub fn of(&self, asked: &ModelAsked) -> Option<(&str, &Model)> {
        let (name, model) = self.entries.get_key_value(asked.entry.as_deref()?)?;
        Some((name, model))
    }
}

impl Model {
    /// Whether a task, or none, may use it.
    pub fn allows_task(&self, task: Option<&str>) -> bool {
        let Some(tasks) = &self.declared.tasks else { return true };
        task.is_some_and(|task| tasks.iter().any(|allowed| allowed == task))
    }

    /// Whether what a prompt carries may be sent to it, for a task, and has room.
    pub fn admits(
        &self,
        api: ModelApi,
        asked: &ModelAsked,
        carried: Confidentiality,
        task: Option<&str>,
    ) -> bool {
        carried <= self.ceiling && self.allows_task(task) && self.has_room(api, asked)
    }

    /// Whether prompt and reply have room.
    pub fn has_room(&self, api: ModelApi, asked: &ModelAsked) -> bool {
        let needed = asked.input_tokens.saturating_add(wanted_reply(api, asked));
        let room = self.declared.context_tokens.map(i64::from);
        asked.input_tokens >= 0 && room.is_none_or(|room| needed <= room)
    }

    /// The provider's id of it, for a client that asks by a name.
    pub fn id<'a>(&'a self, asked: &'a str) -> &'a str {
        self.declared.id.as_deref().unwrap_or(asked)
    }

    /// The tokens that a reply has at most: as the client says, or the entry, or as there is room.
    pub fn output_bound(&self, api: ModelApi, asked: &ModelAsked) -> Option<i64> {
        if matches!(api, ModelApi::Embeddings | ModelApi::CountTokens | ModelApi::Models) {
            return Some(0);
        }
        let own = self.declared.output_tokens_max.map(i64::from);
        let wanted = asked.max_tokens.filter(|wanted| *wanted >= 0);
        let context = self.declared.context_tokens.map(i64::from);
        [own, wanted].into_iter().flatten().min().or(context).map(|it| it.min(TOKENS_MAX))
    }

    /// The most tokens that a request and its reply come to.
    pub fn tokens_bound(&self, api: ModelApi, asked: &ModelAsked) -> Option<i64> {
        let output = self.output_bound(api, asked)?;
        Some(asked.input_tokens.clamp(0, TOKENS_MAX).saturating_add(output))
    }

    /// The most that a request and its reply cost.
    pub fn spend_bound(&self, api: ModelApi, asked: &ModelAsked) -> Option<i64> {
        let prices = self.prices()?;
        let output = self.output_bound(api, asked)?;
        Some(prices.bound(asked.input_tokens.clamp(0, TOKENS_MAX), output))
    }

    /// What it costs.
    pub fn prices(&self) -> Option<Prices> {
        self.declared.price.as_ref().map(Prices::of)
    }
}

/// The tokens of reply that the client makes room for.
pub(crate) fn wanted_reply(api: ModelApi, asked: &ModelAsked) -> i64 {
    match api {
        ModelApi::ChatCompletions | ModelApi::Responses | ModelApi::Messages => {
            asked.max_tokens.unwrap_or(0).max(0)
        }
        ModelApi::Embeddings | ModelApi::CountTokens | ModelApi::Models => 0,
    }
}

/// What a million tokens cost, in thousandths of a hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Of prompt.
    pub input: i64,
    /// Of prompt from a cache.
    pub cached: i64,
    /// Of prompt into a cache.
    pub cache_written: i64,
    /// Of reply.
    pub output: i64,
}

impl Prices {
    fn of(price: &declare::Price) -> Self {
        let scale = 10_i64.saturating_pow(3_u32.saturating_sub(price.decimals));
        let thousandths = |price: u32| i64::from(price).saturating_mul(scale);
        Self {
            input: thousandths(price.input),
            cached: thousandths(price.cached_input.unwrap_or(price.input)),
            cache_written: thousandths(price.cache_write.unwrap_or(price.input)),
            output: thousandths(price.output),
        }
    }

    /// What tokens cost at most, however the provider comes to count them.
    pub fn bound(&self, input: i64, output: i64) -> i64 {
        let dearest = self.input.max(self.cached).max(self.cache_written);
        units(
            i128::from(input) * i128::from(dearest) + i128::from(output) * i128::from(self.output),
        )
    }

    /// What a reply has cost.
    pub fn cost(&self, usage: &Usage) -> i64 {
        let part = |tokens: i64, price: i64| i128::from(tokens) * i128::from(price);
        units(
            part(usage.input, self.input)
                + part(usage.cached, self.cached)
                + part(usage.cache_written, self.cache_written)
                + part(usage.output, self.output),
        )
    }
}

/// Thousandths for a million tokens, times tokens, as [`SPEND_UNITS`]: never less than it costs.
fn units(thousandths: i128) -> i64 {
    i64::try_from((thousandths + 999) / 1000).unwrap_or(i64::MAX)
}

/// The confidentiality that a word stands for.
pub const fn confidentiality(word: ConfidentialityWord) -> Confidentiality {
    match word {
        ConfidentialityWord::Public => Confidentiality::Public,
        ConfidentialityWord::Internal => Confidentiality::Internal,
        ConfidentialityWord::Confidential => Confidentiality::Confidential,
        ConfidentialityWord::Restricted => Confidentiality::Restricted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_and_never_too_low() {
        let price = declare::Price {
            currency: "EUR".to_owned(),
            decimals: 1,
            input: 75,
            cached_input: Some(8),
            cache_write: Some(94),
            output: 300,
        };
        let prices = Prices::of(&price);
        let usage =
            |input, cached, cache_written, output| Usage { input, cached, cache_written, output };
        // A million tokens of prompt are 7.5 hundredths.
        assert_eq!(prices.cost(&usage(1_000_000, 0, 0, 0)), 7_500_000);
        assert_eq!(prices.cost(&usage(1, 0, 0, 0)), 8, "7.5 is rounded up");
        assert_eq!(prices.cost(&usage(0, 10, 0, 10)), 308);
        assert_eq!(prices.bound(10, 10), 394, "at the dearest price of a prompt");
        for usage in [usage(10, 0, 0, 10), usage(0, 10, 0, 10), usage(3, 3, 4, 1)] {
            assert!(prices.cost(&usage) <= prices.bound(10, 10));
        }
        assert_eq!(prices.bound(TOKENS_MAX, TOKENS_MAX), 169_221_711_463);
    }

    #[test]
    fn azure_names_deployment_and_version_in_the_address() {
        let provider = |family| declare::Provider {
            family,
            base_url: String::new(),
            deployments: None,
            api_version: Some("2026-05-01".to_owned()),
            first_token_ms: None,
            gap_ms: None,
            functions: declare::FunctionsWord::default(),
        };
        let target = |family, api| provider(family).target(api, "large");
        assert_eq!(target(FamilyWord::OpenAi, ModelApi::ChatCompletions), "/chat/completions");
        assert_eq!(target(FamilyWord::Anthropic, ModelApi::CountTokens), "/messages/count_tokens");
        assert_eq!(
            target(FamilyWord::Azure, ModelApi::ChatCompletions),
            "/openai/deployments/large/chat/completions?api-version=2026-05-01"
        );
        assert_eq!(
            target(FamilyWord::Azure, ModelApi::Responses),
            "/openai/responses?api-version=2026-05-01"
        );
    }
}
