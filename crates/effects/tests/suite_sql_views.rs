//! A checked statement gives what the caller's own text gives over views that have the filters and
//! masks built in: the databases' own views are the oracle.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod sql_world;

use lockgate_effects::sql::{Checked, Dialect, Parameter, check};
use sql_world::{DATABASE, View, connect, grants, postgres, sql, sqlite_database};
use sqlx::{AssertSqlSafe, PgConnection, Row};

/// Queries that are made, each from its number.
const QUERIES: u64 = 2000;
/// Of these, the least that give rows: were they few, little would be compared.
const WITH_ROWS_MIN: usize = 1000;

/// The views, under the names of the tables.
const VIEWS: &str = "
    CREATE VIEW {}customers AS SELECT id, name, substr(email, 1, 1) || '***' AS email, country,
        vip, joined FROM {}base_customers WHERE tenant = 'acme';
    CREATE VIEW {}orders AS SELECT id, customer_id, total, status, placed, note
        FROM {}base_orders WHERE tenant = 'acme';
    CREATE VIEW {}items AS SELECT order_id, product, quantity FROM {}base_items;";

#[tokio::test]
async fn checked_queries_equal_views_on_postgres() {
    let cluster = postgres().await;
    let mut tables = connect(&cluster, DATABASE).await;
    let mut views = connect(&cluster, DATABASE).await;
    sql(&mut views, "CREATE SCHEMA seen").await.unwrap();
    let text = VIEWS.replace("{}base_", "public.").replace("{}", "seen.");
    sql(&mut views, &text).await.unwrap();
    sql(&mut views, "SET search_path = seen").await.unwrap();
    let grants = grants(Dialect::Postgres, View::Guarded);
    let mut with_rows = 0;
    for number in 0..QUERIES {
        let text = Maker::new(number, Dialect::Postgres).query(3);
        let checked = check(&text, &[], &grants)
            .unwrap_or_else(|refusal| panic!("{number}: {text}\n{refusal}"));
        let found = postgres_rows(&mut tables, checked.text(), checked.values()).await;
        let expected = postgres_rows(&mut views, &text, &[]).await;
        with_rows += usize::from(compare(number, &text, &checked, found, expected));
    }
    assert!(with_rows >= WITH_ROWS_MIN, "{with_rows} of {QUERIES} give rows");
}

async fn postgres_rows(
    connection: &mut PgConnection,
    text: &str,
    values: &[Parameter],
) -> Result<Vec<String>, String> {
    let text = format!("SELECT (q.*)::text FROM ({text}) AS q");
    let mut query = sqlx::query(AssertSqlSafe(text)).persistent(false);
    for value in values {
        let Parameter::Text(value) = value else { panic!("{value:?}") };
        query = query.bind(value);
    }
    let rows = query.fetch_all(connection).await.map_err(|error| error.to_string())?;
    Ok(rows.iter().map(|row| row.get::<String, _>(0)).collect())
}

#[test]
fn checked_queries_equal_views_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    sqlite_database(&path);
    let tables = rusqlite::Connection::open(&path).unwrap();
    let views = rusqlite::Connection::open_in_memory().unwrap();
    let world = sql_world::sqlite_world();
    let world = ["customers", "orders", "items"].iter().fold(world, |world, table| {
        world
            .replace(&format!("TABLE {table} "), &format!("TABLE base_{table} "))
            .replace(&format!("INTO {table} "), &format!("INTO base_{table} "))
    });
    views.execute_batch(&world).unwrap();
    views.execute_batch(&VIEWS.replace("{}", "")).unwrap();
    let grants = grants(Dialect::Sqlite, View::Guarded);
    let mut with_rows = 0;
    for number in 0..QUERIES {
        let text = Maker::new(number, Dialect::Sqlite).query(3);
        let checked = check(&text, &[], &grants)
            .unwrap_or_else(|refusal| panic!("{number}: {text}\n{refusal}"));
        let found = sqlite_rows(&tables, checked.text(), checked.values());
        let expected = sqlite_rows(&views, &text, &[]);
        with_rows += usize::from(compare(number, &text, &checked, found, expected));
    }
    assert!(with_rows >= WITH_ROWS_MIN, "{with_rows} of {QUERIES} give rows");
}

