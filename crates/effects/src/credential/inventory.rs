//! Every secret that a bundle names, for whoever wants to know whether they are all there.

use super::{Source, Unreadable};
use lockgate_core::declare::{self, DialectWord, Gate, Secret};
use lockgate_types::Redacted;

/// A secret that is none of an upstream's.
pub async fn read_secret(declared: &Secret) -> Result<Redacted<String>, Unreadable> {
    let secret = Source::new(declared).read().await?;
    Ok(Redacted::new(secret.expose().to_string()))
}

/// Which secrets cannot be read here and now: where they stand in `lockgate.toml`, and why not.
/// Programs are run only if that is wanted, since a bundle may be somebody else's.
pub async fn unreadable_secrets(gate: &Gate, with_commands: bool) -> Vec<(String, Unreadable)> {
    let mut all: Vec<(String, &Secret)> = Vec::new();
    all.extend(gate.store.as_ref().map(|store| ("store".to_owned(), store)));
    for (name, upstream) in &gate.upstream {
        let own = secrets(upstream).into_iter();
        all.extend(own.map(|(key, secret)| (format!("upstream.{name}.{key}"), secret)));
    }
    for webhook in &gate.webhook {
        let path = |key: &str| format!("webhook.{}.{key}", webhook.name);
        all.push((path("secret"), &webhook.secret));
        all.extend(webhook.next_secret.as_ref().map(|it| (path("next_secret"), it)));
    }
    let mut found = Vec::new();
    for (path, secret) in all {
        if !with_commands && matches!(secret, Secret::Command(_)) {
            continue;
        }
        if let Err(why) = Source::new(secret).read().await {
            found.push((path, why));
        }
    }
    found
}

/// Every secret of an upstream, by its key.
fn secrets(declared: &declare::Upstream) -> Vec<(String, &Secret)> {
    let mut all: Vec<(String, &Secret)> = Vec::new();
    all.extend(declared.headers.iter().map(|(name, it)| (format!("headers.{name}"), it)));
    all.extend(declared.env.iter().map(|(name, it)| (format!("env.{name}"), it)));
    if let Some(database) = &declared.database
        && database.dialect == DialectWord::Postgres
    {
        all.push(("database.address".to_owned(), &database.address));
        let write = database.write_address.as_ref();
        all.extend(write.map(|it| ("database.write_address".to_owned(), it)));
    }
    let Some(credentials) = &declared.credential else { return all };
    let parts = [
        ("credential", Some(&credentials.common)),
        ("credential.read", credentials.read.as_ref()),
        ("credential.write", credentials.write.as_ref()),
        ("credential.lookup", credentials.lookup.as_ref()),
    ];
    for (part, one) in parts {
        let Some(one) = one else { continue };
        let own =
            [("value", &one.value), ("secret", &one.secret), ("actor_token", &one.actor_token)];
        for (key, secret) in own {
            all.extend(secret.as_ref().map(|it| (format!("{part}.{key}"), it)));
        }
    }
    all
}
