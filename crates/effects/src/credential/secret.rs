//! One secret, from where the bundle says it is.
//!
//! A variable of the environment stays as it is. A file is read again when it has changed, and not
//! at all while others than its owner can read it. What a program prints is used for as long as the
//! bundle says. What went wrong is said in words that never hold any of it.

use lockgate_core::declare::{Secret, SecretCommand, SecretPlace};
use lockgate_types::Redacted;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::Instant;

/// Bytes of a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// How long a program may take to print one.
const PRINTED_WITHIN: Duration = Duration::from_secs(10);
/// How long what it printed is taken to be what it would print.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long it is not asked again after it failed.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// What every program gets from the gate's own environment.
const PASSED_ON: [&str; 2] = ["PATH", "HOME"];
/// Who else than its owner can read or change a file.
const OTHERS: u32 = 0o077;

/// Why a secret cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// A secret, and what is known of it.
pub(crate) struct Source {
    declared: Secret,
    kept: Mutex<Option<Kept>>,
    /// Held by whoever has a program print it: one at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    /// `Err`: it failed, and is not tried again for a moment.
    value: Result<Redacted<Arc<str>>, Unreadable>,
    since: Instant,
    stays: Stays,
}

/// How long a secret is what it was.
#[derive(Clone, PartialEq, Eq)]
enum Stays {
    Always,
    Until(Instant),
    /// While its file is this one.
    While(Stamp),
}