fn sqlite_rows(
    connection: &rusqlite::Connection,
    text: &str,
    values: &[Parameter],
) -> Result<Vec<String>, String> {
    let told = |error: rusqlite::Error| error.to_string();
    let mut statement = connection.prepare(text).map_err(told)?;
    let values = values.iter().map(|value| match value {
        Parameter::Text(value) => value,
        other => panic!("{other:?}"),
    });
    let columns = statement.column_count();
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
        let value = |at| row.get::<_, rusqlite::types::Value>(at).map(|it| format!("{it:?}"));
        (0..columns).map(value).collect::<rusqlite::Result<Vec<_>>>().map(|row| row.join(","))
    });
    rows.map_err(told)?.collect::<rusqlite::Result<_>>().map_err(told)
}

/// Compares as sets with repetition, as far as a checked statement answers: whether there were any.
fn compare(
    number: u64,
    text: &str,
    checked: &Checked,
    found: Result<Vec<String>, String>,
    expected: Result<Vec<String>, String>,
) -> bool {
    let context = || format!("{number}: {text}\n{}", checked.text());
    let mut found = found.unwrap_or_else(|error| panic!("{}\n{error}", context()));
    let mut expected = expected.unwrap_or_else(|error| panic!("{}\n{error}", context()));
    let rows_max = usize::try_from(checked.rows_max()).unwrap();
    if expected.len() > rows_max {
        assert_eq!(found.len(), rows_max + 1, "{}", context());
        found.retain(|row| !expected.contains(row));
        assert_eq!(found, [""; 0], "{}", context());
        return true;
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", context());
    !found.is_empty()
}

/// Makes queries, the same one for the same number.
struct Maker {
    state: u64,
    dialect: Dialect,
    names: usize,
    /// What can be named: source, column, whether it is a number. The last ones are nearest.
    columns: Vec<(String, &'static str, bool)>,
}

const TABLES: &[(&str, &[&str], &[&str])] = &[
    ("customers", &["id"], &["name", "email", "country"]),
    ("orders", &["id", "customer_id", "total"], &["status", "note"]),
    ("items", &["order_id", "quantity"], &["product"]),
];

impl Maker {
    fn new(number: u64, dialect: Dialect) -> Self {
        let state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
        Self { state, dialect, names: 0, columns: Vec::new() }
    }

    /// SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn query(&mut self, depth: usize) -> String {
        if depth > 0 && self.below(6) == 0 {
            let operator = self.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
            let (left, right) = (self.pair(depth - 1), self.pair(depth - 1));
            return format!("{left} {operator} {right}");
        }
        if depth > 0 && self.below(6) == 0 {
            let inner = self.pair(depth - 1);
            // In SQLite, a query of a `WITH` sees itself.
            let name = match self.dialect {
                Dialect::Postgres => self.pick(&["x", "secrets", "items"]),
                Dialect::Sqlite => self.pick(&["x", "secrets"]),
            };
            let condition = format!("{name}.n > {}", self.below(20));
            return format!(
                "WITH {name} (n, t) AS ({inner}) SELECT n, t FROM {name} WHERE {condition}"
            );
        }
        match self.below(3) {
            0 => self.grouped(depth),
            _ => self.pair(depth),
        }
    }

    /// A query of a number and a text.
    fn pair(&mut self, depth: usize) -> String {
        self.within(depth, |maker| {
            let number = maker.number(depth);
            let text = maker.text(depth);
            let distinct = maker.pick(&["", "", "", "DISTINCT "]);
            (format!("{distinct}{number} AS n, {text} AS t"), String::new())
        })
    }

    fn grouped(&mut self, depth: usize) -> String {
        self.within(depth, |maker| {
            let (source, column, _) = maker.column(false);
            let key = format!("{source}.{column}");
            let number = maker.number(0);
            let having = maker.pick(&["", "", " HAVING count(*) > 1"]);
            let items = format!("{key} AS k, count(*) AS c, sum({number}) AS s, min({key}) AS m");
            (items, format!(" GROUP BY {key}{having}"))
        })
    }

    /// A query: its sources, its condition, and what a function makes of them.
    fn within(&mut self, depth: usize, make: impl FnOnce(&mut Self) -> (String, String)) -> String {
        let outside = self.columns.len();
        let mut from = self.source(depth);
        for _ in 0..self.below(3) {
            let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN", ","]);
            let beside = self.columns.len();
            let source = self.source(depth);
            let is_joined = kind.ends_with("JOIN") && kind != "CROSS JOIN";
            // What a join may name are the sources that it joins, which are the last ones.
            let condition = if is_joined {
                let left = self.columns[beside - 1].clone();
                let (right, numeric) = (self.columns[beside].clone(), self.columns[beside - 1].2);
                match (numeric, right.2) {
                    (true, true) | (false, false) => {
                        format!(" ON {}.{} = {}.{}", left.0, left.1, right.0, right.1)
                    }
                    _ => format!(
                        " ON length({}.{}) > 1",
                        text_of(&left, &right).0,
                        text_of(&left, &right).1
                    ),
                }
            } else {
                String::new()
            };
            let space = if kind == "," { "" } else { " " };
            from = format!("{from}{space}{kind} {source}{condition}");
            if kind == "," {
                break;
            }
        }
        let condition = match self.below(4) {
            0 => String::new(),
            _ => format!(" WHERE {}", self.condition(depth)),
        };
        let (items, rest) = make(self);
        self.columns.truncate(outside);
        format!("SELECT {items} FROM {from}{condition}{rest}")
    }

    fn source(&mut self, depth: usize) -> String {
        self.names += 1;
        let name = format!("s{}", self.names);
        if depth > 0 && self.below(5) == 0 {
            // It sees nothing of what is beside it.
            let hidden = std::mem::take(&mut self.columns);
            let inner = self.pair(depth - 1);
            self.columns = hidden;
            self.columns.push((name.clone(), "n", true));
            self.columns.push((name.clone(), "t", false));
            return format!("({inner}) AS {name}");
        }
        let (table, numbers, texts) = self.pick(TABLES);
        self.columns.extend(numbers.iter().map(|it| (name.clone(), *it, true)));
        self.columns.extend(texts.iter().map(|it| (name.clone(), *it, false)));
        format!("{table} AS {name}")
    }

    fn column(&mut self, is_number: bool) -> (String, &'static str, bool) {
        let of_kind = self.columns.iter().filter(|it| it.2 == is_number);
        let of_kind: Vec<_> = of_kind.cloned().collect();
        of_kind[self.below(of_kind.len())].clone()
    }

    fn number(&mut self, depth: usize) -> String {
        let (source, column, _) = self.column(true);
        let column = format!("{source}.{column}");
        if depth == 0 {
            return column;
        }
        match self.below(8) {
            0 => format!("{}", self.below(1000)),
            1 => format!("{column} + {} * 2", self.number(depth - 1)),
            2 => format!("- {column} - {}", self.number(0)),
            3 => format!("coalesce(length({}), {column})", self.text(depth - 1)),
            4 => {
                let condition = self.condition(depth - 1);
                format!("CASE WHEN {condition} THEN {column} ELSE 7 END")
            }
            5 => format!("(SELECT count(*) FROM orders AS c WHERE c.customer_id = {column})"),
            _ => column,
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let (source, column, _) = self.column(false);
        let column = format!("{source}.{column}");
        if depth == 0 {
            return column;
        }
        match self.below(6) {
            0 => self.pick(&["'paid'", "'it''s'", "'a'", "''", "'***'"]).to_owned(),
            1 => format!("upper({})", self.text(depth - 1)),
            2 => format!("coalesce({column}, '-') || {}", self.text(0)),
            3 => format!("CAST({} AS text)", self.number(depth - 1)),
            _ => column,
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let compare = ["=", "<>", "<", ">", "<=", ">="];
        if depth == 0 {
            let operator = self.pick(&compare);
            return format!("{} {operator} {}", self.number(0), self.below(30));
        }
        let deeper = depth - 1;
        match self.below(12) {
            0 => format!("{} OR TRUE", self.condition(deeper)),
            1 => format!("{} AND {}", self.condition(deeper), self.condition(deeper)),
            2 => format!("{} OR {}", self.condition(deeper), self.condition(deeper)),
            3 => format!("NOT {}", self.condition(deeper)),
            4 => format!("({}) IS NOT TRUE", self.condition(deeper)),
            5 => format!("{} LIKE '%{}%'", self.text(deeper), self.pick(&["a", "e", "*", "i_"])),
            6 => format!("{} IS NULL", self.text(deeper)),
            7 => format!("{} BETWEEN 1 AND {}", self.number(deeper), self.below(900)),
            8 => format!("{} IN ({}, 10, 1)", self.number(deeper), self.below(20)),
            9 => {
                let number = self.number(deeper);
                let negation = self.pick(&["", "NOT "]);
                let inner = self
                    .within(deeper, |maker| (format!("{} AS n", maker.number(0)), String::new()));
                format!("{number} {negation}IN ({inner})")
            }
            10 => {
                let negation = self.pick(&["", "NOT "]);
                format!("{negation}EXISTS ({})", self.pair(deeper))
            }
            _ => {
                let operator = self.pick(&compare);
                let left = self.text(deeper);
                // Collations differ, so that texts are only compared for being equal.
                let operator = if self.dialect == Dialect::Postgres { operator } else { "=" };
                format!("{left} {operator} {}", self.text(deeper))
            }
        }
    }
}

/// That of two columns which is a text.
fn text_of<'c>(
    left: &'c (String, &'static str, bool),
    right: &'c (String, &'static str, bool),
) -> &'c (String, &'static str, bool) {
    if left.2 { right } else { left }
}

