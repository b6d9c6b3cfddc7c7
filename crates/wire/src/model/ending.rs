//! How an answer ended, and how sure the model says that it was: of a whole answer, and of one that
//! comes in events. Without fractions: log-probabilities are counted in thousandths.

use lockgate_types::model::ModelApi;
use lockgate_types::{Json, Object};

/// The least log-probability that is told apart, in thousandths: providers say less of what could
/// hardly be.
const LEAST: i64 = -100_000;
/// Digits of a number that are looked at.
const DIGITS_MAX: usize = 15;

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Whether it was cut off: it had come to the most that it could have.
    pub is_cut: bool,
    /// Whether a filter of the provider's took something away.
    pub is_filtered: bool,
    /// Whether the model declined.
    pub has_declined: bool,
    /// Thousandths, of all tokens together.
    logprobs: i64,
    tokens: i64,
}

impl Ending {
    /// Of a whole answer.
    pub fn whole(api: ModelApi, body: &Json) -> Self {
        let mut ending = Self::default();
        let Some(object) = body.as_object() else { return ending };
        match api {
            ModelApi::ChatCompletions => ending.chat(object),
            ModelApi::Messages => ending.stopped(object),
            ModelApi::Responses => ending.response(object),
            ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => {}
        }
        ending
    }

    /// Thousandths of the mean log-probability of a token, where the provider says any.
    pub const fn mean_logprob(&self) -> Option<i64> {
        self.logprobs.checked_div(self.tokens)
    }

    /// Of an answer of the chat API, or of a chunk of one.
    pub(super) fn chat(&mut self, body: &Object) {
        let choices = body.get("choices").and_then(Json::as_array).unwrap_or_default();
        for choice in choices {
            self.reason(choice.get("finish_reason"));
            let said = choice.get("message").or_else(|| choice.get("delta"));
            let refusal = said.and_then(|said| said.get("refusal")?.as_str());
            self.has_declined |= refusal.is_some_and(|text| !text.is_empty());
            self.count(choice.at(&["logprobs", "content"]));
        }
    }

    /// Of an answer of the messages API, or of the part of an event that says why it ended.
    pub(super) fn stopped(&mut self, object: &Object) {
        self.reason(object.get("stop_reason"));
    }

    /// Of a response of the responses API.
    pub(super) fn response(&mut self, response: &Object) {
        if response.get("status").and_then(Json::as_str) == Some("incomplete") {
            let reason = response.get("incomplete_details").and_then(|it| it.get("reason"));
            self.reason(reason);
            self.is_cut |= !self.is_filtered;
        }
        let output = response.get("output").and_then(Json::as_array).unwrap_or_default();
        for item in output {
            for part in item.get("content").and_then(Json::as_array).unwrap_or_default() {
                let kind = part.get("type").and_then(Json::as_str);
                self.has_declined |= kind == Some("refusal");
                self.count(part.get("logprobs"));
            }
        }
    }

    fn reason(&mut self, reason: Option<&Json>) {
        match reason.and_then(Json::as_str) {
            Some("length" | "max_tokens" | "model_context_window_exceeded") => self.is_cut = true,
            Some("content_filter") => self.is_filtered = true,
            Some("refusal") => self.has_declined = true,
            _ => {}
        }
    }

    fn count(&mut self, tokens: Option<&Json>) {
        for token in tokens.and_then(Json::as_array).unwrap_or_default() {
            let Some(Json::Number(number)) = token.get("logprob") else { continue };
            let Some(thousandths) = thousandths(number.text()) else { continue };
            self.logprobs = self.logprobs.saturating_add(thousandths.clamp(LEAST, 0));
            self.tokens = self.tokens.saturating_add(1);
        }
    }
}

