//! Credentials in text.
//!
//! Three ways to know one: it begins as its issuer makes them begin, it stands where something is
//! called a secret, or its frame says so. What has a check of its own is checked, what is said to
//! be random has to look random, and what stands for a secret in examples is left alone.

mod forms;
mod random;

use crate::runs::runs;
use crate::signal::{Kind, Signal};
use forms::{Form, token_of};
use random::{entropy, passes_crc, variety};
use regex::{Captures, Regex};
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes of the shortest token that is known by how it begins.
const TOKEN_LEAST: usize = 16;
/// Bytes of the shortest value that is known by its name.
const VALUE_LEAST: usize = 12;
/// Bytes of the longest token.
const TOKEN_MAX: usize = 4096;
/// Bytes before a value in which its name stands.
const NAME_WITHIN: usize = 64;
/// Bits of each byte, in hundredths, that a value known by its name has at least.
const ENTROPY_LEAST: u32 = 270;

/// Frames that say what is in them.
static FRAMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"-----(?i:BEGIN[ A-Z0-9_-]{0,40}PRIVATE KEY(?: BLOCK)?)-----(?P<pem>)",
        r"|://[^\s/:@?#]{1,64}:(?P<url>[^\s/@?#]{3,})@",
        r"|(?i:authorization)[^\S\n]{0,2}[:=][^\S\n]{0,2}.{0,2}(?i:basic|bearer|token) ",
        r"(?P<header>[A-Za-z0-9_.~+/=-]{8,})",
        r#"|(?-u:\b)curl\s[^\n]{0,128}?(?:-u|--user)[ =]{1,3}["']?"#,
        r#"(?P<user>[^\s"':]{1,64}:[^\s"']{3,})"#,
    ))
    .ok()
});
/// What people call a secret, and a value of any characters after it.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?i)(?:passw(?:or)?d|passwd|pwd|passphrase|passcode|secret)[\w-]{0,16}["'`]?\s{0,3}"#,
        r#"(?:=>|:=|=|:|(?-u:\b)is|value=)\s{0,3}(?:["'`](?P<quoted>[^\s"'`]{6,64})["'`]|"#,
        r#"(?P<bare>[^\s"'`<>,;&]{8,64}))"#,
    ))
    .ok()
});

/// Finds secrets.
pub(crate) fn find(text: &str, signals: &mut Vec<Signal>) {
    let from = signals.len();
    framed(text, signals);
    for run in runs(text, VALUE_LEAST) {
        if let Some(signal) = token(text, &run).or_else(|| value(text, &run)) {
            signals.push(signal);
        }
    }
    named(text, signals);
    apart(signals, from);
}

/// The bytes of every secret, in order and apart: for redaction.
pub(crate) fn find_bytes(text: &str) -> Vec<Range<usize>> {
    let mut signals = Vec::new();
    find(text, &mut signals);
    signals.into_iter().map(|signal| signal.start..signal.end).collect()
}

/// Of finds that overlap the surest stays, then the longest.
fn apart(signals: &mut Vec<Signal>, from: usize) {
    let mut found: Vec<Signal> = signals.drain(from..).collect();
    found.sort_by_key(|it| (it.start, u16::MAX - it.score, usize::MAX - it.end));
    for signal in found {
        match signals.get_mut(from..).and_then(<[Signal]>::last_mut) {
            Some(last) if last.end > signal.start => {
                let end = last.end.max(signal.end);
                if signal.score > last.score {
                    (last.class, last.score) = (signal.class, signal.score);
                }
                last.end = end;
            }
            _ => signals.push(signal),
        }
    }
}

