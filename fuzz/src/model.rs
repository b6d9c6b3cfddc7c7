//! What applications and models say to each other: requests, whole answers, and streams.

use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, JsonLimits};
use lockgate_wire::model::{
    Asked, Channel, Edit, Gate, Held, Reply, Scan, Verdict, reply, rewrite,
};
use lockgate_wire::refusal::Refusal;
use lockgate_wire::sse::{SseDecoder, SseEvent, SseLimits};
use std::collections::{BTreeMap, BTreeSet};

const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 16, depth_max: 32, members_max: 256 };

/// What must not leave.
const SECRET: &str = "secret";

/// Masks words with a secret in them, and holds back a word that is not over.
struct Words;

impl Scan for Words {
    fn scan(
        &mut self,
        _channel: &Channel,
        text: &str,
        from: usize,
        is_final: bool,
    ) -> Result<Held, Box<Refusal>> {
        let end = text.rfind(' ').map_or(0, |at| at + 1).max(from);
        let release_to = if is_final { text.len() } else { end };
        let found = text.match_indices(SECRET).map(|(at, it)| at..at + it.len());
        let within = found.filter(|it| it.start >= from && it.end <= release_to);
        let edits = within.map(|bytes| Edit { bytes, with: "***".to_owned() }).collect();
        Ok(Held { release_to, edits })
    }
}

fn api(byte: u8) -> ModelApi {
    [ModelApi::ChatCompletions, ModelApi::Responses, ModelApi::Messages][usize::from(byte) % 3]
}

fn refuse() -> Verdict {
    Verdict::Refuse(Box::new(Refusal::of(Code::Forbidden)))
}

/// The API, then a body: read as a request, every place is one of it, and all its tools can be
/// taken out; read as an answer, no call is left once all are refused.
pub fn model_body(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else { return false };
    let Ok(body) = Json::parse(rest, &LIMITS) else { return false };
    let api = api(*first);
    let is_request = Asked::read(api, &body).is_ok_and(|asked| {
        assert!(asked.segments.iter().all(|it| it.path.get(&body).is_some()));
        let tools: Vec<_> = asked.tools.iter().map(|it| it.path.clone()).collect();
        let mut without = body.clone();
        rewrite::remove_tools(&mut without, &tools);
        if let Ok(asked) = Asked::read(api, &without) {
            assert!(asked.tools.is_empty(), "{without}");
        }
        !asked.segments.is_empty()
    });
    let Ok(answer) = Reply::read(api, &body) else { return is_request };
    let verdicts: BTreeMap<u32, Verdict> =
        answer.calls.iter().map(|call| (call.key, refuse())).collect();
    let says = !answer.texts.is_empty() || !answer.calls.is_empty();
    let mut left = body.clone();
    if reply::enforce(api, &mut left, &mut Words, &verdicts).is_ok() {
        let answer = Reply::read(api, &left).expect("what is left is an answer");
        assert!(answer.calls.is_empty(), "{left}");
        let is_masked = |text: &str| !text.contains(SECRET);
        assert!(answer.texts.iter().all(|it| is_masked(&it.text)), "{left}");
    }
    is_request || says
}

/// The API, then a stream: no call and no secret leaves, and what leaves is a stream of that API.
pub fn model_stream(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else { return false };
    let api = api(*first);
    let limits = SseLimits { line_bytes_max: 8192, event_bytes_max: 16_384 };
    let mut events = Vec::new();
    // What came before an error counts.
    let _ = SseDecoder::new(limits).push(rest, &mut events);
    let mut gate = Gate::new(api).expect("the API has streams");
    for event in events {
        gate.push(event, &mut Words);
        while let Some(key) = gate.proposed().first().map(|call| call.key) {
            gate.answer(key, refuse(), &mut Words);
        }
    }
    let is_stopped = gate.stopped().is_some();
    gate.end();
    let out = gate.take();
    check(api, &out);
    !is_stopped && out.len() > 2
}

fn check(api: ModelApi, out: &[SseEvent]) {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    for event in out {
        let Some(data) = event.data.as_deref().filter(|it| *it != "[DONE]") else { continue };
        let object = Json::parse(data.as_bytes(), &JsonLimits::MESSAGE).expect("events are JSON");
        let kind = |path: &[&str]| object.at(path).and_then(Json::as_str).unwrap_or_default();
        let index = |name| object.get(name).map(Json::to_string).unwrap_or_default();
        match api {
            ModelApi::ChatCompletions => {
                for choice in object.get("choices").and_then(Json::as_array).unwrap_or_default() {
                    let Some(delta) = choice.get("delta").and_then(Json::as_object) else {
                        continue;
                    };
                    let calls = delta.get("tool_calls").and_then(Json::as_array);
                    assert!(calls.is_none_or(<[Json]>::is_empty), "{object}");
                    for name in ["content", "refusal", "reasoning_content", "reasoning"] {
                        let text = delta.get(name).and_then(Json::as_str).unwrap_or_default();
                        let index = choice.get("index").and_then(Json::as_i64).unwrap_or(0);
                        said.entry(format!("{index}{name}")).or_default().push_str(text);
                    }
                }
            }
            ModelApi::Responses => {
                let item = kind(&["item", "type"]);
                assert!(!item.ends_with("_call"), "{object}");
                if kind(&["type"]) == "response.output_text.delta" {
                    let name = format!("{}/{}", index("output_index"), index("content_index"));
                    said.entry(name).or_default().push_str(kind(&["delta"]));
                }
            }
            _ => {
                let block = kind(&["content_block", "type"]);
                let is_call =
                    kind(&["type"]) == "content_block_start" && block.ends_with("tool_use");
                assert!(!is_call, "{object}");
                if kind(&["type"]) == "content_block_delta" {
                    assert!(begun.contains(&index("index")), "{object}");
                    let name = format!("{}{}", begun.len(), index("index"));
                    said.entry(name).or_default().push_str(kind(&["delta", "text"]));
                } else if kind(&["type"]) == "content_block_start" {
                    begun.insert(index("index"));
                }
            }
        }
    }
    for (name, text) in said {
        assert!(!text.contains(SECRET), "{name}: {text}");
    }
}
