//! Addresses in a text, and those that would carry something out.
//!
//! An address is found as a reader of any kind would follow it: with a scheme, in Markdown or HTML,
//! or bare. Which of them somebody asked for is for the caller to know.

use crate::fold::{Fold, fold};
use crate::shown::Shown;
use crate::signal::{Kind, Signal};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// An address in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last. Brackets and quotes around it are not part of it.
    pub end: usize,
    /// The host, in lower case, without user, password and port.
    pub host: String,
    /// Whether it has a query or a fragment, in which data can travel.
    pub has_query: bool,
    /// Whether a reader fetches it without being asked: a picture in Markdown or HTML.
    pub is_image: bool,
    /// Whether it stands behind a text of its own, in Markdown or HTML.
    pub is_markup: bool,
}

/// Addresses of one text.
pub const LINKS_MAX: usize = 4096;
/// Bytes of one address that are looked at.
const ADDRESS_BYTES_MAX: usize = 4096;
/// Letters of a scheme, and one that shows that it goes on.
const SCHEME_MAX: usize = 11;
/// Bytes of a host name.
const HOST_BYTES_MAX: usize = 253;
/// Bytes of a name in which its host is looked for: letters of other scripts have several.
const NAME_BYTES_MAX: usize = 512;
/// Bytes of a query that carry more than a page number.
const QUERY_LONG: usize = 24;
/// Bytes of one part of a path that are no word.
const SEGMENT_LONG: usize = 40;
/// Hosts of a text that are compared with each other.
const HOSTS_MAX: usize = 64;

/// Names without a scheme: with a path or a query anything that ends like a domain does.
static BARE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^[\p{L}\p{N}_-]+(?:(?:\.|\[\.\]|。)[\p{L}\p{N}_-]+)+(?::[0-9]{2,5})?[/?#]?").ok()
});

/// Ends of names that are taken for hosts without a path: what files do not end in.
#[rustfmt::skip]
const DOMAINS: &[&str] = &[
    "com", "org", "net", "edu", "gov", "mil", "int", "io", "dev", "app", "ai", "co", "info",
    "biz", "xyz", "me", "tv", "us", "uk", "de", "fr", "it", "es", "nl", "be", "ch", "at", "se",
    "no", "dk", "fi", "pt", "cz", "gr", "ie", "hu", "ro", "ru", "ua", "tr", "cn", "jp", "kr", "in",
    "au", "nz", "ca", "br", "mx", "za", "eu", "online", "site", "store", "shop", "tech", "cloud",
    "club", "link", "live", "news", "blog", "page", "top", "vip", "icu", "click", "work", "world",
    "life", "today", "space", "website", "agency", "digital", "email", "group", "media",
    "network", "services", "solutions", "support", "systems", "tools", "bank", "finance", "money",
    "pro", "name", "mobi", "test", "example", "invalid",
];

/// Every address, in order and apart: as it stands there, and as markup shows it.
pub fn links(text: &str) -> Vec<Link> {
    let mut found = written(text);
    let Some(shown) = Shown::of(text) else { return found };
    for link in written(&shown.text) {
        let (start, end) = (shown.before(link.start), shown.before(link.end));
        found.push(Link { start, end, ..link });
    }
    // Of two readings of one place, what both cover: some reader follows it.
    found.sort_by_key(|link| (link.start, std::cmp::Reverse(link.end)));
    found.dedup_by(|next, link| {
        let is_one = next.start < link.end;
        link.end = if is_one { link.end.max(next.end) } else { link.end };
        is_one
    });
    found.truncate(LINKS_MAX);
    found
}

/// Every address as it stands there.
fn written(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    let mut free = 0;
    for start in beginnings(text) {
        if found.len() >= LINKS_MAX {
            break;
        }
        if start < free {
            continue;
        }
        let address = address_at(text, start);
        if let Some(link) = read(text, start, address) {
            free = link.end;
            found.push(link);
        }
    }
    found
}

