//! What a request asks for, read strictly: what the table does not name is an error, never ignored.

use super::problem::Problem;
use super::table::{Form, Parameter, Place, Route};
use axum::extract::Query;
use http::HeaderMap;
use lockgate_core::flow::WORDS_BYTES_MAX;
use lockgate_kernel::TEXTS_MAX;
use lockgate_types::identity::Identity;
use lockgate_types::{AgentId, CallId, Digest, ID_BYTES_MAX, Json, JsonLimits, Object};
use std::sync::Arc;

/// A well-formed request.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Who asks.
    pub(crate) identity: Arc<Identity>,
    /// Path and query parameters, as they are decided and recorded.
    pub(crate) arguments: Object,
}

const BODY_LIMITS: JsonLimits =
    JsonLimits { bytes_max: super::REPORT_BODY_BYTES_MAX, depth_max: 8, members_max: 128 };

impl Asked {
    /// Reads a request to a route.
    pub(crate) fn read(
        route: &Route,
        identity: Arc<Identity>,
        path: Vec<(String, String)>,
        query: Option<&str>,
        (headers, body): (&HeaderMap, &[u8]),
    ) -> Result<Self, Problem> {
        let query = pairs(query.unwrap_or_default())?;
        let mut arguments = Object::new();
        for (place, given) in [(Place::Path, path), (Place::Query, query)] {
            for (name, text) in given {
                let is_it = |it: &&Parameter| it.name == name && it.place == place;
                let parameter = route.parameters.iter().find(is_it).ok_or_else(|| {
                    Problem::request(format!("there is no parameter `{}`", short(&name)))
                })?;
                if arguments.contains(&name) {
                    return Err(Problem::request(format!("the parameter `{name}` occurs twice")));
                }
                arguments.set(name, value(parameter, &text)?);
            }
        }
        read_headers(route, headers, &mut arguments)?;
        read_body(route, body, &mut arguments)?;
        Ok(Self { identity, arguments })
    }

    /// The same identity, asking with these arguments.
    pub(crate) fn with(&self, arguments: Object) -> Self {
        Self { identity: Arc::clone(&self.identity), arguments }
    }

    /// A parameter that is a text; empty if it was not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.arguments.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// A parameter that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.arguments.get(name).and_then(Json::as_i64).and_then(|number| number.try_into().ok())
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let uri = http::Uri::builder().path_and_query(format!("/?{query}")).build();
    let uri = uri.map_err(|_| Problem::request("the query cannot be read"))?;
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&uri);
    pairs.map(|Query(pairs)| pairs).map_err(|_| Problem::request("the query cannot be read"))
}

fn value(parameter: &Parameter, text: &str) -> Result<Json, Problem> {
    let wrong = |expected: &str| {
        let (name, text) = (parameter.name, short(text));
        Problem::request(format!("`{text}` is no `{name}`: {expected} is expected"))
    };
    match parameter.form {
        Form::Agent => match AgentId::new(text) {
            Ok(_) => Ok(text.into()),
            Err(_) => Err(wrong("the name of an agent")),
        },
        Form::Call => match CallId::new(text) {
            Ok(_) => Ok(text.into()),
            Err(_) => Err(wrong("the id of a call")),
        },
        Form::Digest => match text.parse::<Digest>() {
            Ok(digest) => Ok(digest.to_string().into()),
            Err(_) => Err(wrong("`sha256:` and 64 hexadecimal digits")),
        },
        Form::TilePath { bytes_max } => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.".contains(&byte);
            if text.len() > bytes_max || !text.bytes().all(is_plain) {
                return Err(wrong("a path of C2SP tlog-tiles"));
            }
            Ok(text.into())
        }
        Form::Word(words) => match words.contains(&text) {
            true => Ok(text.into()),
            false => Err(wrong(&format!("one of {}", words.join(", ")))),
        },
        Form::Text { bytes_max } => {
            if text.len() > bytes_max || text.chars().any(char::is_control) {
                return Err(wrong(&format!("at most {bytes_max} bytes of plain text")));
            }
            Ok(text.into())
        }
        Form::Prose { bytes_max } => {
            let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
            if text.is_empty() || text.len() > bytes_max || text.chars().any(is_odd) {
                return Err(wrong(&format!("a text of at most {bytes_max} bytes")));
            }
            Ok(text.into())
        }
        Form::Words => words(parameter, &text.into()),
        Form::Names { .. } => Err(wrong("a list of names")),
        Form::Integer { min, max } => {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<i64>().ok().filter(|_| digits);
            match number.filter(|number| (min..=max).contains(number)) {
                Some(number) => Ok(number.into()),
                None => Err(wrong(&format!("an integer from {min} to {max}"))),
            }
        }
    }
}

