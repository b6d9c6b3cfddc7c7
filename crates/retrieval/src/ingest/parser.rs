//! The process in which hostile documents are read, seen from outside: started with nothing, told
//! one document at a time, not waited for longer than it may take, and not believed.

use super::confine::Confinement;
use super::worker::{
    ANSWER_BYTES_MAX, Answer, DOCUMENTS_PER_PROCESS_MAX, Head, read_frame, write_frame,
};
use crate::connect::{ConnectError, FindLinks};
use crate::format::{Format, FormatError, Links, Parsed, Rows};
use lockgate_types::Code;
use std::io;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How long one document may take, unless somebody says otherwise.
pub const DOCUMENT_WITHIN: Duration = Duration::from_secs(60);
/// How long a process may take to give everything up and say so.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked whether a process that says nothing any more has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many such looks there are, until it is killed.
const ENDED_WITHIN_LOOKS: usize = 60;

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The document is not one that is read.
    #[error("{0}")]
    Refused(FormatError),
    /// The process ended over it.
    #[error("the process that read it ended: {how}")]
    Died {
        /// How it did.
        how: String,
    },
    /// It took too long.
    #[error("it was not read within {seconds} s")]
    TooSlow {
        /// How long it was waited for.
        seconds: u64,
    },
    /// What the process said cannot be true.
    #[error("the process that read it said what cannot be: {what}")]
    Unbelievable {
        /// What.
        what: String,
    },
    /// The process cannot be started, or is not confined. No document is read.
    #[error("documents cannot be read in a confined process: {why}")]
    NotConfined {
        /// Why not.
        why: String,
    },
}

impl ParseError {
    /// The code of the refusal.
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::Died { .. } | Self::Unbelievable { .. } => Code::ParserDied,
            Self::TooSlow { .. } => Code::ParserSlow,
            Self::NotConfined { .. } => Code::ParserNotConfined,
        }
    }
}

/// Starts processes and tells them documents.
#[derive(Debug)]
pub struct Parser {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    within: Duration,
    running: Option<Running>,
}

/// Where the frames of a request go.
type Jobs = SyncSender<Vec<Vec<u8>>>;
/// Where answers come from.
type Answers = Receiver<io::Result<Vec<u8>>>;

#[derive(Debug)]
struct Running {
    child: Child,
    jobs: Jobs,
    answers: Answers,
    documents: usize,
}

impl Parser {
    /// A parser that starts this program with these arguments: one that calls
    /// [`super::worker::main`] before anything else.
    pub const fn new(program: PathBuf, arguments: Vec<String>, within: Duration) -> Self {
        Self { program, arguments, environment: Vec::new(), within, running: None }
    }

    /// The same, told this in its environment: what its allocator wants to know before anything
    /// else runs, and nothing that it would have to keep.
    pub fn told(self, environment: Vec<(String, String)>) -> Self {
        Self { environment, ..self }
    }

    /// Reads a document.
    pub fn parse(
        &mut self,
        format: Format,
        bytes: &[u8],
        rows: &Rows,
    ) -> Result<Parsed, ParseError> {
        if bytes.len() > crate::format::DOCUMENT_BYTES_MAX {
            let most = crate::format::DOCUMENT_BYTES_MAX;
            return Err(ParseError::Refused(FormatError::too_much("bytes", most)));
        }
        let head = Head { format, rows: rows.clone() };
        let head = serde_json::to_vec(&head).map_err(|error| unbelievable(&error))?;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        match running.exchange(vec![head, bytes.to_vec()], self.within) {
            Ok(answer) => {
                running.documents += 1;
                if running.documents < DOCUMENTS_PER_PROCESS_MAX {
                    self.running = Some(running);
                }
                believed(&answer)
            }
            // Dropped, and with it killed: what it is in now, nobody knows.
            Err(error) => Err(error),
        }
    }

