//! Random policies, of what people write: also such as no filter can say, and such as cannot always
//! be evaluated.

use crate::organisation::{Dice, Organisation};

/// What no filter can say.
pub(crate) const UNSUPPORTED: &[&str] = &[
    "resource.id like \"d1*\"",
    "resource.id == \"d3\"",
    "resource.changed == resource.confirmed",
    "resource.tags == [\"pii\"]",
    "resource.tags.isEmpty()",
    "resource.changed * 2 > 9",
    "[\"pii\", \"draft\"].containsAll(resource.tags)",
    "resource.kind like \"*t*\"",
    "resource.confirmed - resource.changed > 5",
];

const READERS: &str = "resource has readers && (resource.readers.everyone || \
     context.subject in resource.readers.users || principal in resource.readers.groups)";
const DENIED: &str = "resource.denied.everyone || principal in resource.denied.groups || \
     context.subject in resource.denied.users";

const CLAUSES: &[&str] = &[
    READERS,
    READERS,
    DENIED,
    "resource.level <= context.clearance",
    "resource.level > 1",
    "resource.level == 2",
    "-resource.level < -1",
    "3 - resource.level >= 2",
    "resource.classification == \"restricted\"",
    "resource.classification != \"public\"",
    "resource.classification like \"*nt*\"",
    "[\"public\", \"internal\"].contains(resource.classification)",
    "resource.tags.contains(\"pii\")",
    "resource.tags.containsAll([\"draft\", \"legal\"])",
    "resource.tags.containsAny([\"secret\", \"legal\"])",
    "[\"pii\", \"secret\"].containsAny(resource.tags)",
    "!resource.tags.contains(\"draft\")",
    "resource.kind == \"runbook\"",
    "\"note\" != resource.kind",
    "[\"template\", \"note\"].contains(resource.kind)",
    "resource has owner && resource.owner == context.subject",
    "resource has owner && context.subject in resource.owner",
    "!(resource has owner)",
    "resource has owner && [User::\"u0\", User::\"u1\"].contains(resource.owner)",
    "resource has owner && resource.owner is User && resource.level < 2",
    "!(resource has readers)",
    "resource has readers.everyone && resource.readers.everyone",
    "resource has readers && resource.readers.groups.containsAny([Group::\"g0\", Group::\"g2\"])",
    "resource has readers && !resource.readers.users.contains(User::\"u1\")",
    "resource.denied.everyone == false",
    "resource in Source::\"tickets\"",
    "resource in [Source::\"tickets\", Source::\"foreign\"]",
    "resource == Document::\"handbook/d3\" || resource.kind == \"ticket\"",
    "resource in Tenant::\"acme\"",
    "resource.curation == \"generated\"",
    "resource.curation like \"c*\"",
    "resource.tenant == context.tenant",
    "resource.source == \"handbook\"",
    "resource.confirmed >= 1699900000000000",
    "resource.changed < context.now - 86400000000",
    "context.now - resource.changed <= 172800000000",
    "resource.changed + 9223372036854770000 > 5",
    "resource.confirmed - 5 == 1699999999999995",
    "-resource.changed < 0",
    "if resource.level > 1 then principal in Group::\"g1\" else resource.kind != \"ticket\"",
    "if resource has owner then resource.owner != context.subject else resource.level == 0",
    "if context.mode == \"locked\" then resource.id like \"x*\" else resource.kind == \"note\"",
    "context.mode == \"locked\" && resource.id == \"x\"",
    "context.mode != \"locked\" || resource.tags == [\"x\"]",
    "principal in Group::\"g2\" && resource.kind != \"note\"",
    "context.agent in Group::\"g3\" || resource.level == 1",
    "context.mode == \"normal\"",
    "context has task && context.task == \"triage\" || resource.level == 0",
    "context.flow.is_asked || resource.level > 2",
    "resource.level > 2 && context.flow.is_tied",
    "context.history.contains(\"effect:write\") && resource.kind == \"note\"",
    "(resource.kind == \"note\" || resource.level > 1) && !(resource has owner)",
    "!(resource.level > 0 && resource.changed + 9223372036854770000 > 5)",
    "resource.changed + 9223372036854770000 > 5 || resource.kind == \"note\"",
    "(resource.level == 1) == true",
    "context.clearance > 1 && resource.level < context.clearance + 1",
];

/// Permits, so that something is seen.
const BASE: &str = "@id(\"agents\")\n\
     permit (principal is Agent, action == Action::\"retrieve\", resource)\n\
     when { resource.level <= context.clearance || resource.kind != \"note\" };\n\
     @id(\"readers\")\npermit (principal is User, action == Action::\"retrieve\", resource)\n\
     when { ";

/// The policies of an organisation.
pub(crate) fn random(dice: &mut Dice, of: &Organisation) -> String {
    let mut text = String::new();
    if !dice.is(5) {
        text = format!("{BASE}{READERS} }};\n");
    }
    if !dice.is(3) {
        text +=
            "@id(\"kept\")\nforbid (principal, action == Action::\"retrieve\", resource)\nwhen { ";
        text += DENIED;
        text += " };\n";
    }
    let folders = of.folder_paths();
    let count = 2 + dice.roll(5);
    for at in 0..count {
        text += &one(dice, of, &folders, at);
    }
    text
}

fn one(dice: &mut Dice, of: &Organisation, folders: &[String], at: usize) -> String {
    let force = *dice.pick(&["permit", "permit", "permit", "forbid", "forbid"]);
    let group = dice.roll(of.groups.len());
    let user = dice.roll(of.users.len());
    let principal = match dice.roll(9) {
        0..3 => "principal".to_owned(),
        3 => "principal is User".to_owned(),
        4 => "principal is Agent".to_owned(),
        5 => format!("principal in Group::\"g{group}\""),
        6 => format!("principal == User::\"u{user}\""),
        7 => "principal in Tenant::\"acme\"".to_owned(),
        _ => format!("principal is User in Group::\"g{group}\""),
    };
    let folder = match folders {
        [] => "handbook/none".to_owned(),
        folders => dice.pick(folders).clone(),
    };
    let resource = match dice.roll(10) {
        0..4 => "resource".to_owned(),
        4 => "resource is Document".to_owned(),
        5 | 6 => format!("resource in Folder::\"{folder}\""),
        7 => format!("resource is Document in Folder::\"{folder}\""),
        8 => "resource in Source::\"handbook\"".to_owned(),
        _ => {
            let document = dice.pick(&of.documents);
            format!("resource == Document::\"{}/{}\"", document.source, document.id)
        }
    };
    let action = match (dice.roll(8), resource.contains("Document")) {
        (0, true) => "action",
        (1, true) => "action in Action::\"any\"",
        (2, true) => "action in [Action::\"read\", Action::\"retrieve\"]",
        _ => "action == Action::\"retrieve\"",
    };
    let mut text = format!("@id(\"p{at}\")\n{force} ({principal}, {action}, {resource})");
    for _ in 0..dice.roll(3) + usize::from(force == "forbid") {
        let word = *dice.pick(&["when", "when", "unless"]);
        let clause = match dice.roll(26) {
            0 => (*dice.pick(UNSUPPORTED)).to_owned(),
            1 | 2 => format!("resource in Folder::\"{folder}\""),
            _ => (*dice.pick(CLAUSES)).to_owned(),
        };
        text += &format!("\n{word} {{ {clause} }}");
    }
    text + ";\n"
}