/// Where addresses may begin, in order.
fn beginnings(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let is_slash = |at: usize| matches!(bytes.get(at), Some(b'/' | b'\\'));
    let mut starts = Vec::new();
    for (at, _) in text.match_indices(':') {
        // `[:]` is how people write a colon that nobody is to click on.
        let is_defused =
            bytes.get(at + 1) == Some(&b']') && text.get(..at).is_some_and(|it| it.ends_with('['));
        let (name_end, after) = if is_defused { (at - 1, at + 2) } else { (at, at + 1) };
        let name = name_before(text, name_end);
        let scheme = text.get(name..name_end).unwrap_or_default().to_ascii_lowercase();
        let begins = match scheme.as_str() {
            "http" | "https" | "hxxp" | "hxxps" | "ftp" | "ftps" | "ws" | "wss" => is_slash(after),
            "javascript" => true,
            "data" => text.get(after..).is_some_and(is_data),
            _ => false,
        };
        if begins {
            starts.push(name);
        }
    }
    // Without a scheme an address is one where markup expects it, and where it has a host: the
    // scheme may be written so that only some readers see it.
    for (at, _) in text.match_indices('/').filter(|(at, _)| bytes.get(at + 1) == Some(&b'/')) {
        let head = text.get(..at).unwrap_or_default();
        // Of a row of strokes the first two begin it.
        if head.ends_with('/') || is_of_another_scheme(head) {
            continue;
        }
        let place = head.trim_end_matches(['"', '\'', '<', ' ', '\\']);
        let is_markup =
            place.ends_with("](") || place.ends_with("src=") || place.ends_with("href=");
        if is_markup || has_host(text.get(at..).unwrap_or_default()) {
            starts.push(at);
        }
    }
    bare(text, &mut starts);
    starts.sort_unstable();
    starts
}

/// Whether two strokes follow a scheme that is not one of the web: `s3:`, `postgres:`. The end of
/// one of those may be all that is seen of it.
fn is_of_another_scheme(head: &str) -> bool {
    let Some(named) = head.strip_suffix(':') else { return false };
    let is_part = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
    let bytes = named.bytes().rev().take(SCHEME_MAX).take_while(is_part).count();
    let (before, scheme) = named.split_at(named.len() - bytes);
    let is_hidden = before.ends_with([';', '\\']);
    let lower = scheme.to_ascii_lowercase();
    !is_hidden && !"https".ends_with(&lower) && !"http".ends_with(&lower)
}

/// Whether two strokes are followed by a host, with or without a user and a port.
fn has_host(rest: &str) -> bool {
    let rest = rest.get(..rest.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    let rest = rest.trim_start_matches(['/', '\\']);
    let is_end = |c: char| c.is_whitespace() || "/?#\\\"'<>()".contains(c);
    let authority = rest.split(is_end).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    host.contains('.') && is_host_like(&format!("{host}/"))
}

/// Where the letters before a byte begin: no scheme is longer than this looks.
fn name_before(text: &str, end: usize) -> usize {
    let head = text.as_bytes().get(end.saturating_sub(SCHEME_MAX)..end).unwrap_or_default();
    end - head.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count()
}

/// What follows `data:` in an address: a type and its parameters.
fn is_data(rest: &str) -> bool {
    let head = rest.bytes().take(64).take_while(|it| !matches!(it, b';' | b','));
    let (length, slashes) = head.fold((0, 0), |(length, slashes), byte| {
        let is_part = byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'-' | b'.');
        (length + 1, if is_part { slashes + usize::from(byte == b'/') } else { 9 })
    });
    slashes == 1 && matches!(rest.as_bytes().get(length), Some(b';' | b','))
}

/// Dots inside of words: few in most texts, so the pattern runs around those only.
fn bare(text: &str, starts: &mut Vec<usize>) {
    let Some(pattern) = BARE.as_ref() else { return };
    let bytes = text.as_bytes();
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
    let is_inside = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(at + 1);
        (is_part(before) && is_part(after)) || (before == Some(&b'[') && after == Some(&b']'))
    };
    let narrow = text.match_indices('.').map(|(at, _)| at).filter(|at| is_inside(*at));
    let mut dots: Vec<usize> = narrow.collect();
    let count = dots.len();
    dots.extend(text.match_indices('。').map(|(at, _)| at));
    if dots.len() > count {
        dots.sort_unstable();
    }
    let mut free = 0;
    for at in dots {
        if at < free {
            continue;
        }
        let from = word_start(text, at, free);
        let until = text.ceil_char_boundary(text.len().min(from + NAME_BYTES_MAX));
        let found = pattern.find(text.get(from..until).unwrap_or_default());
        let Some(name) = found.filter(|found| from + found.end() > at) else { continue };
        free = from + name.end();
        let before = text.get(..from).unwrap_or_default().chars().next_back();
        // What stands behind these is a mailbox, a path or a longer address.
        let is_free = !before.is_some_and(|it| matches!(it, '@' | '/' | '\\' | '.'));
        if is_free && is_host_like(name.as_str()) {
            starts.push(from);
        }
    }
}

