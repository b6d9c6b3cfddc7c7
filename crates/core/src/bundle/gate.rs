//! What `lockgate.toml` means, beyond its shape.

use super::admin::RESERVED;
use super::document::Findings;
use super::suggest;
use super::{apis, caps, credentials, databases, memories, models, network, people, risk};
use crate::declare::{
    Breaker, Database, DialectWord, Gate, Issuer, Listen, Principals, Secret, SecretPlace, Upstream,
};
use crate::identify::{CHANNEL, DEVELOPMENT, FIXED};
use crate::world::Files;
use lockgate_types::methods;
use lockgate_types::{AgentId, Environment, OperationName, SubjectId, Tenant, UpstreamName};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The environment where nothing made for first use may be on.
const PROD: &str = "prod";

/// Signatures that only the issuer can make. `none` is no signature, `HS*` shares its key with
/// whoever verifies.
const ALGORITHMS: [&str; 9] =
    ["ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"];

pub(super) fn check(gate: &Gate, files: &Files, found: &mut Findings<'_>) {
    if let Err(error) = Environment::new(&gate.environment) {
        found.at(&["environment"], error.to_string(), "such as `dev`, `staging`, `prod`");
    }
    if let Err(error) = Tenant::new(&gate.tenant) {
        found.at(&["tenant"], error.to_string(), "");
    }
    if let Some(store) = &gate.store {
        check_store(store, found);
    }
    if let Some(origin) = &gate.origin {
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'+';
        if origin.is_empty() || origin.len() > 200 || !origin.bytes().all(is_plain) {
            let what = "`origin` is not the name of a ledger";
            found.at(&["origin"], what, "printable ASCII without spaces and `+`, like a host name");
        }
    }
    let mut addresses = BTreeSet::new();
    for (at, listen) in gate.listen.iter().enumerate() {
        check_listen(gate, listen, &at.to_string(), &mut addresses, found);
    }
    for (at, issuer) in gate.issuer.iter().enumerate() {
        check_issuer(gate, issuer, at, files, found);
    }
    check_development(gate, found);
    caps::check(gate, found);
    people::check(gate, found);
    super::search::check(gate, found);
    risk::check(gate, found);
    for (name, upstream) in &gate.upstream {
        check_upstream_name(name, found);
        check_upstream(name, upstream, found);
        check_breaker(name, &upstream.breaker, found);
        credentials::check(name, upstream, found);
    }
}

fn check_store(store: &Secret, found: &mut Findings<'_>) {
    let hint = "`postgres://role@host/database`, or where it stands: `env:NAME`, `file:PATH`";
    let SecretPlace::Here(store) = store.place() else {
        if let Some(fault) = network::secret_fault(store) {
            found.at(&["store"], fault, hint);
        }
        return;
    };
    let rest = ["postgres://", "postgresql://"].iter().find_map(|it| store.strip_prefix(it));
    let Some(rest) = rest else {
        found.at(&["store"], "`store` is not the address of a PostgreSQL database", hint);
        return;
    };
    let user = rest.split(['/', '?']).next().and_then(|at| at.rsplit_once('@'));
    if user.is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=") {
        let hint = "`env:NAME`, or a password file named by PGPASSFILE";
        found.at(&["store"], "a password has no place in a bundle", hint);
    }
}

