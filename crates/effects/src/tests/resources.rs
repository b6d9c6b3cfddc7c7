use super::fake::{Fake, Reply, Seen, answer, error, reply, session, stateless};
use super::*;
use crate::{EffectError, ResourceContent, Resources};
use lockgate_core::World;
use lockgate_types::Code;
use lockgate_types::facts::Switch;
use std::sync::Mutex;

/// A bundle with a source that names the upstream `up`, and one that names none.
fn world() -> World {
    let gate = "environment = \"dev\"\n[upstream.up]\nurl = \"http://127.0.0.1:9/mcp\"\n";
    let head = "owner = \"it\"\nclassification = \"internal\"\n";
    let files = [
        ("lockgate.toml", gate.to_owned()),
        ("sources/docs.toml", format!("{head}[connector.mcp]\nupstream = \"up\"\n")),
        ("sources/wiki.toml", format!("{head}[connector.directory]\npath = \"wiki\"\n")),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.into_bytes()));
    World::load(&files.into_iter().collect()).unwrap_or_else(|it| panic!("{it:?}"))
}

/// A server of three resources on two pages, one of which it does not have when it is asked.
fn served(seen: &Seen, era: Era) -> Reply {
    let param = |name: &str| seen.body.at(&["params", name]).and_then(Json::as_str);
    let number = if era == Era::Stateless { -32602 } else { -32002 };
    match (seen.method(), param("cursor"), param("uri")) {
        ("initialize", ..) if era == Era::Sessions => answer(
            seen,
            r#"{"protocolVersion":"2025-11-25","capabilities":{"resources":{}},"serverInfo":{"name":"fake","version":"1"}}"#,
        ),
        ("server/discover", ..) if era == Era::Stateless => answer(
            seen,
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"resources":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1"}}}"#,
        ),
        ("resources/list", None, _) => {
            answer(seen, r#"{"resources":[{"uri":"a://1","name":"1"}],"nextCursor":"n"}"#)
        }
        ("resources/list", Some("n"), _) => answer(
            seen,
            r#"{"resources":[{"uri":"a://2","name":"2"},{"uri":"a://gone","name":"3"}]}"#,
        ),
        ("resources/read", _, Some("a://1")) => {
            answer(seen, r#"{"contents":[{"uri":"a://1","mimeType":"text/plain","text":"one"}]}"#)
        }
        ("resources/read", _, Some("a://2")) => {
            answer(seen, r#"{"contents":[{"uri":"a://2","blob":"dHdv"}]}"#)
        }
        ("resources/read", _, Some("a://gone")) => error(seen, 200, number),
        _ => {
            let around = if era == Era::Stateless { stateless(seen) } else { session(seen) };
            around.unwrap_or_else(|| reply(500, "text/plain", ""))
        }
    }
}

async fn server(era: Era) -> Fake {
    Fake::start(move |seen| Box::pin(async move { served(&seen, era) })).await
}

async fn text(resources: &Resources, uri: &str) -> Result<Option<String>, Code> {
    match resources.read(uri).await {
        Ok(ResourceContent::Gone) => Ok(None),
        Ok(ResourceContent::Bytes { bytes, .. }) => Ok(Some(String::from_utf8(bytes).unwrap())),
        Err(error) => Err(error.code()),
    }
}

#[tokio::test]
async fn resources_of_either_era_are_listed_and_read_as_the_gate_itself() {
    for era in [Era::Sessions, Era::Stateless] {
        let fake = server(era).await;
        let gate = gate(&[("up", declared(&fake.url))]);
        let resources = gate.resources_of(&world(), "docs").unwrap();
        let listed = resources.list().await.unwrap();
        let uris = listed.resources.iter().map(|it| it.get("uri").unwrap().to_string());
        assert_eq!(uris.collect::<Vec<_>>(), [r#""a://1""#, r#""a://2""#, r#""a://gone""#]);
        assert_eq!(text(&resources, "a://1").await, Ok(Some("one".to_owned())), "{era:?}");
        assert_eq!(text(&resources, "a://2").await, Ok(Some("two".to_owned())));
        assert_eq!(text(&resources, "a://gone").await, Ok(None));
        assert_eq!(text(&resources, "a://other").await, Err(Code::UpstreamProtocol));
        let asked = fake.seen();
        let only = ["initialize", "notifications/initialized", "server/discover", "tools/list"];
        let others = asked.iter().filter(|it| !it.method().starts_with("resources/"));
        assert!(others.map(Seen::method).all(|it| it.is_empty() || only.contains(&it)));
    }
}

#[tokio::test]
async fn only_what_a_source_names_is_read_and_a_switch_or_its_end_stops_it() {
    let fake = server(Era::Sessions).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let on: Arc<Mutex<Vec<Switch>>> = Arc::default();
    let thrown = Arc::clone(&on);
    gate.watch_switches(move || thrown.lock().unwrap().clone());
    for source in ["wiki", "nothing"] {
        let found = gate.resources_of(&world(), source).map(drop);
        assert!(matches!(found, Err(EffectError::Failed { .. })), "{source}: {found:?}");
    }
    let resources = gate.resources_of(&world(), "docs").unwrap();
    assert_eq!(text(&resources, "a://1").await, Ok(Some("one".to_owned())));
    let switch =
        |scope: &str, name: &str| Switch { scope: scope.to_owned(), name: name.to_owned() };
    for (thrown, is_stopped) in [
        (switch("tool", "other"), false),
        (switch("tool", "up"), true),
        (switch("global", ""), true),
    ] {
        *on.lock().unwrap() = vec![thrown.clone()];
        let before = fake.seen().len();
        let read = text(&resources, "a://1").await;
        assert_eq!(read == Err(Code::SwitchEngaged), is_stopped, "{thrown:?}");
        let listed = resources.list().await.map(drop).map_err(|error| error.code());
        assert_eq!(listed == Err(Code::SwitchEngaged), is_stopped, "{thrown:?}");
        assert_eq!(fake.seen().len() == before, is_stopped, "{thrown:?}");
    }
    on.lock().unwrap().clear();
    gate.take_over(&BTreeMap::new(), 1 << 20, BTreeMap::new());
    assert_eq!(text(&resources, "a://1").await, Err(Code::FactsMoved));
}