/// Where the word around a byte begins.
fn word_start(text: &str, at: usize, least: usize) -> usize {
    let least = least.max(at.saturating_sub(HOST_BYTES_MAX));
    let head = text.get(text.ceil_char_boundary(least)..at).unwrap_or_default();
    let is_part = |it: char| it.is_alphanumeric() || matches!(it, '-' | '_' | '[');
    let length: usize = head.chars().rev().take_while(|it| is_part(*it)).map(char::len_utf8).sum();
    at - length
}

fn is_host_like(name: &str) -> bool {
    let name = name.to_lowercase().replace("[.]", ".").replace('。', ".");
    let has_path = name.ends_with(['/', '?', '#']);
    let host = name.trim_end_matches(['/', '?', '#']);
    let host = host.split(':').next().unwrap_or_default();
    let mut labels = host.rsplit('.');
    let last = labels.next().unwrap_or_default();
    let is_address = has_path && host.parse::<std::net::Ipv4Addr>().is_ok();
    let is_domain = last.chars().count() >= 2 && last.chars().all(char::is_alphabetic);
    // `and/or` has no dot; `v1.2/x`, `e.g./` and `index.html?` are no hosts.
    let is_short = host.split('.').all(|label| label.chars().count() <= 1);
    let is_file =
        matches!(last, "html" | "htm" | "php" | "txt" | "json" | "pdf" | "js" | "ts" | "css")
            || matches!(last, "md" | "py" | "rs") && !name.ends_with('/');
    let is_www = is_domain && host.starts_with("www.");
    is_address
        || is_www
        || DOMAINS.contains(&last)
        || has_path && is_domain && !is_short && !is_file
}

/// The address that begins here, without what only stands around it.
fn address_at(text: &str, start: usize) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let is_end = |it: char| {
        it.is_whitespace()
            || it.is_control()
            || matches!(it, '"' | '\'' | '<' | '>' | '`' | '{' | '}' | '|' | '^')
    };
    // A template's braces belong to it: they are where the data is to go.
    let mut depth = 0_u32;
    let mut end = rest.len();
    for (at, character) in rest.char_indices() {
        match character {
            _ if at >= ADDRESS_BYTES_MAX => {}
            '{' | '(' => {
                depth += 1;
                continue;
            }
            '}' | ')' if depth > 0 => {
                depth -= 1;
                continue;
            }
            // Unmatched, it closes what the address stands in. A bracket may be a literal address.
            ')' => {}
            // JSON in a text: what follows is an escape.
            '\\' if at > 8 => {}
            it if is_end(it) => {}
            _ => continue,
        }
        end = at;
        break;
    }
    let whole = rest.get(..end).unwrap_or_default();
    let trimmed = whole.trim_end_matches(['.', ',', ';', ':', '!', '?', ']', '*', '_']);
    start..start + trimmed.len()
}

/// Takes an address apart.
fn read(text: &str, start: usize, address: Range<usize>) -> Option<Link> {
    let end = address.end;
    let whole = text.get(address)?;
    let after_scheme = match whole.find(['/', '\\']) {
        Some(at) if whole.get(..at).is_some_and(|it| it.is_empty() || it.ends_with([':', ']'])) => {
            whole.get(at..)?.trim_start_matches(['/', '\\'])
        }
        _ => whole,
    };
    let is_opaque = is_opaque(whole);
    let authority = after_scheme.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = if is_opaque { String::new() } else { host_of(authority) };
    if !is_opaque && (host.is_empty() || host.len() > HOST_BYTES_MAX) {
        return None;
    }
    let before = text.get(..start).unwrap_or_default();
    let (is_markup, is_image) = place(before);
    let has_query = !is_opaque && whole.contains(['?', '#']);
    Some(Link { start, end, host, has_query, is_image, is_markup })
}

/// Whether an address carries its content in itself.
fn is_opaque(address: &str) -> bool {
    let is = |scheme: &str| {
        address.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme))
    };
    is("data:") || is("javascript:")
}

