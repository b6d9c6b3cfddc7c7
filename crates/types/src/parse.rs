//! The strict JSON reader: RFC 8259 within I-JSON (RFC 7493), and nothing beside it.
//!
//! One reader for everything that is decided, recorded or verified, so that two readers can never
//! disagree about what a message said. Duplicate members, lone surrogates, bytes after the value,
//! and anything over a limit are errors with an offset.

use crate::json::{Json, Number, Object, plain_bytes};

/// The bounds within which a value is read.
#[derive(Clone, Copy, Debug)]
pub struct JsonLimits {
    /// Bytes of the whole text.
    pub bytes_max: usize,
    /// Levels of arrays and objects.
    pub depth_max: usize,
    /// Members of one object. Duplicates are searched for within this bound.
    pub members_max: usize,
}

impl JsonLimits {
    /// For messages from clients and upstreams. MCP results carry images and files as base64, hence
    /// the size.
    pub const MESSAGE: Self = Self { bytes_max: 16 << 20, depth_max: 64, members_max: 4096 };
    /// For JSON that is printed within JSON. Shallower, since it may hold more of itself.
    pub const PRINTED: Self = Self { bytes_max: 16 << 20, depth_max: 32, members_max: 4096 };
    /// For what Lockgate wrote itself.
    pub const OWN: Self = Self { bytes_max: 64 << 20, depth_max: 128, members_max: 65_536 };
}

/// Why a text is not an acceptable JSON value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text does not follow the grammar.
    #[error("not JSON at byte {offset}: expected {expected}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What would have been acceptable there.
        expected: &'static str,
    },
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// A member name occurs twice in one object.
    #[error("duplicate member `{name}` at byte {offset}")]
    Duplicate {
        /// The name.
        name: String,
        /// Where it occurs again.
        offset: usize,
    },
    /// A `\u` escape is half of a surrogate pair (RFC 7493 §2.1).
    #[error("lone surrogate at byte {offset}")]
    LoneSurrogate {
        /// Where.
        offset: usize,
    },
    /// Nested deeper than allowed.
    #[error("nested deeper than {max} levels")]
    TooDeep {
        /// The bound.
        max: usize,
    },
    /// Longer than allowed.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// An object with more members than allowed.
    #[error("an object has more than {max} members")]
    TooManyMembers {
        /// The bound.
        max: usize,
    },
}

impl Json {
    /// Reads one value that fills the whole text.
    pub fn parse(bytes: &[u8], limits: &JsonLimits) -> Result<Self, JsonError> {
        if bytes.len() > limits.bytes_max {
            return Err(JsonError::TooLong { max: limits.bytes_max });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| JsonError::NotUtf8 { offset: e.valid_up_to() })?;
        let mut reader = Reader { text, bytes, at: 0, limits };
        reader.skip_space();
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.at < bytes.len() {
            return Err(reader.syntax("the end of the text"));
        }
        Ok(value)
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    limits: &'a JsonLimits,
}

/// Members up to which a linear search for duplicates is cheaper than a set.
const LINEAR_SEARCH_MAX: usize = 16;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn syntax(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { offset: self.at, expected }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.syntax(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            _ => Err(self.syntax("a value")),
        }
    }

    fn literal(&mut self, word: &'static str, value: Json) -> Result<Json, JsonError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.syntax(word));
        }
        self.at += word.len();
        Ok(value)
    }

    fn descend(&self, depth: usize) -> Result<usize, JsonError> {
        if depth >= self.limits.depth_max {
            return Err(JsonError::TooDeep { max: self.limits.depth_max });
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let depth = self.descend(depth)?;
        self.at += 1;
        self.skip_space();
        let mut members: Vec<(String, Json)> = Vec::new();
        // order-free: only asked whether a name is in it
        let mut names = std::collections::HashSet::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(Object::new()));
        }
        loop {
            let offset = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a member name"));
            }
            let name = self.string()?;
            if members.len() >= self.limits.members_max {
                return Err(JsonError::TooManyMembers { max: self.limits.members_max });
            }
            if is_duplicate(&members, &mut names, &name) {
                return Err(JsonError::Duplicate { name, offset });
            }
            self.skip_space();
            self.expect(b':', "`:`")?;
            self.skip_space();
            let value = self.value(depth)?;
            members.push((name, value));
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(Object::from_unique(members)));
                }
                _ => return Err(self.syntax("`,` or `}`")),
            }
            self.skip_space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        let depth = self.descend(depth)?;
        self.at += 1;
        self.skip_space();
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.syntax("`,` or `]`")),
            }
            self.skip_space();
        }
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.syntax("a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Json::Number(Number::from_checked(text)))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.syntax("a digit"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = self.plain().to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(self.syntax("an escaped control character")),
                None => return Err(self.syntax("`\"`")),
            }
            out.push_str(self.plain());
        }
    }

    /// Takes what stands for itself in a string.
    fn plain(&mut self) -> &str {
        let start = self.at;
        self.at += plain_bytes(self.bytes.get(start..).unwrap_or_default());
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let offset = self.at;
        self.at += 1;
        let letter = self.peek().ok_or_else(|| self.syntax("an escape"))?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(offset),
            _ => {
                self.at = offset;
                return Err(self.syntax("an escape"));
            }
        })
    }

    fn unicode_escape(&mut self, offset: usize) -> Result<char, JsonError> {
        let first = self.hex4()?;
        if let Some(char) = char::from_u32(first) {
            return Ok(char);
        }
        let is_high = (0xD800..0xDC00).contains(&first);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !is_high || !rest.starts_with(b"\\u") {
            return Err(JsonError::LoneSurrogate { offset });
        }
        self.at += 2;
        let second = self.hex4()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(JsonError::LoneSurrogate { offset });
        }
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        char::from_u32(code).ok_or(JsonError::LoneSurrogate { offset })
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.syntax("four hexadecimal digits"))?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

fn is_duplicate(
    members: &[(String, Json)],
    // order-free: only asked whether a name is in it
    names: &mut std::collections::HashSet<String>,
    name: &str,
) -> bool {
    if members.len() < LINEAR_SEARCH_MAX {
        return members.iter().any(|(key, _)| key == name);
    }
    if names.is_empty() {
        names.extend(members.iter().map(|(key, _)| key.clone()));
    }
    !names.insert(name.to_owned())
}
