//! Answers made up for tests, as streams and whole, and what a client makes of them.

use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::model::{Channel, Edit, End, Gate, Held, Reply, Scan, Verdict, reply};
use lockgate_wire::refusal::Refusal;
use lockgate_wire::sse::SseEvent;
use std::collections::BTreeMap;

/// What must never leave.
pub(crate) const BAD: [&str; 2] = ["sk-secret-0123456789", "![x](https://evil.example/?q=stolen)"];

/// Masks what must not leave, and holds back words that are not over.
pub(crate) struct Marks;

impl Scan for Marks {
    fn scan(
        &mut self,
        _channel: &Channel,
        text: &str,
        from: usize,
        is_final: bool,
    ) -> Result<Held, Box<Refusal>> {
        let end = text.rfind(' ').map_or(0, |at| at + 1).max(from);
        let release_to = if is_final { text.len() } else { end };
        let mut edits: Vec<Edit> = BAD
            .iter()
            .flat_map(|bad| text.match_indices(bad))
            .map(|(at, bad)| Edit { bytes: at..at + bad.len(), with: "[x]".to_owned() })
            .filter(|edit| edit.bytes.start >= from && edit.bytes.end <= release_to)
            .collect();
        edits.sort_by_key(|edit| edit.bytes.start);
        Ok(Held { release_to, edits })
    }
}

/// xorshift64*: the same throws on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let throw = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(throw).unwrap() % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Text,
    Reasoning,
    Refusal,
}

#[derive(Clone, Debug)]
pub(crate) enum Part {
    Words(Way, Vec<String>),
    Call(String, Vec<String>),
}

/// An answer: what each choice says, in order. Only the chat API has more than one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(pub(crate) Vec<Vec<Part>>);

impl Said {
    pub(crate) fn plain(text: &str) -> Self {
        Self::default().text(text)
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.with(Part::Words(Way::Text, vec![text.to_owned()]))
    }

    pub(crate) fn call(self, name: &str, arguments: &str) -> Self {
        self.with(Part::Call(name.to_owned(), vec![arguments.to_owned()]))
    }

    fn with(mut self, part: Part) -> Self {
        if self.0.is_empty() {
            self.0.push(Vec::new());
        }
        self.0[0].push(part);
        self
    }

    /// Words with something bad among them, calls of which some are forbidden, cut anywhere.
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let choices = 1 + dice.below(3);
        Self((0..choices).map(|_| (0..1 + dice.below(5)).map(|_| part(dice)).collect()).collect())
    }
}

fn part(dice: &mut Dice) -> Part {
    let step = if dice.below(3) == 0 { 1 } else { 12 };
    if dice.below(3) == 0 {
        let name = if dice.below(2) == 0 { "forbidden" } else { "look" };
        let bad = if name == "forbidden" { BAD[0] } else { "fine" };
        return Part::Call(name.to_owned(), cut(&format!("{{\"to\":\"{bad} é\"}}"), step, dice));
    }
    let way = [Way::Text, Way::Text, Way::Reasoning, Way::Refusal][dice.below(4)];
    let words = ["well ", "so, ", "näh ", "a\nb ", "x", BAD[0], BAD[1], " ", "sk-secret", "![x]("];
    let text: String = (0..dice.below(9)).map(|_| words[dice.below(words.len())]).collect();
    Part::Words(way, cut(&text, step, dice))
}

fn cut(text: &str, step: usize, dice: &mut Dice) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for character in text.chars() {
        if dice.below(step) == 0 {
            pieces.push(String::new());
        }
        pieces.last_mut().unwrap().push(character);
    }
    pieces
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// An event, named after the type of its object if it has one.
pub(crate) fn event(data: &str) -> SseEvent {
    let object = Json::parse(data.as_bytes(), &JsonLimits::MESSAGE).ok();
    let name = object.and_then(|it| it.get("type")?.as_str().map(str::to_owned));
    SseEvent { event: name, data: Some(data.to_owned()), ..SseEvent::default() }
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

const fn member(way: Way) -> &'static str {
    match way {
        Way::Text => "content",
        Way::Reasoning => "reasoning_content",
        Way::Refusal => "refusal",
    }
}