/// Expressions whose meaning hangs on what binds more closely.
const EXPRESSIONS: &[&str] = &[
    "NOT 1 = 2",
    "NOT 1 = 2 AND 1 = 2",
    "1 = 2 OR 1 = 1 AND 1 = 2",
    "NOT 1 IS NULL",
    "1 + 2 * 3 - 4 / 2 % 3",
    "- 2 + 3",
    "- (2 + 3) * - 4",
    "2 - 3 - 4",
    "100 / 10 / 5",
    "7 % 4 % 2",
    "'a' || 'b' = 'ab'",
    "'a' || 'b' LIKE 'a%'",
    "'ab' LIKE 'a' || 'b'",
    "'ab' NOT LIKE 'a' || 'c'",
    "1 + 1 || 'x' = '2x'",
    "'x' || 1 + 1 = 'x2'",
    "'1' || '2' || '3' = '123'",
    "1 BETWEEN 0 AND 2 AND 1 = 1",
    "1 BETWEEN 0 AND 2 OR 1 = 2",
    "NOT 1 BETWEEN 2 AND 3",
    "1 NOT BETWEEN 2 AND 3 AND 1 IN (1, 2)",
    "1 + 1 BETWEEN 1 + 0 AND 1 + 2",
    "1 IN (1, 2) = (1 = 1)",
    "1 + 1 IN (2)",
    "NOT 1 IN (2)",
    "1 NOT IN (2) AND 1 = 1",
    "NULL IS NULL AND 1 = 1",
    "1 = 1 IS NOT TRUE",
    "(1 = 1) IS TRUE AND NOT (1 = 2) IS TRUE",
    "1 < 2 AND 2 < 3",
    "1 <> 2 AND NOT 2 <> 2",
    "1 IS DISTINCT FROM 2 AND 1 IS NOT DISTINCT FROM 1",
    "1 + NULL IS NULL",
    "CASE WHEN 1 = 1 OR 1 = 2 AND 1 = 3 THEN 1 + 1 ELSE 2 * 3 END + 1",
    "CASE 1 + 1 WHEN 2 THEN 'a' || 'b' END",
    "CAST(- 5 AS text) || 'x'",
    "NOT EXISTS (SELECT 1 WHERE 1 = 2) AND 1 = 1",
    "1 = (SELECT 1) + 0",
    "2 * (SELECT 3) - 1",
    "1 > 2 IS NOT NULL",
    "NOT NOT 1 = 1",
    "(1 = 2) = (2 = 3)",
    "'a' < 'b' AND 'b' > 'a'",
    "1.5 * 2 > 2 + 0.9",
    "1e2 + 1",
    "'it''s' || '''' || ''",
];

