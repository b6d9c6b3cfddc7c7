//! Values of PostgreSQL in their binary form, as JSON.
//!
//! Written out here, because numbers keep all their digits and times are ISO 8601, and because the
//! list of types is short on purpose: any other type is named, and refused.

use crate::sql::run::{float, number};
use lockgate_types::{Json, JsonLimits, Number};

/// Days from 0000-03-01 to 2000-01-01, where PostgreSQL begins to count.
const EPOCH_DAYS: i64 = 730_425;
const DAY_MICROS: i64 = 86_400_000_000;

/// A value by the name of its type; `None` if the type has no form here.
pub(super) fn value(kind: &str, bytes: &[u8]) -> Option<Json> {
    match kind {
        "BOOL" => match bytes {
            [0] => Some(Json::Bool(false)),
            [1] => Some(Json::Bool(true)),
            _ => None,
        },
        "INT2" => Some(integer(i16::from_be_bytes(bytes.try_into().ok()?).into())),
        "INT4" => Some(integer(i32::from_be_bytes(bytes.try_into().ok()?).into())),
        "INT8" => Some(integer(i64::from_be_bytes(bytes.try_into().ok()?))),
        // The digits of the short number, not those of the same number in double length.
        "FLOAT4" => Some(number(format!("{:?}", f32::from_be_bytes(bytes.try_into().ok()?)))),
        "FLOAT8" => Some(float(f64::from_be_bytes(bytes.try_into().ok()?))),
        "NUMERIC" => numeric(bytes).map(number),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => text(bytes),
        "UUID" => uuid(bytes),
        "DATE" => date(i32::from_be_bytes(bytes.try_into().ok()?)),
        "TIME" => Some(Json::String(time(i64::from_be_bytes(bytes.try_into().ok()?)))),
        "TIMESTAMP" => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), ""),
        "TIMESTAMPTZ" => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "Z"),
        "INTERVAL" => interval(bytes),
        "JSON" => json(bytes),
        "JSONB" => match bytes {
            [1, rest @ ..] => json(rest),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: i64) -> Json {
    Json::Number(Number::from(value))
}

/// Text, and labels of enumerations.
pub(super) fn text(bytes: &[u8]) -> Option<Json> {
    String::from_utf8(bytes.to_vec()).ok().map(Json::String)
}

/// JSON that the strict reader accepts is a value; other JSON, with duplicate members, is text.
fn json(bytes: &[u8]) -> Option<Json> {
    Json::parse(bytes, &JsonLimits::PRINTED).ok().or_else(|| text(bytes))
}

/// Groups of four digits, the place of the first group, sign, and digits after the point.
fn numeric(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| {
        let pair = bytes.get(at * 2..at * 2 + 2)?;
        Some(i16::from_be_bytes(pair.try_into().ok()?))
    };
    let (count, weight, sign, scale) = (word(0)?, word(1)?, word(2)?, word(3)?);
    // Signs as the protocol gives them, read as signed numbers.
    let sign = match sign.cast_unsigned() {
        0x0000 => "",
        0x4000 => "-",
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let count = usize::try_from(count).ok()?;
    let groups: Vec<i16> = (0..count).map(|at| word(4 + at)).collect::<Option<_>>()?;
    let group = |place: i32| {
        let at = i32::from(weight) - place;
        usize::try_from(at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    let whole: String =
        (0..=i32::from(weight).max(0)).rev().map(|it| format!("{:04}", group(it))).collect();
    let whole = whole.trim_start_matches('0');
    let scale = usize::try_from(scale).ok()?;
    let places = i32::try_from(scale.div_ceil(4)).ok()?;
    let fraction: String = (1..=places).map(|it| format!("{:04}", group(-it))).collect();
    let fraction: String = fraction.chars().take(scale).collect();
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

fn uuid(bytes: &[u8]) -> Option<Json> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let part = |from: usize, to: usize| digits.get(from..to);
    let parts = [part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?];
    Some(Json::String(parts.join("-")))
}

fn date(days: i32) -> Option<Json> {
    match days {
        i32::MAX => Some(Json::String("infinity".to_owned())),
        i32::MIN => Some(Json::String("-infinity".to_owned())),
        days => Some(Json::String(calendar(days.into()))),
    }
}

fn timestamp(micros: i64, zone: &str) -> Option<Json> {
    let text = match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let day = calendar(micros.div_euclid(DAY_MICROS));
            format!("{day}T{}{zone}", time(micros.rem_euclid(DAY_MICROS)))
        }
    };
    Some(Json::String(text))
}

/// Hours, minutes, seconds, and a fraction if there is one.
fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// The date that is so many days after 2000-01-01, in the proleptic Gregorian calendar. Years begin
/// in March here, so that the day which is not in every year is the last of one.
fn calendar(days: i64) -> String {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        return format!("{year:04}-{month:02}-{day:02}");
    }
    let sign = if year < 0 { '-' } else { '+' };
    format!("{sign}{:06}-{month:02}-{day:02}", year.abs())
}

