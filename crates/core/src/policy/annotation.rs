//! The annotations there are, read once at load. One that is not here is a mistake, so a misspelt
//! obligation cannot be silently ignored.

use super::Force;
use crate::statement;
use lockgate_types::decision::{Obligation, RowFilter, StepUp};
use std::collections::BTreeMap;

/// Every annotation, as a hint lists them.
const KNOWN: &str = "there are `@id`, `@reason`, `@remedy`, `@obligation_redact`, \
     `@obligation_mask`, `@obligation_cap`, `@obligation_rows`, `@obligation_log`, \
     `@obligation_links`, `@step_up` \
     and `@require_approval`";
/// Kinds of personal data that `pii:<kind>` can name.
pub(super) const PII_KINDS: [&str; 6] = ["email", "phone", "card", "iban", "ip", "national_id"];
/// The target that names every secret.
const SECRETS: &str = "secret:*";
/// How row filters are written.
const FILTER_HINT: &str = "write `@obligation_rows(\"orders: region = 'EU' and owner = \
     :subject\")`, with `;` between tables; there are `:subject`, `:agent`, `:tenant` and \
     `:environment`";
/// Values of the caller's identity that a row filter can name.
pub(crate) const VALUES: [&str; 4] = ["agent", "environment", "subject", "tenant"];
/// Bytes of the row filters of one policy.
const FILTERS_BYTES_MAX: usize = 8192;
/// Bytes of a reason, a remedy or an approval: they stand in every refusal they cause.
const TEXT_BYTES_MAX: usize = 1024;

/// The annotations of one policy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Annotations {
    pub(super) id: Option<String>,
    pub(super) reason: Option<Box<str>>,
    pub(super) remedy: Option<Box<str>>,
    pub(super) approval: Option<Box<str>>,
    pub(super) step_up: Option<StepUp>,
    pub(super) obligations: Vec<Obligation>,
}

/// What is wrong, and what would mend it.
pub(super) type Fault = (String, String);

/// Reads the annotations of a policy: `(key, value)` pairs.
pub(super) fn read<'a>(
    force: Force,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Annotations, Vec<Fault>> {
    let mut annotations = Annotations::default();
    let mut faults = Vec::new();
    for (key, value) in pairs {
        if let Err(fault) = read_one(&mut annotations, force, key, value) {
            faults.push(fault);
        }
    }
    annotations.obligations.sort();
    if faults.is_empty() { Ok(annotations) } else { Err(faults) }
}

fn read_one(into: &mut Annotations, force: Force, key: &str, value: &str) -> Result<(), Fault> {
    match key {
        "id" => into.id = Some(value.to_owned()),
        "reason" => into.reason = Some(text(key, value)?),
        "remedy" => into.remedy = Some(text(key, value)?),
        "require_approval" if force == Force::Forbid => into.approval = Some(text(key, value)?),
        "step_up" if force == Force::Forbid => into.step_up = Some(step_up(value)?),
        "step_up" => {
            return Err((
                "`@step_up` stands on a permit".to_owned(),
                "write `forbid … unless { context.authentication has age_s && … }` and annotate \
                 that"
                    .to_owned(),
            ));
        }
        "require_approval" => {
            return Err((
                "`@require_approval` stands on a permit".to_owned(),
                "write `forbid … unless { context.approvals.contains(\"…\") }` and annotate \
                 that"
                    .to_owned(),
            ));
        }
        _ => match key.strip_prefix("obligation_") {
            // What it forbids is mended, not refused.
            Some("links") if force == Force::Forbid && value == "strip" => {
                into.obligations.push(Obligation::Links);
            }
            Some("links") => {
                return Err((
                    "`@obligation_links` stands on a permit, or is not \"strip\"".to_owned(),
                    "write `@obligation_links(\"strip\") forbid … unless { \
                     context.flow.links.isEmpty() }`"
                        .to_owned(),
                ));
            }
            Some(word) if force == Force::Permit => into.obligations.push(obligation(word, value)?),
            Some(_) => {
                return Err((
                    format!("`@{key}` stands on a forbid"),
                    "obligations belong to the permit that holds".to_owned(),
                ));
            }
            None => return Err((format!("unknown annotation `@{key}`"), KNOWN.to_owned())),
        },
    }
    Ok(())
}