/// A number as thousandths, what is less than one left out.
fn thousandths(text: &str) -> Option<i64> {
    let (text, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1),
        None => (text, 1),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.trim_start_matches('+').parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value: i64 = 0;
    let mut shift = exponent.checked_add(3)?;
    for (at, digit) in whole.bytes().chain(fraction.bytes()).take(DIGITS_MAX).enumerate() {
        value = value.checked_mul(10)?.checked_add(i64::from(digit.checked_sub(b'0')?))?;
        if at >= whole.len() {
            shift = shift.checked_sub(1)?;
        }
    }
    let left_out = whole.len().saturating_sub(DIGITS_MAX);
    shift = shift.checked_add(i32::try_from(left_out).ok()?)?;
    let scale = 10_i64.checked_pow(shift.unsigned_abs());
    let value = match (shift >= 0, scale) {
        (true, Some(scale)) => value.saturating_mul(scale),
        (true, None) => i64::MAX,
        (false, Some(scale)) => value / scale,
        (false, None) => 0,
    };
    Some(value.saturating_mul(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn ending(api: ModelApi, text: &str) -> Ending {
        Ending::whole(api, &Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap())
    }

    #[test]
    fn numbers_are_thousandths_without_a_float() {
        for (text, expected) in [
            ("0", 0),
            ("-1", -1000),
            ("-0.6931472", -693),
            ("-1.1320011e-05", 0),
            ("-1.25E+1", -12_500),
            ("-9999.0", -9_999_000),
            ("-0.0009", 0),
            ("1e999999999", i64::MAX),
            ("-1e-999999999", 0),
        ] {
            assert_eq!(thousandths(text), Some(expected), "{text}");
        }
        assert_eq!(thousandths("1e9999999999999"), None);
    }

    #[test]
    fn every_api_says_how_its_answers_end() {
        let cut = Ending { is_cut: true, ..Ending::default() };
        let filtered = Ending { is_filtered: true, ..Ending::default() };
        let declined = Ending { has_declined: true, ..Ending::default() };
        for (api, text, expected) in [
            (
                ModelApi::ChatCompletions,
                r#"{"choices":[{"finish_reason":"stop"}]}"#,
                Ending::default(),
            ),
            (ModelApi::ChatCompletions, r#"{"choices":[{"finish_reason":"length"}]}"#, cut),
            (
                ModelApi::ChatCompletions,
                r#"{"choices":[{"finish_reason":"content_filter"}]}"#,
                filtered,
            ),
            (ModelApi::ChatCompletions, r#"{"choices":[{"message":{"refusal":"no"}}]}"#, declined),
            (
                ModelApi::ChatCompletions,
                r#"{"choices":[{"delta":{"refusal":""}}]}"#,
                Ending::default(),
            ),
            (ModelApi::Messages, r#"{"stop_reason":"max_tokens"}"#, cut),
            (ModelApi::Messages, r#"{"stop_reason":"refusal"}"#, declined),
            (ModelApi::Responses, r#"{"status":"completed"}"#, Ending::default()),
            (ModelApi::Responses, r#"{"status":"incomplete"}"#, cut),
            (
                ModelApi::Responses,
                r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#,
                filtered,
            ),
            (ModelApi::Responses, r#"{"output":[{"content":[{"type":"refusal"}]}]}"#, declined),
        ] {
            assert_eq!(ending(api, text), expected, "{text}");
        }
    }

    #[test]
    fn the_mean_of_log_probabilities_is_that_of_all_tokens() {
        let text = r#"{"choices":[{"logprobs":{"content":[{"logprob":-0.5},{"logprob":-1.5}]}}]}"#;
        assert_eq!(ending(ModelApi::ChatCompletions, text).mean_logprob(), Some(-1000));
        let text = r#"{"output":[{"content":[{"logprobs":[{"logprob":-9999.0}]}]}]}"#;
        assert_eq!(ending(ModelApi::Responses, text).mean_logprob(), Some(LEAST));
        assert_eq!(ending(ModelApi::Messages, "{}").mean_logprob(), None);
    }
}
