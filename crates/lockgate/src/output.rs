//! What people and programs read: lines, colours on terminals only, JSON where it is asked for.

use lockgate_types::Json;
use std::io::{IsTerminal, Write};

/// Where a command's answer goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
    has_colour: bool,
}

impl Output {
    /// Answers on standard output.
    pub(crate) fn new(is_json: bool) -> Self {
        let has_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { is_json, has_colour: has_colour && !is_json }
    }

    /// A line for people; nothing where JSON was asked for.
    pub(crate) fn line(&self, text: &str) {
        if !self.is_json {
            write_line(text.as_bytes());
        }
    }

    /// The answer for programs; nothing where it was not asked for.
    pub(crate) fn json(&self, value: &Json) {
        if self.is_json {
            write_line(&value.to_bytes());
        }
    }

    /// A good outcome.
    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A refusal or failure.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Something beside the point.
    pub(crate) fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.has_colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// So many of them, in words: `1 call`, `2 calls`.
pub(crate) fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        many => format!("{many} {noun}s"),
    }
}

fn write_line(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A reader that went away wants no more.
    let _ = out.write_all(bytes).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// Why a command failed, and what each cause was, on standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(out, "  because: {cause}");
    }
}

/// Progress on standard error, for what takes longer than a moment; nothing where no person looks.
pub(crate) struct Progress {
    bar: Option<indicatif::ProgressBar>,
}

impl Progress {
    /// Begins something.
    pub(crate) fn new(what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let bar = indicatif::ProgressBar::new(0).with_message(what);
        if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}") {
            bar.set_style(style);
        }
        Self { bar: Some(bar) }
    }

    /// So much is done, of so much.
    pub(crate) fn at(&mut self, done: u64, all: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
