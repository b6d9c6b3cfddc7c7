//! Whatever the text, the check answers; and what it accepts is, read again, the same.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod sql_world;

use lockgate_effects::sql::{
    Checked, Dialect, Grants, Parameter, Refusal, Rule, TableGrant, check,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use sql_world::{View, escapes, grants, queries};

/// Pieces that are put into texts: what opens, closes, ends, quotes, or means something.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "''",
    "\"\"",
    "--",
    "/*",
    "*/",
    ";",
    "(",
    ")",
    ",",
    ".",
    "*",
    "$1",
    "?",
    "::",
    "$$",
    "\\",
    "\u{0}",
    "\u{a0}",
    "é",
    "NOT ",
    "SELECT ",
    " FROM ",
    " WHERE ",
    " UNION ",
    " JOIN ",
    " USING (id) ",
    " AS ",
    " OR TRUE ",
    " IN ",
    "EXISTS ",
    "(SELECT 1)",
    "orders",
    "secrets",
    "iban",
    "o.",
    " INTO x ",
    " FOR UPDATE ",
    "DELETE ",
    "WITH x AS (",
    "E'",
    "U&'",
    "x'41'",
    "pg_sleep(1)",
    "count(*)",
    "::regclass",
    " LIMIT 1 ",
    " OFFSET 1 ",
    " END ",
    "CASE WHEN ",
    " THEN ",
    " IS NULL ",
    " BETWEEN 1 AND 2 ",
    "1e5",
    "0x1",
    "1_0",
    "-",
    " NATURAL ",
];

/// Everything that the statement as it is run may name: what the operator's own filters and masks
/// read, besides what callers are granted.
fn operator(dialect: Dialect) -> Grants {
    let schema = match dialect {
        Dialect::Postgres => "public",
        Dialect::Sqlite => "main",
    };
    let customers = ["id", "name", "email", "country", "vip", "joined", "tenant", "iban"];
    let orders = ["id", "customer_id", "total", "status", "placed", "note", "tenant"];
    let items = ["order_id", "product", "quantity", "cost"];
    let tables = vec![
        TableGrant::new(schema, "customers", &customers),
        TableGrant::new(schema, "orders", &orders),
        TableGrant::new(schema, "items", &items),
    ];
    Grants::new(dialect, tables, &[], 100).unwrap()
}

/// Checks a text; whether it passes. Whatever passes is looked at again.
fn look(text: &str) -> bool {
    let mut passes = false;
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        for view in [View::Open, View::Guarded] {
            let grants = grants(dialect, view);
            let Ok(checked) = check(text, &[], &grants) else { continue };
            passes = true;
            if let Some(again) = read_again(checked.understood(), &[], &grants) {
                assert_eq!(again.understood(), checked.understood(), "of `{text}`");
                assert_eq!(again.text(), checked.text(), "of `{text}`");
            }
            // What the database gets says to another reader exactly what it said to its writer.
            let run = read_again(checked.text(), checked.values(), &operator(dialect));
            if let Some(run) = run {
                assert_eq!(run.understood(), checked.text(), "of `{text}`");
            }
        }
    }
    passes
}

/// Nothing but its size is a reason to refuse what we have written ourselves.
fn read_again(text: &str, values: &[Parameter], grants: &Grants) -> Option<Checked> {
    match check(text, values, grants) {
        Ok(checked) => Some(checked),
        Err(refusal) if refusal.rule == Rule::Size => None,
        Err(refusal) => panic!("`{text}` is refused: {refusal}"),
    }
}

fn corpus() -> Vec<String> {
    let escapes = escapes().into_iter().flat_map(|family| family.case).map(|escape| escape.sql);
    let queries = queries().into_iter().filter(|query| query.parameters.is_empty());
    let queries = queries.flat_map(|query| [Some(query.sql), query.sqlite]).flatten();
    escapes.chain(queries).collect()
}

#[test]
fn what_is_accepted_reads_as_itself() {
    let accepted = corpus().iter().filter(|text| look(text)).count();
    assert!(accepted > 100, "{accepted} accepted");
}

#[test]
fn changed_texts_are_answered() {
    let corpus = corpus();
    let honest: Vec<String> = queries().into_iter().map(|query| query.sql).collect();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 6000, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let change = (any::<Index>(), any::<Index>(), any::<Index>(), 0..6u8);
    let strategy = (any::<bool>(), any::<Index>(), vec(change, 1..4));
    let accepted = std::cell::Cell::new(0);
    let run = runner.run(&strategy, |(is_honest, start, changes)| {
        let start = start.get(if is_honest { &honest } else { &corpus });
        let mut text: Vec<char> = start.chars().collect();
        for (at, other, length, kind) in changes {
            change_text(&mut text, &corpus, (at, other, length), kind);
        }
        let text: String = text.into_iter().collect();
        accepted.set(accepted.get() + u32::from(look(&text)));
        Ok(())
    });
    run.unwrap();
    // Were nothing accepted, nothing would be read again.
    assert!(accepted.get() > 300, "{} accepted", accepted.get());
}