/// An ISO 8601 duration; months, days and seconds have signs of their own.
fn interval(bytes: &[u8]) -> Option<Json> {
    let micros = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let days = i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
    let months = i32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?);
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, fraction) =
        (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:06}").trim_end_matches('0').to_owned()
    };
    Some(Json::String(format!("P{months}M{days}DT{sign}{seconds}{fraction}S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &str, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        value(kind, bytes).unwrap().write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_are_dates() {
        for (days, date) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (366, "2001-01-01"),
            (-1, "1999-12-31"),
            (-10_957, "1970-01-01"),
            (-36_524, "1900-01-01"),
            (8_825, "2024-02-29"),
            (2_921_939, "9999-12-31"),
            (2_921_940, "+010000-01-01"),
            (-730_485, "0000-01-01"),
            (-730_486, "-000001-12-31"),
        ] {
            assert_eq!(calendar(days), date);
        }
    }

    #[test]
    fn times_are_iso() {
        assert_eq!(shown("TIMESTAMPTZ", &1i64.to_be_bytes()), "\"2000-01-01T00:00:00.000001Z\"");
        assert_eq!(shown("TIMESTAMP", &(-1i64).to_be_bytes()), "\"1999-12-31T23:59:59.999999\"");
        assert_eq!(shown("TIMESTAMP", &i64::MAX.to_be_bytes()), "\"infinity\"");
        assert_eq!(shown("TIME", &3_723_500_000i64.to_be_bytes()), "\"01:02:03.5\"");
        let mut interval = (-1_500_000i64).to_be_bytes().to_vec();
        interval.extend(2i32.to_be_bytes());
        interval.extend(14i32.to_be_bytes());
        assert_eq!(shown("INTERVAL", &interval), "\"P14M2DT-1.5S\"");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let numeric = |words: &[u16]| {
            let bytes: Vec<u8> = words.iter().flat_map(|it| it.to_be_bytes()).collect();
            shown("NUMERIC", &bytes)
        };
        assert_eq!(numeric(&[0, 0, 0, 0]), "0");
        assert_eq!(numeric(&[0, 0, 0, 2]), "0.00");
        assert_eq!(numeric(&[2, 0, 0, 2, 12, 5000]), "12.50");
        assert_eq!(numeric(&[1, 1, 0x4000, 0, 7]), "-70000");
        assert_eq!(numeric(&[1, 0xffff, 0, 4, 1]), "0.0001");
        assert_eq!(numeric(&[1, 0xfffe, 0, 8, 1]), "0.00000001");
        assert_eq!(numeric(&[0, 0, 0xc000, 0]), "\"NaN\"");
        assert_eq!(shown("INT8", &i64::MIN.to_be_bytes()), "-9223372036854775808");
        assert_eq!(shown("FLOAT4", &0.1f32.to_be_bytes()), "0.1");
        assert_eq!(shown("FLOAT8", &f64::INFINITY.to_be_bytes()), "\"inf\"");
    }

    #[test]
    fn other_types_and_torn_values_are_refused() {
        assert_eq!(value("BYTEA", b"x"), None);
        assert_eq!(value("INT4", b"x"), None);
        assert_eq!(value("NUMERIC", &[0, 1]), None);
        assert_eq!(value("BOOL", &[7]), None);
    }
}
