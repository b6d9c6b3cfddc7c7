//! What an expression about a document comes to: one of the forms that a filter can say, and the
//! documents for which it cannot be evaluated.

use super::super::document::trait_of;
use crate::retrieve::filter::{Filter, Trait};
use cedar_policy_core::ast::{EntityUID, Literal, Value, ValueKind};
use lockgate_types::document::{Curation, Reader};
use lockgate_types::label::Confidentiality;

/// What an expression about a document comes to, where it can be evaluated.
pub(super) enum Term {
    Known(Value),
    Resource,
    Owner,
    Text(Text),
    Number(Number),
    Tags,
    /// `readers` or `denied`.
    People(People),
    Groups(People),
    Users(People),
    Truth(Filter),
}

/// A term, and the documents for which it cannot be evaluated.
pub(super) struct Found {
    pub(super) term: Term,
    pub(super) fails: Filter,
}

#[derive(Clone, Copy)]
pub(super) enum Text {
    Classification,
    Curation,
    Id,
    Kind,
    Source,
    Tenant,
}

/// `±x + plus`, where that is within 64 bits.
#[derive(Clone, Copy)]
pub(super) struct Number {
    of: Measured,
    is_negative: bool,
    plus: i128,
}

#[derive(Clone, Copy)]
pub(super) enum Measured {
    Level,
    Changed,
    Confirmed,
}

#[derive(Clone, Copy)]
pub(super) enum People {
    Readers,
    Denied,
}

impl People {
    pub(super) fn is(self, reader: Reader) -> Filter {
        Filter::Is(match self {
            Self::Readers => Trait::Reader(reader),
            Self::Denied => Trait::Denied(reader),
        })
    }
}

impl Found {
    pub(super) fn of(term: Term) -> Self {
        Self { term, fails: Filter::nothing() }
    }
}

impl Text {
    /// The documents of which it is this. `None`: no trait says so.
    pub(super) fn is(self, word: &str) -> Option<Filter> {
        Some(match self {
            Self::Classification => match Confidentiality::from_word(word) {
                Some(level) => {
                    let level = i128::from(level.level());
                    let above = Measured::Level.at_least(level + 1);
                    Filter::every([Measured::Level.at_least(level), above.inverted()])
                }
                None => Filter::nothing(),
            },
            Self::Curation => Filter::Is(Trait::Curation(word.to_owned())),
            Self::Id => return None,
            Self::Kind => Filter::Is(Trait::Kind(word.to_owned())),
            Self::Source => Filter::Is(Trait::Source(word.to_owned())),
            Self::Tenant => Filter::Is(Trait::Tenant(word.to_owned())),
        })
    }

    /// All that it can be, where that is known.
    pub(super) fn words(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Classification => Some(Confidentiality::ALL.map(|it| it.as_str()).to_vec()),
            Self::Curation => Some(Curation::ALL.map(|it| it.as_str()).to_vec()),
            Self::Id | Self::Kind | Self::Source | Self::Tenant => None,
        }
    }
}

impl Measured {
    /// The documents of which it is at least this.
    pub(super) fn at_least(self, bound: i128) -> Filter {
        let lowest = i128::from(match self {
            Self::Level => Confidentiality::Public.level(),
            Self::Changed | Self::Confirmed => i64::MIN,
        });
        if bound <= lowest {
            return Filter::everything();
        }
        let Ok(bound) = i64::try_from(bound) else { return Filter::nothing() };
        Filter::Is(match self {
            Self::Changed => Trait::ChangedSince(bound),
            Self::Confirmed => Trait::ConfirmedSince(bound),
            Self::Level => {
                let below = Confidentiality::ALL.into_iter().rev().find(|it| it.level() < bound);
                let is_above = bound > Confidentiality::Restricted.level();
                return match below {
                    Some(below) if !is_above => Filter::Is(Trait::AtMost(below)).inverted(),
                    _ => Filter::nothing(),
                };
            }
        })
    }
}

