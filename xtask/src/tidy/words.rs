//! Words that may stand in no file: paths of somebody's machine, and registry hosts in lock files
//! and settings.

use super::{File, Finding, is_allowed};

/// Beginnings of absolute paths that exist on one machine only.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// A lock file or a setting that names a host pins everybody to it. Cargo's own index has a name of
/// its own.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
    concat!("py", "pi.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("registry.", "npmjs.org"),
];

/// Looks at one file of any kind.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    let mut report = |index: usize, rule, message: String| {
        if !is_allowed(&lines, index, rule) {
            findings.push(Finding { path: file.path.clone(), line: index + 1, rule, message });
        }
    };
    for (index, line) in lines.iter().enumerate() {
        for path in MACHINE_PATHS.iter().filter(|path| has_path(line, path)) {
            let message = format!("`{path}` is a path of one machine: use a relative one");
            report(index, "machine-path", message);
        }
        for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
            if is_setting(&file.path) {
                let message =
                    format!("`{host}` pins everybody to one host: leave it to the client");
                report(index, "registry-host", message);
            }
        }
    }
    findings
}

/// `https://host/work/` and `a/root/` are no paths from the root.
fn has_path(line: &str, path: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || "._-}".contains(it);
    line.match_indices(path)
        .any(|(at, _)| !line.get(..at).and_then(|it| it.chars().next_back()).is_some_and(is_part))
}

fn is_setting(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_requirements = name.starts_with("requirements") && name.ends_with(".txt");
    is_requirements
        || matches!(name, ".npmrc" | "pip.conf" | "package-lock.json" | "run")
        || [".lock", ".toml", ".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let file = File { path: path.into(), text: text.into() };
        check(&file).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn paths_of_a_machine_are_found_anywhere() {
        for path in MACHINE_PATHS {
            assert_eq!(rules("README.md", &format!("see {path}here")), ["machine-path"]);
            assert_eq!(rules("README.md", &format!("see https://example.com{path}here")), [""; 0]);
        }
    }

    #[test]
    fn registry_hosts_are_found_in_settings_only() {
        for host in REGISTRY_HOSTS {
            assert_eq!(rules("a/package-lock.json", host), ["registry-host"]);
            assert_eq!(rules("docs/a.md", host), [""; 0]);
        }
        let cargo = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        assert_eq!(rules("Cargo.lock", cargo), [""; 0]);
    }
}
