//! The annotations there are, read once at load. One that is not here is a mistake, so a misspelt
//! obligation cannot be silently ignored.

use super::Force;
use lockgate_types::decision::Obligation;

/// Every annotation, as a hint lists them.
const KNOWN: &str = "there are `@id`, `@reason`, `@remedy`, `@obligation_redact`, \
     `@obligation_mask`, `@obligation_cap`, `@obligation_log` and `@require_approval`";
/// Kinds of personal data that `pii:<kind>` can name.
const PII_KINDS: [&str; 4] = ["email", "phone", "card", "iban"];
/// Bytes of a reason, a remedy or an approval: they stand in every refusal they cause.
const TEXT_BYTES_MAX: usize = 1024;

/// The annotations of one policy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Annotations {
    pub(super) id: Option<String>,
    pub(super) reason: Option<Box<str>>,
    pub(super) remedy: Option<Box<str>>,
    pub(super) approval: Option<Box<str>>,
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
        "require_approval" => {
            return Err((
                "`@require_approval` stands on a permit".to_owned(),
                "write `forbid … unless { context.approvals.contains(\"…\") }` and annotate \
                 that"
                    .to_owned(),
            ));
        }
        _ => match key.strip_prefix("obligation_") {
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

fn obligation(word: &str, value: &str) -> Result<Obligation, Fault> {
    match word {
        "redact" => Ok(Obligation::Redact(paths(word, value, true)?)),
        "mask" => Ok(Obligation::Mask(paths(word, value, false)?)),
        "cap" => value.parse().map(Obligation::Cap).map_err(|_| {
            let what = format!("`{value}` is not a number of items");
            (what, "write `@obligation_cap(\"100\")`".to_owned())
        }),
        "log" if value == "more" => Ok(Obligation::LogMore),
        "log" => Err((
            format!("`{value}` is not a way of logging"),
            "write `@obligation_log(\"more\")`".to_owned(),
        )),
        _ => Err((format!("unknown annotation `@obligation_{word}`"), KNOWN.to_owned())),
    }
}

fn paths(word: &str, value: &str, has_pii: bool) -> Result<Vec<String>, Fault> {
    let mut paths: Vec<String> = value.split(',').map(|path| path.trim().to_owned()).collect();
    if let Some(wrong) = paths.iter().find(|path| !is_path(path, has_pii)) {
        let hint = if has_pii {
            "write paths such as `customer.email` or `*.phone`, or `pii:email`, `pii:phone`, \
             `pii:card`, `pii:iban`, with commas between"
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
        let pairs = [("obligation_redact", "b.c, *.a,b.c,pii:email"), ("obligation_cap", "5")];
        let read = read(Force::Permit, pairs.into_iter()).unwrap();
        let paths = ["*.a", "b.c", "pii:email"].map(str::to_owned).to_vec();
        assert_eq!(read.obligations, [Obligation::Redact(paths), Obligation::Cap(5)]);
    }

    #[test]
    fn what_is_unknown_or_misplaced_is_a_fault() {
        for (force, key, value) in [
            (Force::Permit, "obligaton_redact", "a"),
            (Force::Permit, "obligation_rename", "a"),
            (Force::Permit, "obligation_redact", "a..b"),
            (Force::Permit, "obligation_redact", ""),
            (Force::Permit, "obligation_redact", "pii:shoe"),
            (Force::Permit, "obligation_mask", "pii:email"),
            (Force::Permit, "obligation_cap", "many"),
            (Force::Permit, "obligation_cap", "-1"),
            (Force::Permit, "obligation_log", "less"),
            (Force::Permit, "require_approval", "group:a"),
            (Force::Forbid, "obligation_cap", "1"),
            (Force::Forbid, "require_approval", " "),
            (Force::Forbid, "advice", "x"),
        ] {
            assert!(one(force, key, value).is_err(), "{key} {value}");
        }
    }
}