fn framed(text: &str, signals: &mut Vec<Signal>) {
    let Some(pattern) = FRAMES.as_ref() else { return };
    // Every frame has one of these signs. Few texts have a frame, and to say of what parts one is
    // made costs more than to say that it is there.
    let has = |sign: u8| text.as_bytes().contains(&sign);
    if !(has(b':') || has(b'-') || has(b'=')) || !pattern.is_match(text) {
        return;
    }
    let mut free = 0;
    for found in pattern.captures_iter(text) {
        let Some(whole) = found.get(0).filter(|whole| whole.start() >= free) else { continue };
        let (class, bytes) = if found.name("pem").is_some() {
            let rest = text.get(whole.end()..).unwrap_or_default();
            let until = rest.ceil_char_boundary(rest.len().min(TOKEN_MAX * 4));
            let body = rest.get(..until).unwrap_or_default();
            let end = body.find("-----END").and_then(|at| {
                let tail = body.get(at + 8..)?;
                Some(at + 8 + tail.find("-----")? + 5)
            });
            // Without an end it was cut: what is there is still a key.
            let end = end.unwrap_or_else(|| body.find("\n\n").unwrap_or(body.len()));
            ("private_key", whole.start()..whole.end() + end)
        } else if let Some(password) = found.name("url").filter(|it| is_meant(it.as_str())) {
            ("password_in_address", password.range())
        } else if let Some(pair) = found.name("user").filter(|it| is_meant(it.as_str())) {
            ("password_on_command_line", pair.range())
        } else if let Some(value) = found.name("header").filter(|it| is_meant(it.as_str())) {
            ("authorization", value.range())
        } else {
            continue;
        };
        free = bytes.end;
        signals.push(Signal::new(Kind::Secret, class, bytes, 900));
    }
}

/// A token that is known by how it begins, anywhere in a run where a part of it does.
fn token(text: &str, run: &Range<usize>) -> Option<Signal> {
    let whole = text.get(run.clone())?;
    if whole.len() < TOKEN_LEAST {
        return None;
    }
    let bytes = whole.as_bytes();
    let mut before = b' ';
    for (at, byte) in bytes.iter().enumerate() {
        let begins = !before.is_ascii_alphanumeric() && before != b'_';
        before = *byte;
        if !begins {
            continue;
        }
        let rest = whole.get(at..)?;
        if let Some((form, length)) = token_of(rest) {
            let start = run.start + at;
            return judge(text, form, start..start + length);
        }
    }
    marked(text, run)
}

/// A token that is known by a mark within it, or by a number before it.
fn marked(text: &str, run: &Range<usize>) -> Option<Signal> {
    let whole = text.get(run.clone()).filter(|whole| whole.len() >= 27)?;
    let number = |mark: char, least: usize| -> Option<usize> {
        let head = text.get(..run.start)?.strip_suffix(mark)?;
        let digits = head.bytes().rev().take_while(u8::is_ascii_digit).count();
        (digits >= least).then(|| head.len() - digits)
    };
    let has = |mark: &str, before: usize, after: usize| {
        whole.find(mark).is_some_and(|at| at >= before && whole.len() - at - mark.len() >= after)
    };
    let (class, start) = if has(".atlasv1.", 14, 60) {
        ("hashicorp_token", run.start)
    } else if whole.ends_with("_mmk") {
        ("maxmind_key", run.start)
    } else if has("Q~", 4, 31) {
        ("azure_secret", run.start)
    } else if let Some(start) = number(':', 5).filter(|_| whole.starts_with('A')) {
        ("telegram_token", start)
    } else if let Some(start) = number('|', 15).or_else(|| number('%', 15)) {
        ("facebook_token", start)
    } else if whole.starts_with("ey") && has(".ey", 15, 15) {
        ("jwt", run.start)
    } else if has("/webhookb2/", 1, 40) || has("webhook.office.com/", 0, 40) {
        ("teams_webhook", run.start)
    } else {
        return None;
    };
    (entropy(whole.as_bytes()) >= ENTROPY_LEAST)
        .then(|| Signal::new(Kind::Secret, class, start..run.end, 900))
}

fn judge(text: &str, form: &Form, bytes: Range<usize>) -> Option<Signal> {
    let token = text.get(bytes.clone())?;
    let body = token.get(form.prefix.len()..)?;
    // The key that Amazon's own pages show has the form of a real one, and is taken for one: it is
    // what people try a guard with.
    let is_shown = is_placeholder(body) && !body.ends_with("7EXAMPLE");
    if is_shown || entropy(body.as_bytes()) < form.entropy {
        return None;
    }
    let is_proved = form.has_crc && passes_crc(body);
    let score = if is_proved { 1000 } else { 900 };
    Some(Signal::new(Kind::Secret, form.class, bytes, score))
}

