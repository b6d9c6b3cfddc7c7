//! What the arguments of a tool are probably for, and what it probably returns: by their names.
//!
//! Guesses for a person to correct. Where a guess could make a call seem more harmless than it is
//! (which fields can be relied upon), it is written as a comment.

use super::words;
use crate::bundle::text;
use lockgate_types::Json;
use lockgate_types::call::Effect;
use std::fmt::Write as _;

/// Fields that are named in one proposal.
const FIELDS_MAX: usize = 16;

/// Last words of argument names, with their role. The first that fits counts.
const ROLES: [(&str, &[&str]); 12] = [
    ("credential", &["password", "token", "secret", "passphrase", "credential", "pin", "apikey"]),
    ("payee", &["iban", "payee", "beneficiary", "creditor", "account"]),
    ("amount", &["amount", "price", "total", "sum", "budget", "cost"]),
    (
        "principal",
        &[
            "to",
            "cc",
            "bcc",
            "recipient",
            "recipients",
            "email",
            "emails",
            "user",
            "users",
            "username",
            "participant",
            "participants",
            "attendee",
            "attendees",
            "invitee",
            "member",
            "members",
            "assignee",
            "phone",
            "person",
            "owner",
        ],
    ),
    ("audience", &["channel", "group", "team", "audience", "visibility", "room"]),
    ("profile", &["street", "city", "birthday", "firstname", "lastname"]),
    (
        "time",
        &[
            "date", "time", "start", "end", "due", "deadline", "day", "at", "since", "until",
            "timezone",
        ],
    ),
    ("label", &["subject", "title", "label", "headline"]),
    (
        "content",
        &[
            "body",
            "text",
            "content",
            "contents",
            "message",
            "description",
            "comment",
            "note",
            "notes",
            "html",
            "markdown",
            "summary",
            "attachments",
        ],
    ),
    (
        "low",
        &[
            "limit", "page", "cursor", "offset", "sort", "order", "count", "max", "results",
            "verbose", "format", "lang", "language",
        ],
    ),
    (
        "resource",
        &["id", "ids", "path", "file", "filename", "key", "repo", "repository", "folder", "table"],
    ),
    // Last: a file has a path even where it is a link.
    ("url", &["url", "urls", "uri", "href", "link", "webhook", "endpoint", "callback"]),
];

/// Words of a tool's name that say whose words it returns; the gravest first.
const ORIGINS: [(&str, &[&str]); 3] = [
    (
        "anyone",
        &[
            "email",
            "emails",
            "mail",
            "inbox",
            "message",
            "messages",
            "issue",
            "issues",
            "comment",
            "comments",
            "review",
            "reviews",
            "web",
            "page",
            "fetch",
            "search",
            "ticket",
            "tickets",
            "post",
            "posts",
            "file",
            "files",
            "document",
            "documents",
        ],
    ),
    ("directory", &["members", "employees", "colleagues"]),
    (
        "system",
        &["time", "date", "balance", "version", "health", "status", "count", "uptime", "quota"],
    ),
];

/// Words of a tool's name that say who may see what it returns; the gravest first.
const CONFIDENTIALITY: [(&str, &[&str]); 3] = [
    ("restricted", &["password", "passwords", "secret", "secrets", "credential", "credentials"]),
    (
        "confidential",
        &[
            "email",
            "emails",
            "mail",
            "inbox",
            "message",
            "messages",
            "contact",
            "contacts",
            "balance",
            "account",
            "accounts",
            "invoice",
            "invoices",
            "payment",
            "payments",
            "transaction",
            "transactions",
            "salary",
            "calendar",
            "customer",
            "customers",
            "user",
            "users",
            "iban",
            "employee",
            "employees",
            "patient",
            "medical",
        ],
    ),
    ("public", &["time", "date", "weather", "web", "version", "wikipedia", "news"]),
];

/// Fields that backing systems often set themselves.
const GUARANTEED: [&str; 8] =
    ["id", "sender", "owner", "author", "created_at", "updated_at", "timestamp", "date"];

/// The role that an argument has by its name, in a tool of this effect.
fn role(argument: &str, effect: Effect) -> Option<&'static str> {
    let words = words(argument);
    let last = words.last()?.as_str();
    let joined = words.concat();
    let (role, _) = ROLES
        .iter()
        .find(|(_, names)| names.contains(&last) || names.contains(&joined.as_str()))?;
    Some(match (*role, effect) {
        ("url", Effect::Read | Effect::Nav) => "nav_url",
        ("url", Effect::Write | Effect::Egress | Effect::Destructive) => "egress_url",
        (role, _) => role,
    })
}

/// The role of an argument whose name says nothing: the gravest that its values can have.
fn unknown(schema: &Json) -> &'static str {
    let is_closed = schema.get("enum").is_some() || schema.get("const").is_some();
    match schema.get("type").and_then(Json::as_str) {
        _ if is_closed => "low",
        Some("boolean") => "low",
        Some("integer" | "number") => "amount",
        _ => "principal",
    }
}

