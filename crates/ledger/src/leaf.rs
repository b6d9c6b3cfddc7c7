//! The entries of the ledger: canonical JSON objects with ASCII names and integers only.
//!
//! On this subset canonical JSON is unambiguous, so a verifier hashes the stored bytes and never
//! encodes anew. What an entry says beside its kind, time and index is the business of those who
//! write it; that it holds no personal data in the clear is, too.

use crate::tiles::ENTRY_BYTES_MAX;
use lockgate_types::{Json, JsonError, JsonLimits, Micros, Object};

/// Bytes that an entry should stay below: payloads belong behind commitments.
pub const ENTRY_BYTES_SOFT: usize = 4096;
/// The version of the entry format, member `v`.
pub const ENTRY_VERSION: i64 = 1;
/// Integers up to here are the same in every JSON reader (RFC 7493 §2.2).
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

const LIMITS: JsonLimits =
    JsonLimits { bytes_max: ENTRY_BYTES_MAX, depth_max: 16, members_max: 1024 };
const RESERVED: [&str; 4] = ["v", "k", "t", "sq"];

/// What an entry is about, member `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The gate began to write this log.
    Start,
    /// A bundle became the one that rules.
    Bundle,
    /// A call was allowed, and may now be performed.
    Intent,
    /// A call was refused.
    Refusal,
    /// What came back.
    Outcome,
    /// A call was allowed, and answered with the outcome of the same effect, which was not
    /// performed again.
    Repeat,
    /// What became of an effect whose outcome had been in doubt.
    Resolution,
    /// Something may be missing here, within the bounds the entry names.
    Gap,
    /// Nothing happened, and the gate was there.
    Heartbeat,
    /// A payload was erased; its commitment stays.
    Erasure,
    /// The gate stopped in order.
    Stop,
    /// An administrator read or changed something.
    Admin,
    /// A request was refused before there was a call to decide.
    TurnedAway,
    /// A kill switch was thrown or lifted.
    Switch,
    /// A request for approval was answered, used, or ended.
    Approval,
    /// A circuit breaker opened, let calls through to see how its upstream is, or closed.
    Breaker,
    /// The mode of a session or tenant changed.
    Mode,
    /// A model that is tried out got everything, was taken back, or is tried again.
    Canary,
    /// A result of behaviour tests was handed in.
    Evaluation,
    /// A counter of a cap has come as far as somebody wants to be told of.
    Budget,
    /// A source of documents was run: its snapshot was published or quarantined, or it failed.
    Source,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Start,
        Self::Bundle,
        Self::Intent,
        Self::Refusal,
        Self::Outcome,
        Self::Repeat,
        Self::Resolution,
        Self::Gap,
        Self::Heartbeat,
        Self::Erasure,
        Self::Stop,
        Self::Admin,
        Self::TurnedAway,
        Self::Switch,
        Self::Approval,
        Self::Breaker,
        Self::Mode,
        Self::Canary,
        Self::Evaluation,
        Self::Budget,
        Self::Source,
    ];

    /// The word in the entry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Bundle => "bundle",
            Self::Intent => "intent",
            Self::Refusal => "refusal",
            Self::Outcome => "outcome",
            Self::Repeat => "repeat",
            Self::Resolution => "resolution",
            Self::Gap => "gap",
            Self::Heartbeat => "heartbeat",
            Self::Erasure => "erasure",
            Self::Stop => "stop",
            Self::Admin => "admin",
            Self::TurnedAway => "turned_away",
            Self::Switch => "switch",
            Self::Approval => "approval",
            Self::Breaker => "breaker",
            Self::Mode => "mode",
            Self::Canary => "canary",
            Self::Evaluation => "evaluation",
            Self::Budget => "budget",
            Self::Source => "source",
        }
    }

    /// The kind of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Why something is not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not acceptable JSON.
    #[error("an entry is not JSON")]
    NotJson {
        /// What the reader said.
        #[source]
        source: JsonError,
    },
    /// The value is not an object.
    #[error("an entry is not an object")]
    NotAnObject,
    /// The bytes are not the canonical ones of their value.
    #[error("an entry is not canonical JSON")]
    NotCanonical,
    /// A member name is not ASCII.
    #[error("the member name `{name}` is not ASCII")]
    NameNotAscii {
        /// The name.
        name: String,
    },
    /// A number is not an integer within ±(2^53 − 1), written plainly.
    #[error("the number `{text}` is not an integer within 53 bits")]
    NotAnInteger {
        /// The number as it was written.
        text: String,
    },
    /// A required member is missing, or not what it has to be.
    #[error("the member `{name}` is missing or not what it has to be")]
    BadMember {
        /// Which member.
        name: &'static str,
    },
    /// A member has a name that the format keeps for itself.
    #[error("the member name `{name}` is reserved")]
    Reserved {
        /// Which name.
        name: &'static str,
    },
    /// The entry is nested deeper than allowed.
    #[error("an entry is nested deeper than {max} levels")]
    TooDeep {
        /// The bound.
        max: usize,
    },
    /// The entry is longer than a log can hold.
    #[error("an entry of {bytes} bytes is longer than {ENTRY_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