/// The same in PostgreSQL's own words.
const EXPRESSIONS_POSTGRES: &[&str] = &[
    "- 5::text || 'x'",
    "5::text || 'x' = '5x'",
    "1 + '2'::integer * 3",
    "- '2'::integer + 1",
    "'ab' ILIKE 'A' || 'B'",
    "'ab' ~ 'a' || 'b'",
    "'ab' !~ 'c' AND 'ab' ~* 'A'",
    "NOT 'ab' ~ 'c'",
    "'{\"a\": {\"b\": 2}}'::jsonb -> 'a' ->> 'b' = '2'",
    "'{\"a\": 1}'::jsonb ->> 'a' || 'x'",
    "'{\"a\": {\"b\": 2}}'::jsonb #>> '{a,b}' = '2'",
    "'{\"a\": 1}'::jsonb @> '{\"a\": 1}'::jsonb AND 1 = 1",
    "DATE '2024-01-31' + INTERVAL '1 day' > DATE '2024-01-31'",
    "TIMESTAMP '2024-01-01 00:00:00' AT TIME ZONE 'UTC' AT TIME ZONE 'UTC' = TIMESTAMP '2024-01-01'",
    "DATE '2024-03-01' - DATE '2024-02-01' + 1",
    "EXTRACT(year FROM DATE '2024-01-31') + 1",
    "'a' COLLATE \"C\" < 'B' COLLATE \"C\"",
    "'a' || 'b' COLLATE \"C\" < 'c'",
    "5 / 2 * 2.0",
    "7 % 4 * 2",
    "TRUE AND FALSE OR TRUE",
    "NOT TRUE = FALSE",
    "1 < 2 = TRUE",
    "NOT FALSE IS NULL",
    "1 IN (1) AND NOT 2 IN (1) OR FALSE",
    "'a' LIKE 'a' = TRUE",
    "1 BETWEEN 0 AND 2 = TRUE",
];