/// Writes `roles`, before the pin.
pub(super) fn write_roles(schema: Option<&Json>, effect: Effect, out: &mut String) {
    let arguments = schema.and_then(|schema| schema.at(&["properties"])).and_then(Json::as_object);
    let known = arguments.into_iter().flat_map(|arguments| arguments.iter());
    // A dot separates the names of nested fields.
    let plain = known.filter(|(name, _)| !name.is_empty() && !name.contains('.'));
    let roles = plain.filter_map(|(name, schema)| {
        // What nobody knows by its name may be what an attacker would choose.
        let gravest = || (effect != Effect::Read).then(|| unknown(schema));
        Some((name, role(name, effect).or_else(gravest)?))
    });
    let roles: Vec<String> =
        roles.map(|(name, role)| format!("{} = \"{role}\"", text::key(name))).collect();
    if !roles.is_empty() {
        let _ = writeln!(out, "roles = {{ {} }}", roles.join(", "));
    }
}

/// Writes the table `returns`, which ends a declaration.
pub(super) fn write_returns(name: &str, tool: &Json, effect: Effect, out: &mut String) {
    let words = words(name);
    let says = |table: &[(&'static str, &[&str])]| {
        let found = table.iter().find(|(_, of)| words.iter().any(|it| of.contains(&it.as_str())));
        found.map(|(word, _)| *word)
    };
    let origin = says(&ORIGINS).unwrap_or("anyone");
    let confidentiality = says(&CONFIDENTIALITY).unwrap_or("internal");
    let _ = writeln!(out, "\n[tool.{}.returns]", text::key(name));
    let _ = writeln!(out, "origin = \"{origin}\"");
    let _ = writeln!(out, "confidentiality = \"{confidentiality}\"");
    let makes = words.first().is_some_and(|word| matches!(word.as_str(), "create" | "add" | "new"));
    if effect == Effect::Write && makes {
        out.push_str("# owned = true           # if what comes back was made by this call\n");
    }
    let mut fields = Vec::new();
    collect_fields(tool.get("outputSchema"), 0, &mut fields);
    let guaranteed: Vec<&str> =
        GUARANTEED.into_iter().filter(|field| fields.iter().any(|it| it == field)).collect();
    if !guaranteed.is_empty() {
        let fields = text::strings(&guaranteed);
        let _ = writeln!(out, "# guaranteed = {fields}   # if its system sets them itself");
    }
    let has = |name: &str| fields.iter().any(|field| field == name);
    let named_by = ["name", "title", "subject"].into_iter().find(|name| has(name));
    if let Some(named_by) = named_by.filter(|_| has("id")) {
        let _ = writeln!(out, "# object = {{ id = \"id\", named_by = [\"{named_by}\"] }}");
    }
}

/// Names of fields of a result, at any depth.
fn collect_fields(schema: Option<&Json>, depth: usize, fields: &mut Vec<String>) {
    const DEPTH_MAX: usize = 8;
    let Some(schema) = schema.filter(|_| depth < DEPTH_MAX) else { return };
    let properties = schema.get("properties").and_then(Json::as_object);
    for (name, member) in properties.into_iter().flat_map(|it| it.iter()) {
        if fields.len() < FIELDS_MAX
            && GUARANTEED.iter().chain(&["name", "title", "subject"]).any(|it| *it == name)
        {
            fields.push(name.to_owned());
        }
        collect_fields(Some(member), depth + 1, fields);
    }
    collect_fields(schema.get("items"), depth + 1, fields);
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn arguments_have_roles_by_their_names() {
        for (argument, effect, expected) in [
            ("recipients", Effect::Egress, Some("principal")),
            ("recipientEmail", Effect::Egress, Some("principal")),
            ("iban", Effect::Write, Some("payee")),
            ("api_key", Effect::Write, Some("credential")),
            ("new_password", Effect::Write, Some("credential")),
            ("url", Effect::Nav, Some("nav_url")),
            ("webhook_url", Effect::Egress, Some("egress_url")),
            ("file_id", Effect::Read, Some("resource")),
            ("start_time", Effect::Read, Some("time")),
            ("max_results", Effect::Read, Some("low")),
            ("frobnication", Effect::Write, None),
            ("", Effect::Read, None),
        ] {
            assert_eq!(role(argument, effect), expected, "{argument}");
        }
    }

    #[test]
    fn what_can_be_relied_upon_stays_a_comment() {
        let tool = r#"{"outputSchema":{"properties":{"messages":{"items":{"properties":
            {"id":{},"subject":{},"sender":{}}}}}}}"#;
        let tool = Json::parse(tool.as_bytes(), &JsonLimits::OWN).unwrap();
        let mut out = String::new();
        write_returns("search_emails", &tool, Effect::Read, &mut out);
        assert_eq!(
            out,
            "\n[tool.search_emails.returns]\norigin = \"anyone\"\nconfidentiality = \
             \"confidential\"\n# guaranteed = [\"id\", \"sender\"]   # if its system sets them \
             itself\n# object = { id = \"id\", named_by = [\"subject\"] }\n"
        );
        let mut out = String::new();
        write_returns("frobnicate", &Json::Null, Effect::Write, &mut out);
        assert!(out.contains("\"anyone\"") && out.contains("\"internal\""));
    }
}