/// An entry before it has a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: Kind,
    time: Micros,
    members: Object,
}

impl Entry {
    /// An entry with these members beside `v`, `k`, `t` and `sq`.
    pub fn new(kind: Kind, time: Micros, members: Object) -> Result<Self, EntryError> {
        if let Some(name) = RESERVED.into_iter().find(|name| members.contains(name)) {
            return Err(EntryError::Reserved { name });
        }
        if !(0..=INTEGER_MAX).contains(&time.0) {
            return Err(EntryError::BadMember { name: "t" });
        }
        check_members(&members, LIMITS.depth_max)?;
        Ok(Self { kind, time, members })
    }

    /// What it is about.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// When it was written.
    pub const fn time(&self) -> Micros {
        self.time
    }

    /// The members beside `v`, `k`, `t` and `sq`.
    pub const fn members(&self) -> &Object {
        &self.members
    }

    /// The bytes that are logged at this index.
    pub fn to_bytes(&self, index: u64) -> Result<Vec<u8>, EntryError> {
        let sequence = i64::try_from(index).ok().filter(|index| *index <= INTEGER_MAX);
        let sequence = sequence.ok_or(EntryError::BadMember { name: "sq" })?;
        let mut object = self.members.clone();
        object.set("v", ENTRY_VERSION);
        object.set("k", self.kind.as_str());
        object.set("t", self.time.0);
        object.set("sq", sequence);
        let bytes = Json::Object(object).to_canonical();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads an entry and the index that it says it stands at.
    pub fn parse(bytes: &[u8]) -> Result<(u64, Self), EntryError> {
        let value = Json::parse(bytes, &LIMITS).map_err(|source| EntryError::NotJson { source })?;
        if !is_canonical(&value, bytes) {
            return Err(EntryError::NotCanonical);
        }
        let Json::Object(mut members) = value else { return Err(EntryError::NotAnObject) };
        let version = take_integer(&mut members, "v")?;
        if version != ENTRY_VERSION {
            return Err(EntryError::BadMember { name: "v" });
        }
        let kind = members.remove("k");
        let kind = kind.as_ref().and_then(Json::as_str).and_then(Kind::from_name);
        let kind = kind.ok_or(EntryError::BadMember { name: "k" })?;
        let time = Micros(take_integer(&mut members, "t")?);
        let index = take_integer(&mut members, "sq")?;
        let index = u64::try_from(index).map_err(|_| EntryError::BadMember { name: "sq" })?;
        Ok((index, Self::new(kind, time, members)?))
    }
}

/// Takes out an integer that is spelt as any other of an entry: the bounds are the same for all.
fn take_integer(members: &mut Object, name: &'static str) -> Result<i64, EntryError> {
    let value = members.remove(name).ok_or(EntryError::BadMember { name })?;
    check_value(&value, 0).map_err(|_| EntryError::BadMember { name })?;
    value.as_i64().ok_or(EntryError::BadMember { name })
}

/// Whether these are the canonical bytes of the value read from them: names in order, nothing spelt
/// otherwise.
fn is_canonical(value: &Json, bytes: &[u8]) -> bool {
    let mut written = Vec::with_capacity(bytes.len());
    value.write(&mut written);
    written == bytes && is_in_order(value)
}

fn is_in_order(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
        Json::Array(items) => items.iter().all(is_in_order),
        Json::Object(members) => {
            members.iter().map(|(name, _)| name).is_sorted()
                && members.iter().all(|(_, value)| is_in_order(value))
        }
    }
}

