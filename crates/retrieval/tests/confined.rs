//! The process that reads documents: what it cannot do, and what becomes of whoever started it when
//! it dies, sleeps or lies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use lockgate_retrieval::format::{Format, Rows};
use lockgate_retrieval::ingest::{ParseError, Parser};
use std::process::Command;
use std::time::Duration;
use support::{good_parser, parser};

fn parse(parser: &mut Parser) -> Result<String, ParseError> {
    parser.parse(Format::Markdown, b"# Hello", &Rows::default()).map(|page| page.text)
}

#[test]
fn a_confined_process_can_do_nothing_else() {
    let program = env!("CARGO_BIN_EXE_lockgate-confined");
    let output = Command::new(program).arg("tries").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = "limits: true\nfilter: true\nread a file: false\nlist a folder: false\n\
                    write a file: false\nconnect: false\nlisten: false\nstart: false\n\
                    spawn: false\nallocate: false\n";
    assert_eq!(said, expected);
}

#[test]
fn a_process_is_started_with_nothing() {
    let told = parse(&mut parser(Some("tells"), Duration::from_secs(10))).unwrap();
    assert_eq!(told, "in / with []");
}

#[test]
fn a_process_reads_many_documents_and_then_another_does() {
    let mut parser = good_parser();
    for _ in 0..150 {
        assert_eq!(parse(&mut parser).unwrap(), "Hello");
    }
}

#[test]
fn a_process_that_is_not_confined_is_told_nothing() {
    let within = Duration::from_secs(10);
    let free = parse(&mut parser(Some("is-free"), within));
    assert!(matches!(free, Err(ParseError::NotConfined { .. })), "{free:?}");
    for program in ["/bin/false", "/bin/true", "/nowhere"] {
        let mut other = Parser::new(program.into(), Vec::new(), within);
        let said = parse(&mut other);
        assert!(matches!(said, Err(ParseError::NotConfined { .. })), "{program}: {said:?}");
    }
}

#[test]
fn whoever_dies_sleeps_or_lies_costs_one_document() {
    let within = Duration::from_millis(300);
    for _ in 0..2 {
        let died = parse(&mut parser(Some("dies"), Duration::from_secs(10)));
        assert!(matches!(died, Err(ParseError::Died { .. })), "{died:?}");
        let slept = parse(&mut parser(Some("sleeps"), within));
        assert!(matches!(slept, Err(ParseError::TooSlow { .. })), "{slept:?}");
        let lied = parse(&mut parser(Some("lies"), Duration::from_secs(10)));
        assert!(matches!(lied, Err(ParseError::Unbelievable { .. })), "{lied:?}");
    }
}
