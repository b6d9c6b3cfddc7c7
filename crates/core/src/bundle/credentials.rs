//! What a bundle says about credentials for upstreams: which kind needs what, and that no secret is
//! sent where anybody could read it.

use super::document::Findings;
use super::network;
use crate::declare::{
    ClientAuth, Credential, CredentialKind, Credentials, Secret, SecretPlace, Upstream,
};

/// Bytes of a name, a scope or an audience.
const WORD_BYTES_MAX: usize = 1024;

/// Where a credential stands in the file.
type Path<'p> = &'p [&'p str];

pub(super) fn check(name: &str, upstream: &Upstream, found: &mut Findings<'_>) {
    let Some(credentials) = &upstream.credential else { return };
    let path = ["upstream", name, "credential"];
    if upstream.url.is_none() && upstream.api.is_none() && upstream.model.is_none() {
        // A database has its own words for it, a memory has nobody to show one to.
        if upstream.database.is_none() && upstream.memory.is_none() {
            let what = "`credential` of an upstream that is a process";
            found.at(&path, what, "use `env`, with a secret as its value");
        }
        return;
    }
    let common = (credentials.common.kind.is_some()).then_some(&credentials.common);
    if let Some(common) = common {
        check_one(upstream, common, &path, found);
    } else if credentials.for_reads().is_none() || !given(&credentials.common).is_empty() {
        found.at(&path, format!("the credential for `{name}` has no `kind`"), KINDS);
    }
    let parts = [
        ("read", &credentials.read),
        ("write", &credentials.write),
        ("lookup", &credentials.lookup),
    ];
    for (part, credential) in parts {
        let Some(credential) = credential else { continue };
        check_one(upstream, credential, &["upstream", name, "credential", part], found);
    }
    check_lookup(name, credentials, found);
}

const KINDS: &str = "`static`, `client_credentials` or `token_exchange`";

fn check_lookup(name: &str, credentials: &Credentials, found: &mut Findings<'_>) {
    let Some(lookup) = &credentials.lookup else { return };
    let path = ["upstream", name, "credential", "lookup"];
    if !credentials.exchanges() {
        let what = format!("`lookup` of `{name}`, where no caller's token is exchanged");
        found.at(&path, what, "take it away: `read` is used for lookups too");
    }
    if lookup.kind == Some(CredentialKind::TokenExchange) {
        let what = format!("`lookup` of `{name}` is for when there is no token to exchange");
        found.at(&path, what, "`static` or `client_credentials`");
    }
}

fn check_one(upstream: &Upstream, one: &Credential, path: Path<'_>, found: &mut Findings<'_>) {
    let at = |key: &'static str| -> Vec<&str> { path.iter().copied().chain([key]).collect() };
    let Some(kind) = one.kind else {
        return found.at(path, "a credential without `kind`", KINDS);
    };
    let (needs, may) = keys_of(kind);
    let given = given(one);
    for key in given.iter().filter(|key| !needs.contains(key) && !may.contains(key)) {
        let what = format!("`{key}` means nothing to a credential of kind `{}`", kind.as_str());
        found.at(&at(key), what, "take it away");
    }
    for key in needs.iter().filter(|key| !given.contains(key)) {
        let what = format!("a credential of kind `{}` needs `{key}`", kind.as_str());
        found.at(path, what, "");
    }
    check_header(upstream, one, path, found);
    check_secrets(one, path, found);
    if kind != CredentialKind::Static {
        check_endpoint(one, kind, path, found);
    }
}

/// The keys that a kind needs, and those that it may have besides.
fn keys_of(kind: CredentialKind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        CredentialKind::Static => (&["kind", "value"], &["header", "scheme"]),
        CredentialKind::ClientCredentials => (
            &["kind", "token_url", "client_id", "secret"],
            &["header", "scheme", "client_auth", "algorithm", "scope", "audience", "resource"],
        ),
        CredentialKind::TokenExchange => (
            &["kind", "token_url", "client_id", "secret"],
            &[
                "header",
                "scheme",
                "client_auth",
                "algorithm",
                "scope",
                "audience",
                "resource",
                "actor_token",
                "subject_token_type",
                "requested_token_type",
                "opaque_tokens",
            ],
        ),
    }
}