    fn start(&self) -> Result<Running, ParseError> {
        let not_confined = |why: String| ParseError::NotConfined { why };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| not_confined(format!("it does not start: {error}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(not_confined("it has no pipes".to_owned()));
        };
        let (jobs, answers) = talk(input, output)
            .map_err(|error| not_confined(format!("no thread for it: {error}")))?;
        let mut running = Running { child, jobs, answers, documents: 0 };
        let hello =
            running.answer(START_WITHIN).map_err(|error| not_confined(error.to_string()))?;
        let confinement: Confinement = serde_json::from_slice(&hello)
            .map_err(|error| not_confined(format!("it does not say so: {error}")))?;
        if !confinement.has_limits || !confinement.has_filter {
            return Err(not_confined(format!("this is what holds it: {confinement:?}")));
        }
        Ok(running)
    }
}

/// What pages lead to, as those who read them say.
impl FindLinks for Parser {
    fn links(&mut self, media_type: Option<&str>, page: &[u8]) -> Result<Links, ConnectError> {
        let format = Format::of("", media_type, page);
        let Some(format @ (Format::Html | Format::Markdown)) = format else {
            return Ok(Links::default());
        };
        match self.parse(format, page, &Rows::default()) {
            Ok(page) => Ok(page.links),
            // It says so again when it is read.
            Err(ParseError::Refused(_)) => Ok(Links::default()),
            Err(error) => Err(ConnectError::away(error)),
        }
    }
}

/// A thread that writes and reads: either may take as long as the other side likes.
fn talk(mut input: ChildStdin, mut output: ChildStdout) -> io::Result<(Jobs, Answers)> {
    let (jobs, waiting) = sync_channel::<Vec<Vec<u8>>>(1);
    let (done, answers) = sync_channel(1);
    std::thread::Builder::new().name("documents".to_owned()).spawn(move || {
        loop {
            let answer = read_frame(&mut output, ANSWER_BYTES_MAX);
            let answer = answer.and_then(|it| it.ok_or(io::ErrorKind::UnexpectedEof.into()));
            let has_ended = answer.is_err();
            if done.send(answer).is_err() || has_ended {
                return;
            }
            let Ok(frames) = waiting.recv() else { return };
            let written = frames.iter().try_for_each(|frame| write_frame(&mut input, frame));
            if let Err(error) = written {
                let _ = done.send(Err(error));
                return;
            }
        }
    })?;
    Ok((jobs, answers))
}

impl Running {
    fn exchange(&mut self, frames: Vec<Vec<u8>>, within: Duration) -> Result<Vec<u8>, ParseError> {
        if self.jobs.send(frames).is_err() {
            return Err(self.died());
        }
        self.answer(within)
    }

    fn answer(&mut self, within: Duration) -> Result<Vec<u8>, ParseError> {
        match self.answers.recv_timeout(within) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(self.died()),
            Err(RecvTimeoutError::Timeout) => {
                Err(ParseError::TooSlow { seconds: within.as_secs() })
            }
        }
    }

    /// How it has ended.
    fn died(&mut self) -> ParseError {
        // Its pipes are closed, or hold what it must not say: it is over either way, and how says
        // the kernel a moment later.
        let mut ended = None;
        for _ in 0..ENDED_WITHIN_LOOKS {
            ended = self.child.try_wait().ok().flatten();
            if ended.is_some() {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let how = match (ended, self.child.wait()) {
            (Some(status), _) | (None, Ok(status)) => status.to_string(),
            (None, Err(error)) => error.to_string(),
        };
        ParseError::Died { how }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unbelievable(error: &serde_json::Error) -> ParseError {
    ParseError::Unbelievable { what: error.to_string() }
}

/// What an answer says, if it can be so.
fn believed(answer: &[u8]) -> Result<Parsed, ParseError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| unbelievable(&error))?;
    let page = match answer {
        Answer::Page(page) => *page,
        Answer::Refused(error) => return Err(ParseError::Refused(error)),
    };
    match page.mistake() {
        Some(mistake) => Err(ParseError::Unbelievable { what: mistake.to_owned() }),
        None => Ok(page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Block;

    #[test]
    fn what_cannot_be_is_not_believed() {
        let answer =
            |page: Parsed| believed(&serde_json::to_vec(&Answer::Page(Box::new(page))).unwrap());
        assert!(answer(Parsed { text: "é".into(), ..Parsed::default() }).is_ok());
        let kind = crate::format::BlockKind::Paragraph;
        for blocks in [
            vec![Block { kind, start: 0, end: 1 }],
            vec![Block { kind, start: 0, end: 9 }],
            vec![Block { kind, start: 0, end: 2 }, Block { kind, start: 0, end: 2 }],
        ] {
            let page = Parsed { text: "é".into(), blocks, ..Parsed::default() };
            assert!(matches!(answer(page), Err(ParseError::Unbelievable { .. })));
        }
        assert!(believed(b"{}").is_err());
    }
}