fn check_listen(
    gate: &Gate,
    listen: &Listen,
    at: &str,
    addresses: &mut BTreeSet<SocketAddr>,
    found: &mut Findings<'_>,
) {
    let path = |key| ["listen", at, key];
    let address = network::listener(&listen.address);
    if let Some(address) = address {
        if address.port() != 0 && !addresses.insert(address) {
            found.at(
                &path("address"),
                "another listener has this address",
                "give it a port of its own",
            );
        }
    } else {
        let what = format!("`{}` is not an address to listen at", listen.address);
        found.at(&path("address"), what, "an IP address and a port, such as `127.0.0.1:7300`");
    }
    let is_loopback = address.is_none_or(|address| address.ip().is_loopback());
    if !is_loopback && listen.tls.is_none() {
        let what = format!("`{}` is not loopback, and there is no `tls`", listen.address);
        found.at(&path("address"), what, "add `tls`, or listen on 127.0.0.1");
    }
    if listen.identity.is_some() {
        if !is_loopback {
            let what = "a fixed identity on an address that is not loopback";
            found.at(&path("identity"), what, "take `identity` away, or listen on 127.0.0.1");
        }
        if gate.environment == PROD {
            let what = "a fixed identity in `prod`";
            found.at(&path("identity"), what, "take `identity` away and use an issuer");
        }
    }
    for (index, host) in listen.hosts.iter().enumerate() {
        if !network::is_host(host) {
            let what = format!("`{host}` is not a host name");
            found.at(
                &["listen", at, "hosts", &index.to_string()],
                what,
                "a name alone, such as `gate.example`",
            );
        }
    }
    for (index, origin) in listen.origins.iter().enumerate() {
        if network::url(origin).is_none_or(|url| !url.path.is_empty()) {
            let what = format!("`{origin}` is not an origin");
            let hint = "scheme and host, no path: `https://console.example`";
            found.at(&["listen", at, "origins", &index.to_string()], what, hint);
        }
    }
}

fn check_issuer(gate: &Gate, issuer: &Issuer, at: usize, files: &Files, found: &mut Findings<'_>) {
    let index = at.to_string();
    let path = |key| ["issuer", index.as_str(), key];
    let others = || gate.issuer.iter().take(at);
    if issuer.name.is_empty() {
        found.at(&path("name"), "the issuer has no name", "");
    }
    if [DEVELOPMENT, FIXED, CHANNEL].contains(&issuer.name.as_str()) {
        let what = format!("the issuer name `{}` is reserved", issuer.name);
        found.at(&path("name"), what, "choose another one");
    }
    if others().any(|other| other.name == issuer.name) {
        let what = format!("another issuer is named `{}`", issuer.name);
        found.at(&path("name"), what, "give each its own name");
    }
    if issuer.url.is_empty() {
        found.at(&path("url"), "`url` is empty", "the exact value of `iss`");
    }
    if others().any(|other| other.url == issuer.url) {
        let what = format!("another issuer has the url `{}`", issuer.url);
        found.at(&path("url"), what, "each `iss` is one issuer");
    }
    if issuer.audience.as_ref().is_none_or(String::is_empty) {
        let what =
            format!("the issuer `{}` has no `audience`, so the gate refuses to start", issuer.name);
        found.at(&path("audience"), what, "the value that `aud` must contain");
    }
    check_algorithms(issuer, &index, found);
    check_keys(issuer, &index, files, found);
    // If one prefix begins another, the first issuer could name the second's subjects.
    let overlaps = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
    if let Some(other) = others().find(|o| overlaps(&o.subject_prefix, &issuer.subject_prefix)) {
        let what = format!(
            "subjects of `{}` and `{}` could be taken for each other: one prefix begins the other",
            other.name, issuer.name
        );
        found.at(&path("subject_prefix"), what, "give each a prefix of its own, such as `okta:`");
    }
    let claims = &issuer.claims;
    let mapped = [
        ("tenant", &claims.tenant),
        ("groups", &claims.groups),
        ("roles", &claims.roles),
        ("task", &claims.task),
    ];
    for (key, claim) in mapped {
        if claim.as_ref().is_some_and(|claim| claim.split('.').any(str::is_empty)) {
            let what = format!("`{key}` is not a path of claims");
            found.at(&["issuer", &index, "claims", key], what, "names with dots between them");
        }
    }
}

