//! The process that reads documents, as tests start it: the product has it as a hidden command of
//! its one binary. With an argument it is one that misbehaves.

use lockgate_retrieval::format::Parsed;
use lockgate_retrieval::ingest::confine::{Confinement, confine};
use lockgate_retrieval::ingest::worker;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Bytes of memory of a process that tries what it may not.
const MEMORY_BYTES: u64 = 64 << 20;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1);
    let done = match mode.as_deref() {
        None => return worker::main(),
        Some("tries") => tries(),
        Some("dies") => hello(true).and_then(|()| request()),
        Some("sleeps") => sleeps(),
        Some("lies") => lies(),
        Some("tells") => tells(),
        Some("is-free") => hello(false).and_then(|()| request()),
        Some(_) => Err(io::ErrorKind::InvalidInput.into()),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn frame(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    output.write_all(&length.to_be_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}

fn hello(is_confined: bool) -> io::Result<()> {
    let said = Confinement { has_limits: true, has_filter: is_confined };
    frame(&serde_json::to_vec(&said)?)
}

/// Waits for the beginning of a request.
fn request() -> io::Result<()> {
    io::stdin().lock().read_exact(&mut [0; 8])
}

fn sleeps() -> io::Result<()> {
    hello(true)?;
    loop {
        std::thread::park();
    }
}

fn lies() -> io::Result<()> {
    hello(true)?;
    request()?;
    frame(
        br#"{"page":{"text":"x","title":null,"author":null,"made":null,"changed":null,
            "blocks":[{"kind":"paragraph","start":0,"end":9}],"findings":[],"findings_more":0,
            "beneath":[],"fields":[]}}"#,
    )?;
    // Whoever tells it a document may still be at it.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop)
}

/// Answers with what it was started with.
fn tells() -> io::Result<()> {
    hello(true)?;
    request()?;
    let place = std::env::current_dir()?;
    let names: Vec<String> = std::env::vars_os().map(|it| format!("{:?}", it.0)).collect();
    let text = format!("in {} with {names:?}", place.display());
    let page = Parsed { text, ..Parsed::default() };
    frame(&serde_json::to_vec(&serde_json::json!({ "page": page }))?)?;
    // Whoever tells it a document may still be at it.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop)
}

/// Says in a line each what it could do after it gave everything up.
fn tries() -> io::Result<()> {
    let held = confine(MEMORY_BYTES, 5);
    let could = [
        ("limits", held.has_limits),
        ("filter", held.has_filter),
        ("read a file", std::fs::read("/etc/hostname").is_ok()),
        ("list a folder", std::fs::read_dir("/").is_ok()),
        ("write a file", std::fs::write("/tmp/lockgate-confined", "x").is_ok()),
        ("connect", std::net::TcpStream::connect(("127.0.0.1", 1)).is_ok_or_refused()),
        ("listen", std::net::TcpListener::bind(("127.0.0.1", 0)).is_ok()),
        ("start", std::process::Command::new("/bin/true").status().is_ok()),
        ("spawn", std::thread::Builder::new().spawn(|| ()).is_ok()),
        ("allocate", Vec::<u8>::new().try_reserve(1 << 30).is_ok()),
    ];
    let mut output = io::stdout().lock();
    for (what, is_so) in could {
        writeln!(output, "{what}: {is_so}")?;
    }
    Ok(())
}

/// Whether the kernel let a connection be tried.
trait Tried {
    fn is_ok_or_refused(&self) -> bool;
}

impl Tried for io::Result<std::net::TcpStream> {
    fn is_ok_or_refused(&self) -> bool {
        match self {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        }
    }
}
