//! Running a checked statement on PostgreSQL.
//!
//! The barriers here know nothing of how the statement was checked: a transaction that is read
//! only and always rolled back, the extended protocol, which takes one statement, timeouts of the
//! server's own, a search path of the system's schema alone, and above all a role that may not
//! write. [`PostgresDatabase::inspect`] says what that role may do beyond reading.

use crate::outbound::addresses;
use crate::sql::check::Checked;
use crate::sql::grants::{Dialect, Grants, Parameter, Table};
use crate::sql::postgres_value;
use crate::sql::run::{Answer, Rows, RunBounds, RunError};
use futures_util::TryStreamExt;
use lockgate_core::network::Network;
use lockgate_types::{Json, Redacted};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow, PgSslMode, PgTypeKind, Postgres,
};
use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, TypeInfo, ValueRef,
};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Connections to one database.
const CONNECTIONS_MAX: u32 = 8;
/// How long a connection is waited for.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// How long a lock is waited for: a table that is being rebuilt is not worth more.
const LOCK_WAIT_MS_MAX: u32 = 1000;
/// How much later than the server its client gives up on a statement: the server's answer says
/// more.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// The one transaction in which a statement runs.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
/// What holds within it. Names are looked up in the system's schema alone, so that nobody's
/// operators and types take the place of PostgreSQL's.
const SETTINGS: &str = "SELECT \
    pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), \
    pg_catalog.set_config('standard_conforming_strings', 'on', true), \
    pg_catalog.set_config('statement_timeout', $1, true), \
    pg_catalog.set_config('lock_timeout', $2, true), \
    pg_catalog.set_config('idle_in_transaction_session_timeout', $3, true)";

/// A PostgreSQL database that statements are run on.
#[derive(Clone)]
pub struct PostgresDatabase {
    pool: PgPool,
    pub(super) bounds: RunBounds,
    place: Option<Arc<Place>>,
}

/// Where a database is, and in which networks it may be.
struct Place {
    options: PgConnectOptions,
    allowed: Vec<Network>,
}

/// Something that the role of a database may do, or not, beyond what a read-only tool needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleFinding {
    /// It is a superuser: nothing in the database holds it.
    Superuser,
    /// It is not held by the row security of tables.
    BypassesRowSecurity,
    /// It may create roles or databases, or replicate.
    Administers,
    /// It is a member of a role of the system's that reads or writes beyond its grants, or acts on
    /// the server.
    MemberOf {
        /// The role.
        role: String,
    },
    /// It may create objects in a schema.
    CreatesIn {
        /// The schema.
        schema: String,
    },
    /// It owns a granted table, and so may do anything to it.
    Owns {
        /// Schema and table.
        table: String,
    },
    /// It may write to a granted table.
    Writes {
        /// Schema and table.
        table: String,
    },
    /// It may not read a granted table at all, or there is none.
    CannotRead {
        /// Schema and table.
        table: String,
    },
}

/// Roles of the system's that no more than read.
const READING_ROLES: &[&str] = &[
    "pg_read_all_data",
    "pg_read_server_files",
    "pg_monitor",
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_stat_scan_tables",
];

impl RoleFinding {
    /// Whether the role could change something.
    pub fn is_more_than_reading(&self) -> bool {
        match self {
            Self::Superuser
            | Self::Administers
            | Self::CreatesIn { .. }
            | Self::Owns { .. }
            | Self::Writes { .. } => true,
            Self::MemberOf { role } => !READING_ROLES.contains(&role.as_str()),
            Self::BypassesRowSecurity | Self::CannotRead { .. } => false,
        }
    }
}

/// Without the pool: nobody promises that its options keep their password to themselves.
impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDatabase").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl fmt::Display for RoleFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superuser => {
                f.write_str("the role is a superuser: hint: use one that only reads")
            }
            Self::BypassesRowSecurity => f.write_str("the role bypasses row security"),
            Self::Administers => f.write_str("the role creates roles or databases, or replicates"),
            Self::MemberOf { role } => write!(f, "the role is a member of `{role}`"),
            Self::CreatesIn { schema } => write!(f, "the role may create in schema `{schema}`"),
            Self::Owns { table } => write!(f, "the role owns `{table}`"),
            Self::Writes { table } => write!(f, "the role may write to `{table}`"),
            Self::CannotRead { table } => write!(f, "the role cannot read `{table}`"),
        }
    }
}