/// The headers that the table names, as members: `Idempotency-Key` is `idempotency_key`. All others
/// are the transport's.
fn read_headers(route: &Route, headers: &HeaderMap, arguments: &mut Object) -> Result<(), Problem> {
    for parameter in route.parameters.iter().filter(|it| it.place == Place::Header) {
        let mut given = headers.get_all(parameter.name).iter();
        let Some(first) = given.next() else { continue };
        let text = first.to_str().ok().filter(|_| given.next().is_none());
        let text = text.ok_or_else(|| {
            Problem::request(format!("the header `{}` is not one plain text", parameter.name))
        })?;
        let name = parameter.name.to_ascii_lowercase().replace('-', "_");
        arguments.set(name, value(parameter, text)?);
    }
    Ok(())
}

/// The members of the body, each a text. Where none is expected, nothing or an empty object.
fn read_body(route: &Route, body: &[u8], arguments: &mut Object) -> Result<(), Problem> {
    let given = match body.is_empty() {
        true => Object::new(),
        false => match Json::parse(body, &BODY_LIMITS) {
            Ok(Json::Object(object)) => object,
            Ok(_) => return Err(Problem::request("the body is not an object")),
            Err(error) => {
                return Err(Problem::request(format!("the body is not acceptable: {error}")));
            }
        },
    };
    let expected = || route.parameters.iter().filter(|it| it.is_in_body());
    for (name, member) in given.iter() {
        let parameter = expected().find(|it| it.name == name).ok_or_else(|| {
            Problem::request(format!("the body has an unknown member `{}`", short(name)))
        })?;
        if matches!(parameter.form, Form::Words) {
            arguments.set(name, words(parameter, member)?);
            continue;
        }
        if let Form::Names { max } = parameter.form {
            arguments.set(name, names(parameter, member, max)?);
            continue;
        }
        let text = match (member, parameter.form) {
            (Json::String(text), _) => text.as_str(),
            (Json::Number(number), Form::Integer { .. }) => number.text(),
            (_, _) => {
                let what = format!("the member `{}` is not a text", short(name));
                return Err(Problem::request(what));
            }
        };
        arguments.set(name, value(parameter, text)?);
    }
    let mut missing = expected().filter(|it| it.place == Place::Body && !given.contains(it.name));
    match missing.next() {
        Some(missing) => {
            Err(Problem::request(format!("the body has no member `{}`", missing.name)))
        }
        None => Ok(()),
    }
}

/// What a person has said, text by text. All of it, or it is refused: who opens a session has to
/// know what the gate knows.
fn words(parameter: &Parameter, given: &Json) -> Result<Json, Problem> {
    let texts = given.as_array().unwrap_or(std::slice::from_ref(given));
    let lengths: Option<Vec<usize>> =
        texts.iter().map(|text| text.as_str().map(str::len)).collect();
    let fits = |lengths: &Vec<usize>| {
        lengths.len() <= TEXTS_MAX && lengths.iter().sum::<usize>() <= WORDS_BYTES_MAX
    };
    if !lengths.as_ref().is_some_and(fits) {
        return Err(Problem::request(format!(
            "`{}` is a text, or at most {TEXTS_MAX}, of {WORDS_BYTES_MAX} bytes in all",
            parameter.name
        )));
    }
    Ok(Json::Array(texts.to_vec()))
}

/// Names, in a list.
fn names(parameter: &Parameter, given: &Json, max: usize) -> Result<Json, Problem> {
    let is_name = |it: &Json| {
        let name = it.as_str();
        name.is_some_and(|it| it.len() <= ID_BYTES_MAX && !it.chars().any(char::is_control))
    };
    let names = given.as_array().filter(|all| all.len() <= max && all.iter().all(is_name));
    let names = names.ok_or_else(|| {
        Problem::request(format!("`{}` is a list of at most {max} names", parameter.name))
    })?;
    Ok(Json::Array(names.to_vec()))
}

/// What somebody sent, short enough to be said back.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