fn text(key: &str, value: &str) -> Result<Box<str>, Fault> {
    let value = value.trim();
    if value.is_empty() || value.len() > TEXT_BYTES_MAX {
        let hint = format!("write 1 to {TEXT_BYTES_MAX} bytes");
        return Err((format!("the text of `@{key}` is empty or too long"), hint));
    }
    Ok(value.into())
}

/// `acr:phr,phrh;max_age:300`, either part or both.
fn step_up(value: &str) -> Result<StepUp, Fault> {
    let wrong = || {
        let what = format!("`{value}` in `@step_up` is not a way of signing in");
        (what, "write `@step_up(\"acr:phr;max_age:300\")`, either part or both".to_owned())
    };
    let mut needed = StepUp { acr_values: Vec::new(), max_age_s: None };
    for part in value.split(';') {
        match part.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("acr", values)) if needed.acr_values.is_empty() => {
                needed.acr_values = values.split(',').map(|acr| acr.trim().to_owned()).collect();
            }
            Some(("max_age", seconds)) if needed.max_age_s.is_none() => {
                needed.max_age_s = Some(seconds.parse().map_err(|_| wrong())?);
            }
            Some(_) | None => return Err(wrong()),
        }
    }
    // It becomes part of a header.
    let is_plain = |acr: &String| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        !acr.is_empty() && acr.bytes().all(is_plain)
    };
    if value.len() > TEXT_BYTES_MAX || !needed.acr_values.iter().all(is_plain) {
        return Err(wrong());
    }
    Ok(needed)
}

fn obligation(word: &str, value: &str) -> Result<Obligation, Fault> {
    match word {
        "redact" => Ok(Obligation::Redact(paths(word, value, true)?)),
        "mask" => Ok(Obligation::Mask(paths(word, value, false)?)),
        "cap" => value.parse().map(Obligation::Cap).map_err(|_| {
            let what = format!("`{value}` is not a number of items");
            (what, "write `@obligation_cap(\"100\")`".to_owned())
        }),
        "rows" => Ok(Obligation::Rows(filters(value)?)),
        "log" if value == "more" => Ok(Obligation::LogMore),
        "log" => Err((
            format!("`{value}` is not a way of logging"),
            "write `@obligation_log(\"more\")`".to_owned(),
        )),
        _ => Err((format!("unknown annotation `@obligation_{word}`"), KNOWN.to_owned())),
    }
}

/// `table: condition`, with `;` between several.
fn filters(value: &str) -> Result<Vec<RowFilter>, Fault> {
    let mut filters = Vec::new();
    for part in outside_quotations(value, ';') {
        let Some((table, condition)) = part.split_once(':') else {
            let what = format!("`{}` in `@obligation_rows` is not a row filter", part.trim());
            return Err((what, FILTER_HINT.to_owned()));
        };
        let (table, condition) = (table.trim().to_owned(), condition.trim().to_owned());
        if table.is_empty() || condition.is_empty() || value.len() > FILTERS_BYTES_MAX {
            let what = "a row filter lacks its table or condition, or is too long".to_owned();
            return Err((what, FILTER_HINT.to_owned()));
        }
        let read = statement::number(&condition, '$');
        let names = read.map_err(|fault| {
            (format!("the row filter of `{table}`: {}", fault.as_str()), FILTER_HINT.to_owned())
        })?;
        if let Some(name) = names.names.iter().find(|name| !VALUES.contains(&name.as_str())) {
            let what = format!("the row filter of `{table}` says `:{name}`, which is no value");
            return Err((what, FILTER_HINT.to_owned()));
        }
        filters.push(RowFilter { table, condition, values: BTreeMap::new() });
    }
    filters.sort();
    filters.dedup();
    Ok(filters)
}

/// The parts between marks that stand in no quotation.
fn outside_quotations(text: &str, mark: char) -> Vec<String> {
    let (mut parts, mut part, mut within) = (Vec::new(), String::new(), None);
    for here in text.chars() {
        match within {
            None if here == mark => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            None if here == '\'' || here == '"' => within = Some(here),
            Some(quote) if here == quote => within = None,
            None | Some(_) => {}
        }
        part.push(here);
    }
    if !part.trim().is_empty() {
        parts.push(part);
    }
    parts
}