/// Roles of the system's that no tool needs.
const SYSTEM_ROLES: &[&str] = &[
    "pg_read_all_data",
    "pg_write_all_data",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_signal_backend",
    "pg_checkpoint",
    "pg_monitor",
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_stat_scan_tables",
    "pg_maintain",
    "pg_database_owner",
    "pg_create_subscription",
];

impl PostgresDatabase {
    /// The database at an address: `postgres://role@host/database`. Unless the address says
    /// otherwise (`?sslmode=disable`), a server on another machine has to prove who it is.
    pub fn at(
        address: &Redacted<String>,
        allowed: &[Network],
        bounds: RunBounds,
    ) -> Result<Self, RunError> {
        // The parser's own words repeat the address.
        let unreadable = || RunError::Unreachable {
            detail: "the address is not `postgres://role@host/database`".to_owned(),
        };
        let address = address.expose();
        if !["postgres://", "postgresql://"].iter().any(|it| address.starts_with(it)) {
            return Err(unreadable());
        }
        let mut options: PgConnectOptions = address.parse().map_err(|_| unreadable())?;
        let is_doubtful = matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer);
        let is_near = options.get_socket().is_some() || is_loopback(options.get_host());
        if is_doubtful && !is_near {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        let database = Self::new(options.clone(), bounds);
        // The client's own log would repeat statements.
        let options = options.disable_statement_logging().application_name("lockgate");
        let place = Place { options, allowed: allowed.to_vec() };
        Ok(Self { place: Some(Arc::new(place)), ..database })
    }

