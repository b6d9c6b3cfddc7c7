use crate::sql::{Dialect, GrantError, Grants, Parameter, RowFilter, Rule, TableGrant, check};
use lockgate_types::{Json, JsonLimits};

fn orders() -> TableGrant {
    TableGrant::new("public", "orders", &["id", "total"])
}

fn make(dialect: Dialect, table: TableGrant, functions: &[&str]) -> Result<Grants, GrantError> {
    Grants::new(dialect, vec![table], functions, 10)
}

#[test]
fn what_cannot_be_granted_is_named() {
    for (schema, table) in [
        ("pg_catalog", "pg_class"),
        ("pg_temp", "x"),
        ("pg_toast", "x"),
        ("information_schema", "tables"),
        ("public", "a\"b"),
        ("public", "a\u{202e}b"),
        ("public", ""),
    ] {
        let made = make(Dialect::Postgres, TableGrant::new(schema, table, &["id"]), &[]);
        assert!(matches!(made, Err(GrantError::Name { .. })), "{schema}.{table}: {made:?}");
    }
    for (schema, table) in [("main", "sqlite_master"), ("temp", "x"), ("main", "pragma_list")] {
        let made = make(Dialect::Sqlite, TableGrant::new(schema, table, &["id"]), &[]);
        assert!(matches!(made, Err(GrantError::Name { .. })), "{schema}.{table}: {made:?}");
    }
    let empty = make(Dialect::Postgres, TableGrant::new("public", "orders", &[]), &[]);
    assert!(matches!(empty, Err(GrantError::Name { .. })), "{empty:?}");
    let twice = TableGrant::new("public", "orders", &["id", "id"]);
    assert!(matches!(make(Dialect::Postgres, twice, &[]), Err(GrantError::Twice { .. })));
    // SQLite takes these for one.
    let twice = TableGrant::new("main", "orders", &["id", "ID"]);
    assert!(matches!(make(Dialect::Sqlite, twice, &[]), Err(GrantError::Twice { .. })));
    let masked = make(Dialect::Postgres, orders().masked("note", "'x'"), &[]);
    assert!(matches!(masked, Err(GrantError::MaskedColumn { .. })));
}

#[test]
fn functions_that_act_are_never_granted() {
    for name in [
        "pg_sleep",
        "pg_catalog.pg_read_file",
        "PG_SLEEP",
        "public.dblink",
        "set_config",
        "nextval",
        "query_to_xml",
        "ts_stat",
        "lo_import",
        "current_setting",
        "pg_catalog.lower",
        "a.b.c",
    ] {
        let made = make(Dialect::Postgres, orders(), &[name]);
        assert!(matches!(made, Err(GrantError::Function { .. })), "{name}: {made:?}");
    }
    for name in ["load_extension", "writefile", "sqlite_version", "fts3_tokenizer", "main.lower"] {
        let table = TableGrant::new("main", "orders", &["id"]);
        let made = make(Dialect::Sqlite, table, &[name]);
        assert!(matches!(made, Err(GrantError::Function { .. })), "{name}: {made:?}");
    }
}

#[test]
fn functions_of_the_operators_are_called_by_their_schema() {
    let grants = make(Dialect::Postgres, orders(), &["app.rate", "cosd"]).unwrap();
    let text = |text| check(text, &[], &grants).map(|checked| checked.understood().to_owned());
    assert_eq!(text("SELECT app.rate(1)").unwrap(), "SELECT \"app\".\"rate\"(1) AS \"rate\"");
    assert_eq!(text("SELECT cosd(1)").unwrap(), "SELECT \"pg_catalog\".\"cosd\"(1) AS \"cosd\"");
    for other in ["SELECT rate(1)", "SELECT public.rate(1)", "SELECT public.lower('A')"] {
        assert_eq!(text(other).unwrap_err().rule, Rule::Function, "{other}");
    }
}

#[test]
fn mistakes_in_filters_and_masks_are_found_when_they_are_made() {
    for condition in [
        "tenant = ",
        "tenant = 'a'; DELETE FROM orders",
        "tenant = $2",
        "tenant = 'a' -- x",
        "id IN (SELECT id FROM customers)",
        "pg_sleep(1) IS NULL",
        "other.tenant = 'a'",
        "tenant = 'a' ORDER BY id",
        "1",
    ] {
        let values = if condition == "1" { vec![Parameter::Integer(1)] } else { Vec::new() };
        let made = make(Dialect::Postgres, orders().filtered(condition, values), &[]);
        assert!(matches!(made, Err(GrantError::Expression { .. })), "{condition}: {made:?}");
    }
    let made = make(Dialect::Postgres, orders().masked("total", "(SELECT 1)"), &[]);
    assert!(matches!(made, Err(GrantError::Expression { .. })), "{made:?}");
}

#[test]
fn filters_add_up_and_their_values_follow_the_callers() {
    let mut table = orders()
        .filtered("tenant = $1 OR $2", vec![text("a"), Parameter::Boolean(false)])
        .filtered("total < 5 OR total > 7", Vec::new());
    table.filters.push(RowFilter { condition: "owner = $1".to_owned(), values: vec![text("o")] });
    let grants = make(Dialect::Postgres, table, &[]).unwrap();
    let statement = "SELECT a.id FROM orders AS a JOIN orders AS b USING (id) WHERE a.total = $1";
    let checked = check(statement, &[Parameter::Integer(3)], &grants).unwrap();
    let filter = "WHERE ((((\"row\".\"tenant\" = $2) OR $3) AND ((\"row\".\"total\" < 5) OR \
                  (\"row\".\"total\" > 7))) AND (\"row\".\"owner\" = $4)) OFFSET 0)";
    assert_eq!(checked.text().matches(filter).count(), 2, "{}", checked.text());
    let values = [Parameter::Integer(3), text("a"), Parameter::Boolean(false), text("o")];
    assert_eq!(checked.values(), values);
}

fn text(text: &str) -> Parameter {
    Parameter::Text(text.to_owned())
}

#[test]
fn names_that_are_in_several_schemas_are_said_with_theirs() {
    let tables = vec![TableGrant::new("a", "t", &["x"]), TableGrant::new("b", "t", &["x"])];
    let grants = Grants::new(Dialect::Postgres, tables, &[], 10).unwrap();
    assert_eq!(check("SELECT x FROM t", &[], &grants).unwrap_err().rule, Rule::Name);
    let checked = check("SELECT x FROM b.t", &[], &grants).unwrap();
    assert_eq!(checked.understood(), "SELECT \"t\".\"x\" AS \"x\" FROM \"b\".\"t\" AS \"t\"");
    assert_eq!(check("SELECT x FROM c.t", &[], &grants).unwrap_err().rule, Rule::Table);
}

#[test]
fn parameters_come_from_json() {
    let parameter = |text: &str| {
        Parameter::from_json(&Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap())
    };
    assert_eq!(parameter("null"), Some(Parameter::Null));
    assert_eq!(parameter("true"), Some(Parameter::Boolean(true)));
    assert_eq!(parameter("-7"), Some(Parameter::Integer(-7)));
    assert_eq!(parameter("1.50"), Some(Parameter::Decimal("1.50".to_owned())));
    assert_eq!(
        parameter("99999999999999999999"),
        Some(Parameter::Decimal("99999999999999999999".to_owned()))
    );
    assert_eq!(parameter("\"'; --\""), Some(text("'; --")));
    for other in ["[]", "{}", "\"a\\u0000b\""] {
        assert_eq!(parameter(other), None);
    }
}
