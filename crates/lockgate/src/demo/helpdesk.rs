//! The help desk: an ordinary MCP server over stdio (2025-11-25) with a database of its own.
//!
//! It trusts whoever starts it, as most tool servers do. It knows nothing of the gate in front of
//! it.

use anyhow::{Context, Result, bail};
use lockgate_types::{Json, JsonLimits, Object};
use lockgate_wire::{Message, RequestId, Response, RpcError};
use rusqlite::{Connection, params};
use std::io::{BufRead, Write};
use std::path::Path;

/// Serves one client on standard input and output until input ends.
pub(crate) fn serve(database: &Path) -> Result<()> {
    let connection = open(database)?;
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in input.lines() {
        let line = line.context("reading a message")?;
        let Ok(Message::Request(request)) = Message::parse(line.as_bytes(), &JsonLimits::MESSAGE)
        else {
            continue;
        };
        let answer = answer(&connection, &request.method, &request.params);
        write_answer(&mut output, &request.id, answer)?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Connection> {
    let is_new = !path.exists();
    let connection = Connection::open(path).context("opening the help desk's database")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    if is_new {
        connection.execute_batch(include_str!("schema.sql")).context("creating the tables")?;
    }
    Ok(connection)
}

fn write_answer(
    output: &mut impl Write,
    id: &RequestId,
    answer: Result<Json, RpcError>,
) -> Result<()> {
    let message = match answer {
        Ok(result) => Response::result(id.clone(), result),
        Err(error) => Response::error(id.clone(), error),
    };
    let mut line = message.to_bytes();
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()?;
    Ok(())
}

fn answer(connection: &Connection, method: &str, params: &Object) -> Result<Json, RpcError> {
    match method {
        "initialize" => Ok(Object::new()
            .with("protocolVersion", "2025-11-25")
            .with("capabilities", Object::new().with("tools", Object::new()))
            .with("serverInfo", Object::new().with("name", "helpdesk").with("version", "1.0.0"))
            .into()),
        "ping" => Ok(Object::new().into()),
        "tools/list" => Ok(Object::new().with("tools", definitions()).into()),
        "tools/call" => Ok(call(connection, params)),
        _ => Err(RpcError::new(-32601, "method not found")),
    }
}

/// The definitions, as `tools/list` shows them.
pub(crate) fn definitions() -> Vec<Json> {
    let text = include_bytes!("tools.json");
    match Json::parse(text, &JsonLimits::OWN) {
        Ok(Json::Array(tools)) => tools,
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn call(connection: &Connection, params: &Object) -> Json {
    let empty = Object::new();
    let name = params.get("name").and_then(Json::as_str).unwrap_or_default();
    let arguments = params.get("arguments").and_then(Json::as_object).unwrap_or(&empty);
    let (value, is_error) = match run(connection, name, arguments) {
        Ok(value) => (value, false),
        Err(error) => (Object::new().with("error", format!("{error:#}")).into(), true),
    };
    let block = Object::new().with("type", "text").with("text", value.to_string());
    Object::new()
        .with("content", vec![block.into()])
        .with("structuredContent", value)
        .with("isError", is_error)
        .into()
}

fn run(connection: &Connection, name: &str, arguments: &Object) -> Result<Json> {
    let int = |name: &str| {
        let value = arguments.get(name).and_then(Json::as_i64);
        value.with_context(|| format!("`{name}` must be an integer"))
    };
    let text = |name: &str| {
        let value = arguments.get(name).and_then(Json::as_str);
        value.with_context(|| format!("`{name}` must be a string"))
    };
    match name {
        "customer_get" => customer(connection, int("customer_id")?),
        "tickets_list" => tickets(connection, int("customer_id")?),
        "ticket_reply" => {
            let ticket = int("ticket_id")?;
            connection.execute(
                "INSERT INTO reply (ticket_id, body) VALUES (?1, ?2)",
                params![ticket, text("body")?],
            )?;
            Ok(Object::new().with("reply_id", connection.last_insert_rowid()).into())
        }
        "refund_create" => {
            let (customer, amount) = (int("customer_id")?, int("amount_cents")?);
            connection.execute(
                "INSERT INTO refund (customer_id, amount_cents, currency, reason)
                 VALUES (?1, ?2, ?3, ?4)",
                params![customer, amount, text("currency")?, text("reason")?],
            )?;
            let refund = connection.last_insert_rowid();
            Ok(Object::new().with("refund_id", refund).with("amount_cents", amount).into())
        }
        "runbook_search" => runbooks(connection, text("query")?),
        "customer_delete" => {
            let customer = int("customer_id")?;
            let deleted = connection.execute("DELETE FROM customer WHERE id = ?1", [customer])?;
            Ok(Object::new().with("deleted", i64::try_from(deleted)?).into())
        }
        other => bail!("there is no tool `{other}`"),
    }
}

fn customer(connection: &Connection, id: i64) -> Result<Json> {
    let sql = "SELECT id, name, email, phone, iban, plan FROM customer WHERE id = ?1";
    let row = connection.query_row(sql, [id], |row| {
        Ok(Object::new()
            .with("id", row.get::<_, i64>(0)?)
            .with("name", row.get::<_, String>(1)?)
            .with("email", row.get::<_, String>(2)?)
            .with("phone", row.get::<_, String>(3)?)
            .with("iban", row.get::<_, String>(4)?)
            .with("plan", row.get::<_, String>(5)?))
    });
    Ok(row.with_context(|| format!("no customer {id}"))?.into())
}

fn tickets(connection: &Connection, customer: i64) -> Result<Json> {
    let sql = "SELECT id, subject, status FROM ticket WHERE customer_id = ?1 ORDER BY id";
    rows(connection, sql, &customer, "tickets", |row| {
        Ok(Object::new()
            .with("id", row.get::<_, i64>(0)?)
            .with("subject", row.get::<_, String>(1)?)
            .with("status", row.get::<_, String>(2)?))
    })
}

fn runbooks(connection: &Connection, query: &str) -> Result<Json> {
    let sql = "SELECT title, body FROM runbook WHERE title || ' ' || body LIKE '%' || ?1 || '%'";
    rows(connection, sql, &query, "runbooks", |row| {
        Ok(Object::new()
            .with("title", row.get::<_, String>(0)?)
            .with("body", row.get::<_, String>(1)?))
    })
}

fn rows(
    connection: &Connection,
    sql: &str,
    parameter: &dyn rusqlite::ToSql,
    member: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<Object>,
) -> Result<Json> {
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([parameter], |row| Ok(Json::from(read(row)?)))?;
    let items = found.collect::<rusqlite::Result<Vec<Json>>>()?;
    Ok(Object::new().with(member, items).into())
}