#[derive(Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Source {
    pub(crate) fn new(declared: &Secret) -> Self {
        Self {
            declared: declared.clone(),
            kept: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The secret as it is now.
    pub(crate) async fn read(&self) -> Result<Redacted<Arc<str>>, Unreadable> {
        match self.declared.place() {
            SecretPlace::Here(text) => Ok(Redacted::new(text.into())),
            SecretPlace::Environment(name) => self.of_environment(name),
            SecretPlace::File(path) => self.of_file(path),
            SecretPlace::Command(command) => self.of_command(command).await,
        }
    }

    /// Whether it is kept from the bundle: what stands in there itself is no secret.
    pub(crate) fn is_secret(&self) -> bool {
        !matches!(self.declared.place(), SecretPlace::Here(_))
    }

    /// Has a program asked again: what it printed is not accepted any more. What it has only just
    /// printed it would print again.
    pub(crate) fn forget(&self) {
        let mut kept = self.lock();
        if kept.as_ref().is_some_and(|kept| kept.since.elapsed() >= FRESH_FOR) {
            *kept = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, value: &Result<Redacted<Arc<str>>, Unreadable>, stays: Stays) {
        *self.lock() = Some(Kept { value: value.clone(), since: Instant::now(), stays });
    }

    fn of_environment(&self, name: &str) -> Result<Redacted<Arc<str>>, Unreadable> {
        if let Some(Kept { value, .. }) = &*self.lock() {
            return value.clone();
        }
        let Ok(text) = std::env::var(name) else {
            return unreadable(format!("the environment variable `{name}` is not set, or no text"));
        };
        let value = sound(&text, || format!("the environment variable `{name}`"));
        if value.is_ok() {
            self.keep(&value, Stays::Always);
        }
        value
    }

    fn of_file(&self, path: &str) -> Result<Redacted<Arc<str>>, Unreadable> {
        let failed = |error: std::io::Error| {
            Unreadable(format!("the file `{path}` cannot be read: {}", error.kind()))
        };
        let stamp = stamp(path, &std::fs::metadata(path).map_err(failed)?)?;
        if let Some(Kept { value, stays, .. }) = &*self.lock()
            && *stays == Stays::While(stamp.clone())
        {
            return value.clone();
        }
        let file = std::fs::File::open(path).map_err(failed)?;
        // The file that was opened is looked at, and not what stood there before.
        let opened = self::stamp(path, &file.metadata().map_err(failed)?)?;
        let mut text = String::new();
        let mut bounded = std::io::Read::take(file, SECRET_BYTES_MAX + 1);
        std::io::Read::read_to_string(&mut bounded, &mut text).map_err(failed)?;
        let value = sound(&text, || format!("the file `{path}`"));
        if value.is_ok() {
            self.keep(&value, Stays::While(opened));
        }
        value
    }

    async fn of_command(&self, command: &SecretCommand) -> Result<Redacted<Arc<str>>, Unreadable> {
        if let Some(value) = self.printed() {
            return value;
        }
        let _turn = self.turn.lock().await;
        if let Some(value) = self.printed() {
            return value;
        }
        let value = print(command).await;
        let lifetime = match &value {
            Ok(_) => Duration::from_secs(command.lifetime_s.into()),
            Err(_) => FAILED_FOR,
        };
        self.keep(&value, Stays::Until(Instant::now() + lifetime));
        value
    }

    fn printed(&self) -> Option<Result<Redacted<Arc<str>>, Unreadable>> {
        let kept = self.lock();
        let Kept { value, stays: Stays::Until(until), .. } = kept.as_ref()? else { return None };
        (Instant::now() < *until).then(|| value.clone())
    }
}

/// Which file it is, if nobody but its owner can read it.
fn stamp(path: &str, metadata: &std::fs::Metadata) -> Result<Stamp, Unreadable> {
    if !metadata.is_file() {
        return unreadable(format!("`{path}` is no file"));
    }
    if metadata.mode() & OTHERS != 0 {
        let hint = format!("hint: `chmod 600 {path}`");
        return unreadable(format!("the file `{path}` is open to others than its owner ({hint})"));
    }
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.len(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// Runs a program to its end, and takes what it prints. What it says on standard error is not
/// read: nobody knows what is in it.
async fn print(command: &SecretCommand) -> Result<Redacted<Arc<str>>, Unreadable> {
    let Some((program, arguments)) = command.command.split_first() else {
        return unreadable("`command` names no program".to_owned());
    };
    let named = || format!("what `{program}` prints");
    let passed = PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    let mut run = Command::new(program);
    run.args(arguments).env_clear().envs(passed).current_dir("/").kill_on_drop(true);
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let running = async {
        let failed = |error: std::io::Error| format!("cannot be run: {}", error.kind());
        let mut child = run.spawn().map_err(failed)?;
        let Some(stdout) = child.stdout.take() else { return Err("has no output".to_owned()) };
        let mut bytes = Vec::new();
        let read = stdout.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).await;
        read.map_err(failed)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
            // It may end badly because nobody reads on: this is why.
            return Err(format!("prints something longer than {SECRET_BYTES_MAX} bytes"));
        }
        let status = child.wait().await.map_err(failed)?;
        if !status.success() {
            return Err(format!("failed: {status}"));
        }
        String::from_utf8(bytes).map_err(|_| "does not print text".to_owned())
    };
    match tokio::time::timeout(PRINTED_WITHIN, running).await {
        Ok(Ok(text)) => sound(&text, named),
        Ok(Err(how)) => unreadable(format!("the program `{program}` {how}")),
        Err(_) => {
            let ms = PRINTED_WITHIN.as_millis();
            unreadable(format!("the program `{program}` took longer than {ms} ms"))
        }
    }
}

/// A secret without the line end that files and programs put after it.
fn sound(text: &str, named: impl Fn() -> String) -> Result<Redacted<Arc<str>>, Unreadable> {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return unreadable(format!("{} is longer than {SECRET_BYTES_MAX} bytes", named()));
    }
    match text.trim() {
        "" => unreadable(format!("{} is empty", named())),
        text => Ok(Redacted::new(text.into())),
    }
}

fn unreadable<T>(why: String) -> Result<T, Unreadable> {
    Err(Unreadable(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn command(script: &str, lifetime_s: u32) -> Source {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Source::new(&Secret::Command(SecretCommand { command, lifetime_s }))
    }

    #[tokio::test]
    async fn a_file_is_its_owners_and_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let source = Source::new(&Secret::Text(format!("file:{}", path.display())));
        assert!(source.read().await.unwrap_err().to_string().contains("cannot be read"));
        write(&path, "first\n", 0o600);
        assert_eq!(&**source.read().await.unwrap().expose(), "first");
        write(&path, "the second\n", 0o600);
        assert_eq!(&**source.read().await.unwrap().expose(), "the second");
        for mode in [0o640, 0o604, 0o620] {
            write(&path, "the second\n", mode);
            let refused = source.read().await.unwrap_err().to_string();
            assert!(refused.contains("open to others"), "{mode:o}: {refused}");
        }
        write(&path, &"x".repeat(70_000), 0o600);
        assert!(source.read().await.unwrap_err().to_string().contains("longer"));
        write(&path, " \n", 0o600);
        assert!(source.read().await.unwrap_err().to_string().contains("empty"));
    }

    #[tokio::test]
    async fn a_program_is_asked_once_in_its_lifetime_and_gets_no_environment() {
        let directory = tempfile::tempdir().unwrap();
        let counted = directory.path().join("counted");
        let script =
            format!("echo x >> {0}; wc -l < {0}; env | cut -d= -f1 >&2", counted.display());
        let source = command(&script, 3600);
        let (one, two) = tokio::join!(source.read(), source.read());
        assert_eq!((&**one.unwrap().expose(), &**two.unwrap().expose()), ("1", "1"));
        source.forget();
        assert_eq!(&**source.read().await.unwrap().expose(), "1", "it has only just printed it");
        source.lock().as_mut().unwrap().since -= FRESH_FOR;
        source.forget();
        assert_eq!(&**source.read().await.unwrap().expose(), "2");
        let names = command("env | cut -d= -f1 | grep -v -e PATH -e HOME -e PWD -e SHLVL -e _", 60);
        assert!(names.read().await.is_err(), "nothing but `PATH` and `HOME` is passed on");
    }

    #[tokio::test]
    async fn a_program_that_fails_says_nothing_of_what_it_printed() {
        for (script, why) in [
            ("echo hunter2; exit 3", "failed"),
            ("true", "empty"),
            ("head -c 70000 /dev/zero | tr '\\0' x", "longer"),
            ("printf '\\377'", "text"),
        ] {
            let refused = command(script, 60).read().await.unwrap_err().to_string();
            assert!(refused.contains(why) && !refused.contains("hunter2"), "{refused}");
        }
    }
}
