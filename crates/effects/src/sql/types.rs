//! Types that values are cast to, fields of times, and collations: short lists.
//!
//! What is not on a list is refused, types of a future parser included. Casts to the `reg…` types
//! look names up in the catalogue, casts to composite and domain types run checks of somebody's.

use crate::sql::grants::Dialect;
use crate::sql::refusal::{Refusal, Rule, shown};
use sqlparser::ast::{CharacterLength, DataType, DateTimeField, ExactNumberInfo, TimezoneInfo};

/// Digits of a number, and characters of a text, that a cast may ask for.
const LENGTH_MAX: u64 = 1000;

/// A type as it is written.
pub(super) fn cast(dialect: Dialect, kind: &DataType) -> Result<String, Refusal> {
    let found = match dialect {
        Dialect::Postgres => postgres(kind),
        Dialect::Sqlite => sqlite(kind).map(str::to_owned),
    };
    found.ok_or_else(|| Refusal::new(Rule::Type, format!("`{}`", shown(&kind.to_string()))))
}

fn postgres(kind: &DataType) -> Option<String> {
    let plain = match kind {
        DataType::Text => "text",
        DataType::Varchar(None) | DataType::CharacterVarying(None) => "character varying",
        DataType::SmallInt(None) | DataType::Int2(None) => "smallint",
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => "integer",
        DataType::BigInt(None) | DataType::Int8(None) => "bigint",
        DataType::Real | DataType::Float4 => "real",
        DataType::DoublePrecision | DataType::Float8 => "double precision",
        DataType::Float(ExactNumberInfo::None) => "double precision",
        DataType::Bool | DataType::Boolean => "boolean",
        DataType::Date => "date",
        DataType::Uuid => "uuid",
        DataType::JSONB => "jsonb",
        DataType::Interval { fields: None, precision: None } => "interval",
        DataType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "time",
        DataType::Timestamp(None, zone) => match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => "timestamp without time zone",
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => "timestamp with time zone",
        },
        DataType::Varchar(Some(length)) | DataType::CharacterVarying(Some(length)) => {
            return sized("character varying", length);
        }
        DataType::Char(Some(length)) | DataType::Character(Some(length)) => {
            return sized("character", length);
        }
        DataType::Numeric(digits) | DataType::Decimal(digits) => return numeric(digits),
        _ => return None,
    };
    Some(plain.to_owned())
}

fn sized(name: &str, length: &CharacterLength) -> Option<String> {
    match length {
        CharacterLength::IntegerLength { length, unit: None } if *length <= LENGTH_MAX => {
            Some(format!("{name}({length})"))
        }
        CharacterLength::IntegerLength { .. } | CharacterLength::Max => None,
    }
}

fn numeric(digits: &ExactNumberInfo) -> Option<String> {
    match digits {
        ExactNumberInfo::None => Some("numeric".to_owned()),
        ExactNumberInfo::Precision(precision) if *precision <= LENGTH_MAX => {
            Some(format!("numeric({precision})"))
        }
        ExactNumberInfo::PrecisionAndScale(precision, scale)
            if *precision <= LENGTH_MAX && (0..=1000).contains(scale) =>
        {
            Some(format!("numeric({precision}, {scale})"))
        }
        ExactNumberInfo::Precision(_) | ExactNumberInfo::PrecisionAndScale(..) => None,
    }
}

fn sqlite(kind: &DataType) -> Option<&'static str> {
    match kind {
        DataType::Text => Some("TEXT"),
        DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) => Some("INTEGER"),
        DataType::Real | DataType::Float(ExactNumberInfo::None) => Some("REAL"),
        DataType::Numeric(ExactNumberInfo::None) => Some("NUMERIC"),
        _ => None,
    }
}

/// A field of a time, for `EXTRACT`.
pub(super) fn field(dialect: Dialect, field: &DateTimeField) -> Option<&'static str> {
    if dialect == Dialect::Sqlite {
        return None;
    }
    match field {
        DateTimeField::Year => Some("year"),
        DateTimeField::Quarter => Some("quarter"),
        DateTimeField::Month => Some("month"),
        DateTimeField::Week(None) => Some("week"),
        DateTimeField::Day => Some("day"),
        DateTimeField::Hour => Some("hour"),
        DateTimeField::Minute => Some("minute"),
        DateTimeField::Second => Some("second"),
        DateTimeField::Dow => Some("dow"),
        DateTimeField::Doy => Some("doy"),
        DateTimeField::Epoch => Some("epoch"),
        DateTimeField::Isodow => Some("isodow"),
        DateTimeField::Isoyear => Some("isoyear"),
        _ => None,
    }
}

/// A collation after its operand: those that are the same on every machine.
pub(super) fn collation(dialect: Dialect, name: &str) -> Option<&'static str> {
    match (dialect, name) {
        (Dialect::Postgres, "C") => Some("COLLATE \"C\""),
        (Dialect::Sqlite, "binary") => Some("COLLATE \"binary\""),
        (Dialect::Sqlite, "nocase") => Some("COLLATE \"nocase\""),
        (Dialect::Sqlite, "rtrim") => Some("COLLATE \"rtrim\""),
        _ => None,
    }
}