/// Words that say that a value is secret; each stands for names that hold it.
#[rustfmt::skip]
const SECRET_NAMES: &[&str] = &[
    "secret", "token", "apikey", "api_key", "api-key", "api key", "passw", "pwd", "credential",
    "creds", "auth", "access_key", "accesskey", "access-key", "private_key", "privatekey",
    "signing", "encryption", "client_id", "clientid", "license_key", "webhook", "session", "key",
    "bearer", "pat", "sas", "connectionstring", "login",
];
/// Services whose values are keys, whatever they are called.
#[rustfmt::skip]
const SERVICES: &[&str] = &[
    "adafruit", "adobe", "airtable", "algolia", "alibaba", "asana", "atlassian", "azure", "aws",
    "beamer", "bitbucket", "bittrex", "circleci", "clojars", "cloudflare", "codecov", "cohere",
    "coinbase", "confluence", "confluent", "contentful", "databricks", "datadog", "digitalocean",
    "discord", "dnkey", "doppler", "droneci", "dropbox", "dynatrace", "easypost", "etsy",
    "facebook", "fastly", "finicity", "finnhub", "firebase", "flickr", "freshbooks", "gcp",
    "github", "gitlab", "gitter", "gocardless", "google", "grafana", "heroku", "hubspot",
    "huggingface", "intercom", "jfrog", "artifactory", "bintray", "xray", "jira", "kraken",
    "kucoin", "launchdarkly", "linear", "linkedin", "linked_in", "linked-in", "lob", "looker",
    "mailchimp", "mailgun", "mapbox", "mattermost", "meraki", "messagebird", "message_bird",
    "message-bird", "mongodb", "netlify", "newrelic", "new-relic", "new_relic", "notion", "npm",
    "nytimes", "newyorktimes", "new-york-times", "okta", "openai", "pagerduty", "paypal", "plaid",
    "postman", "private_ai", "private-ai", "privateai", "pulumi", "rapidapi", "sendbird",
    "sendgrid", "sendinblue", "sentry", "shippo", "shopify", "slack", "snyk", "sonar", "square",
    "squarespace", "stripe", "sumo", "telegr", "travis", "trello", "twilio", "twitch", "twitter",
    "typeform", "vault", "vercel", "yandex", "zendesk", "zoom", "bundle_", "sidekiq", "tf_",
    "instagram", "spotify", "supabase", "mixpanel", "segment", "stytch", "auth0", "clerk",
];
/// Names of values that look random and are no secrets.
#[rustfmt::skip]
const OPEN_NAMES: &[&str] = &[
    "sha1", "sha256", "sha512", "sha-", "hash", "digest", "checksum", "commit", "revision",
    "etag", "uuid", "guid", "integrity", "fingerprint", "public", "keyboard", "keyword", "md5",
    "version", "author", "tokeniz", "pattern", "path",
];

static IS_SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| any_of(SECRET_NAMES));
static IS_SERVICE: LazyLock<Option<Regex>> = LazyLock::new(|| any_of(SERVICES));
static IS_OPEN: LazyLock<Option<Regex>> = LazyLock::new(|| any_of(OPEN_NAMES));

fn any_of(names: &[&str]) -> Option<Regex> {
    let names: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
    Regex::new(&names.join("|")).ok()
}

/// A value that stands where something is called a secret.
fn value(text: &str, run: &Range<usize>) -> Option<Signal> {
    let name = name_before(text, run.start)?;
    let bytes = whole_value(text, run);
    let value = text.get(bytes.clone())?;
    let says =
        |names: &LazyLock<Option<Regex>>| names.as_ref().is_some_and(|names| names.is_match(&name));
    let (class, score) = match (says(&IS_SECRET), says(&IS_SERVICE)) {
        (false, false) => return None,
        (true, _) => ("named_secret", 750),
        (false, true) => ("service_key", 650),
    };
    if says(&IS_OPEN) {
        return None;
    }
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && (class != "service_key" || value.len() < 16) {
        return None;
    }
    let is_random = variety(value) >= 2
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && entropy(value.as_bytes()) >= ENTROPY_LEAST;
    let is_random = is_random || is_number || is_all_letters(value);
    (is_random && value.len() <= TOKEN_MAX && !is_placeholder(value) && !is_path(value))
        .then(|| Signal::new(Kind::Secret, class, bytes, score))
}

/// Long, of letters only, and no word: random text happens to have no digit.
fn is_all_letters(value: &str) -> bool {
    value.len() >= 20
        && value.bytes().all(|byte| byte.is_ascii_alphabetic())
        && entropy(value.as_bytes()) >= 350
        && variety(value) >= 2
}

