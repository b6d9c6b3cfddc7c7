//! Every dependency stands once in the root manifest, with the reason why it is there.

use super::{File, Finding};

/// Looks at the root manifest.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_inside = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line == "[workspace.dependencies]";
            continue;
        }
        let Some((name, rest)) = line.split_once('=').filter(|_| is_inside) else { continue };
        let is_ours = rest.contains("path = ");
        let has_reason =
            rest.rsplit_once("# ").is_some_and(|(_, reason)| !reason.trim().is_empty());
        if line.starts_with('#') || is_ours || has_reason {
            continue;
        }
        let message = format!("`{}` has no reason: end the line with `# <why>`", name.trim());
        findings.push(Finding {
            path: file.path.clone(),
            line: index + 1,
            rule: "reason",
            message,
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let text = "[workspace.dependencies]\n\
                    lockgate-types = { path = \"crates/types\" }\n\
                    # values = and text\n\
                    serde = \"1\" # configuration\n\
                    http = \"1\"\n\
                    [profile.dev]\n\
                    debug = 1\n";
        let findings = check(&File { path: "Cargo.toml".into(), text: text.into() });
        assert_eq!(findings.iter().map(|it| it.line).collect::<Vec<_>>(), [5]);
    }
}