fn paths(word: &str, value: &str, has_pii: bool) -> Result<Vec<String>, Fault> {
    let mut paths: Vec<String> = value.split(',').map(|path| path.trim().to_owned()).collect();
    if let Some(wrong) = paths.iter().find(|path| !is_path(path, has_pii)) {
        let hint = if has_pii {
            "write paths such as `customer.email` or `*.phone`, or `pii:email`, `pii:phone`, \
             `pii:card`, `pii:iban`, `pii:ip`, `pii:national_id`, or `secret:*`, \
             with commas between"
        } else {
            "write columns such as `iban` or `*.iban`, with commas between"
        };
        return Err((format!("`{wrong}` in `@obligation_{word}` is not a path"), hint.to_owned()));
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn is_path(path: &str, has_pii: bool) -> bool {
    if let Some(kind) = path.strip_prefix("pii:") {
        return has_pii && PII_KINDS.contains(&kind);
    }
    if path == SECRETS {
        return has_pii;
    }
    path.split('.').all(|name| !name.is_empty() && !name.contains([':', ';', '"']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(force: Force, key: &str, value: &str) -> Result<Annotations, Vec<Fault>> {
        read(force, std::iter::once((key, value)))
    }

    #[test]
    fn obligations_are_typed() {
        let redact = "b.c, *.a,b.c,pii:email,secret:*,pii:ip,pii:national_id";
        let pairs = [("obligation_redact", redact), ("obligation_cap", "5")];
        let read = read(Force::Permit, pairs.into_iter()).unwrap();
        let paths = ["*.a", "b.c", "pii:email", "pii:ip", "pii:national_id", "secret:*"];
        let paths = paths.map(str::to_owned).to_vec();
        assert_eq!(read.obligations, [Obligation::Redact(paths), Obligation::Cap(5)]);
    }

    #[test]
    fn row_filters_are_taken_apart() {
        let pairs = [("obligation_rows", "b: x = ';' and y = :subject; a: tenant = :tenant;")];
        let read = read(Force::Permit, pairs.into_iter()).unwrap();
        let [Obligation::Rows(filters)] = read.obligations.as_slice() else { unreachable!() };
        let filters: Vec<_> = filters.iter().map(|it| (&*it.table, &*it.condition)).collect();
        assert_eq!(filters, [("a", "tenant = :tenant"), ("b", "x = ';' and y = :subject")]);
    }

    #[test]
    fn what_is_unknown_or_misplaced_is_a_fault() {
        for (force, key, value) in [
            (Force::Permit, "obligaton_redact", "a"),
            (Force::Permit, "obligation_rename", "a"),
            (Force::Permit, "obligation_redact", "a..b"),
            (Force::Permit, "obligation_redact", ""),
            (Force::Permit, "obligation_redact", "pii:shoe"),
            (Force::Permit, "obligation_redact", "secret:key"),
            (Force::Permit, "obligation_mask", "secret:*"),
            (Force::Permit, "obligation_mask", "pii:email"),
            (Force::Permit, "obligation_cap", "many"),
            (Force::Permit, "obligation_cap", "-1"),
            (Force::Permit, "obligation_rows", "tenant = 'acme'"),
            (Force::Permit, "obligation_rows", "orders: "),
            (Force::Permit, "obligation_rows", "orders: tenant = :mood"),
            (Force::Permit, "obligation_rows", "orders: tenant = $1"),
            (Force::Permit, "obligation_rows", "orders: tenant = 'a' -- b"),
            (Force::Permit, "obligation_log", "less"),
            (Force::Permit, "require_approval", "group:a"),
            (Force::Permit, "step_up", "max_age:300"),
            (Force::Forbid, "step_up", ""),
            (Force::Forbid, "step_up", "max_age:soon"),
            (Force::Forbid, "step_up", "acr:"),
            (Force::Forbid, "step_up", "acr:a\"b"),
            (Force::Forbid, "step_up", "acr:a;acr:b"),
            (Force::Forbid, "obligation_cap", "1"),
            (Force::Forbid, "require_approval", " "),
            (Force::Forbid, "advice", "x"),
        ] {
            assert!(one(force, key, value).is_err(), "{key} {value}");
        }
    }
}