fn check_algorithms(issuer: &Issuer, index: &str, found: &mut Findings<'_>) {
    if issuer.algorithms.is_empty() {
        let what = "no algorithm is allowed, so no token can be accepted";
        found.at(&["issuer", index, "algorithms"], what, "such as `[\"ES256\"]`");
    }
    for (at, algorithm) in issuer.algorithms.iter().enumerate() {
        let path = ["issuer", index, "algorithms", &at.to_string()];
        let upper = algorithm.to_ascii_uppercase();
        if upper == "NONE" || upper.starts_with("HS") {
            let what = format!("the algorithm `{algorithm}` is never accepted");
            found.at(
                &path,
                what,
                "anybody who can verify could sign: use `ES256`, `RS256` or `EdDSA`",
            );
        } else if !ALGORITHMS.contains(&algorithm.as_str()) {
            let what = format!("unknown algorithm `{algorithm}`");
            found.at(&path, what, suggest::among(algorithm, &ALGORITHMS));
        }
    }
}

fn check_keys(issuer: &Issuer, index: &str, files: &Files, found: &mut Findings<'_>) {
    let name = &issuer.name;
    let at = ["issuer", index];
    let networks = network::networks(&at, &issuer.allow_networks, found);
    match &issuer.jwks {
        Some(address) => network::check_place(&at, address, &networks, found),
        None => network::check_unused(&at, &issuer.allow_networks, "it is for `jwks`", found),
    }
    match (&issuer.jwks, &issuer.jwks_file) {
        (None, None) => {
            let what = format!("the issuer `{name}` has neither `jwks` nor `jwks_file`");
            found.at(&["issuer", index], what, "say where its keys are");
        }
        (Some(_), Some(_)) => {
            let what = format!("the issuer `{name}` has both `jwks` and `jwks_file`");
            found.at(&["issuer", index, "jwks_file"], what, "keep one");
        }
        (Some(address), None) => match network::url(address) {
            None => {
                let what = format!("`{address}` is not an address");
                found.at(&["issuer", index, "jwks"], what, "it begins with `https://`");
            }
            Some(url) if !url.is_https && !url.is_loopback() => {
                let what = format!(
                    "keys from `{address}` could be anybody's: it is neither https nor loopback"
                );
                found.at(&["issuer", index, "jwks"], what, "use `https://`");
            }
            Some(_) => {}
        },
        (None, Some(file)) if !files.contains_key(file) => {
            let what = format!("there is no file `{file}` in the bundle");
            found.at(&["issuer", index, "jwks_file"], what, "a path relative to the bundle");
        }
        (None, Some(_)) => {}
    }
}

fn check_development(gate: &Gate, found: &mut Findings<'_>) {
    let Some(development) = &gate.development else { return };
    if gate.environment == PROD {
        let what = "the development issuer is on in `prod`";
        found.at(&["development"], what, "take `[development]` away and use an issuer");
    }
    let address = |listen: &Listen| network::listener(&listen.address);
    let is_open =
        |listen: &Listen| address(listen).is_some_and(|address| !address.ip().is_loopback());
    if gate.listen.iter().any(is_open) {
        let what = "the development issuer is on while a listener is not loopback";
        found.at(&["development"], what, "take `[development]` away, or listen on 127.0.0.1");
    }
    let mut seen = BTreeSet::new();
    for (at, user) in development.users.iter().enumerate() {
        let path = ["development", "users", &at.to_string()];
        if let Err(error) = SubjectId::new(user) {
            found.at(&path, error.to_string(), "");
        }
        if !seen.insert(user) {
            found.at(&path, format!("the user `{user}` is named twice"), "");
        }
    }
}

fn check_upstream_name(name: &str, found: &mut Findings<'_>) {
    if let Err(error) = UpstreamName::new(name) {
        found.at(&["upstream", name], error.to_string(), "");
    }
    if name == RESERVED {
        let what =
            format!("the upstream name `{RESERVED}` is reserved for the gate's own operations");
        found.at(&["upstream", name], what, "choose another one");
    }
}