    /// A database, wherever it is; connections are made when they are needed. To be called within a
    /// runtime.
    pub fn new(options: PgConnectOptions, bounds: RunBounds) -> Self {
        // The client's own log would repeat statements, and with them what callers ask for.
        let options = options.disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECTED_WITHIN)
            .connect_lazy_with(options.application_name("lockgate"));
        Self { pool, bounds, place: None }
    }

    /// A connection: one that is there, or a new one to where the database may be.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Postgres>, RunError> {
        self.aim().await?;
        self.pool.acquire().await.map_err(|error| self.failed(error))
    }

    /// Has new connections go to an address that was looked at. With `verify-full` they go by the
    /// name: the server proves that it has it, before anything is said to it, so that looking is
    /// enough.
    async fn aim(&self) -> Result<(), RunError> {
        let Some(place) = self.place.as_deref().filter(|_| self.pool.num_idle() == 0) else {
            return Ok(());
        };
        let options = &place.options;
        if options.get_socket().is_some() || options.get_host().starts_with('/') {
            return Ok(());
        }
        let at = (options.get_host(), options.get_port());
        let unreachable = |detail: String| RunError::Unreachable { detail };
        let found = tokio::time::timeout(CONNECTED_WITHIN, addresses(at, &place.allowed)).await;
        let found =
            found.map_err(|_| unreachable("its name is not resolved in time".to_owned()))?;
        let found = found.map_err(|error| unreachable(error.to_string()))?;
        let found = found.map_err(|why| RunError::NotAllowed { detail: why.to_string() })?;
        if matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            let detail = format!("some addresses of `{}` are not in `allow_networks`", at.0);
            return if found.is_all { Ok(()) } else { Err(RunError::NotAllowed { detail }) };
        }
        let chosen = match found.usable.as_slice() {
            [only] => only.ip(),
            several => {
                let trying = tokio::net::TcpStream::connect(several);
                let tried = tokio::time::timeout(CONNECTED_WITHIN, trying).await;
                let tried = tried.map_err(|_| unreachable("nobody answers in time".to_owned()))?;
                let peer = tried.and_then(|stream| stream.peer_addr());
                peer.map_err(|error| unreachable(error.to_string()))?.ip()
            }
        };
        self.pool.set_connect_options(options.clone().host(&chosen.to_string()));
        Ok(())
    }

    /// How its connections are protected.
    #[cfg(test)]
    pub(super) fn ssl_mode(&self) -> PgSslMode {
        self.pool.connect_options().get_ssl_mode()
    }

    /// Runs a statement, in a transaction that is rolled back.
    pub async fn run(&self, checked: &Checked) -> Result<Answer, RunError> {
        if checked.dialect() != Dialect::Postgres {
            return Err(RunError::Dialect { checked: checked.dialect() });
        }
        let mut connection = self.connection().await?;
        let work = self.run_on(&mut connection, checked);
        match tokio::time::timeout(self.bounds.time + GIVEN_UP_AFTER, work).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whatever it is in the middle of, nobody else shall use this connection.
                drop(connection.detach());
                Err(RunError::TimedOut { after: self.bounds.time })
            }
        }
    }

    async fn run_on(
        &self,
        connection: &mut PgConnection,
        checked: &Checked,
    ) -> Result<Answer, RunError> {
        let begun = connection.begin_with(BEGIN).await;
        let mut transaction = begun.map_err(|error| self.failed(error))?;
        let answer = self.answer(&mut transaction, checked).await;
        let rolled_back = transaction.rollback().await;
        let forgotten = connection.clear_cached_statements().await;
        let answer = answer?;
        forgotten.map_err(|error| self.failed(error))?;
        rolled_back.map_err(|error| self.failed(error))?;
        Ok(answer)
    }

    async fn answer(
        &self,
        connection: &mut PgConnection,
        checked: &Checked,
    ) -> Result<Answer, RunError> {
        self.set_bounds(connection).await?;
        let arguments = arguments(checked.values()).map_err(|error| self.failed(error))?;
        let mut rows = Rows::within(checked.rows_max(), self.bounds);
        // The text is our own writing, from our own tree. It is prepared under a name, because the
        // client may have to ask for a type in between; the name is forgotten afterwards.
        let query = sqlx::query_with(AssertSqlSafe(checked.text()), arguments);
        let mut found = query.fetch(&mut *connection);
        while let Some(row) = found.try_next().await.map_err(|error| self.failed(error))? {
            if !rows.take(values(&row, checked.columns())?) {
                break;
            }
        }
        Ok(rows.into_answer(checked.columns().to_vec()))
    }

    /// Sets what holds within a transaction.
    pub(super) async fn set_bounds(&self, connection: &mut PgConnection) -> Result<(), RunError> {
        let time_ms = self.bounds.time.as_millis().max(1);
        let set = sqlx::query(SETTINGS)
            .persistent(false)
            .bind(time_ms.to_string())
            .bind(LOCK_WAIT_MS_MAX.to_string())
            .bind((time_ms + GIVEN_UP_AFTER.as_millis()).to_string());
        set.fetch_one(&mut *connection).await.map(drop).map_err(|error| self.failed(error))
    }

    /// What the role may do beyond reading the granted tables. Nothing found: as it should be.
    pub async fn inspect(&self, grants: &Grants) -> Result<Vec<RoleFinding>, RunError> {
        self.aim().await?;
        let failed = |error| self.failed(error);
        let mut found = Vec::new();
        let role = sqlx::query(
            "SELECT rolsuper, rolbypassrls, rolcreaterole OR rolcreatedb OR rolreplication \
             FROM pg_catalog.pg_roles WHERE rolname = current_user",
        );
        let role = role.fetch_one(&self.pool).await.map_err(failed)?;
        let is_superuser = role.try_get::<bool, _>(0).map_err(failed)?;
        let findings = [
            (0, RoleFinding::Superuser),
            (1, RoleFinding::BypassesRowSecurity),
            (2, RoleFinding::Administers),
        ];
        for (at, finding) in findings {
            if role.try_get::<bool, _>(at).map_err(failed)? {
                found.push(finding);
            }
        }
        // A superuser is in every role, and there is no more to say.
        if !is_superuser {
            let names: Vec<String> = SYSTEM_ROLES.iter().map(|it| (*it).to_owned()).collect();
            let roles = sqlx::query_scalar::<_, String>(
                "SELECT rolname::text FROM pg_catalog.pg_roles \
                 WHERE rolname = ANY($1) AND pg_catalog.pg_has_role(oid, 'MEMBER') ORDER BY 1",
            );
            let roles = roles.bind(names).fetch_all(&self.pool).await.map_err(failed)?;
            found.extend(roles.into_iter().map(|role| RoleFinding::MemberOf { role }));
        }
        for table in &grants.tables {
            self.inspect_table(table, &mut found).await?;
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn inspect_table(
        &self,
        table: &Table,
        found: &mut Vec<RoleFinding>,
    ) -> Result<(), RunError> {
        let failed = |error| self.failed(error);
        let name = format!("{}.{}", table.schema, table.name);
        let row = sqlx::query(
            "SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE'), \
             pg_catalog.pg_has_role(c.relowner, 'MEMBER'), \
             pg_catalog.has_table_privilege(c.oid, \
                 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') \
             OR pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE, REFERENCES'), \
             NOT pg_catalog.has_any_column_privilege(c.oid, 'SELECT') \
             OR NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
        );
        let row = row.bind(&table.schema).bind(&table.name);
        let Some(row) = row.fetch_optional(&self.pool).await.map_err(failed)? else {
            found.push(RoleFinding::CannotRead { table: name });
            return Ok(());
        };
        let findings = [
            RoleFinding::CreatesIn { schema: table.schema.clone() },
            RoleFinding::Owns { table: name.clone() },
            RoleFinding::Writes { table: name.clone() },
            RoleFinding::CannotRead { table: name },
        ];
        for (at, finding) in findings.into_iter().enumerate() {
            if row.try_get::<bool, _>(at).map_err(failed)? {
                found.push(finding);
            }
        }
        Ok(())
    }

    pub(super) fn failed(&self, error: sqlx::Error) -> RunError {
        let detail = error.to_string();
        let state = match &error {
            sqlx::Error::Database(error) => error.code().map(|code| code.into_owned()),
            _ => None,
        };
        match state.as_deref() {
            // Cancelled by a timeout of the statement; a lock not had in time.
            Some("57014" | "55P03") => RunError::TimedOut { after: self.bounds.time },
            // A write in a transaction that is read only; no privilege.
            Some("25006" | "42501") => RunError::Barrier { detail },
            Some(state) => RunError::Database { state: state.to_owned(), detail },
            None => RunError::Unreachable { detail },
        }
    }
}

/// Whether a host is this machine: by name, by address, or the directory of a socket.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.starts_with('/') || address.is_ok_and(|it| it.is_loopback())
}

pub(super) fn arguments(values: &[Parameter]) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Parameter::Null => arguments.add(None::<String>),
            Parameter::Boolean(value) => arguments.add(value),
            Parameter::Integer(value) => arguments.add(value),
            Parameter::Decimal(text) | Parameter::Text(text) => arguments.add(text),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

pub(super) fn values(row: &PgRow, columns: &[String]) -> Result<Vec<Json>, RunError> {
    let value = |(at, column): (usize, &String)| {
        let unshown =
            |kind: &str| RunError::Value { column: column.clone(), kind: kind.to_owned() };
        let raw = row.try_get_raw(at).map_err(|error| unshown(&error.to_string()))?;
        if raw.is_null() {
            return Ok(Json::Null);
        }
        let kind = raw.type_info().into_owned();
        let bytes = raw.as_bytes().map_err(|error| unshown(&error.to_string()))?;
        let found = match kind.kind() {
            PgTypeKind::Enum(_) => postgres_value::text(bytes),
            _ => postgres_value::value(kind.name(), bytes),
        };
        found.ok_or_else(|| unshown(kind.name()))
    };
    columns.iter().enumerate().map(value).collect()
}