fn check_members(members: &Object, levels: usize) -> Result<(), EntryError> {
    let levels = levels.checked_sub(1).ok_or(EntryError::TooDeep { max: LIMITS.depth_max })?;
    for (name, value) in members.iter() {
        if !name.is_ascii() {
            return Err(EntryError::NameNotAscii { name: name.chars().take(80).collect() });
        }
        check_value(value, levels)?;
    }
    Ok(())
}

fn check_value(value: &Json, levels: usize) -> Result<(), EntryError> {
    match value {
        Json::Null | Json::Bool(_) | Json::String(_) => Ok(()),
        Json::Number(number) => {
            let text = number.text();
            let range = -INTEGER_MAX..=INTEGER_MAX;
            let is_plain = text != "-0" && number.as_i64().is_some_and(|n| range.contains(&n));
            let error = || EntryError::NotAnInteger { text: text.chars().take(80).collect() };
            if is_plain { Ok(()) } else { Err(error()) }
        }
        Json::Array(items) => {
            let levels =
                levels.checked_sub(1).ok_or(EntryError::TooDeep { max: LIMITS.depth_max })?;
            items.iter().try_for_each(|item| check_value(item, levels))
        }
        Json::Object(members) => check_members(members, levels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        match Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap() {
            Json::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_entry_is_canonical_and_reads_back() {
        let members = object(r#"{"z":[1,-2,{"b":null,"a":true}],"op":"crm/refund"}"#);
        let entry = Entry::new(Kind::Intent, Micros(1_763_629_200_123_456), members).unwrap();
        let bytes = entry.to_bytes(7).unwrap();
        let expected = r#"{"k":"intent","op":"crm/refund","sq":7,"t":1763629200123456,"v":1,"z":[1,-2,{"a":true,"b":null}]}"#;
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
        let (index, read) = Entry::parse(&bytes).unwrap();
        assert_eq!((index, read.kind(), read.time()), (7, Kind::Intent, entry.time()));
        assert_eq!(read.to_bytes(7).unwrap(), bytes);
    }

    #[test]
    fn every_kind_has_a_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_name("Intent"), None);
    }

    #[test]
    fn what_is_outside_the_subset_is_refused() {
        for text in [
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-0}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":-9223372036854775808}"#,
            r#"{"ä":1}"#,
            r#"{"a":[{"ä":1}]}"#,
            r#"{"sq":1}"#,
            r#"{"v":1}"#,
        ] {
            assert!(Entry::new(Kind::Admin, Micros(0), object(text)).is_err(), "{text}");
        }
        assert!(Entry::new(Kind::Admin, Micros(-1), Object::new()).is_err());
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(16), "]".repeat(16));
        let refused = Entry::new(Kind::Admin, Micros(0), object(&deep));
        assert_eq!(refused, Err(EntryError::TooDeep { max: 16 }));
        let long = Object::new().with("a", "x".repeat(ENTRY_BYTES_MAX));
        let long = Entry::new(Kind::Admin, Micros(0), long).unwrap();
        assert!(matches!(long.to_bytes(0), Err(EntryError::TooLong { .. })));
    }

    #[test]
    fn what_is_not_an_entry_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"k":"intent","sq":0,"t":0}"#,
            r#"{"k":"intent","sq":0,"t":0,"v":2}"#,
            r#"{"k":"other","sq":0,"t":0,"v":1}"#,
            r#"{"k":"intent","sq":-1,"t":0,"v":1}"#,
            r#"{"sq":0,"k":"intent","t":0,"v":1}"#,
            r#"{"k":"intent","sq":0,"t":0, "v":1}"#,
            r#"{"k":"\u0069ntent","sq":0,"t":0,"v":1}"#,
            r#"{"k":"intent","k":"intent","sq":0,"t":0,"v":1}"#,
            r#"{"k":"intent","sq":00,"t":0,"v":1}"#,
            r#"{"k":"intent","sq":9007199254740992,"t":0,"v":1}"#,
            r#"{"k":"intent","sq":-0,"t":0,"v":1}"#,
            r#"{"k":"intent","sq":0,"t":1.0,"v":1}"#,
            r#"{"k":"intent","sq":0,"t":0,"v":1e0}"#,
        ] {
            assert!(Entry::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Entry::parse(br#"{"k":"intent","sq":0,"t":0,"v":1}"#).is_ok());
    }
}
