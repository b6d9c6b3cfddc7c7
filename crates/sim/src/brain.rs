//! A model for tests, at an interface like OpenAI's: what it answers follows from what it is shown,
//! so that the same prompt always gets the same answer.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What it answers to one prompt.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A text.
    Text(String),
    /// Calls of tools, with their arguments.
    Calls(Vec<(&'static str, &'static str)>),
    /// An error of the provider's.
    Fails,
}

impl Reply {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// One call.
    pub fn call(tool: &'static str, arguments: &'static str) -> Self {
        Self::Calls(vec![(tool, arguments)])
    }
}

/// Says what is answered to a prompt.
type Script = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// What it is asked.
pub struct Asked {
    /// What it is told to be.
    pub system: String,
    /// All that it is shown besides, block after block.
    pub blocks: Vec<String>,
}

impl Asked {
    /// How many texts of others it is shown.
    pub fn data(&self) -> usize {
        self.blocks.iter().filter(|block| block.starts_with("<<<data")).count()
    }
}

/// The model.
pub struct StandIn {
    /// Where it answers.
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Script,
    /// The bodies of requests, as they came.
    asked: Mutex<Vec<Vec<u8>>>,
    is_over: AtomicBool,
    is_held: Mutex<bool>,
    let_go: Condvar,
}

impl StandIn {
    /// One that answers with these in turn: one more for each text that it is shown.
    pub fn of(replies: Vec<Reply>) -> Result<Self, String> {
        Self::scripted(move |asked| {
            let last = replies.len().saturating_sub(1);
            replies.get(asked.data().min(last)).cloned().unwrap_or(Reply::Fails)
        })
    }

    /// One that answers as this says.
    pub fn scripted(
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let bound = TcpListener::bind("127.0.0.1:0").and_then(|it| Ok((it.local_addr()?, it)));
        let (address, listener) = bound.map_err(|error| format!("a stand-in model: {error}"))?;
        let state = Arc::new(State {
            script: Box::new(script),
            asked: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_held: Mutex::new(false),
            let_go: Condvar::new(),
        });
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&served)) else { return };
                std::thread::spawn(move || drop(serve(&state, stream)));
            }
        });
        Ok(Self { address, state })
    }

    /// From now on whoever asks waits.
    pub fn hold(&self) {
        *locked(&self.state.is_held) = true;
    }

    /// Those that wait go on.
    pub fn let_go(&self) {
        *locked(&self.state.is_held) = false;
        self.state.let_go.notify_all();
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        locked(&self.state.asked).len()
    }

    /// The bodies that it was asked with.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        locked(&self.state.asked).clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.let_go();
        self.state.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let body = receive(&mut reader)?;
        locked(&state.asked).push(body.clone());
        let held = locked(&state.is_held);
        drop(state.let_go.wait_while(held, |is_held| *is_held));
        let asked = asked(&serde_json::from_slice(&body).unwrap_or(Value::Null));
        let (status, answer) = match (state.script)(&asked) {
            Reply::Text(text) => (200, answer(json!({"role": "assistant", "content": text}))),
            Reply::Calls(calls) => {
                let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
                let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
                (200, answer(message))
            }
            Reply::Fails => (500, json!({"error": {"message": "it is not well"}})),
        };
        let bytes = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        );
        reader.get_mut().write_all(&[head.as_bytes(), bytes.as_bytes()].concat())?;
    }
}

fn call((at, (tool, arguments)): (usize, &(&str, &str))) -> Value {
    let function = json!({"name": tool, "arguments": arguments});
    json!({"id": format!("call_{at}"), "type": "function", "function": function})
}

fn answer(message: Value) -> Value {
    let reason = if message.get("tool_calls").is_some() { "tool_calls" } else { "stop" };
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    })
}

fn asked(body: &Value) -> Asked {
    let mut asked = Asked { system: String::new(), blocks: Vec::new() };
    let messages = body.get("messages").and_then(Value::as_array);
    for message in messages.into_iter().flatten() {
        match (message.get("role").and_then(Value::as_str), message.get("content")) {
            (Some("system"), Some(Value::String(text))) => asked.system.clone_from(text),
            (_, Some(Value::Array(parts))) => {
                let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
                asked.blocks.extend(texts.map(str::to_owned));
            }
            (_, _) => {}
        }
    }
    asked
}

fn receive(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}
