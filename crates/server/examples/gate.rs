//! A gate with one upstream, everything permitted and one fixed identity: for protocol suites,
//! never for use.
//!  `cargo run -p lockgate-server --example gate -- 8080 http://localhost:3102/mcp` answers at
//! `http://127.0.0.1:8080/mcp/everything`. Decisions and records are real; they are thrown away at
//! the end.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use lockgate_core::bundle::propose::{Posture, propose};
use lockgate_core::identify::fixed_claims;
use lockgate_core::world::Files;
use lockgate_effects::{Caller, EffectsSettings, Upstreams};
use lockgate_kernel::{Clock, Kernel};
use lockgate_server::http::{Body, full};
use lockgate_server::mcp::{McpFace, handle};
use lockgate_store::{Options, Store};
use lockgate_types::identity::Identity;
use lockgate_types::{Object, UpstreamName};
use lockgate_wire::Era;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

type Failure = Box<dyn Error + Send + Sync>;

const GATE: &str = r#"
environment = "dev"
[[listen]]
address = "127.0.0.1:8080"
identity = { subject = "tester", agent = "suite" }
"#;

const PRINCIPALS: &str = r#"
[agent.suite]
environments = ["dev"]
[user.tester]
"#;

const POLICIES: &str = r#"
@id("everything")
permit (principal, action, resource);
"#;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(8080), |port| port.parse())?;
    let upstream = arguments.next().unwrap_or_else(|| "http://localhost:3102/mcp".to_owned());
    let state = tempfile::tempdir()?;
    let kernel = open(state.path())?;
    load(&kernel, &upstream).await?;
    let identity = kernel.identify(&fixed_claims("tester", "suite")).map_err(|r| r.to_text())?;
    let face = McpFace::new(kernel, "suite").map_err(|code| code.to_string())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (face, identity) = (Arc::clone(&face), Arc::clone(&identity));
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| serve(&face, &identity, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service);
            // A client that breaks its connection is no failure of the gate's.
            let _ = connection.await;
        });
    }
}

fn open(directory: &std::path::Path) -> Result<Kernel, Failure> {
    let now = || Clock::system().now();
    let origin = "lockgate.local/suite".to_owned();
    let (store, _) = Store::open(Options::new(directory.to_owned(), origin, now))?;
    let upstreams = Upstreams::new(EffectsSettings::new(directory.to_owned()));
    Ok(Kernel::new(store, upstreams, Clock::system()))
}

/// Declares what the upstream says it has, and accepts all of it.
async fn load(kernel: &Kernel, upstream: &str) -> Result<(), Failure> {
    let gate = format!("{GATE}[upstream.everything]\nurl = \"{upstream}\"\n");
    let mut files: Files = [
        ("lockgate.toml", gate.as_str()),
        ("principals.toml", PRINCIPALS),
        ("policies/everything.cedar", POLICIES),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .collect();
    kernel.load(files.clone()).await.map_err(|error| format!("{error:?}"))?;
    let name = UpstreamName::new("everything")?;
    let caller = Caller {
        session_key: "suite".to_owned(),
        era: Era::Stateless,
        protocol_version: "2026-07-28".to_owned(),
        client_info: None,
        capabilities: Object::new(),
        log_level: None,
    };
    let introduced = kernel.introduction(&caller, &name).await;
    let catalogue = introduced.map_err(|refusal| refusal.to_text())?.catalogue;
    let proposed = propose(&name, &catalogue.tools, Posture::Enforce).text;
    let accepted = proposed.replace("accepted = false", "accepted = true");
    // A fixture of both eras describes a tool differently in each.
    let lines = accepted.lines().filter(|line| !line.starts_with("pin = "));
    let operations: String = lines.flat_map(|line| [line, "\n"]).collect();
    files.insert("operations/everything.toml".to_owned(), operations.into_bytes());
    kernel.load(files).await.map_err(|error| format!("{error:?}"))?;
    Ok(())
}

async fn serve(
    face: &Arc<McpFace>,
    identity: &Arc<Identity>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !["host", "origin"].iter().all(|name| is_local(&request, name)) {
        let mut response = Response::new(full(Bytes::from_static(b"forbidden\n")));
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    }
    Ok(handle(face, Arc::clone(identity), request).await)
}

fn is_local(request: &Request<Incoming>, header: &str) -> bool {
    let Some(value) = request.headers().get(header) else { return true };
    let Ok(value) = value.to_str() else { return false };
    let host = value.strip_prefix("http://").unwrap_or(value);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}
