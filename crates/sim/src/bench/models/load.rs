//! Load on something that answers as a provider of models does: in a closed loop, with pauses, or
//! at a rate that does not wait for answers.

use super::provider::{contains, find};
use crate::bench::load::header;
use crate::bench::machine::median;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that a load at a rate may have open at once: nearly as many as a gate takes.
pub const CONNECTIONS_MAX: usize = 4000;

/// How long who is turned away waits before asking again where all are to be answered.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How often.
const AGAIN_MAX: usize = 300;

/// What is asked, of whom.
#[derive(Clone)]
pub struct Asking {
    target: SocketAddr,
    /// The whole request.
    bytes: Arc<[u8]>,
}

impl Asking {
    /// A request with that body.
    pub fn new(target: SocketAddr, token: &str, body: &str) -> Self {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\n\
             content-type: application/json\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Self { target, bytes: format!("{head}{body}").into_bytes().into() }
    }
}

/// One answer.
#[derive(Clone, Copy, Debug)]
struct Answered {
    /// Microseconds to the first byte of its body, and to its last.
    first_us: f64,
    whole_us: f64,
    /// The longest pause between two reads of its body, in microseconds.
    gap_us: f64,
    /// How long it was due until it was sent: what the load, and not what it asks, takes.
    late_us: f64,
    status: u16,
    says_when: bool,
}

/// What came of a load.
#[derive(Default)]
pub struct Measured {
    answers: Vec<Answered>,
    /// Answers for each second that were no refusals.
    pub rate: f64,
    /// Requests that were not sent: every connection was taken.
    pub unsent: usize,
}

impl Measured {
    fn of(answers: Vec<Answered>, seconds: f64, unsent: usize) -> Self {
        let answered = answers.iter().filter(|answer| answer.status == 200).count();
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let rate = answered as f64 / seconds;
        Self { answers, rate, unsent }
    }

    /// The same; an error if one of them was refused.
    pub fn unrefused(self) -> Result<Self> {
        match self.refused() {
            0 => Ok(self),
            refused => bail!("{refused} of {} were refused", self.count()),
        }
    }

    /// Answers.
    pub fn count(&self) -> usize {
        self.answers.len()
    }

    /// Answers that were none: refused because too much was asked, with a time to come back.
    pub fn refused(&self) -> usize {
        self.answers.iter().filter(|answer| answer.status != 200).count()
    }

    /// Whether each refusal says when to come back.
    pub fn all_say_when(&self) -> bool {
        self.answers.iter().all(|answer| answer.status == 200 || answer.says_when)
    }

    /// The latency that this share of answers stayed within, in microseconds.
    pub fn whole_us(&self, share: f64) -> f64 {
        self.percentile(share, |answer| (answer.status == 200).then_some(answer.whole_us))
    }

    /// The same, to the first byte.
    pub fn first_us(&self, share: f64) -> f64 {
        self.percentile(share, |answer| (answer.status == 200).then_some(answer.first_us))
    }

    /// The same, of the longest pause within an answer.
    pub fn gap_us(&self, share: f64) -> f64 {
        self.percentile(share, |answer| (answer.status == 200).then_some(answer.gap_us))
    }

    /// The same, of how late requests were sent.
    pub fn late_us(&self, share: f64) -> f64 {
        self.percentile(share, |answer| Some(answer.late_us))
    }

    /// How many answers there were of each status.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for answer in &self.answers {
            *statuses.entry(answer.status).or_default() += 1;
        }
        statuses
    }

    /// The same, of refusals.
    pub fn refused_us(&self, share: f64) -> f64 {
        self.percentile(share, |answer| (answer.status != 200).then_some(answer.whole_us))
    }

    /// The same, from when they were sent.
    pub fn refused_once_sent_us(&self, share: f64) -> f64 {
        let once_sent = |answer: &Answered| answer.whole_us - answer.late_us;
        self.percentile(share, |answer| (answer.status != 200).then(|| once_sent(answer)))
    }

    fn percentile(&self, share: f64, of: impl Fn(&Answered) -> Option<f64>) -> f64 {
        let mut values: Vec<f64> = self.answers.iter().filter_map(of).collect();
        if share == 0.5 {
            return median(&mut values);
        }
        values.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index from a share between 0 and 1"
        )]
        let at = (values.len() as f64 * share) as usize;
        values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }
}

/// Each connection asks again when it has its answer, after a pause. Who is refused does so too.
pub async fn closed(
    asking: &Asking,
    connections: usize,
    seconds: f64,
    pause: Duration,
) -> Result<Measured> {
    let begin = Instant::now() + Duration::from_secs_f64(seconds / 5.0);
    let end = begin + Duration::from_secs_f64(seconds);
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let asking = asking.clone();
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(asking.target).await?;
            let mut answers = Vec::new();
            while Instant::now() < end {
                let started = Instant::now();
                let answer = connection.ask(&asking.bytes, started).await?;
                if started >= begin {
                    answers.push(answer);
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            anyhow::Ok(answers)
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await??);
    }
    Ok(Measured::of(answers, seconds, 0))
}

