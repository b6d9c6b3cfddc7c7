//! What the bundle says about reaching people, beyond its shape.

use super::document::Findings;
use super::network;
use crate::declare::{Gate, SecretPlace, Webhook};

/// Webhooks of one bundle: each has requests of its own to be told of.
const WEBHOOKS_MAX: usize = 16;
/// Bytes of a webhook's name: it becomes part of a subject's.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn check(gate: &Gate, found: &mut Findings<'_>) {
    check_console(gate, found);
    for (at, webhook) in gate.webhook.iter().enumerate() {
        check_webhook(gate, webhook, at, found);
    }
}

fn check_webhook(gate: &Gate, webhook: &Webhook, at: usize, found: &mut Findings<'_>) {
    let index = at.to_string();
    let path = |key| ["webhook", index.as_str(), key];
    let is_slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let name = &webhook.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_slug) {
        found.at(&path("name"), "a webhook is named by small letters, digits and `-`", "");
    }
    if gate.webhook.iter().take(at).any(|other| other.name == *name) {
        let what = format!("another webhook is named `{name}`");
        found.at(&path("name"), what, "give each its own name");
    }
    if at >= WEBHOOKS_MAX {
        found.at(&path("name"), format!("there are more than {WEBHOOKS_MAX} webhooks"), "");
    }
    match network::url(&webhook.url) {
        None => {
            let what = format!("`{}` is not an address", webhook.url);
            found.at(&path("url"), what, "it begins with `https://`");
        }
        Some(url) if !url.is_https && !url.is_loopback() => {
            let what = format!("what is told to `{}` could be read on its way", webhook.url);
            found.at(&path("url"), what, "use `https://`");
        }
        Some(_) => {}
    }
    let secrets =
        [("secret", Some(&webhook.secret)), ("next_secret", webhook.next_secret.as_ref())];
    for (key, secret) in secrets {
        let Some(secret) = secret else { continue };
        let fault = match secret.place() {
            // What was written there may be the secret: it is not said again.
            SecretPlace::Here(_) => Some("a secret has no place in a bundle"),
            _ => network::secret_fault(secret),
        };
        if let Some(fault) = fault {
            found.at(&path(key), fault, "`env:NAME`, `file:PATH` or a command");
        }
    }
    let at = ["webhook", &index];
    let networks = network::networks(&at, &webhook.allow_networks, found);
    network::check_place(&at, &webhook.url, &networks, found);
    if webhook.requirements.iter().any(|requirement| requirement.trim().is_empty()) {
        found.at(&path("requirements"), "a requirement is empty", "such as `group:finance`");
    }
}

fn check_console(gate: &Gate, found: &mut Findings<'_>) {
    let Some(url) = &gate.console.url else { return };
    let path = ["console", "url"];
    match network::url(url.trim_end_matches('/')) {
        Some(it) if !it.path.is_empty() || url.contains('?') => {
            let what = format!("`{url}` is more than the address of a gate");
            found.at(&path, what, "scheme and host alone: `https://gate.example`");
        }
        Some(it) if !it.is_https && !it.is_loopback() => {
            let what =
                format!("whoever listens to `{url}` could answer for people who sign in there");
            found.at(&path, what, "use `https://`");
        }
        Some(_) => {}
        None => {
            let what = format!("`{url}` is not an address");
            found.at(&path, what, "such as `https://gate.example`");
        }
    }
}
