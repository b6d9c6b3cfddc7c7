//! What others put before a provider, where it can be installed: nginx, which reads nothing, and
//! LiteLLM, with nothing switched on.

use crate::bench::machine::Program;
use crate::{conformance, setup};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The version of LiteLLM, and one of what it needs that can still be had.
const LITELLM: &str = "litellm[proxy]==1.106.2";
/// How long one of them may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Its master key, which it does not start without.
pub const LITELLM_KEY: &str = "sk-0123456789abcdef0123456789abcdef";

/// nginx with one worker, which keeps its connections to the provider open.
pub fn nginx(directory: &Path, provider: SocketAddr) -> Result<Program> {
    setup::require_program("nginx", "nginx-light").map_err(anyhow::Error::msg)?;
    let address = conformance::free_address().map_err(anyhow::Error::msg)?;
    let place = directory.join("nginx");
    std::fs::create_dir_all(&place)?;
    let place = place.canonicalize()?;
    let at = place.display();
    let configuration = format!(
        "daemon off; master_process off; worker_processes 1;\n\
         pid {at}/pid; error_log {at}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_max_body_size 8m; client_body_buffer_size 1m;\n\
         client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         keepalive_requests 100000000;\n\
         upstream provider {{ server {provider}; keepalive 1024;\n\
         keepalive_requests 100000000; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://provider;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; }} }} }}\n",
    );
    let file = place.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(&place);
    started(&mut command, address)
}

/// LiteLLM with one worker, without a database.
pub fn litellm(directory: &Path, provider: SocketAddr) -> Result<Program> {
    let place = setup::python_venv("litellm", &[LITELLM]).map_err(anyhow::Error::msg)?;
    let address = conformance::free_address().map_err(anyhow::Error::msg)?;
    let file = directory.join("litellm.yaml");
    std::fs::write(
        &file,
        format!(
            "model_list:\n- model_name: bench\n  litellm_params:\n    model: openai/bench-1\n    \
             api_base: http://{provider}/v1\n    api_key: none\n\
             general_settings:\n  master_key: {LITELLM_KEY}\n"
        ),
    )?;
    let mut command = Command::new(place.join("bin/litellm"));
    command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--num_workers", "1"]);
    command.args(["--port", &address.port().to_string()]);
    command.envs([
        ("LITELLM_MODE", "PRODUCTION"),
        ("LITELLM_LOG", "ERROR"),
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    ]);
    started(&mut command, address)
}

fn started(command: &mut Command, address: SocketAddr) -> Result<Program> {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let program = Program::of(child.context("starting a program")?, address);
    let listens = || std::net::TcpStream::connect(address).is_ok().then_some(());
    crate::wait::until(&format!("{command:?}"), START_LIMIT, listens)
        .map_err(anyhow::Error::msg)?;
    Ok(program)
}