fn change_text(
    text: &mut Vec<char>,
    corpus: &[String],
    (at, other, length): (Index, Index, Index),
    kind: u8,
) {
    let at = at.index(text.len() + 1);
    let end = (at + length.index(12)).min(text.len());
    let piece: Vec<char> = match kind {
        0 => Vec::new(),
        1 | 2 => other.get(PIECES).chars().collect(),
        3 => text[at..end].iter().chain(&text[at..end]).copied().collect(),
        4 => other.get(corpus).chars().skip(at).take(20).collect(),
        _ => text[at..end].iter().map(|it| it.to_ascii_uppercase()).collect(),
    };
    text.splice(at..end, piece);
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        look(&text);
    }

    #[test]
    fn any_pieces_are_answered(pieces in vec(proptest::sample::select(PIECES), 0..30)) {
        look(&format!("SELECT id FROM orders {}", pieces.concat()));
        look(&pieces.join(" "));
    }

    #[test]
    fn any_literal_is_itself(text in "[ -~äß☃]{0,40}") {
        let quoted = format!("SELECT '{}' AS \"a\"", text.replace('\'', "''"));
        let checked = check(&quoted, &[], &grants(Dialect::Sqlite, View::Open)).unwrap();
        prop_assert_eq!(checked.understood(), &quoted);
        let checked = check(&quoted, &[], &grants(Dialect::Postgres, View::Open));
        prop_assert_eq!(checked.is_ok(), !text.contains('\\'));
    }
}

/// The stack of the thread below: far less than any that the gate has.
const SMALL_STACK: usize = 192 << 10;

#[test]
fn depth_and_length_are_bounded() {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK).spawn(check_depth);
    thread.unwrap().join().unwrap();
}

fn check_depth() {
    let many = 40_000;
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("SELECT {}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for times in [50, 90, 150, 400, 900, many] {
        for text in [
            nested("(", "1", ")", times),
            nested("(SELECT ", "1", ")", times),
            nested("NOT ", "TRUE", "", times),
            nested("- ", "1", "", times),
            nested("1 + ", "1", "", times),
            nested("1 + (", "1", ")", times),
            nested("TRUE OR ", "TRUE", "", times),
            nested("abs(", "1", ")", times),
            nested("CASE WHEN TRUE THEN ", "1", " END", times),
            nested("CAST(", "1", " AS text)", times),
            nested("1", "", "::text", times),
            nested("1 IN (", "1", ")", times),
            format!("SELECT 1{}", " IS NULL".repeat(times)),
            format!("SELECT 1{}", "::text".repeat(times)),
            format!("SELECT 1{} # 2", "+1".repeat(times)),
            format!("SELECT 1{} GLOB 'a' REGEXP 'b'", "+1".repeat(times)),
            format!("SELECT 1{}", " GLOB 1".repeat(times)),
            format!("SELECT a{}", " COLLATE a".repeat(times)),
            format!("SELECT a{}", " AT TIME ZONE 'a'".repeat(times)),
            format!("SELECT a{}", ".a".repeat(times)),
            format!("SELECT {}1", "1,".repeat(times)),
            format!("SELECT 1 FROM a {}", "JOIN a ".repeat(times)),
            format!("SELECT 1 FROM {}a", "(".repeat(times)),
            nested("1 UNION SELECT ", "1", "", times),
            nested("EXISTS (SELECT ", "1", ")", times),
            format!("{}1", "SELECT * FROM (".repeat(times)),
            format!("{}SELECT 1{}", "(".repeat(times), ")".repeat(times)),
            format!("SELECT 1 FROM orders AS a0 {}", "CROSS JOIN orders ".repeat(times)),
            format!("SELECT {}", "'a' || ".repeat(times)),
            format!("WITH {}", "a AS (WITH ".repeat(times)),
            format!("SELECT 1 WHERE {}", "'".repeat(times)),
            format!("SELECT 1 /* {}", "/* ".repeat(times)),
        ] {
            look(&text);
            if times == many {
                let grants = grants(Dialect::Postgres, View::Open);
                assert!(check(&text, &[], &grants).is_err());
            }
        }
    }
    let chain = format!("SELECT id FROM orders WHERE {}id = 1", "id = 1 OR ".repeat(60));
    assert!(look(&chain));
}

#[test]
fn refusals_name_what_and_where() {
    let refused = |text: &str, parameters: &[Parameter]| {
        let grants = grants(Dialect::Postgres, View::Guarded);
        check(text, parameters, &grants).unwrap_err()
    };
    let place = |refusal: &Refusal| refusal.place.map(|place| (place.line, place.column));
    let refusal = refused("SELECT id,\n  iban\nFROM customers", &[]);
    assert_eq!((refusal.rule, place(&refusal)), (Rule::Column, Some((2, 3))));
    assert_eq!(refusal.to_string(), "a column that is not granted: `iban`, at line 2, column 3");
    let refusal = refused("SELECT 1 FROM orders, secrets", &[]);
    assert_eq!((refusal.rule, place(&refusal)), (Rule::Table, Some((1, 23))));
    let refusal = refused("SELECT pg_sleep(1)", &[]);
    assert_eq!(
        refusal.to_string(),
        "a function that is not granted: `pg_sleep`, at line 1, column 8"
    );
    let refusal = refused("SELECT 'é', '\u{202e}'", &[]);
    assert_eq!((refusal.rule, place(&refusal)), (Rule::Character, Some((1, 14))));
    // A column of the outer query, whose source has another meaning within.
    let inner = "SELECT (SELECT name FROM items AS c LIMIT 1) AS x FROM customers AS c";
    assert_eq!(refused(inner, &[]).rule, Rule::Name);
    let refusal = refused("SELECT id FROM orders -- x", &[]);
    assert_eq!((refusal.rule, place(&refusal)), (Rule::Token, Some((1, 23))));
    assert_eq!(refused("SELECT 1", &[Parameter::Null]).rule, Rule::Parameter);
    assert_eq!(refused("", &[]).rule, Rule::OneStatement);
}
