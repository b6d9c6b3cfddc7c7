//! Where a bundle and the state of its gate are, and how a bundle is read from a directory.

use anyhow::{Context, Result, bail};
use lockgate_core::world::Files;
use std::path::{Path, PathBuf};

/// Files of a bundle.
const FILES_MAX: usize = 4096;

/// Bytes of a bundle, all files together. Bundles are kept whole in the ledger's store.
const BUNDLE_BYTES_MAX: u64 = 64 << 20;

/// The bundle that is meant where none is named.
const BUNDLE: &str = "lockgate";

/// The directories a command works with.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// The bundle: a directory with `lockgate.toml`
    #[arg(
        long,
        global = true,
        env = "LOCKGATE_BUNDLE",
        default_value = BUNDLE,
        value_name = "DIR"
    )]
    pub bundle: PathBuf,
    /// The state: ledger, keys. Unset: the bundle's directory with `.state` added
    #[arg(long, global = true, env = "LOCKGATE_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Place {
    /// A bundle with its state beside it.
    pub(crate) fn at(bundle: PathBuf) -> Self {
        Self { bundle, state: None }
    }

    /// The state directory. Never inside the bundle: the bundle is configuration, and it is copied
    /// around.
    pub(crate) fn state(&self) -> PathBuf {
        match &self.state {
            Some(state) => state.clone(),
            None => {
                let mut name = self.bundle.as_os_str().to_owned();
                name.push(".state");
                PathBuf::from(name)
            }
        }
    }

    /// Where a running gate leaves its address for other commands on this machine.
    pub(crate) fn running_file(&self) -> PathBuf {
        self.state().join("running.json")
    }

    /// The command that writes a bundle here.
    fn init(&self) -> String {
        match self.bundle.to_str() {
            Some(BUNDLE) => "lockgate init".to_owned(),
            _ => format!("lockgate --bundle {} init", self.bundle.display()),
        }
    }

    /// Reads the bundle's files.
    pub(crate) fn read_bundle(&self) -> Result<Files> {
        if !self.bundle.join("lockgate.toml").is_file() {
            let bundle = self.bundle.display();
            bail!("there is no bundle at `{bundle}` (hint: `{}` writes one)", self.init());
        }
        let (mut files, mut bytes) = (Files::new(), 0);
        read_into(&self.bundle, &self.bundle, &mut files, &mut bytes)?;
        Ok(files)
    }
}

fn read_into(root: &Path, directory: &Path, files: &mut Files, bytes: &mut u64) -> Result<()> {
    let failed = || format!("reading `{}`", directory.display());
    for entry in std::fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let relative: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let relative = relative.join("/");
        if !lockgate_core::bundle::belongs(&relative) {
            continue;
        }
        if path.is_dir() {
            read_into(root, &path, files, bytes)?;
            continue;
        }
        let content =
            std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        *bytes += u64::try_from(content.len()).unwrap_or(u64::MAX);
        if files.len() >= FILES_MAX || *bytes > BUNDLE_BYTES_MAX {
            bail!("the bundle is larger than {FILES_MAX} files or {BUNDLE_BYTES_MAX} bytes");
        }
        files.insert(relative, content);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn where_no_bundle_is_the_command_is_named_that_writes_one() {
        for (bundle, command) in
            [("lockgate", "`lockgate init`"), ("nodir", "`lockgate --bundle nodir init`")]
        {
            let missing = Place::at(bundle.into()).read_bundle().unwrap_err().to_string();
            assert!(missing.contains(command), "{missing}");
        }
    }
}
