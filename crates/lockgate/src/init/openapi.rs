//! `lockgate init --openapi`: an HTTP API as an upstream, from its document.

use anyhow::{Context, Result, bail};
use lockgate_core::bundle::FILE_BYTES_MAX;
use lockgate_core::bundle::import::Draft;
use lockgate_types::{Json, JsonLimits, UpstreamName};

/// What an argument `name=file` describes, and the document.
pub(super) fn draft(text: &str, base_urls: &[String]) -> Result<(Draft, Vec<u8>)> {
    let (name, file) =
        text.split_once('=').with_context(|| format!("`{text}` is not `name=openapi.json`"))?;
    let name = UpstreamName::new(name)?.as_str().to_owned();
    let size = std::fs::metadata(file).with_context(|| format!("reading `{file}`"))?.len();
    if size > FILE_BYTES_MAX as u64 {
        bail!("`{file}` is longer than {FILE_BYTES_MAX} bytes (hint: keep the paths you need)");
    }
    let document = std::fs::read(file).with_context(|| format!("reading `{file}`"))?;
    let json = Json::parse(&document, &JsonLimits::OWN).with_context(|| {
        format!("`{file}` is not JSON (hint: a document in YAML has to be converted to JSON first)")
    })?;
    let given = base_urls.iter().find_map(|text| text.strip_prefix(&name)?.strip_prefix('='));
    let base_url = match given {
        Some(address) => address.to_owned(),
        None => told(&json).with_context(|| {
            format!("`{file}` does not say where the API is (hint: `--base-url {name}=https://…`)")
        })?,
    };
    let api = Some((base_url, format!("apis/{name}.json")));
    Ok((Draft { name, api, ..Draft::default() }, document))
}

/// Where a document says that its API is: a proposal, which the operator reads.
fn told(document: &Json) -> Option<String> {
    let servers = document.get("servers")?.as_array()?;
    let url = servers.first()?.get("url")?.as_str()?;
    let is_whole = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    (is_whole && !url.contains('{')).then(|| url.trim_end_matches('/').to_owned())
}