impl Number {
    /// The documents of which it is at least this.
    pub(super) fn at_least(self, bound: i128) -> Filter {
        match self.is_negative {
            // -x + plus >= bound: x <= plus - bound
            true => self.of.at_least(self.plus - bound + 1).inverted(),
            false => self.of.at_least(bound - self.plus),
        }
    }

    pub(super) fn plus(mut self, more: i128) -> Self {
        self.plus += more;
        self
    }

    pub(super) fn negated(self) -> Self {
        Self { is_negative: !self.is_negative, plus: -self.plus, ..self }
    }

    /// It cannot be evaluated where it is beyond 64 bits.
    pub(super) fn checked(self, fails: Filter) -> Found {
        let within = Filter::every([
            self.at_least(i128::from(i64::MIN)),
            self.at_least(i128::from(i64::MAX) + 1).inverted(),
        ]);
        Found { term: Term::Number(self), fails: Filter::any([fails, within.inverted()]) }
    }
}

/// `of.name`. `None`: no filter can say that.
pub(super) fn attribute(of: Found, name: &str) -> Option<Found> {
    let fails = of.fails;
    let number = |of| Number { of, is_negative: false, plus: 0 };
    let (term, is_there) = match (of.term, name) {
        (Term::Resource, "classification") => (Term::Text(Text::Classification), None),
        (Term::Resource, "curation") => (Term::Text(Text::Curation), None),
        (Term::Resource, "id") => (Term::Text(Text::Id), None),
        (Term::Resource, "kind") => (Term::Text(Text::Kind), None),
        (Term::Resource, "source") => (Term::Text(Text::Source), None),
        (Term::Resource, "tenant") => (Term::Text(Text::Tenant), None),
        (Term::Resource, "level") => (Term::Number(number(Measured::Level)), None),
        (Term::Resource, "changed") => (Term::Number(number(Measured::Changed)), None),
        (Term::Resource, "confirmed") => (Term::Number(number(Measured::Confirmed)), None),
        (Term::Resource, "tags") => (Term::Tags, None),
        (Term::Resource, "owner") => (Term::Owner, Some(Trait::HasOwner)),
        (Term::Resource, "readers") => (Term::People(People::Readers), Some(Trait::ReadersKnown)),
        (Term::Resource, "denied") => (Term::People(People::Denied), None),
        (Term::People(people), "everyone") => (Term::Truth(people.is(Reader::Everyone)), None),
        (Term::People(people), "groups") => (Term::Groups(people), None),
        (Term::People(people), "users") => (Term::Users(people), None),
        _ => return None,
    };
    let missing = is_there.map_or(Filter::nothing(), |it| Filter::Is(it).inverted());
    Some(Found { term, fails: Filter::any([fails, missing]) })
}

/// `of has a.b`.
pub(super) fn has(of: Found, path: &[&str]) -> Option<Found> {
    let is_member = |rest: &[&str]| match rest {
        [] => Some(true),
        [name] => Some(matches!(*name, "everyone" | "groups" | "users")),
        _ => None,
    };
    let is = match (of.term, path) {
        (Term::Resource, ["owner"]) => Filter::Is(Trait::HasOwner),
        (Term::Resource, ["readers", rest @ ..]) => {
            Filter::every([Filter::Is(Trait::ReadersKnown), always(is_member(rest)?)])
        }
        (Term::Resource, ["denied", rest @ ..]) => always(is_member(rest)?),
        (Term::People(_), rest @ [_]) => always(is_member(rest)?),
        (Term::Resource, [name]) => always(matches!(
            *name,
            "changed"
                | "classification"
                | "confirmed"
                | "curation"
                | "id"
                | "kind"
                | "level"
                | "source"
                | "tags"
                | "tenant"
        )),
        _ => return None,
    };
    Some(Found { term: Term::Truth(is), fails: of.fails })
}