/// A path or a name with dots, made of words.
fn is_path(value: &str) -> bool {
    let parts = value.split(['/', '.', '_', '-']);
    let is_word = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase())
            || part.bytes().all(|byte| byte.is_ascii_digit()) && part.len() <= 4
    };
    value.contains(['/', '.', '_', '-']) && parts.into_iter().all(is_word)
}

/// Padding belongs to a value, and so do a few more characters that a run has not.
fn whole_value(text: &str, run: &Range<usize>) -> Range<usize> {
    let rest = text.as_bytes().get(run.end..).unwrap_or_default();
    let is_more = |byte: &&u8| matches!(byte, b'=' | b':' | b'%' | b'|');
    let mut end = run.end;
    if rest.first().is_some_and(|byte| is_more(&byte)) {
        let more = rest.iter().take(TOKEN_MAX);
        end += more.take_while(|it| crate::runs::is_token(**it) || is_more(it)).count();
    }
    let trimmed = text.get(run.start..end).unwrap_or_default();
    run.start..run.start + trimmed.trim_end_matches(['.', ':', '|', '-', '/']).len()
}

/// The name to which a value is given, in lower case: `api_key = "`, `"apiKey": "`, `<key>`.
fn name_before(text: &str, start: usize) -> Option<String> {
    let from = text.ceil_char_boundary(start.saturating_sub(NAME_WITHIN));
    let before = text.get(from..start)?;
    // Quotes and signs come in any order: `"key": "`, `key := '`, `set("key", "`, `<key>`.
    let is_sign = |it: char| matches!(it, '=' | ':' | '>' | '|' | ',' | '?');
    let is_frame = |it: char| is_sign(it) || it.is_ascii_whitespace() || "\"'`\\[](".contains(it);
    let name = before.trim_end_matches(is_frame);
    if !before.get(name.len()..)?.contains(is_sign) {
        return None;
    }
    let is_part = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.' | ' ');
    let length: usize = name.chars().rev().take_while(|it| is_part(*it)).map(char::len_utf8).sum();
    let name = name.get(name.len() - length..)?;
    // Of a sentence only its last words are a name.
    let words: Vec<&str> = name.rsplit(' ').filter(|word| !word.is_empty()).take(3).collect();
    let name: Vec<&str> = words.into_iter().rev().collect();
    Some(name.join(" ").to_ascii_lowercase())
}

/// Values of any characters, which people choose.
fn named(text: &str, signals: &mut Vec<Signal>) {
    let Some(pattern) = NAMED.as_ref() else { return };
    if !pattern.is_match(text) {
        return;
    }
    for found in pattern.captures_iter(text) {
        let value = |name| Captures::name(&found, name);
        let Some(value) = value("quoted").or_else(|| value("bare")) else { continue };
        let text = value.as_str().trim_end_matches(['.', ')', ']', '}', '!', '?', '\\']);
        let is_chosen = variety(text) >= 2 && !text.bytes().all(|it| it.is_ascii_alphabetic());
        if text.len() >= 6 && is_chosen && is_meant(text) && !is_path(text) {
            let bytes = value.start()..value.start() + text.len();
            signals.push(Signal::new(Kind::Secret, "password", bytes, 700));
        }
    }
}

fn is_meant(value: &str) -> bool {
    !is_placeholder(value) && !value.contains(['{', '<', '(', '[']) && !value.starts_with('$')
}

