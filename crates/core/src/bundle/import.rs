//! An MCP client's configuration (`mcpServers` of Claude Desktop and Cursor, `servers` of VS Code)
//! as upstreams, and the same configuration pointing at the gate.
//!
//! Pure: reading, backing up and writing files is the caller's. Credentials are taken apart, since
//! a bundle is recorded: the declarations name environment variables, and the values are handed
//! back beside them.

use super::admin::RESERVED;
use super::text;
use lockgate_types::{Json, Object, Redacted, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Servers of one configuration.
const SERVERS_MAX: usize = 256;

/// How the client shall reach the gate.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// By starting this program with `stdio --server <name>`.
    Process(&'a str),
    /// At this address, followed by `/mcp/<name>`.
    Address(&'a str),
}

/// What an import found.
#[derive(Debug)]
pub struct Imported {
    /// The servers as upstreams.
    pub upstreams: Vec<Draft>,
    /// The client's configuration, rewritten.
    pub client: Json,
    /// What the reader has to know or do, a line each.
    pub notes: Vec<String>,
    /// Values of environment variables that the gate needs, taken out of the configuration.
    pub secrets: BTreeMap<String, Redacted<String>>,
}

/// An upstream to be declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Program and arguments; empty for an address.
    pub command: Vec<String>,
    /// Environment variables set for it.
    pub env: BTreeMap<String, String>,
    /// Environment variables passed on.
    pub pass_env: Vec<String>,
    /// Its working directory.
    pub directory: Option<String>,
    /// Its address.
    pub url: Option<String>,
    /// Headers sent to it.
    pub headers: BTreeMap<String, String>,
    /// The address and the OpenAPI document of an HTTP API, a file of the bundle.
    pub api: Option<(String, String)>,
}

/// Why a configuration cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// There is neither `mcpServers` nor `servers`.
    #[error("the configuration has neither `mcpServers` nor `servers`")]
    NoServers,
    /// Too many servers.
    #[error("the configuration has more than {max} servers")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// A server that is described in a way nobody knows.
    #[error("the server `{name}`: {what}")]
    Server {
        /// Its name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads a client's configuration.
pub fn import(configuration: &Json, way: Way<'_>) -> Result<Imported, ImportError> {
    let key = ["mcpServers", "servers"].into_iter().find(|key| {
        configuration.get(key).is_some_and(|servers| matches!(servers, Json::Object(_)))
    });
    let servers = key.and_then(|key| configuration.get(key)?.as_object());
    let (Some(key), Some(servers)) = (key, servers) else { return Err(ImportError::NoServers) };
    if servers.len() > SERVERS_MAX {
        return Err(ImportError::TooMany { max: SERVERS_MAX });
    }
    let mut imported = Imported {
        upstreams: Vec::new(),
        client: configuration.clone(),
        notes: Vec::new(),
        secrets: BTreeMap::new(),
    };
    let mut names = BTreeSet::from([RESERVED.to_owned()]);
    let mut rewritten = Object::new();
    for (was, server) in servers.iter() {
        let entry = import_server(was, server, way, &mut names, &mut imported)?;
        rewritten.set(was, entry);
    }
    if let Some(client) = imported.client.as_object_mut() {
        client.set(key, rewritten);
    }
    Ok(imported)
}

fn import_server(
    was: &str,
    server: &Json,
    way: Way<'_>,
    names: &mut BTreeSet<String>,
    imported: &mut Imported,
) -> Result<Json, ImportError> {
    let fault = |what| ImportError::Server { name: was.chars().take(80).collect(), what };
    let object = server.as_object().ok_or_else(|| fault("it is not an object"))?;
    let command = object
        .get("command")
        .map(|command| command.as_str().ok_or_else(|| fault("`command` is not a string")));
    let command = command.transpose()?;
    let url = ["url", "serverUrl"].into_iter().find_map(|key| object.get(key)?.as_str());
    let program = command.and_then(|command| command.rsplit(['/', '\\']).next());
    if program.is_some_and(|program| program == RESERVED || program == "lockgate.exe") {
        imported.notes.push(format!("`{was}` already goes through the gate, and stays as it is"));
        return Ok(server.clone());
    }
    if object.get("type").and_then(Json::as_str) == Some("sse") {
        let note = "uses the old SSE transport, stays as it is, and does not go through the gate";
        imported.notes.push(format!("`{was}` {note}"));
        return Ok(server.clone());
    }
    let mut draft = Draft { name: unused_name(was, names), ..Draft::default() };
    match (command, url) {
        (Some(command), None) => {
            import_process(command, object, &mut draft, imported).map_err(fault)?
        }
        (None, Some(url)) => {
            draft.url = Some(url.to_owned());
            import_headers(object, &mut draft, imported).map_err(fault)?;
        }
        (Some(_), Some(_)) => return Err(fault("it has both `command` and `url`")),
        (None, None) => return Err(fault("it has neither `command` nor `url`")),
    }
    let entry = rewritten(object, &draft.name, way);
    imported.upstreams.push(draft);
    Ok(entry)
}

fn import_process(
    command: &str,
    object: &Object,
    draft: &mut Draft,
    imported: &mut Imported,
) -> Result<(), &'static str> {
    draft.command.push(command.to_owned());
    for argument in object.get("args").and_then(Json::as_array).unwrap_or_default() {
        draft
            .command
            .push(argument.as_str().ok_or("`args` holds something else than strings")?.to_owned());
    }
    if draft.command.iter().any(|argument| looks_secret(argument)) {
        let note = "has an argument that looks like a credential: it is now in `lockgate.toml`, \
                    which is recorded; give it another way if the server has one";
        imported.notes.push(format!("`{}` {note}", draft.name));
    }
    draft.directory = object.get("cwd").and_then(Json::as_str).map(str::to_owned);
    if object.contains("envFile") {
        let note = "reads `envFile`, which the gate does not: pass what is in it with `pass_env`";
        imported.notes.push(format!("`{}` {note}", draft.name));
    }
    let Some(env) = object.get("env").and_then(Json::as_object) else { return Ok(()) };
    for (name, value) in env.iter() {
        let value = value.as_str().ok_or("`env` holds something else than strings")?;
        // What would mean the place of a secret here is none: it is passed on as it is.
        let means_a_place = ["env:", "file:"].iter().any(|begin| value.starts_with(begin));
        if value.starts_with("${") || is_secret_name(name) || means_a_place {
            draft.pass_env.push(name.to_owned());
            keep_apart(name, value, draft, imported);
        } else {
            draft.env.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

fn import_headers(
    object: &Object,
    draft: &mut Draft,
    imported: &mut Imported,
) -> Result<(), &'static str> {
    let Some(headers) = object.get("headers").and_then(Json::as_object) else { return Ok(()) };
    for (name, value) in headers.iter() {
        let value = value.as_str().ok_or("`headers` holds something else than strings")?;
        let parts = [draft.name.as_str(), name].join("_");
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let variable: String = format!("LOCKGATE_{parts}").chars().map(letter).collect();
        draft.headers.insert(name.to_owned(), format!("env:{variable}"));
        keep_apart(&variable, value, draft, imported);
    }
    Ok(())
}

/// A placeholder of the client has no value here; two servers with one variable and two values are
/// told.
fn keep_apart(variable: &str, value: &str, draft: &Draft, imported: &mut Imported) {
    let name = &draft.name;
    if value.starts_with("${") {
        imported.notes.push(format!("set `{variable}` in the gate's environment, for `{name}`"));
        return;
    }
    let secret = Redacted::new(value.to_owned());
    match imported.secrets.get(variable) {
        Some(other) if *other != secret => imported.notes.push(format!(
            "`{variable}` has another value for `{name}`: give one of the two another name"
        )),
        Some(_) => {}
        None => {
            imported
                .notes
                .push(format!("`{variable}` of `{name}` was taken out of the configuration"));
            imported.secrets.insert(variable.to_owned(), secret);
        }
    }
}

fn is_secret_name(name: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "TOKEN",
        "KEY",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "AUTH",
        "DSN",
        "DATABASE_URL",
    ];
    let name = name.to_ascii_uppercase();
    SIGNS.iter().any(|sign| name.contains(sign))
}

/// `--api-key=…`, `--token`, `postgres://user:password@…`.
fn looks_secret(argument: &str) -> bool {
    let authority = argument.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    let has_password = authority.is_some_and(|authority| authority.contains('@'));
    has_password || (argument.starts_with('-') && is_secret_name(argument))
}

fn unused_name(was: &str, names: &mut BTreeSet<String>) -> String {
    let slug: String = was
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let parts: Vec<&str> = slug.split('-').filter(|part| !part.is_empty()).collect();
    let slug = if parts.is_empty() { "server".to_owned() } else { parts.join("-") };
    let numbered = (2..).map(|number: u32| format!("{slug}-{number}"));
    let mut candidates = std::iter::once(slug.clone()).chain(numbered);
    let name = candidates.find(|name| !names.contains(name) && UpstreamName::new(name).is_ok());
    let name = name.unwrap_or(slug);
    names.insert(name.clone());
    name
}

/// The client's entry, with what reached the server replaced by what reaches the gate. What else
/// the client keeps there stays.
fn rewritten(object: &Object, name: &str, way: Way<'_>) -> Json {
    const REPLACED: [&str; 10] = [
        "command",
        "args",
        "env",
        "envFile",
        "cwd",
        "url",
        "serverUrl",
        "headers",
        "type",
        "transport",
    ];
    let has_type = object.contains("type");
    let mut entry = Object::new();
    match way {
        Way::Process(program) => {
            let arguments = ["stdio", "--server", name].map(Json::from).to_vec();
            if has_type {
                entry.set("type", "stdio");
            }
            entry.set("command", program);
            entry.set("args", arguments);
        }
        Way::Address(base) => {
            if has_type {
                entry.set("type", "http");
            }
            entry.set("url", format!("{}/mcp/{name}", base.trim_end_matches('/')));
        }
    }
    for (key, value) in object.iter().filter(|(key, _)| !REPLACED.contains(key)) {
        entry.set(key, value.clone());
    }
    entry.into()
}

impl Draft {
    /// The declaration, as it stands in `lockgate.toml`.
    pub fn to_toml(&self) -> String {
        let mut out = format!("[upstream.{}]\n", text::key(&self.name));
        if let Some(url) = &self.url {
            let _ = writeln!(out, "url = {}", text::string(url));
        } else if let Some((base_url, file)) = &self.api {
            let (base_url, file) = (text::string(base_url), text::string(file));
            let _ = writeln!(out, "api = {{ base_url = {base_url}, openapi = {file} }}");
        } else {
            let _ = writeln!(out, "command = {}", text::strings(&self.command));
        }
        if let Some(directory) = &self.directory {
            let _ = writeln!(out, "directory = {}", text::string(directory));
        }
        if !self.pass_env.is_empty() {
            let _ = writeln!(out, "pass_env = {}", text::strings(&self.pass_env));
        }
        for (table, pairs) in [("env", &self.env), ("headers", &self.headers)] {
            let pair = |(key, value): (&String, &String)| {
                format!("{} = {}", text::key(key), text::string(value))
            };
            let pairs: Vec<String> = pairs.iter().map(pair).collect();
            if !pairs.is_empty() {
                let _ = writeln!(out, "{table} = {{ {} }}", pairs.join(", "));
            }
        }
        out
    }
}