/// The keys that are given.
fn given(one: &Credential) -> Vec<&'static str> {
    let all = [
        ("kind", one.kind.is_some()),
        ("header", one.header.is_some()),
        ("scheme", one.scheme.is_some()),
        ("value", one.value.is_some()),
        ("token_url", one.token_url.is_some()),
        ("client_id", one.client_id.is_some()),
        ("client_auth", one.client_auth.is_some()),
        ("secret", one.secret.is_some()),
        ("algorithm", one.algorithm.is_some()),
        ("scope", one.scope.is_some()),
        ("audience", one.audience.is_some()),
        ("resource", one.resource.is_some()),
        ("actor_token", one.actor_token.is_some()),
        ("subject_token_type", one.subject_token_type.is_some()),
        ("requested_token_type", one.requested_token_type.is_some()),
        ("opaque_tokens", one.opaque_tokens),
    ];
    all.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect()
}

fn check_header(upstream: &Upstream, one: &Credential, path: Path<'_>, found: &mut Findings<'_>) {
    let at = |key: &'static str| -> Vec<&str> { path.iter().copied().chain([key]).collect() };
    let header = one.header.as_deref().unwrap_or("Authorization");
    if let Some(fault) = network::header_name_fault(header) {
        found.at(&at("header"), format!("the header `{header}` cannot be sent: {fault}"), "");
    }
    if upstream.headers.keys().any(|other| other.eq_ignore_ascii_case(header)) {
        let what = format!("the header `{header}` stands in `headers` and is the credential's");
        found.at(path, what, "keep one");
    }
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_scheme = |scheme: &String| !scheme.is_empty() && scheme.bytes().all(is_token);
    if one.scheme.as_ref().is_some_and(|scheme| !is_scheme(scheme)) {
        found.at(&at("scheme"), "`scheme` is not one word", "such as `Bearer`");
    }
}

fn check_secrets(one: &Credential, path: Path<'_>, found: &mut Findings<'_>) {
    let secrets: [(&'static str, Option<&Secret>); 3] = [
        ("value", one.value.as_ref()),
        ("secret", one.secret.as_ref()),
        ("actor_token", one.actor_token.as_ref()),
    ];
    for (key, secret) in secrets {
        let Some(secret) = secret else { continue };
        let fault = match secret.place() {
            SecretPlace::Here(_) => Some("a bundle is recorded, and holds no secret"),
            _ => network::secret_fault(secret),
        };
        if let Some(fault) = fault {
            let path: Vec<&str> = path.iter().copied().chain([key]).collect();
            let hint = "`env:NAME`, `file:PATH`, or `{ command = [\"/path/of/program\"] }`";
            found.at(&path, format!("`{key}`: {fault}"), hint);
        }
    }
}

fn check_endpoint(
    one: &Credential,
    kind: CredentialKind,
    path: Path<'_>,
    found: &mut Findings<'_>,
) {
    let at = |key: &'static str| -> Vec<&str> { path.iter().copied().chain([key]).collect() };
    if let Some(address) = &one.token_url {
        match network::url(address) {
            None => {
                let what = format!("`{address}` is not an address");
                found.at(&at("token_url"), what, "it begins with `https://`");
            }
            Some(url) if !url.is_https && !url.is_loopback() => {
                let what = format!("secrets sent to `{address}` could be read by anybody");
                found.at(&at("token_url"), what, "use `https://`");
            }
            Some(_) => {}
        }
    }
    let words = [
        ("client_id", one.client_id.as_ref()),
        ("scope", one.scope.as_ref()),
        ("audience", one.audience.as_ref()),
        ("resource", one.resource.as_ref()),
        ("subject_token_type", one.subject_token_type.as_ref()),
        ("requested_token_type", one.requested_token_type.as_ref()),
    ];
    for (key, word) in words {
        let is_sound = |word: &String| {
            let is_text = word.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            !word.trim().is_empty() && word.len() <= WORD_BYTES_MAX && is_text
        };
        if word.is_some_and(|word| !is_sound(word)) {
            found.at(&at(key), format!("`{key}` is not printable ASCII, or too long"), "");
        }
    }
    if kind == CredentialKind::TokenExchange && one.audience.is_some() == one.resource.is_some() {
        let what = "an exchanged token is for one upstream alone, and nothing says which";
        found.at(path, what, "`audience` or `resource`: one of the two");
    }
    let signs = one.client_auth == Some(ClientAuth::PrivateKeyJwt);
    if one.algorithm.is_some() && !signs {
        let what = "`algorithm` means nothing without `client_auth = \"private_key_jwt\"`";
        found.at(&at("algorithm"), what, "take it away");
    }
}