/// The same in SQLite's.
const EXPRESSIONS_SQLITE: &[&str] = &[
    "1 = 1 = 1",
    "1 < 2 < 2",
    "1 = 2 < 3",
    "2 > 1 = 1",
    "1 == 1 AND 2 == 2",
    "'a' || 1 + 2",
    "- 2 || 3",
    "- '2' || 'x'",
    "1 + 2 || 3",
    "2 * 3 || 4",
    "'ab' GLOB 'a*' AND 1",
    "NOT 'ab' GLOB 'b*'",
    "'ab' GLOB 'a' || '*'",
    "NOT 1 + 1",
    "NOT 0 = 0",
    "1 IS NULL = 0",
    "1 BETWEEN 0 AND 2 = 1",
    "1 IN (1) = 1",
    "'a' LIKE 'A' = 1",
    "'a' = 'A' COLLATE NOCASE",
    "'a' || 'b' = 'AB' COLLATE NOCASE",
    "'{\"a\":{\"b\":2}}' -> 'a' ->> 'b' + 1",
    "'{\"a\":1}' ->> 'a' || 'x'",
    "5 / 2 * 2.0",
    "1 AND 0 OR 1",
    "1 OR 0 AND 0",
    "1 < 2 IS NOT NULL",
    "NOT 1 IN (2) AND 1",
    "-1 + 2",
    "- - 1",
    "1 - -1",
];

/// The least of the expressions that are read, and not refused for want of parentheses.
const READ_MIN: usize = 50;

#[tokio::test]
async fn expressions_mean_on_postgres_what_they_mean_to_it() {
    let cluster = postgres().await;
    let mut connection = connect(&cluster, DATABASE).await;
    let mut compared = Compared::default();
    for expression in EXPRESSIONS.iter().chain(EXPRESSIONS_POSTGRES) {
        let text = format!("SELECT {expression} AS v");
        let Some(checked) = compared.check(&text, Dialect::Postgres) else { continue };
        let expected = postgres_rows(&mut connection, &text, &[]).await;
        let found = postgres_rows(&mut connection, checked.text(), &[]).await;
        compared.add(&text, found, expected);
    }
    compared.end();
}

#[test]
fn expressions_mean_on_sqlite_what_they_mean_to_it() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let mut compared = Compared::default();
    for expression in EXPRESSIONS.iter().chain(EXPRESSIONS_SQLITE) {
        let text = format!("SELECT {expression} AS v");
        let Some(checked) = compared.check(&text, Dialect::Sqlite) else { continue };
        let expected = sqlite_rows(&connection, &text, &[]);
        compared.add(&text, sqlite_rows(&connection, checked.text(), &[]), expected);
    }
    compared.end();
}

#[derive(Default)]
struct Compared {
    read: usize,
    wrong: Vec<String>,
}

impl Compared {
    /// Nothing but a want of parentheses is a reason to refuse one of these.
    fn check(&mut self, text: &str, dialect: Dialect) -> Option<Checked> {
        match check(text, &[], &grants(dialect, View::Open)) {
            Ok(checked) => Some(checked),
            Err(refusal) => {
                if !refusal.what.ends_with("use parentheses") {
                    self.wrong.push(format!("{text}: {refusal}"));
                }
                None
            }
        }
    }

    /// The same value, or an error of the database's to both.
    fn add(
        &mut self,
        text: &str,
        found: Result<Vec<String>, String>,
        expected: Result<Vec<String>, String>,
    ) {
        self.read += 1;
        if found.as_ref().ok() != expected.as_ref().ok() {
            self.wrong.push(format!("{text}: {found:?}, not {expected:?}"));
        }
    }

    fn end(&self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert!(self.read >= READ_MIN, "{} read", self.read);
    }
}
