//! A question as an application sends it, and an answer as it is read: the same for whoever asks
//! and for the gate, which looks at both again.

use lockgate_core::declare::{EvalRole, FamilyWord};
use lockgate_core::eval::{Answer, Asks};
use lockgate_types::model::ModelApi;
use lockgate_types::{Json, JsonLimits, Object};
use lockgate_wire::model::{Reply, Words};

/// How a provider says that the model refuses, where it says so apart.
const REFUSAL: &str = "refusal";

/// The request that asks an entry of a family something.
pub fn evaluation_request(
    family: FamilyWord,
    entry: &str,
    asks: &Asks,
    tokens_max: u32,
) -> (ModelApi, Object) {
    match family {
        FamilyWord::OpenAi | FamilyWord::Azure => {
            (ModelApi::ChatCompletions, chat(entry, asks, tokens_max))
        }
        FamilyWord::Anthropic => (ModelApi::Messages, messages(entry, asks, tokens_max)),
    }
}

/// What an answer says; else why it cannot be read.
pub fn evaluation_answer(api: ModelApi, body: &Json) -> Result<Answer, String> {
    let read = Reply::read(api, body);
    let read = read.map_err(|refusal| format!("{}: {}", refusal.code, refusal.reason))?;
    let of = |words: Words| {
        let texts = read.texts.iter().filter(move |said| said.channel.words == words);
        texts.map(|said| said.text.as_ref()).collect::<Vec<_>>().join("\n")
    };
    let (text, refusal) = (of(Words::Text), of(Words::Refusal));
    let has_declined = !refusal.is_empty() || read.finishes.contains(&REFUSAL);
    let calls = read.calls.iter().filter(|call| call.hosted.is_none());
    let proposals = calls.map(|call| {
        let arguments = Json::parse(call.arguments.as_bytes(), &JsonLimits::PRINTED);
        (call.name.clone(), arguments.unwrap_or_else(|_| call.arguments.as_str().into()))
    });
    let proposals = proposals.collect();
    let texts: Vec<String> = [text, refusal].into_iter().filter(|text| !text.is_empty()).collect();
    Ok(Answer { text: texts.join("\n"), proposals, has_declined })
}

fn role(role: EvalRole) -> &'static str {
    match role {
        EvalRole::User => "user",
        EvalRole::Assistant => "assistant",
    }
}

fn message(role: &str, text: &str) -> Json {
    Object::new().with("role", role).with("content", text).into()
}

fn chat(entry: &str, asks: &Asks, tokens_max: u32) -> Object {
    let system = asks.instructions.iter().map(|text| message("system", text));
    let turns = asks.turns.iter().map(|(whose, text)| message(role(*whose), text));
    let messages: Vec<Json> = system.chain(turns).collect();
    let tools = asks.tools.iter().map(|tool| {
        let function = Object::new()
            .with("name", tool.name.as_str())
            .with("description", tool.description.as_str())
            .with("parameters", tool.schema.clone());
        Json::from(Object::new().with("type", "function").with("function", function))
    });
    let tools: Vec<Json> = tools.collect();
    Object::new()
        .with("model", entry)
        .with("messages", messages)
        .with("max_completion_tokens", i64::from(tokens_max))
        .with_some("tools", (!tools.is_empty()).then_some(tools))
}

fn messages(entry: &str, asks: &Asks, tokens_max: u32) -> Object {
    let turns = asks.turns.iter().map(|(whose, text)| message(role(*whose), text));
    let tools = asks.tools.iter().map(|tool| {
        let tool = Object::new()
            .with("name", tool.name.as_str())
            .with("description", tool.description.as_str())
            .with("input_schema", tool.schema.clone());
        Json::from(tool)
    });
    let tools: Vec<Json> = tools.collect();
    Object::new()
        .with("model", entry)
        .with_some("system", asks.instructions.as_deref())
        .with("messages", turns.collect::<Vec<Json>>())
        .with("max_tokens", i64::from(tokens_max))
        .with_some("tools", (!tools.is_empty()).then_some(tools))
}
