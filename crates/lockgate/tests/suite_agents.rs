//! Agent frameworks that nobody here wrote, each with the model and the tools behind the same gate:
//! what a conversation comes to, and what becomes of one in which something is refused.
#![cfg(test)]

mod support;

use lockgate_sim::setup;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use support::ended;
use support::models::Models;

/// A framework: its script, what is installed for it, and the ways in which it asks the model.
struct Framework {
    script: &'static str,
    packages: &'static [&'static str],
    ways: &'static [&'static str],
}

/// What is proposed all the same, and then waits for somebody.
const ASKS: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };"#;

const EVERY_WAY: &[&str] = &[
    "chat",
    "chat in events",
    "messages",
    "messages in events",
    "responses",
    "responses in events",
];

const FRAMEWORKS: [Framework; 8] = [
    Framework {
        script: "openai_agents.py",
        packages: &["openai-agents==0.24.0", "openai==3.57.0", "mcp==1.30.0"],
        ways: &["chat", "responses in events"],
    },
    Framework {
        script: "langchain_agents.py",
        packages: &[
            "langchain==1.5.2",
            "langgraph==1.2.24",
            "langchain-openai==1.7.4",
            "langchain-anthropic==1.7.10",
            "langchain-mcp-adapters==0.3.2",
            "openai==3.57.0",
            "anthropic==2.14.0",
            "mcp==1.30.0",
        ],
        ways: EVERY_WAY,
    },
    Framework {
        script: "pydantic_agents.py",
        packages: &[
            "pydantic-ai-slim[openai,anthropic,mcp]==2.68.0",
            "openai==3.57.0",
            "anthropic==2.14.0",
            "mcp==1.30.0",
        ],
        ways: EVERY_WAY,
    },
    Framework {
        script: "llama_agents.py",
        packages: &[
            "llama-index-core==0.14.25",
            "llama-index-llms-openai==0.8.3",
            "llama-index-llms-openai-like==0.8.1",
            "llama-index-tools-mcp==0.6.0",
            "openai==2.54.0",
            "mcp==2.3.0",
        ],
        ways: &["chat", "chat in events"],
    },
    Framework {
        script: "agno_agents.py",
        packages: &[
            "agno==3.1.10",
            "fastmcp==4.2.3",
            "openai==3.57.0",
            "anthropic==2.14.0",
            "mcp==2.3.0",
        ],
        ways: EVERY_WAY,
    },
    Framework {
        script: "strands_agents.py",
        packages: &[
            "strands-agents[openai,anthropic]==1.62.0",
            "openai==2.54.0",
            "anthropic==0.125.0",
            "mcp==2.1.1",
        ],
        ways: &["chat in events", "messages in events"],
    },
    Framework { script: "ai_sdk.mjs", packages: NODE, ways: EVERY_WAY },
    Framework {
        script: "openai_agents.mjs",
        packages: NODE,
        ways: &["chat", "chat in events", "responses", "responses in events"],
    },
];

/// Those of both frameworks, in one project.
const NODE: &[&str] = &[
    "ai@7.0.173",
    "@ai-sdk/openai@4.0.118",
    "@ai-sdk/anthropic@4.0.105",
    "@ai-sdk/mcp@2.0.99",
    "@openai/agents@0.20.0",
];

/// Frameworks that run at once: the machines of CI have few cores.
const AT_ONCE: usize = 2;

impl Framework {
    /// Its interpreter, and where it runs.
    fn installed(&self) -> (PathBuf, PathBuf) {
        match self.script.strip_suffix(".py") {
            Some(name) => {
                let venv = setup::python_venv(name, self.packages).unwrap();
                (venv.join("bin/python"), venv)
            }
            None => {
                let project = setup::npm_project("agents", self.packages).unwrap();
                (setup::node22().unwrap(), project)
            }
        }
    }

    /// What each conversation ended with, by the way in which the model was asked.
    fn run(&self, plan: &Value) -> Value {
        let (interpreter, directory) = self.installed();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/agents");
        let mut command = Command::new(interpreter);
        command.arg(scripts.join(self.script)).arg(plan.to_string()).current_dir(directory);
        let (is_good, text) = ended(&mut command);
        assert!(is_good, "{}: {text}", self.script);
        let mut lines = text.lines().rev();
        let answers = lines.find_map(|line| serde_json::from_str::<Value>(line).ok());
        answers.unwrap_or_else(|| panic!("{}: {text}", self.script))
    }

    fn check(&self, models: &Models) {
        let notes = models.world.gate.directory().join("notes");
        let answers = self.run(&plan(models, &notes));
        let mut ways: Vec<&String> = answers.as_object().unwrap().keys().collect();
        ways.sort();
        assert_eq!(ways, self.ways, "{}", self.script);
        for (way, said) in answers.as_object().unwrap() {
            let what = format!("{} over {way}: {said}", self.script);
            let said = |at: usize| said[at].as_str().unwrap_or_default();
            // The tool has answered, and the model has seen it.
            assert!(said(0).starts_with("DONE ") && said(0).contains("four seven"), "{what}");
            // The model's call is refused before the framework has it.
            assert!(said(1).contains("LG-D004") && said(1).contains("nobody wants spam"), "{what}");
            assert!(!said(1).contains("DONE"), "{what}");
            // What needs somebody is proposed, and refused when it is called.
            assert!(said(2).starts_with("DONE ") && said(2).contains("LG-D008"), "{what}");
        }
        assert!(!notes.exists(), "nobody has agreed");
        let entries = models.world.entries();
        let is_echo = |it: &&Value| it["k"] == "intent" && it["operation"] == "tool/echo";
        let echoed: Vec<&Value> = entries.iter().filter(is_echo).collect();
        assert_eq!(echoed.len(), self.ways.len(), "{}: one for each conversation", self.script);
        let is_model = |it: &&Value| it["k"] == "intent" && it["subject"] == echoed[0]["subject"];
        let asked = entries.iter().filter(is_model).count() - echoed.len();
        assert!(asked >= self.ways.len() * 5, "{}: one identity asked {asked} times", self.script);
        assert!(models.world.gate.command(&["verify"]).unwrap().starts_with("verified "));
        assert!(models.world.gate.command(&["replay"]).unwrap().contains(": 0 differences"));
    }
}

fn started() -> Models {
    let models = Models::for_any_name("");
    models.world.gate.edit("policies/test.cedar", |text| text + ASKS).unwrap();
    models.world.gate.command(&["reload"]).unwrap();
    models
}

/// Both addresses, one token, and what a person says in each conversation.
fn plan(models: &Models, notes: &Path) -> Value {
    let call = |tool: &str, arguments: Value| format!("CALL tool__{tool} {arguments}");
    let address = format!("http://{}", models.world.address);
    json!({
        "model": address,
        "mcp": format!("{address}/mcp"),
        "token": models.token,
        "prompts": [
            call("echo", json!({"text": "four seven"})),
            call("echo", json!({"text": "spam"})),
            call("note", json!({"path": notes, "text": "x"})),
        ],
    })
}

#[test]
fn every_framework_has_its_model_and_its_tools_by_one_gate() {
    // Each has a gate of its own, and all of these have their addresses before anybody takes one.
    let gates: Vec<Models> = FRAMEWORKS.iter().map(|_| started()).collect();
    let next = Mutex::new(FRAMEWORKS.iter().zip(&gates));
    let take = || next.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((framework, models)) = take() {
                    framework.check(models);
                }
            });
        }
    });
}