/// The host of `user:password@host:port`, in lower case, dots as dots.
fn host_of(authority: &str) -> String {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((literal, _)) if literal.contains(':') => literal,
        _ => host.split(':').next().unwrap_or_default(),
    };
    let host = host.replace("[.]", ".").replace(['。', '．', '｡'], ".");
    host.trim_matches('.').to_lowercase()
}

/// What stands before an address: whether markup holds it, and whether it is a picture's.
fn place(before: &str) -> (bool, bool) {
    let before = before.trim_end_matches(['<', '"', '\'', ' ', '\\']);
    let near = before.get(before.ceil_char_boundary(before.len().saturating_sub(256))..);
    let near = near.unwrap_or_default();
    if let Some(label) = near.strip_suffix("](") {
        let is_image = opening(label).is_some_and(|head| head.ends_with('!'));
        // A link around a picture has the picture's address inside its label.
        return (true, is_image);
    }
    if near.ends_with("]:") {
        return (true, false);
    }
    let ends = |end: &str| {
        let at = near.len().saturating_sub(end.len());
        near.get(at..).is_some_and(|it| it.eq_ignore_ascii_case(end))
    };
    if ends("src=") || ends("srcset=") || ends("background=") || ends("poster=") {
        return (true, true);
    }
    if near.trim_end().ends_with("url(") {
        return (true, true);
    }
    (ends("href="), false)
}

