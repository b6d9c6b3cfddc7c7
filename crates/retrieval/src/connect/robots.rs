//! What a server asks programs not to fetch: `robots.txt` (RFC 9309).

use super::address::compared;

/// Bytes of it that are read. The RFC asks for 500 KiB at least.
pub(super) const ROBOTS_BYTES_MAX: usize = 512 << 10;
/// Rules of one file: of more, the first.
const RULES_MAX: usize = 4096;
/// Stars of one pattern: one with more takes whatever begins as it does.
const STARS_MAX: usize = 16;
/// What we are called there.
const NAME: &str = "lockgate";

/// What may be fetched, by what the server asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Robots(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    is_allowed: bool,
    pattern: String,
}

impl Robots {
    /// What a file asks of us: what it says to us by name, or else what it says to everybody.
    pub(super) fn read(text: &str) -> Self {
        let (mut own, mut all) = (None::<Vec<Rule>>, Vec::new());
        let (mut is_own, mut is_all, mut is_head) = (false, false, false);
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if !is_head {
                        (is_own, is_all) = (false, false);
                    }
                    is_head = true;
                    is_all |= value == "*";
                    is_own |= value.eq_ignore_ascii_case(NAME);
                    if is_own {
                        own.get_or_insert_default();
                    }
                }
                "allow" | "disallow" => {
                    is_head = false;
                    let rule = Rule { is_allowed: key == "allow", pattern: pattern(value) };
                    // A rule without a path says nothing.
                    let is_rule = !value.is_empty();
                    if let Some(own) = own.as_mut().filter(|own| is_own && own.len() < RULES_MAX)
                        && is_rule
                    {
                        own.push(rule.clone());
                    }
                    if is_all && is_rule && all.len() < RULES_MAX {
                        all.push(rule);
                    }
                }
                _ => {}
            }
        }
        Self(own.unwrap_or(all))
    }

    /// Whether a path, with what follows `?`, may be fetched: the longest pattern that takes it
    /// counts, and of equally long ones that which allows it.
    pub(super) fn may(&self, path: &str) -> bool {
        let path = compared(path, "");
        let taking = self.0.iter().filter(|rule| takes(&rule.pattern, &path));
        let longest = taking.max_by_key(|rule| (rule.pattern.len(), rule.is_allowed));
        longest.is_none_or(|rule| rule.is_allowed)
    }
}

/// A pattern as it is compared. A `$` means something at its end only.
fn pattern(value: &str) -> String {
    match value.strip_suffix('$') {
        Some(value) => compared(value, "*") + "$",
        None => compared(value, "*"),
    }
}

/// Whether a pattern takes a path: `*` is anything, `$` the end, and else it is a beginning.
fn takes(pattern: &str, path: &str) -> bool {
    let (pattern, is_whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.splitn(STARS_MAX + 1, '*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return !is_whole || rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    // Of a pattern with too many stars the end is not looked at.
    match (last.contains('*'), is_whole) {
        (true, _) => true,
        (false, true) => rest.ends_with(last),
        (false, false) => rest.contains(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_counts_and_what_is_said_to_us_by_name() {
        let all = "User-agent: *\nDisallow: /private/ # not here\nDisallow:\nAllow: /private/x";
        let own = format!("{all}\nUser-agent: other\nUser-Agent: Lockgate\nDisallow: /only\n");
        let several = "user-agent: a\nuser-agent: *\ndisallow: /a\nuser-agent: b\ndisallow: /";
        for (text, path, may) in [
            (all, "/a", true),
            (all, "/private/a", false),
            (all, "/private/xy", true),
            (own.as_str(), "/private/a", true),
            (own.as_str(), "/only/a", false),
            (several, "/ab", false),
            (several, "/b", true),
            ("", "/", true),
            ("<html>no", "/", true),
            ("user-agent: *\ndisallow: /", "/", false),
            ("user-agent: *\ndisallow: /x\nallow: /x", "/x", true),
            ("user-agent: lockgate\nuser-agent: *\nallow: /", "/x", true),
        ] {
            assert_eq!(Robots::read(text).may(path), may, "{text:?} {path}");
        }
    }

    #[test]
    fn patterns_and_paths_are_compared_in_one_form() {
        for (pattern, path, is_taken) in [
            ("/docs/%7Eprivate/", "/docs/~private/a", true),
            ("/docs/~private/", "/docs/%7eprivate/a", true),
            ("/a.html", "/a%2Ehtml", true),
            ("/ä/b c", "/%C3%A4/b%20c", true),
            ("/%c3%a4", "/%C3%A4", true),
            ("/a%2fb", "/a%2Fb", true),
            ("/a%2fb", "/a/b", false),
            ("/x?q='{", "/x?q=%27%7B", true),
            ("/%2A$", "/*", true),
            ("/%2A", "/x", false),
            ("/a%24", "/a$b", true),
            ("/a$b", "/a$b", true),
            ("/%", "/%", true),
        ] {
            let robots = Robots::read(&format!("user-agent: *\ndisallow: {pattern}"));
            assert_eq!(!robots.may(path), is_taken, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_have_stars_and_an_end() {
        for (pattern, path, is_taken) in [
            ("/a", "/abc", true),
            ("/a$", "/abc", false),
            ("/a$", "/a", true),
            ("/*.pdf$", "/x/y.pdf", true),
            ("/*.pdf$", "/x/y.pdf?z", false),
            ("/*/b/*c", "/a/b/d/c/e", true),
            ("/*/b/*c", "/a/d/c", false),
            ("*x", "/y/x", true),
            ("/a*", "/a", true),
            (&format!("/{}b", "*a".repeat(40)), &format!("/{}", "a".repeat(40)), true),
        ] {
            assert_eq!(takes(pattern, path), is_taken, "{pattern} {path}");
        }
    }
}