pub(crate) fn chat(said: &Said) -> Vec<SseEvent> {
    let chunk = |choices: String, usage: &str| {
        event(&format!(
            r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{choices}]{usage}}}"#
        ))
    };
    let mut queues: Vec<std::collections::VecDeque<String>> = Vec::new();
    for (index, parts) in said.0.iter().enumerate() {
        let piece = |delta: String, end: &str| {
            format!(r#"{{"index":{index},"delta":{delta},"finish_reason":{end}}}"#)
        };
        let mut all = vec![piece(r#"{"role":"assistant","content":""}"#.to_owned(), "null")];
        let mut calls = 0;
        for part in parts {
            match part {
                Part::Words(way, pieces) => {
                    all.extend(pieces.iter().map(|it| {
                        piece(format!(r#"{{"{}":{}}}"#, member(*way), quoted(it)), "null")
                    }))
                }
                Part::Call(name, pieces) => {
                    all.push(piece(format!(r#"{{"tool_calls":[{{"index":{calls},"id":"call_{calls}","type":"function","function":{{"name":"{name}","arguments":""}}}}]}}"#), "null"));
                    all.extend(pieces.iter().map(|it| piece(format!(r#"{{"tool_calls":[{{"index":{calls},"function":{{"arguments":{}}}}}]}}"#, quoted(it)), "null")));
                    calls += 1;
                }
            }
        }
        let end = if calls > 0 { "\"tool_calls\"" } else { "\"stop\"" };
        all.push(piece("{}".to_owned(), end));
        queues.push(all.into());
    }
    let mut events = Vec::new();
    while queues.iter().any(|it| !it.is_empty()) {
        for queue in &mut queues {
            events.extend(queue.pop_front().map(|choice| chunk(choice, "")));
        }
    }
    events.push(chunk(String::new(), r#","usage":{"prompt_tokens":10,"completion_tokens":5}"#));
    events.push(event("[DONE]"));
    events
}

fn call_item(at: usize, name: &str, arguments: &str, status: &str) -> String {
    format!(
        r#"{{"type":"function_call","id":"fc_{at}","call_id":"call_{at}","name":"{name}","arguments":{},"status":"{status}"}}"#,
        quoted(arguments)
    )
}

fn words_part(way: Way, text: &str) -> String {
    let text = quoted(text);
    match way {
        Way::Text => {
            format!(r#"{{"type":"output_text","text":{text},"annotations":[],"logprobs":[]}}"#)
        }
        Way::Reasoning => format!(r#"{{"type":"summary_text","text":{text}}}"#),
        Way::Refusal => format!(r#"{{"type":"refusal","refusal":{text}}}"#),
    }
}

fn words_item(at: usize, way: Way, parts: &str) -> String {
    match way {
        Way::Reasoning => format!(r#"{{"type":"reasoning","id":"rs_{at}","summary":[{parts}]}}"#),
        _ => format!(
            r#"{{"type":"message","id":"msg_{at}","role":"assistant","status":"completed","content":[{parts}]}}"#
        ),
    }
}

fn items(said: &Said) -> Vec<String> {
    let item = |(at, part): (usize, &Part)| match part {
        Part::Words(way, pieces) => words_item(at, *way, &words_part(*way, &pieces.concat())),
        Part::Call(name, pieces) => call_item(at, name, &pieces.concat(), "completed"),
    };
    said.0[0].iter().enumerate().map(item).collect()
}

pub(crate) fn responses(said: &Said) -> Vec<SseEvent> {
    let mut all: Vec<String> = Vec::new();
    let response = r#""id":"resp","object":"response","model":"m""#;
    for kind in ["response.created", "response.in_progress"] {
        all.push(format!(
            r#""type":"{kind}","response":{{{response},"status":"in_progress","output":[]}}"#
        ));
    }
    let whole = items(said);
    for (at, part) in said.0[0].iter().enumerate() {
        let (begun, ended) = match part {
            Part::Words(way, _) => (words_item(at, *way, ""), whole[at].clone()),
            Part::Call(name, _) => (call_item(at, name, "", "in_progress"), whole[at].clone()),
        };
        all.push(format!(
            r#""type":"response.output_item.added","output_index":{at},"item":{begun}"#
        ));
        match part {
            Part::Words(way, pieces) => {
                let (text, part, place) = match way {
                    Way::Text => ("output_text", "content_part", "content_index"),
                    Way::Refusal => ("refusal", "content_part", "content_index"),
                    Way::Reasoning => {
                        ("reasoning_summary_text", "reasoning_summary_part", "summary_index")
                    }
                };
                let place = format!(r#""item_id":"i","output_index":{at},"{place}":0"#);
                let member = if *way == Way::Refusal { "refusal" } else { "text" };
                all.push(format!(
                    r#""type":"response.{part}.added",{place},"part":{}"#,
                    words_part(*way, "")
                ));
                all.extend(pieces.iter().map(|it| {
                    format!(r#""type":"response.{text}.delta",{place},"delta":{}"#, quoted(it))
                }));
                all.push(format!(
                    r#""type":"response.{text}.done",{place},"{member}":{}"#,
                    quoted(&pieces.concat())
                ));
                all.push(format!(
                    r#""type":"response.{part}.done",{place},"part":{}"#,
                    words_part(*way, &pieces.concat())
                ));
            }
            Part::Call(_, pieces) => {
                let place = format!(r#""item_id":"i","output_index":{at}"#);
                all.extend(pieces.iter().map(|it| {
                    format!(
                        r#""type":"response.function_call_arguments.delta",{place},"delta":{}"#,
                        quoted(it)
                    )
                }));
                all.push(format!(
                    r#""type":"response.function_call_arguments.done",{place},"arguments":{}"#,
                    quoted(&pieces.concat())
                ));
            }
        }
        all.push(format!(
            r#""type":"response.output_item.done","output_index":{at},"item":{ended}"#
        ));
    }
    all.push(format!(
        r#""type":"response.completed","response":{{{response},"status":"completed","output":[{}],"usage":{{"input_tokens":10,"output_tokens":5}}}}"#,
        whole.join(",")
    ));
    let numbered =
        |(at, it): (usize, String)| event(&format!(r#"{{{it},"sequence_number":{at}}}"#));
    all.into_iter().enumerate().map(numbered).collect()
}

/// Of the answer what an Anthropic model can say: thoughts are signed, so nothing bad is in them.
fn blocks(said: &Said) -> Vec<(String, &'static str, Vec<String>, String)> {
    let block = |(at, part): (usize, &Part)| match part {
        Part::Words(Way::Reasoning, pieces) => {
            let pieces: Vec<String> = pieces.iter().map(|it| "t ".repeat(it.len())).collect();
            let text = quoted(&pieces.concat());
            let whole = format!(r#"{{"type":"thinking","thinking":{text},"signature":"s"}}"#);
            (
                r#"{"type":"thinking","thinking":"","signature":""}"#.to_owned(),
                "thinking",
                pieces,
                whole,
            )
        }
        Part::Words(_, pieces) => {
            let whole = format!(r#"{{"type":"text","text":{}}}"#, quoted(&pieces.concat()));
            (r#"{"type":"text","text":""}"#.to_owned(), "text", pieces.clone(), whole)
        }
        Part::Call(name, pieces) => {
            let head = format!(r#"{{"type":"tool_use","id":"t{at}","name":"{name}","input":"#);
            let whole = format!("{head}{}}}", pieces.concat());
            (format!("{head}{{}}}}"), "partial_json", pieces.clone(), whole)
        }
    };
    said.0[0].iter().enumerate().map(block).collect()
}

fn stop_reason(said: &Said) -> &'static str {
    let has_call = said.0[0].iter().any(|it| matches!(it, Part::Call(..)));
    if has_call { "tool_use" } else { "end_turn" }
}

pub(crate) fn messages(said: &Said) -> Vec<SseEvent> {
    let mut all = vec![event(
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":10,"output_tokens":1}}}"#,
    )];
    for (at, (begun, member, pieces, _)) in blocks(said).into_iter().enumerate() {
        all.push(event(&format!(
            r#"{{"type":"content_block_start","index":{at},"content_block":{begun}}}"#
        )));
        all.push(event(r#"{"type": "ping"}"#));
        let kind = match member {
            "text" => "text_delta",
            "thinking" => "thinking_delta",
            _ => "input_json_delta",
        };
        all.extend(pieces.iter().map(|it| event(&format!(r#"{{"type":"content_block_delta","index":{at},"delta":{{"type":"{kind}","{member}":{}}}}}"#, quoted(it)))));
        if member == "thinking" {
            all.push(event(&format!(r#"{{"type":"content_block_delta","index":{at},"delta":{{"type":"signature_delta","signature":"s"}}}}"#)));
        }
        all.push(event(&format!(r#"{{"type":"content_block_stop","index":{at}}}"#)));
    }
    let reason = stop_reason(said);
    all.push(event(&format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":5}}}}"#)));
    all.push(event(r#"{"type":"message_stop"}"#));
    all
}

/// The same answer, whole.
pub(crate) fn whole(api: ModelApi, said: &Said) -> Json {
    let text = match api {
        ModelApi::ChatCompletions => {
            let choice = |(index, parts): (usize, &Vec<Part>)| {
                let mut message = Object::new().with("role", "assistant");
                let mut calls: Vec<Json> = Vec::new();
                for part in parts {
                    match part {
                        Part::Words(way, pieces) => {
                            let before = message.get(member(*way)).and_then(Json::as_str);
                            let text = format!("{}{}", before.unwrap_or_default(), pieces.concat());
                            message.set(member(*way), text);
                        }
                        Part::Call(name, pieces) => calls.push(json(&format!(r#"{{"id":"call_{}","type":"function","function":{{"name":"{name}","arguments":{}}}}}"#, calls.len(), quoted(&pieces.concat())))),
                    }
                }
                let end = if calls.is_empty() { "stop" } else { "tool_calls" };
                if !calls.is_empty() {
                    message.set("tool_calls", calls);
                }
                let message = Json::from(message);
                format!(r#"{{"index":{index},"message":{message},"finish_reason":"{end}"}}"#)
            };
            let choices: Vec<String> = said.0.iter().enumerate().map(choice).collect();
            format!(r#"{{"id":"c","choices":[{}]}}"#, choices.join(","))
        }
        ModelApi::Responses => {
            format!(r#"{{"id":"resp","status":"completed","output":[{}]}}"#, items(said).join(","))
        }
        _ => {
            let blocks: Vec<String> = blocks(said).into_iter().map(|it| it.3).collect();
            format!(
                r#"{{"id":"m","content":[{}],"stop_reason":"{}"}}"#,
                blocks.join(","),
                stop_reason(said)
            )
        }
    };
    json(&text)
}

fn verdict(name: &str) -> Verdict {
    match name {
        "forbidden" => Verdict::Refuse(Box::new(Refusal::of(Code::AgentNotPermitted))),
        _ => Verdict::Release,
    }
}

/// The whole answer as the gate leaves it.
pub(crate) fn judged(api: ModelApi, said: &Said) -> Json {
    enforced(api, whole(api, said))
}

pub(crate) fn enforced(api: ModelApi, body: Json) -> Json {
    enforced_by(api, body, &mut Marks)
}

pub(crate) fn enforced_by(api: ModelApi, mut body: Json, scan: &mut dyn Scan) -> Json {
    let calls = Reply::read(api, &body).unwrap().calls;
    let verdicts: BTreeMap<u32, Verdict> =
        calls.iter().map(|call| (call.key, verdict(&call.name))).collect();
    reply::enforce(api, &mut body, scan, &verdicts).unwrap();
    body
}

pub(crate) fn answer_all(gate: &mut Gate) {
    answer_by(gate, &mut Marks);
}

pub(crate) fn answer_by(gate: &mut Gate, scan: &mut dyn Scan) {
    while let Some(call) = gate.proposed().first().cloned() {
        gate.answer(call.key, verdict(&call.name), scan);
    }
}

/// Lets a stream through.
pub(crate) fn played(api: ModelApi, stream: &[SseEvent]) -> (Vec<SseEvent>, End) {
    let mut gate = Gate::new(api).unwrap();
    let mut out = Vec::new();
    for piece in stream {
        gate.push(piece.clone(), &mut Marks);
        answer_all(&mut gate);
        out.extend(gate.take());
    }
    let end = gate.end();
    assert!(gate.stopped().is_none(), "{:?}", gate.stopped());
    (out, end)
}

fn objects(events: &[SseEvent]) -> Vec<Json> {
    let data = events.iter().filter_map(|it| it.data.as_deref());
    data.filter(|it| *it != "[DONE]").map(json).collect()
}

/// All deltas of this name, joined.
pub(crate) fn said_of(events: &[SseEvent], name: &str) -> String {
    let all = objects(events);
    all.iter().filter_map(|it| it.at(&["delta", name])?.as_str()).collect()
}

/// Every text that a client has seen so far, joined as it joins it.
pub(crate) fn texts(api: ModelApi, events: &[SseEvent]) -> String {
    let mut channels: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |name: String, text: &str| channels.entry(name).or_default().push_str(text);
    for it in objects(events) {
        match api {
            ModelApi::ChatCompletions => {
                for choice in it.get("choices").and_then(Json::as_array).unwrap_or_default() {
                    let index = choice.get("index").unwrap().to_string();
                    let delta = choice.get("delta").and_then(Json::as_object).unwrap();
                    for (name, value) in delta.iter() {
                        add(format!("{index}{name}"), value.as_str().unwrap_or_default());
                    }
                }
            }
            ModelApi::Responses => {
                if let Some(text) = it.get("delta").and_then(Json::as_str) {
                    add(it.get("output_index").unwrap().to_string(), text);
                }
            }
            _ => {
                for name in ["text", "thinking"] {
                    if let Some(text) = it.at(&["delta", name]).and_then(Json::as_str) {
                        add(it.get("index").unwrap().to_string(), text);
                    }
                }
            }
        }
    }
    channels.into_values().collect::<Vec<_>>().join("|")
}

fn string(value: Option<&Json>) -> String {
    value.and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// What a client has at the end, on lines.
pub(crate) fn folded(api: ModelApi, events: &[SseEvent]) -> Vec<String> {
    match api {
        ModelApi::ChatCompletions => folded_chat(events),
        ModelApi::Responses => folded_responses(events),
        _ => folded_messages(events),
    }
}

fn folded_chat(events: &[SseEvent]) -> Vec<String> {
    #[derive(Default)]
    struct Choice {
        texts: BTreeMap<String, String>,
        calls: BTreeMap<i64, (String, String, String)>,
        end: String,
    }
    let mut choices: BTreeMap<String, Choice> = BTreeMap::new();
    for chunk in objects(events) {
        for choice in chunk.get("choices").and_then(Json::as_array).unwrap_or_default() {
            let state = choices.entry(choice.get("index").unwrap().to_string()).or_default();
            state.end.push_str(&string(choice.get("finish_reason")));
            for (name, value) in choice.get("delta").and_then(Json::as_object).unwrap().iter() {
                match value {
                    Json::String(text) if name != "role" => {
                        state.texts.entry(name.to_owned()).or_default().push_str(text);
                    }
                    Json::Array(calls) => {
                        for call in calls {
                            let index = call.get("index").and_then(Json::as_i64).unwrap();
                            let entry = state.calls.entry(index).or_default();
                            entry.0.push_str(&string(call.get("id")));
                            entry.1.push_str(&string(call.at(&["function", "name"])));
                            entry.2.push_str(&string(call.at(&["function", "arguments"])));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    let mut lines = Vec::new();
    for (index, mut choice) in choices {
        choice.texts.retain(|_, text| !text.is_empty());
        lines.push(format!("{index} {:?} {}", choice.texts, choice.end));
        for (at, (expected, call)) in choice.calls.into_iter().enumerate() {
            assert_eq!(i64::try_from(at).unwrap(), expected, "calls are counted without gaps");
            lines.push(format!("{call:?}"));
        }
    }
    lines
}

fn folded_responses(events: &[SseEvent]) -> Vec<String> {
    let mut pieces: BTreeMap<i64, String> = BTreeMap::new();
    let mut done: BTreeMap<i64, Json> = BTreeMap::new();
    let mut last = None;
    for it in objects(events) {
        let index = it.get("output_index").and_then(Json::as_i64).unwrap_or(-1);
        let kind = string(it.get("type"));
        if let Some(delta) = it.get("delta").and_then(Json::as_str) {
            pieces.entry(index).or_default().push_str(delta);
        }
        if kind == "response.output_item.added" {
            pieces.insert(index, text_of_item(it.get("item").unwrap()));
        }
        if kind == "response.output_item.done" {
            done.insert(index, it.get("item").unwrap().clone());
        }
        if kind == "response.completed" {
            last = it.at(&["response"]).cloned();
        }
    }
    let last = last.expect("the stream has its end");
    for (at, item) in last.get("output").and_then(Json::as_array).unwrap().iter().enumerate() {
        let at = i64::try_from(at).unwrap();
        assert_eq!(done.get(&at), Some(item), "the end says what the items said");
        let text: String = text_of_item(item);
        // Calls of hosted tools do not come in pieces.
        if item.get("output").is_none() {
            assert_eq!(pieces.get(&at).cloned().unwrap_or_default(), text, "{item}");
        }
    }
    folded_whole(ModelApi::Responses, &last)
}

fn text_of_item(item: &Json) -> String {
    if let Some(arguments) = item.get("arguments") {
        return string(Some(arguments));
    }
    let parts = ["content", "summary"].into_iter().filter_map(|it| item.get(it)?.as_array());
    let text = |it: &Json| string(it.get("text").or(it.get("refusal")));
    parts.flatten().map(text).collect()
}

fn folded_messages(events: &[SseEvent]) -> Vec<String> {
    let mut blocks: Vec<(Json, String)> = Vec::new();
    let mut end = String::new();
    for it in objects(events) {
        match string(it.get("type")).as_str() {
            "content_block_start" => {
                blocks.push((it.get("content_block").unwrap().clone(), String::new()));
            }
            "content_block_delta" => {
                let at = usize::try_from(it.get("index").and_then(Json::as_i64).unwrap()).unwrap();
                for name in ["text", "thinking", "partial_json"] {
                    blocks[at].1.push_str(&string(it.at(&["delta", name])));
                }
            }
            "message_delta" => end = string(it.at(&["delta", "stop_reason"])),
            _ => {}
        }
    }
    let mut lines = vec![end];
    lines.extend(blocks.into_iter().map(|(block, text)| {
        let is_call = block.get("input").is_some();
        let text = match (is_call, text.is_empty()) {
            (true, true) => "{}".to_owned(),
            (true, false) => json(&text).to_string(),
            (false, _) => text,
        };
        format!("{} {} {text}", string(block.get("type")), string(block.get("id")))
    }));
    lines
}

/// The same of a whole answer.
pub(crate) fn folded_whole(api: ModelApi, body: &Json) -> Vec<String> {
    let list = |name: &str| body.get(name).and_then(Json::as_array).unwrap_or_default();
    match api {
        ModelApi::ChatCompletions => {
            let mut lines = Vec::new();
            for choice in list("choices") {
                let message = choice.get("message").and_then(Json::as_object).unwrap();
                let mut texts: BTreeMap<String, String> = BTreeMap::new();
                for (name, value) in message.iter().filter(|(name, _)| *name != "role") {
                    let text = value.as_str().unwrap_or_default();
                    if !text.is_empty() {
                        texts.insert(name.to_owned(), text.to_owned());
                    }
                }
                let index = choice.get("index").unwrap();
                lines.push(format!("{index} {texts:?} {}", string(choice.get("finish_reason"))));
                for call in message.get("tool_calls").and_then(Json::as_array).unwrap_or_default() {
                    let of = |name| string(call.at(&["function", name]));
                    let call = (string(call.get("id")), of("name"), of("arguments"));
                    lines.push(format!("{call:?}"));
                }
            }
            lines
        }
        ModelApi::Responses => list("output").iter().map(Json::to_string).collect(),
        _ => {
            let mut lines = vec![string(body.get("stop_reason"))];
            lines.extend(list("content").iter().map(|block| {
                let text = match block.get("input") {
                    Some(input) => input.to_string(),
                    None => string(block.get("text").or(block.get("thinking"))),
                };
                format!("{} {} {text}", string(block.get("type")), string(block.get("id")))
            }));
            lines
        }
    }
}

/// Events come in an order that the API allows.
pub(crate) fn check_order(api: ModelApi, events: &[SseEvent]) {
    let (mut open, mut next, mut over) = (None, 0, Vec::new());
    for it in objects(events) {
        let index = it.get("index").or(it.get("output_index")).and_then(Json::as_i64);
        match (api, string(it.get("type")).as_str()) {
            (ModelApi::Messages, "content_block_start") => {
                assert_eq!((open, index), (None, Some(next)), "{it}");
                open = index;
                next += 1;
            }
            (ModelApi::Messages, "content_block_delta") => assert_eq!(open, index, "{it}"),
            (ModelApi::Messages, "content_block_stop") => assert_eq!(open.take(), index, "{it}"),
            (ModelApi::Responses, "response.output_item.added") => {
                assert_eq!(index, Some(next), "{it}");
                next += 1;
            }
            (ModelApi::Responses, "response.output_item.done") => {
                assert_eq!(index, Some(next - 1), "{it}");
            }
            (ModelApi::ChatCompletions, _) => {
                for choice in it.get("choices").and_then(Json::as_array).unwrap_or_default() {
                    let index = choice.get("index").cloned();
                    assert!(!over.contains(&index), "{it}");
                    if choice.get("finish_reason").is_some_and(|it| *it != Json::Null) {
                        over.push(index);
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(open, None);
}