/// What stands in examples for a secret.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let says = |word: &&str| lower.contains(*word);
    let stands = [
        "xxxx",
        "****",
        "....",
        "example",
        "changeme",
        "change_me",
        "placeholder",
        "your_",
        "your-",
        "insert_",
        "dummy",
        "redacted",
        "1234567890",
        "abcdefgh",
    ];
    let mut bytes = value.bytes();
    let first = bytes.next();
    let is_one = bytes.all(|byte| Some(byte) == first);
    is_one || stands.iter().any(says)
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "spans that cut a character should make a test fail")]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&'static str, &str)> {
        let mut signals = Vec::new();
        find(text, &mut signals);
        signals.iter().map(|it| (it.class, &text[it.start..it.end])).collect()
    }

    /// A token of a form, made here so that no scanner takes it for somebody's.
    fn made(prefix: &str, length: usize) -> String {
        let letters = b"q7Rk2ZvT9mXc4LwB8sHn3JdY6gPf5KaE";
        let body = (0..length).map(|at| char::from(letters[at * 7 % letters.len()]));
        format!("{prefix}{}", body.collect::<String>())
    }

    #[test]
    fn tokens_are_known_by_how_they_begin() {
        for (class, token) in [
            ("github_token", made("ghp_", 36)),
            ("gitlab_token", made("glpat-", 20)),
            ("stripe_key", made("sk_live_", 24)),
            ("google_api_key", made("AIza", 35)),
            ("openai_key", made("sk-proj-", 60)),
            ("slack_token", made("xoxb-", 40)),
            ("aws_access_key", made("AKIA", 16).to_uppercase()),
            ("jwt", format!("{}.{}.{}", made("eyJ", 20), made("eyJ", 30), made("", 40))),
            ("hashicorp_token", format!("{}.atlasv1.{}", made("", 14), made("", 64))),
            ("telegram_token", format!("123456789:{}", made("AA", 33))),
        ] {
            for text in [token.clone(), format!("x={token};"), format!("see \"{token}\".")] {
                assert_eq!(found(&text), [(class, token.as_str())], "{text}");
            }
        }
    }

    #[test]
    fn values_are_known_by_their_names() {
        let value = made("", 32).to_lowercase();
        for (class, before, after) in [
            ("named_secret", "api_key = \"", "\""),
            ("named_secret", "{\"apiKey\": \"", "\"}"),
            ("named_secret", "X-Auth-Token: ", ""),
            ("named_secret", "<clientSecret>", "</clientSecret>"),
            ("named_secret", "client_secret=", "&x=1"),
            ("named_secret", "set(\"access_key\", \"", "\")"),
            ("service_key", "adafruit := `", "`"),
        ] {
            let text = format!("{before}{value}{after}");
            let found = found(&text);
            assert!(found.contains(&(class, value.as_str())), "{text}: {found:?}");
        }
    }

    #[test]
    fn frames_and_passwords_are_found() {
        for (class, text, part) in [
            (
                "private_key",
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
                "",
            ),
            ("password_in_address", "postgres://app:s3cr3t-pw@db.internal/x", "s3cr3t-pw"),
            ("authorization", "Authorization: Basic dXNlcjpwYXNzdzByZA==", "dXNlcjpwYXNzdzByZA=="),
            ("password_on_command_line", "curl -u 'ada:hunter2' https://x", "ada:hunter2"),
            ("password", "password: hunter2!x", "hunter2!x"),
            ("password", "the password is Tr0ub4dor", "Tr0ub4dor"),
            ("password", "db_password = 'p@ss w0rd'; pwd='Xy7!ab'", "Xy7!ab"),
        ] {
            let part = if part.is_empty() { text } else { part };
            assert_eq!(found(text), [(class, part)], "{text}");
        }
    }

    #[test]
    fn a_token_that_passes_its_check_is_certain() {
        let token = "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";
        let mut signals = Vec::new();
        find(token, &mut signals);
        assert_eq!(signals.first().map(|it| it.score), Some(1000));
        signals.clear();
        find(&token.replace("mLq17", "mLq18"), &mut signals);
        assert_eq!(signals.first().map(|it| it.score), Some(900));
    }

    #[test]
    fn the_key_that_everybody_tries_is_found() {
        let text = "key AKIAIOSFODNN7EXAMPLE here";
        assert_eq!(found(text), [("aws_access_key", "AKIAIOSFODNN7EXAMPLE")]);
    }

    #[test]
    fn what_is_no_secret_is_left_alone() {
        for text in [
            "api_key = \"YOUR_API_KEY_GOES_HERE_12345\"",
            "token: xxxxxxxxxxxxxxxxxxxxxxxx",
            "AKIAXXXXXXXXXXXXXXXX",
            "password: ${DB_PASSWORD}",
            "password = \"changeme\"",
            "sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            "commit: 3f786850e387550fdab836ed7e6dc881de23001b",
            "id: 550e8400-e29b-41d4-a716-446655440000",
            "the secret of a good life is patience",
            "password must be changed every month",
            "key: internationalisation",
            "token_path = \"conf/secrets/token-file.json\"",
            "https://example.com/a/rather/long/path/to/something",
            "ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "It was called counterrevolutionaries, 1234567890123456",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