pub(super) fn always(is: bool) -> Filter {
    if is { Filter::everything() } else { Filter::nothing() }
}

/// `one == two`.
pub(super) fn equal(one: &Term, two: &Term) -> Option<Filter> {
    match (one, two) {
        (Term::Known(one), Term::Known(two)) => Some(always(one == two)),
        (Term::Text(text), Term::Known(known)) | (Term::Known(known), Term::Text(text)) => {
            text.is(text_of(known)?)
        }
        (Term::Number(number), Term::Known(known)) | (Term::Known(known), Term::Number(number)) => {
            let known = i128::from(long(known)?);
            let above = number.at_least(known + 1);
            Some(Filter::every([number.at_least(known), above.inverted()]))
        }
        (Term::Owner, Term::Known(known)) | (Term::Known(known), Term::Owner) => {
            Some(is_among(entity_of(known)?, &Term::Owner))
        }
        (Term::Resource, Term::Known(known)) | (Term::Known(known), Term::Resource) => {
            let found = trait_of(entity_of(known)?);
            let found = found.filter(|found| matches!(found, Trait::Document(..)));
            Some(found.map_or(Filter::nothing(), Filter::Is))
        }
        (Term::Truth(is), Term::Known(known)) | (Term::Known(known), Term::Truth(is)) => {
            match known.value_kind() {
                ValueKind::Lit(Literal::Bool(true)) => Some(is.clone()),
                ValueKind::Lit(Literal::Bool(false)) => Some(is.clone().inverted()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `set.contains(item)`.
pub(super) fn contains(set: &Term, item: &Term) -> Option<Filter> {
    match (set, item) {
        (Term::Tags, Term::Known(known)) => {
            Some(Filter::Is(Trait::Tag(text_of(known)?.to_owned())))
        }
        (Term::Groups(_) | Term::Users(_), Term::Known(known)) => {
            Some(is_among(entity_of(known)?, set))
        }
        (Term::Known(known), item) => {
            let ValueKind::Set(known) = known.value_kind() else { return None };
            let each = known.iter().map(|value| equal(&Term::Known(value.clone()), item));
            Some(Filter::any(each.collect::<Option<Vec<_>>>()?))
        }
        _ => None,
    }
}

/// Of each of these, whether it is in a document's set.
pub(super) fn each_in(set: &Term, items: &Value) -> Option<Vec<Filter>> {
    if !matches!(set, Term::Tags | Term::Groups(_) | Term::Users(_)) {
        return None;
    }
    let ValueKind::Set(items) = items.value_kind() else { return None };
    items.iter().map(|item| contains(set, &Term::Known(item.clone()))).collect()
}

/// The documents among whose readers, or as whose owner, an entity is.
pub(super) fn is_among(uid: &EntityUID, of: &Term) -> Filter {
    let name = AsRef::<str>::as_ref(uid.eid()).to_owned();
    match (of, uid.entity_type().to_string().as_str()) {
        (Term::Groups(people), "Group") => people.is(Reader::Group(name)),
        (Term::Users(people), "User") => people.is(Reader::User(name)),
        (Term::Owner, "User") => Filter::Is(Trait::Owner(name)),
        _ => Filter::nothing(),
    }
}

pub(super) fn long(value: &Value) -> Option<i64> {
    match value.value_kind() {
        ValueKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn text_of(value: &Value) -> Option<&str> {
    match value.value_kind() {
        ValueKind::Lit(Literal::String(text)) => Some(text.as_str()),
        _ => None,
    }
}

pub(super) fn entity_of(value: &Value) -> Option<&EntityUID> {
    match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some(uid.as_ref()),
        _ => None,
    }
}

/// The entity that a value is, or those that it is a set of.
pub(super) fn entities_of(value: &Value) -> Option<Vec<&EntityUID>> {
    match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some(vec![uid.as_ref()]),
        ValueKind::Set(items) => items.iter().map(entity_of).collect(),
        _ => None,
    }
}
