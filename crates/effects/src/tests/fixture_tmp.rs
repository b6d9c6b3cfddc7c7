use super::*;
#[tokio::test]
async fn fixture() {
    let Ok(url) = std::env::var("FIXTURE_URL") else { return };
    let gate = gate_with(&[("up", declared(&url))], 16 << 20);
    for era in [Era::Sessions, Era::Stateless] {
        let cat = gate.catalogue(&name("up"), &caller(era)).await.unwrap();
        println!(
            "{era:?} catalogue era {:?} tools {} res {} tpl {} prompts {} {:?}",
            cat.era,
            cat.tools.len(),
            cat.resources.len(),
            cat.templates.len(),
            cat.prompts.len(),
            cat.list_meta.tools
        );
        let tools: Vec<String> =
            cat.tools.iter().map(|t| t.get("name").unwrap().as_str().unwrap().to_owned()).collect();
        let gate2 = gate.clone();
        let mut rx = gate2.listen(&name("up"), &caller(era)).await;
        for t in tools {
            let arguments = if t == "test_sampling" {
                r#"{"prompt":"x"}"#
            } else if t == "test_elicitation" {
                r#"{"message":"x"}"#
            } else if t.contains("x_mcp") {
                r#"{"region":"Zürich"}"#
            } else {
                "{}"
            };
            let mut c = tool("up", &t, arguments);
            let meta =
                if era == Era::Stateless {
                    json(&META.replace(
                        r#""elicitation":{}"#,
                        r#""elicitation":{},"sampling":{},"roots":{}"#,
                    ))
                } else {
                    json("{}")
                };
            let mut meta = meta.as_object().unwrap().clone();
            meta.set("progressToken", "tok");
            c.params.set("_meta", meta);
            let who = Arc::new(Caller {
                capabilities: object(r#"{"elicitation":{},"sampling":{},"roots":{}}"#),
                ..(*caller(era)).clone()
            });
            let start = std::time::Instant::now();
            let (said, end) = finish_with(gate.launch(c, who), |m, _| {
                Ok(match m {
                    "elicitation/create" => {
                        json(r#"{"action":"accept","content":{"response":"y","name":"n"}}"#)
                    }
                    "roots/list" => json(r#"{"roots":[]}"#),
                    _ => json(
                        r#"{"role":"assistant","content":{"type":"text","text":"ok"},"model":"m"}"#,
                    ),
                })
            })
            .await;
            let text = format!("{end:?}").chars().take(260).collect::<String>();
            println!(
                "{era:?} {t} {:?} said {} {:?}\n    {text}",
                start.elapsed(),
                said.len(),
                said.iter().map(|s| s.chars().take(40).collect::<String>()).collect::<Vec<_>>()
            );
        }
        while let Ok(e) = rx.try_recv() {
            if let crate::Event::Notification { method, .. } = e {
                println!("heard {method}")
            }
        }
        gate.close_session("alice").await;
    }
    println!("{:?}", gate.health());
}