/// So many a second, whoever has answered by then: what finds no connection that is free opens one.
/// Times count from when a request was due; how much of them passed before it was sent is counted
/// beside them. Before it begins to count it asks a fifth longer.
pub async fn open(asking: &Asking, per_second: f64, seconds: f64) -> Result<Measured> {
    let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let warm = seconds / 5.0;
    let began = Instant::now();
    let begin = began + Duration::from_secs_f64(warm);
    let (mut number, mut unsent) = (0_u32, 0);
    let mut tasks = tokio::task::JoinSet::new();
    let mut answers = Vec::new();
    loop {
        let due = began + Duration::from_secs_f64(f64::from(number) / per_second);
        if due > begin + Duration::from_secs_f64(seconds) {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        number += 1;
        while let Some(answer) = tasks.try_join_next() {
            answers.extend(answer??);
        }
        if tasks.len() >= CONNECTIONS_MAX {
            unsent += usize::from(due >= begin);
            continue;
        }
        let (asking, idle) = (asking.clone(), Arc::clone(&idle));
        tasks.spawn(async move {
            let free = idle.lock().ok().and_then(|mut idle| idle.pop());
            let mut connection = match free {
                Some(connection) => connection,
                None => Connection::open(asking.target).await?,
            };
            let answer = connection.ask(&asking.bytes, due).await?;
            if let Ok(mut idle) = idle.lock() {
                idle.push(connection);
            }
            anyhow::Ok((due >= begin).then_some(answer))
        });
    }
    while let Some(answer) = tasks.join_next().await {
        answers.extend(answer??);
    }
    Ok(Measured::of(answers, began.elapsed().as_secs_f64() - warm, unsent))
}

/// How many answers are being read.
#[derive(Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// Those that have begun, and have not ended.
    pub fn open(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Opens so many streams a second, each on a connection of its own, until all of them have been
/// answered. Who is turned away asks again. How often that was.
pub async fn ramp(
    asking: &Asking,
    streams: usize,
    per_second: f64,
    gauge: Arc<Gauge>,
) -> Result<usize> {
    let (began, mut due, mut tasks) = (Instant::now(), Duration::ZERO, Vec::new());
    for _ in 0..streams {
        let (asking, gauge, begins) = (asking.clone(), Arc::clone(&gauge), began + due);
        due += Duration::from_secs_f64(1.0 / per_second);
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep_until(begins.into()).await;
            let mut connection = Connection::open(asking.target).await?;
            for again in 0..AGAIN_MAX {
                let begins = |status| {
                    gauge.0.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                };
                let answer = connection.ask_told(&asking.bytes, Instant::now(), begins).await?;
                if answer.status == 200 {
                    gauge.0.fetch_sub(1, Ordering::SeqCst);
                    return Ok(again);
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            bail!("a stream was refused {AGAIN_MAX} times");
        }));
    }
    let mut again = 0;
    for task in tasks {
        again += task.await??;
    }
    Ok(again)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1 << 15) })
    }

    /// Asks, and reads the answer to its end.
    async fn ask(&mut self, request: &[u8], since: Instant) -> Result<Answered> {
        self.ask_told(request, since, |_| ()).await
    }

    /// The same; `begins` is told the status with the first byte of the body.
    async fn ask_told(
        &mut self,
        request: &[u8],
        since: Instant,
        begins: impl Fn(u16),
    ) -> Result<Answered> {
        let us = |since: Instant| since.elapsed().as_secs_f64() * 1e6;
        let late_us = us(since);
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (mut first, mut gap_us, mut latest) = (None, 0.0_f64, Instant::now());
        let mut head_ends = None;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            let head = *match &mut head_ends {
                Some(end) => end,
                unknown => match find(&self.buffer, b"\r\n\r\n") {
                    Some(end) => unknown.insert(end + 4),
                    None => continue,
                },
            };
            if self.buffer.len() > head {
                match first {
                    Some(_) => gap_us = gap_us.max(us(latest)),
                    None => {
                        first = Some(us(since));
                        begins(self.status(head)?);
                    }
                }
                latest = Instant::now();
            }
            if self.is_whole(head)? {
                let text = String::from_utf8_lossy(self.buffer.get(..head).unwrap_or_default());
                return Ok(Answered {
                    first_us: first.unwrap_or_else(|| us(since)),
                    whole_us: us(since),
                    gap_us,
                    late_us,
                    status: self.status(head)?,
                    says_when: header(&text, "retry-after").is_some(),
                });
            }
        }
    }

    fn status(&self, head: usize) -> Result<u16> {
        let text = std::str::from_utf8(self.buffer.get(..head).unwrap_or_default())?;
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.context("an answer has a status")
    }

    fn is_whole(&self, head: usize) -> Result<bool> {
        let text = std::str::from_utf8(self.buffer.get(..head).unwrap_or_default())?;
        if let Some(length) = header(text, "content-length") {
            return Ok(self.buffer.len() >= head + length.parse::<usize>()?);
        }
        let is_whole = self.buffer.ends_with(b"0\r\n\r\n");
        if is_whole && !contains(&self.buffer, b"[DONE]") {
            bail!("a stream without its end: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(is_whole)
    }
}