fn check_networks(name: &str, upstream: &Upstream, found: &mut Findings<'_>) {
    let at = ["upstream", name];
    let networks = network::networks(&at, &upstream.allow_networks, found);
    let api = upstream.api.as_ref().map(|api| &api.base_url);
    let model = upstream.model.as_ref().map(|provider| &provider.base_url);
    let address = upstream.url.as_ref().or(api).or(model);
    let is_served = |database: &Database| database.dialect == DialectWord::Postgres;
    match address {
        Some(address) => network::check_place(&at, address, &networks, found),
        // Where it is stands in a secret.
        None if upstream.database.as_ref().is_some_and(is_served) => {}
        None => {
            let hint = "it is for `url`, `api`, `model` and PostgreSQL";
            network::check_unused(&at, &upstream.allow_networks, hint, found);
        }
    }
}

fn check_upstream(name: &str, upstream: &Upstream, found: &mut Findings<'_>) {
    if let Some(database) = &upstream.database {
        databases::check(name, database, upstream, found);
    }
    if let Some(api) = &upstream.api {
        apis::check(name, api, upstream, found);
    }
    if let Some(memory) = &upstream.memory {
        memories::check(name, memory, upstream, found);
    }
    if let Some(provider) = &upstream.model {
        models::check_provider(name, provider, upstream, found);
    }
    check_way(name, upstream, found);
    check_networks(name, upstream, found);
    for (header, value) in &upstream.headers {
        if let Some(fault) = network::header_fault(header, value) {
            let what = format!("the header `{header}` cannot be sent: {fault}");
            found.at(&["upstream", name, "headers", header], what, "");
        }
    }
    check_environment(name, upstream, found);
    for (at, method) in upstream.forward_methods.iter().enumerate() {
        let path = ["upstream", name, "forward_methods", &at.to_string()];
        if methods::find(method).is_some() {
            let what = format!("`{method}` is a method of the protocol, and already decided");
            found.at(&path, what, "name only methods outside the protocol");
        } else if UpstreamName::new(name)
            .is_ok_and(|up| OperationName::builtin(&up, method).is_err())
            || method.is_empty()
        {
            found.at(&path, format!("`{method}` is not the name of a method"), "");
        }
    }
}

fn check_environment(name: &str, upstream: &Upstream, found: &mut Findings<'_>) {
    for (variable, value) in &upstream.env {
        let is_text = !matches!(value.place(), SecretPlace::Here(text) if text.contains('\0'));
        if let Some(fault) = network::secret_fault(value) {
            let what = format!("the variable `{variable}` cannot be set: {fault}");
            found.at(&["upstream", name, "env", variable], what, "");
        }
        if !network::is_variable(variable) || !is_text {
            let what = format!("`{variable}` is not an environment variable that can be set");
            found.at(&["upstream", name, "env", variable], what, "letters, digits and `_`");
        }
    }
    for (at, variable) in upstream.pass_env.iter().enumerate() {
        if !network::is_variable(variable) {
            let what = format!("`{variable}` is not the name of an environment variable");
            found.at(
                &["upstream", name, "pass_env", &at.to_string()],
                what,
                "letters, digits and `_`",
            );
        }
    }
}

fn check_breaker(name: &str, breaker: &Breaker, found: &mut Findings<'_>) {
    if breaker.pause_ms > breaker.pause_max_ms {
        let what = "the first pause of a breaker is longer than its longest";
        let hint = "pauses begin with `pause_ms` and double up to `pause_max_ms`";
        found.at(&["upstream", name, "breaker", "pause_ms"], what, hint);
    }
}