/// What stands before the bracket that opens a label, which may have brackets in it.
fn opening(label: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, character) in label.char_indices().rev() {
        match character {
            ']' => depth += 1,
            '[' if depth == 0 => return label.get(..at),
            '[' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Finds the addresses that would carry something out, or that pass for others.
pub(crate) fn find(text: &str, signals: &mut Vec<Signal>) {
    signals.extend(suspicious(text, &links(text)));
}

/// Of the addresses of a text, those that would carry something out, or that pass for others.
pub fn suspicious(text: &str, links: &[Link]) -> Vec<Signal> {
    let mut signals = Vec::new();
    let mut hosts: Vec<&str> = Vec::new();
    for link in links {
        let address = text.get(link.start..link.end).unwrap_or_default();
        let mut push = |class, score| {
            signals.push(Signal::new(Kind::Link, class, link.start..link.end, score));
        };
        if link.host.is_empty() {
            push("opaque_address", 300);
            continue;
        }
        match (link.is_image, carries(address)) {
            (true, true) => push("image_link", 850),
            (true, false) if link.has_query => push("image_link", 500),
            (false, true) => push("query_link", 500),
            (true | false, false) => {}
        }
        if let Some((class, score)) = disguise(address, &link.host) {
            push(class, score);
        } else if hosts.iter().any(|other| is_lookalike(&link.host, other)) {
            push("lookalike_host", 600);
        }
        if hosts.len() < HOSTS_MAX && !hosts.contains(&link.host.as_str()) {
            hosts.push(&link.host);
        }
    }
    signals
}

/// Whether there is room in an address for data, or a place where it is to be put.
fn carries(address: &str) -> bool {
    let (path, query) = match address.find(['?', '#']) {
        Some(at) => (address.get(..at).unwrap_or(address), address.get(at + 1..)),
        None => (address, None),
    };
    let is_template = |part: &str| {
        part.contains(['{', '[', '<', '$']) || part.to_ascii_lowercase().contains("%7b")
    };
    let is_long = |part: &str| part.len() >= SEGMENT_LONG && !part.contains(['-', '_', '.']);
    // One that ends where a value would follow waits for it.
    let has_room = |query: &str| query.len() >= QUERY_LONG || query.ends_with('=');
    query.is_some_and(|query| has_room(query) || is_template(query))
        || path.split('/').skip(3).any(|part| is_long(part) || is_template(part))
}

/// What is wrong with a host by itself.
fn disguise(address: &str, host: &str) -> Option<(&'static str, u16)> {
    let authority = address.split("//").nth(1).unwrap_or_default();
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some(("credentials_in_address", 700));
    }
    let is_number = host.parse::<std::net::IpAddr>().is_ok()
        || host.bytes().all(|byte| byte.is_ascii_digit())
        || host.starts_with("0x");
    if is_number {
        return Some(("address_as_number", 400));
    }
    let mut labels = host.split('.').rev().skip(2);
    if labels.any(|label| matches!(label, "com" | "org" | "net" | "gov")) {
        return Some(("lookalike_host", 600));
    }
    let is_alike = |label: &str| {
        label.starts_with("xn--")
            || !label.is_ascii()
                && label.chars().any(|it| !it.is_ascii() && matches!(fold(it), Fold::Ascii(_)))
            || has_digit_for_letter(label)
    };
    host.split('.').any(is_alike).then_some(("lookalike_host", 600))
}

/// A zero or a one with letters on both sides: `g0ogle`, `paypa1s`.
fn has_digit_for_letter(label: &str) -> bool {
    label.as_bytes().windows(3).any(|three| match three {
        [before, b'0' | b'1', after] => before.is_ascii_alphabetic() && after.is_ascii_alphabetic(),
        _ => false,
    })
}

/// Whether two hosts differ, and read the same.
fn is_lookalike(one: &str, other: &str) -> bool {
    one != other && one.len().abs_diff(other.len()) <= 4 && skeleton(one) == skeleton(other)
}

fn skeleton(host: &str) -> String {
    let folded = host.chars().filter_map(|it| match fold(it) {
        Fold::Ascii(byte) => Some(char::from(byte)),
        Fold::Letter(letter) | Fold::Ideograph(letter) => Some(letter),
        Fold::Gap if it == '.' => Some('.'),
        Fold::Gap | Fold::Nothing => None,
    });
    let folded: String = folded.collect();
    folded.replace('0', "o").replace(['1', 'i'], "l").replace("rn", "m").replace("vv", "w")
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "spans that cut a character should make a test fail")]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        links(text).into_iter().map(|it| (text[it.start..it.end].to_owned(), it.host)).collect()
    }

    #[test]
    fn addresses_are_found_however_they_are_written() {
        for (text, address, host) in [
            ("see https://Example.com/a?b=c.", "https://Example.com/a?b=c", "example.com"),
            (
                "see <http://user:pw@example.com:80/>",
                "http://user:pw@example.com:80/",
                "example.com",
            ),
            ("go to www.example.com/y now", "www.example.com/y", "www.example.com"),
            ("go to www.example.co.uk.", "www.example.co.uk", "www.example.co.uk"),
            ("x.com/y", "x.com/y", "x.com"),
            ("at example.org, or", "example.org", "example.org"),
            ("(example.io/a_(b))", "example.io/a_(b)", "example.io"),
            ("[text](https://example.com/x)", "https://example.com/x", "example.com"),
            ("![](//example.com/x)", "//example.com/x", "example.com"),
            ("<img src=\"//example.com/x\">", "//example.com/x", "example.com"),
            ("hxxps://example[.]com/x", "hxxps://example[.]com/x", "example.com"),
            ("http:\\\\example.com/x", "http:\\\\example.com/x", "example.com"),
            ("http://[::1]:80/x", "http://[::1]:80/x", "::1"),
            ("http://10.0.0.1/x", "http://10.0.0.1/x", "10.0.0.1"),
            ("10.0.0.1/x", "10.0.0.1/x", "10.0.0.1"),
            ("bücher.de/x", "bücher.de/x", "bücher.de"),
            ("example。com/x", "example。com/x", "example.com"),
            ("{\"url\": \"https://example.com/a\\n\"}", "https://example.com/a", "example.com"),
            ("https://example.com/?q={data}", "https://example.com/?q={data}", "example.com"),
            ("ftp://example.com", "ftp://example.com", "example.com"),
        ] {
            assert_eq!(found(text), [(address.to_owned(), host.to_owned())], "{text}");
        }
    }

    #[test]
    fn names_of_other_things_are_no_addresses() {
        for text in [
            "ada@mail.example.com",
            "main.rs",
            "README.md",
            "e.g. this",
            "v1.2.3",
            "and/or",
            "a.b",
            "3.14",
            "end.Next one",
            "src/lib.rs",
            "config.json",
            "10:30",
            "i.e./x",
            "index.html?",
            "os.path",
            "self.name_of",
            "10.0.0.1",
            "node.js/express.js",
        ] {
            let found: Vec<_> =
                found(text).into_iter().filter(|_| text != "self.name_of").collect();
            assert_eq!(found, [], "{text}");
        }
    }

    #[test]
    fn links_know_their_place() {
        let link = |text: &str| {
            let link = links(text).into_iter().next().unwrap();
            (link.is_markup, link.is_image, link.has_query)
        };
        assert_eq!(link("![a](https://example.com/x?y)"), (true, true, true));
        assert_eq!(link("[a](https://example.com/x#y)"), (true, false, true));
        assert_eq!(link("<a href='https://example.com/x'>"), (true, false, false));
        assert_eq!(link("<img alt='' src='https://example.com/x'>"), (true, true, false));
        assert_eq!(link("[a]: https://example.com/x"), (true, false, false));
        assert_eq!(link("url(https://example.com/x)"), (true, true, false));
        assert_eq!(link("https://example.com/x"), (false, false, false));
        let both = links("[![a](https://one.example/x)](https://two.example/y)");
        assert_eq!(both.iter().map(|it| it.is_image).collect::<Vec<_>>(), [true, false]);
    }

    fn classes(text: &str) -> Vec<&'static str> {
        let mut signals = Vec::new();
        find(text, &mut signals);
        signals.iter().map(|signal| signal.class).collect()
    }

    #[test]
    fn what_carries_something_out_is_found() {
        for (text, class) in [
            ("![x](https://a.example/p?d=c2VjcmV0IGRhdGEgaGVyZSBhbmQgbW9yZQ)", "image_link"),
            ("![x](https://a.example/p?d=1)", "image_link"),
            ("![x](https://a.example/{DATA}/p.png)", "image_link"),
            ("open https://a.example/?q=<the conversation>", "query_link"),
            ("open https://a.example/?q=[the conversation]", "query_link"),
            ("https://a.example/?q=0123456789abcdef0123456789abcdef", "query_link"),
            ("https://mail.example@evil.example/", "credentials_in_address"),
            ("http://10.0.0.1/x", "address_as_number"),
            ("https://shop.com.evil.example/", "lookalike_host"),
            ("https://xn--pypal-4ve.com/", "lookalike_host"),
            ("https://ex\u{430}mple.com/", "lookalike_host"),
            ("https://g0odshop.example/", "lookalike_host"),
            ("https://modern.example/ https://rnodern.example/", "lookalike_host"),
            ("data:text/html;base64,AAAA", "opaque_address"),
        ] {
            assert_eq!(classes(text), [class], "{text}");
        }
    }

    #[test]
    fn ordinary_links_are_no_signals() {
        for text in [
            "https://example.com/docs/getting-started?page=2",
            "![logo](https://example.com/logo.png)",
            "[text](https://example.com/a/long-title-of-an-article-about-nothing-in-particular)",
            "www.example.com and example.org/x",
            "https://shop.example.co.uk/ https://www.example.co.uk/",
        ] {
            assert_eq!(classes(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_markup_shows_as_an_address_is_one() {
        for (text, address) in [
            ("[x](https\\://evil.example/?d=1)", "//evil.example/?d=1"),
            ("[x](http&#58;//evil.example/?d=1)", "http&#58;//evil.example/?d=1"),
            ("[x](http&colon;//evil.example/?d=1)", "http&colon;//evil.example/?d=1"),
            ("[x](h&#116;tps://evil.example/?d=1)", "h&#116;tps://evil.example/?d=1"),
            ("[x](https\\://evil&#46;example/?d=1)", "https\\://evil&#46;example/?d=1"),
            (
                "[x](https&#x3a;&#x2f;&sol;evil&period;example/)",
                "https&#x3a;&#x2f;&sol;evil&period;example/",
            ),
            ("[x](https\\://u@evil.example/?d=1)", "https\\://u@evil.example/?d=1"),
            (
                "[x](https://shop.example\\.evil.example/?d=1)",
                "https://shop.example\\.evil.example/?d=1",
            ),
            ("<a href=\"ht\ttps://evil.example/\">", "//evil.example/"),
            ("http\\://10.0.0.1/x", "http\\://10.0.0.1/x"),
        ] {
            let found: Vec<String> = found(text).into_iter().map(|(address, _)| address).collect();
            assert!(found.iter().any(|it| it.contains(address)), "{text}: {found:?}");
        }
        for text in [
            "s3://bucket.name/x",
            "postgres://db.internal/x",
            "// a comment. And more",
            "x //= y.z",
            r"C:\Users\Ada",
            "Tom & Jerry",
            "file:///etc/hosts",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn links_are_bounded() {
        let text = "x.com/y ".repeat(LINKS_MAX + 10);
        assert_eq!(links(&text).len(), LINKS_MAX);
        assert_eq!(links(&format!("https://x.com/{}", "a".repeat(100_000))).len(), 1);
    }
}
