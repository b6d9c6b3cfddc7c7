//! What the bundle says about reaching people, beyond its shape.

use super::document::Findings;
use super::network;
use crate::declare::Gate;

pub(super) fn check(gate: &Gate, found: &mut Findings<'_>) {
    check_console(gate, found);
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