/// An upstream is reached in one way.
fn check_way(name: &str, upstream: &Upstream, found: &mut Findings<'_>) {
    let ways = [
        ("command", upstream.command.is_some()),
        ("url", upstream.url.is_some()),
        ("database", upstream.database.is_some()),
        ("api", upstream.api.is_some()),
        ("memory", upstream.memory.is_some()),
        ("model", upstream.model.is_some()),
    ];
    let given: Vec<&str> = ways.iter().filter(|(_, is)| *is).map(|(way, _)| *way).collect();
    match given.as_slice() {
        [] => {
            let what = format!(
                "the upstream `{name}` has no `command`, `url`, `database`, `api`, `memory` or \
                 `model`"
            );
            found.at(&["upstream", name], what, "say how it is reached");
        }
        [first, .., last] => {
            let what = format!("the upstream `{name}` has both `{first}` and `{last}`");
            found.at(&["upstream", name, last], what, "keep one");
        }
        [_] => {}
    }
    match (&upstream.command, &upstream.url) {
        (Some(command), None) => check_command(name, command, upstream, found),
        (None, Some(url)) => check_upstream_url(name, url, upstream, found),
        (_, _) => {}
    }
}

fn check_command(name: &str, command: &[String], upstream: &Upstream, found: &mut Findings<'_>) {
    let is_program = command.first().is_some_and(|it| !it.is_empty());
    if !is_program || command.iter().any(|it| it.contains('\0')) {
        let path = ["upstream", name, "command"];
        found.at(&path, "`command` names no program", "program, then its arguments");
    }
    if !upstream.headers.is_empty() {
        let what = "`headers` of an upstream that is a process";
        found.at(&["upstream", name, "headers"], what, "use `env` for credentials");
    }
}

fn check_upstream_url(name: &str, url: &str, upstream: &Upstream, found: &mut Findings<'_>) {
    if network::url(url).is_none() {
        let what = format!("`{url}` is not an address");
        found.at(&["upstream", name, "url"], what, "it begins with `https://` or `http://`");
    }
    let of_process = [
        ("env", upstream.env.is_empty()),
        ("pass_env", upstream.pass_env.is_empty()),
        ("directory", upstream.directory.is_none()),
    ];
    for (key, _) in of_process.into_iter().filter(|(_, is_unset)| !is_unset) {
        let what = format!("`{key}` of an upstream that is an address");
        found.at(&["upstream", name, key], what, "it is for child processes");
    }
}

/// Whether those whom the gate itself names can appear at all.
pub(super) fn check_identities(
    gate: &Gate,
    principals: Option<&Principals>,
    found: &mut Findings<'_>,
) {
    for (at, listen) in gate.listen.iter().enumerate() {
        let Some(identity) = &listen.identity else { continue };
        let at = at.to_string();
        let path = |key| ["listen", at.as_str(), "identity", key];
        for (key, error) in [
            ("subject", SubjectId::new(&identity.subject).err()),
            ("agent", AgentId::new(&identity.agent).err()),
        ] {
            if let Some(error) = error {
                found.at(&path(key), error.to_string(), "");
            }
        }
        let Some(principals) = principals else { continue };
        if !is_known(principals, &identity.subject) {
            let what = format!("nobody declares the user `{}`", identity.subject);
            found.at(&path("subject"), what, "declare it in `principals.toml`");
        }
        let agent = principals.agent.get(&identity.agent);
        if !agent.is_some_and(|agent| agent.environments.contains(&gate.environment)) {
            let what = format!("no agent `{}` exists in `{}`", identity.agent, gate.environment);
            found.at(
                &path("agent"),
                what,
                "declare it in `principals.toml`, with this environment",
            );
        }
    }
    let (Some(development), Some(principals)) = (&gate.development, principals) else { return };
    for (at, user) in development.users.iter().enumerate() {
        if SubjectId::new(user).is_ok() && !is_known(principals, user) {
            let what = format!("nobody declares the user `{user}`");
            let path = ["development", "users", &at.to_string()];
            found.at(
                &path,
                what,
                "declare it in `principals.toml`, or set `undeclared_users = true`",
            );
        }
    }
}

fn is_known(principals: &Principals, subject: &str) -> bool {
    principals.undeclared_users || principals.user.contains_key(subject)
}
