//! Addresses and header fields as they may stand in a bundle. Reading texts only: nothing is
//! resolved.

use super::document::Findings;
use crate::declare::{Secret, SecretCommand, SecretPlace};
use crate::network::{self, NETWORKS_MAX, Network};
use std::net::{IpAddr, SocketAddr};

/// Words of a command that prints a secret.
const ARGUMENTS_MAX: usize = 64;

/// The address of a listener: an IP address and a port, or `localhost` and a port.
pub(super) fn listener(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse::<u16>().ok()?))),
        None => text.parse().ok(),
    }
}

/// An `http` or `https` address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'u> {
    pub(super) is_https: bool,
    pub(super) host: &'u str,
    /// With its leading `/`, if there is one.
    pub(super) path: &'u str,
}

/// Reads an address: scheme, host, optional port, path. No user, no fragment.
pub(super) fn url(text: &str) -> Option<Url<'_>> {
    let (is_https, rest) = match text.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (authority, _) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let path = rest.strip_prefix(authority)?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(address) => {
            let (host, port) = address.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let (host, _) = authority.split_once(':').unwrap_or((authority, ""));
            (host, authority.strip_prefix(host)?)
        }
    };
    let is_port =
        |port: &str| port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if !(port.is_empty() || is_port(port)) || !is_host(host) {
        return None;
    }
    Some(Url { is_https, host, path })
}

impl Url<'_> {
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Whether a text is an address below which others are: of a host, or of a path that means itself.
pub(super) fn is_base(text: &str) -> bool {
    let has_steps = |path: &str| path.split('/').any(|it| it == "." || it == "..");
    url(text).is_some_and(|url| {
        !url.path.contains(['?', '%', '\\']) && !url.path.contains("//") && !has_steps(url.path)
    })
}

/// Networks in which something may be although they are not public. `at`: the table in which they
/// stand.
pub(super) fn networks(
    at: &[&str; 2],
    listed: &[String],
    found: &mut Findings<'_>,
) -> Vec<Network> {
    let [table, name] = *at;
    let mut networks = Vec::new();
    for (number, text) in listed.iter().enumerate() {
        let path = [table, name, "allow_networks", &number.to_string()];
        match Network::parse(text) {
            Some(network) if number < NETWORKS_MAX => networks.push(network),
            Some(_) => found.at(&path, format!("more than {NETWORKS_MAX} networks"), ""),
            None => found.at(&path, format!("`{text}` is not a network"), "such as `10.0.0.0/8`"),
        }
    }
    networks
}

/// Whether an address that is written is where it may be. A name is looked at when it is resolved.
pub(super) fn check_place(
    at: &[&str; 2],
    address: &str,
    allowed: &[Network],
    found: &mut Findings<'_>,
) {
    let literal = url(address).and_then(|url| url.host.parse::<IpAddr>().ok());
    if let Some(literal) = literal.filter(|it| !network::may_be_at(*it, true, allowed)) {
        let what = format!("`{literal}` is {}, and not allowed", network::reach(literal).as_str());
        found.at(at, what, "name it in `allow_networks` if you mean it");
    }
}

/// Networks that are listed where nothing is connected to.
pub(super) fn check_unused(
    at: &[&str; 2],
    listed: &[String],
    hint: &str,
    found: &mut Findings<'_>,
) {
    let [table, name] = *at;
    if !listed.is_empty() {
        let what = "`allow_networks` where there is no address";
        found.at(&[table, name, "allow_networks"], what, hint);
    }
}

/// Whether a text is a host name or an IP address.
pub(super) fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'))
}

/// Whether a text names an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.as_bytes().first().is_some_and(is_start)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Why a header field cannot be sent to an upstream, if it cannot.
pub(super) fn header_fault(name: &str, value: &Secret) -> Option<&'static str> {
    header_name_fault(name).or_else(|| match value.place() {
        SecretPlace::Here(text) => header_value_fault(text),
        _ => secret_fault(value),
    })
}

/// What a text of a header field cannot be.
pub(super) fn header_value_fault(value: &str) -> Option<&'static str> {
    let is_visible = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    let is_trimmed = value.trim() == value;
    let is_value = !value.is_empty() && is_trimmed && value.bytes().all(is_visible);
    (!is_value).then_some("its value is empty, or has characters that a header field cannot carry")
}

/// Why nothing can be at the place that a secret names, if so.
pub(super) fn secret_fault(secret: &Secret) -> Option<&'static str> {
    match secret.place() {
        SecretPlace::Here(_) => None,
        SecretPlace::Environment(variable) => {
            (!is_variable(variable)).then_some("`env:` needs the name of an environment variable")
        }
        SecretPlace::File(path) => {
            (path.trim().is_empty() || path.contains('\0')).then_some("`file:` needs a path")
        }
        SecretPlace::Command(SecretCommand { command, .. }) => {
            let is_path = command.first().is_some_and(|program| program.starts_with('/'));
            let is_text = command.iter().all(|text| !text.contains('\0'));
            (!is_path || !is_text || command.len() > ARGUMENTS_MAX)
                .then_some("`command` needs the whole path of a program, then its arguments")
        }
    }
}

/// Why a name is not that of a header field which may be set, if it is not.
pub(super) fn header_name_fault(name: &str) -> Option<&'static str> {
    // The protocol sets these; a second value would say something else than the body.
    const OWN: [&str; 14] = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "accept",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "last-event-id",
        "expect",
        "accept-encoding",
    ];
    let lower = name.to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some("it is not the name of a header field");
    }
    let is_own = OWN.contains(&lower.as_str()) || lower.starts_with("mcp-");
    is_own.then_some("the gate sets this header field itself")
}

/// Whether an argument may fill a header: not those that say who asks, where, or for what else than
/// the address and the method do.
pub(super) fn may_be_filled(name: &str) -> bool {
    const TAKEN: [&str; 12] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "expect",
        "forwarded",
        "via",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-host",
    ];
    let lower = name.to_ascii_lowercase();
    let is_taken = TAKEN.contains(&lower.as_str());
    let is_proxys = ["x-forwarded", "x-original-", "sec-"].iter().any(|it| lower.starts_with(it));
    header_name_fault(name).is_none() && !is_taken && !is_proxys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, host, loopback) in [
            ("http://127.0.0.1:80/x", "127.0.0.1", true),
            ("https://[::1]:9/x", "::1", true),
            ("https://a.example", "a.example", false),
            ("http://localhost/x?y", "localhost", true),
            ("http://127.0.0.1.evil.example/", "127.0.0.1.evil.example", false),
        ] {
            let url = url(text).unwrap();
            assert_eq!((url.host, url.is_loopback()), (host, loopback), "{text}");
        }
        for text in
            ["ftp://x", "http://", "http://a@b/", "http://a:b/", "http://a b", "//x", "http://x#y"]
        {
            assert_eq!(url(text), None, "{text}");
        }
        assert!(listener("localhost:1").is_some_and(|address| address.ip().is_loopback()));
        assert!(listener("example.com:1").is_none());
    }
}
