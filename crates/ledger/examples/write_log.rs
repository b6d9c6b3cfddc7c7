//! Writes a log to a directory, for verifiers that are not ours.
//!
//! `write_log DIR SIZE OLD_SIZE` makes `DIR/log` (`checkpoint` and `tile/…`), `DIR/vkey`, and
//! `DIR/old-checkpoint`, the checkpoint that was signed when the log had `OLD_SIZE` entries. The
//! key comes from a fixed seed: it protects nothing.

use lockgate_ledger::{Checkpoint, Entry, Kind, Signer, TileWriter};
use lockgate_types::{Micros, Object};
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, size, old_size] = arguments.as_slice() else {
        return Err("usage: write_log DIR SIZE OLD_SIZE".into());
    };
    let (directory, size, old_size) = (Path::new(directory), size.parse()?, old_size.parse()?);
    let signer = Signer::from_seed("example.com/gate", &[7; 32])?;
    let log = directory.join("log");
    let mut writer = TileWriter::new();

    append(&mut writer, old_size)?;
    let old = publish(&mut writer, &log, &signer)?;
    append(&mut writer, size)?;
    publish(&mut writer, &log, &signer)?;

    fs::write(directory.join("old-checkpoint"), old)?;
    fs::write(directory.join("vkey"), format!("{}\n", signer.verifier()))?;
    Ok(())
}

fn append(writer: &mut TileWriter, until: u64) -> Result<(), Box<dyn Error>> {
    while writer.size() < until {
        let index = writer.size();
        let time = Micros(1_763_629_200_000_000 + i64::try_from(index)? * 1000);
        let members = Object::new()
            .with("op", "helpdesk/create_refund")
            .with("ag", "billing-agent")
            .with("c", lockgate_types::Digest::of(&index.to_be_bytes()).to_string());
        let entry = Entry::new(Kind::Intent, time, members)?;
        writer.append(&entry.to_bytes(index)?)?;
    }
    Ok(())
}

fn publish(writer: &mut TileWriter, log: &Path, signer: &Signer) -> Result<String, Box<dyn Error>> {
    for file in writer.flush() {
        write(&log.join(file.path), &file.bytes)?;
    }
    let origin = signer.verifier().name().to_owned();
    let checkpoint = Checkpoint { origin, size: writer.size(), root: writer.root() };
    let note = checkpoint.sign(signer)?;
    write(&log.join("checkpoint"), note.as_bytes())?;
    Ok(note)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(fs::write(path, bytes)?)
}
