//! The first look at a text: its characters and its tokens, before any parser sees a statement.
//!
//! The database never gets this text, so that no disagreement about it can be used; what is refused
//! here is refused because an honest caller does not need it, and because a person who reads the
//! record should see what the parser saw.

use crate::sql::grants::{Dialect, NAME_BYTES_MAX, name_fault};
use crate::sql::refusal::{Place, Refusal, Rule, shown};
use sqlparser::dialect::{Dialect as Grammar, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

/// Bytes of a statement. A query that a person would still read is a tenth of this.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;
/// Tokens of a statement. Bounds every list, and the depth of chains such as `1 + 1 + 1 …`, whose
/// tree the parser makes as deep as they are long.
pub(super) const TOKENS_MAX: usize = 2000;

/// The stack on which a text is parsed and checked. The parser makes a tree of a chain such as
/// `1 + 1 + 1 …` that is as deep as the chain is long, and whatever looks at such a tree, or drops
/// it, recurses: a thousand levels within [`TOKENS_MAX`], at some kilobytes each. Pages that are
/// not touched cost nothing.
const STACK_BYTES: usize = 32 << 20;

/// Does something with a caller's text on a stack of its own.
pub(super) fn on_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(STACK_BYTES, work)
}

static POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};
static SQLITE: SQLiteDialect = SQLiteDialect {};

impl Dialect {
    /// The grammar that the parser reads.
    pub(super) fn grammar(self) -> &'static dyn Grammar {
        match self {
            Self::Postgres => &POSTGRES,
            Self::Sqlite => &SQLITE,
        }
    }
}

/// The tokens of an acceptable text.
pub(super) fn tokens(dialect: Dialect, text: &str) -> Result<Vec<TokenWithSpan>, Refusal> {
    check_characters(text)?;
    let tokens = Tokenizer::new(dialect.grammar(), text).tokenize_with_location();
    let tokens = tokens.map_err(|error| {
        Refusal::new(Rule::Syntax, shown(&error.message)).at_location(error.location)
    })?;
    if tokens.len() > TOKENS_MAX {
        return Err(Refusal::new(Rule::Size, format!("more than {TOKENS_MAX} tokens")));
    }
    for token in &tokens {
        check_token(dialect, &token.token).map_err(|refusal| refusal.at(token.span))?;
    }
    check_neighbours(&tokens)?;
    number_placeholders(tokens)
}

/// A number that runs into a name (`10a`) is an error to one version of a database, and a number
/// with a name to another.
fn check_neighbours(tokens: &[TokenWithSpan]) -> Result<(), Refusal> {
    for pair in tokens.windows(2) {
        let [first, second] = pair else { continue };
        if matches!((&first.token, &second.token), (Token::Number(..), Token::Word(_))) {
            return Err(Refusal::new(Rule::Token, "a number that runs into a name").at(first.span));
        }
    }
    Ok(())
}

/// Gives every `?` its number, by its place in the text; `?` beside `?1` would leave it to a rule
/// that nobody remembers.
fn number_placeholders(mut tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, Refusal> {
    let (mut bare, mut has_numbered) = (0, false);
    for token in &mut tokens {
        let Token::Placeholder(text) = &mut token.token else { continue };
        if text == "?" {
            bare += 1;
            *text = format!("?{bare}");
        } else {
            has_numbered = true;
        }
        if bare > 0 && has_numbered {
            let what = "parameters both with and without a number";
            return Err(Refusal::new(Rule::Parameter, what).at(token.span));
        }
    }
    Ok(tokens)
}

fn check_characters(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Refusal::new(Rule::Size, format!("more than {TEXT_BYTES_MAX} bytes")));
    }
    let (mut line, mut column) = (1, 1);
    for character in text.chars() {
        if !is_acceptable(character) {
            let what = format!("U+{:04X}", u32::from(character));
            let place = Some(Place { line, column });
            return Err(Refusal { rule: Rule::Character, what, place });
        }
        (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    Ok(())
}

/// ASCII that prints, three kinds of white space, and whatever else a person sees as it is.
fn is_acceptable(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' | ' '..='~' => true,
        // Marks that reorder, join or hide text, spaces other than the space, private use, and
        // noncharacters. Half of these are white space to one reader and letters to another.
        '\u{7f}'..='\u{a0}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{1680}'
        | '\u{180e}'
        | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}'
        | '\u{3000}'
        | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}'
        | '\u{e0000}'..='\u{10ffff}' => false,
        other => !other.is_control() && !other.is_whitespace(),
    }
}

fn check_token(dialect: Dialect, token: &Token) -> Result<(), Refusal> {
    match token {
        Token::Word(word) => check_word(word),
        Token::Number(text, is_long) => check_number(text, *is_long),
        Token::SingleQuotedString(text) => check_string(dialect, text),
        Token::Whitespace(space) => check_space(space),
        Token::Placeholder(text) => check_placeholder(dialect, text),
        Token::EOF
        | Token::Comma
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::DoubleColon
        | Token::Arrow
        | Token::LongArrow => Ok(()),
        // One at the end is the parser's affair.
        Token::SemiColon => Ok(()),
        Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::HashArrow
        | Token::HashLongArrow
        | Token::AtArrow
        | Token::ArrowAt
            if dialect == Dialect::Postgres =>
        {
            Ok(())
        }
        // `==` is a spelling of `=` in SQLite alone.
        Token::DoubleEq if dialect == Dialect::Sqlite => Ok(()),
        other => check_other(other),
    }
}

/// Every token that is in no accepted statement. A new version of the tokenizer with a new kind
/// does not compile until somebody has decided about it.
#[expect(clippy::too_many_lines, reason = "a line for each kind of token")]
fn check_other(token: &Token) -> Result<(), Refusal> {
    let what = match token {
        Token::Char(other) => format!("`{}`", shown(&other.to_string())),
        Token::DoubleQuotedString(_)
        | Token::TripleSingleQuotedString(_)
        | Token::TripleDoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::TripleSingleQuotedByteStringLiteral(_)
        | Token::TripleDoubleQuotedByteStringLiteral(_)
        | Token::SingleQuotedRawStringLiteral(_)
        | Token::DoubleQuotedRawStringLiteral(_)
        | Token::TripleSingleQuotedRawStringLiteral(_)
        | Token::TripleDoubleQuotedRawStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::QuoteDelimitedStringLiteral(_)
        | Token::NationalQuoteDelimitedStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => "text in quotations other than `'…'`".to_owned(),
        Token::CustomBinaryOperator(text) => format!("operator `{}`", shown(text)),
        Token::DoubleEq
        | Token::Spaceship
        | Token::DuckIntDiv
        | Token::Colon
        | Token::Assignment
        | Token::Backslash
        | Token::LBracket
        | Token::RBracket
        | Token::Ampersand
        | Token::Pipe
        | Token::Caret
        | Token::LBrace
        | Token::RBrace
        | Token::RArrow
        | Token::Sharp
        | Token::DoubleSharp
        | Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::DoubleTilde
        | Token::DoubleTildeAsterisk
        | Token::ExclamationMarkDoubleTilde
        | Token::ExclamationMarkDoubleTildeAsterisk
        | Token::ShiftLeft
        | Token::ShiftRight
        | Token::Overlap
        | Token::ExclamationMark
        | Token::DoubleExclamationMark
        | Token::AtSign
        | Token::CaretAt
        | Token::PGSquareRoot
        | Token::PGCubeRoot
        | Token::HashArrow
        | Token::AtDashAt
        | Token::QuestionMarkDash
        | Token::AmpersandLeftAngleBracket
        | Token::AmpersandRightAngleBracket
        | Token::AmpersandLeftAngleBracketVerticalBar
        | Token::VerticalBarAmpersandRightAngleBracket
        | Token::TwoWayArrow
        | Token::LeftAngleBracketCaret
        | Token::RightAngleBracketCaret
        | Token::QuestionMarkSharp
        | Token::QuestionMarkDashVerticalBar
        | Token::QuestionMarkDoubleVerticalBar
        | Token::TildeEqual
        | Token::ShiftLeftVerticalBar
        | Token::VerticalBarShiftRight
        | Token::VerticalBarRightAngleBracket
        | Token::HashLongArrow
        | Token::AtArrow
        | Token::ArrowAt
        | Token::HashMinus
        | Token::AtQuestion
        | Token::AtAt
        | Token::Question
        | Token::QuestionAnd
        | Token::QuestionPipe => format!("operator `{token}`"),
        // Decided before.
        Token::EOF
        | Token::Word(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::Placeholder(_)
        | Token::Comma
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::DoubleColon
        | Token::SemiColon
        | Token::Arrow
        | Token::LongArrow => return Ok(()),
    };
    Err(Refusal::new(Rule::Token, what))
}

/// Unquoted names are ASCII, since databases fold other letters as their locale tells them; quoted
/// ones are compared as they are.
fn check_word(word: &Word) -> Result<(), Refusal> {
    let name = format!("`{}`", shown(&word.value));
    match word.quote_style {
        None if word.value.len() > NAME_BYTES_MAX => {
            Err(Refusal::new(Rule::Name, format!("{name} is longer than {NAME_BYTES_MAX} bytes")))
        }
        None if word.value.is_ascii() => Ok(()),
        None => Err(Refusal::new(Rule::Character, format!("{name} is not ASCII: quote it"))),
        Some('"') => match name_fault(&word.value) {
            Some(fault) => Err(Refusal::new(Rule::Name, format!("{name}: {fault}"))),
            None => Ok(()),
        },
        Some(_) => Err(Refusal::new(Rule::Token, format!("{name}: names are quoted as \"…\""))),
    }
}

/// Digits, a fraction, an exponent: what both databases and every version of them read alike.
fn check_number(text: &str, is_long: bool) -> Result<(), Refusal> {
    let digits = |part: &str| part.bytes().all(|it| it.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.map(|it| it.strip_prefix(['+', '-']).unwrap_or(it));
    let is_number = !is_long
        && !whole.is_empty()
        && !fraction.is_empty()
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|it| !it.is_empty() && it.len() <= 3 && digits(it));
    if is_number {
        return Ok(());
    }
    Err(Refusal::new(Rule::Token, format!("number `{}`", shown(text))))
}

/// A backslash means nothing or everything in PostgreSQL, as a setting says.
fn check_string(dialect: Dialect, text: &str) -> Result<(), Refusal> {
    if dialect == Dialect::Postgres && text.contains('\\') {
        let what = "a backslash in text: hint: pass the text as a parameter";
        return Err(Refusal::new(Rule::Token, what));
    }
    Ok(())
}

fn check_space(space: &Whitespace) -> Result<(), Refusal> {
    match space {
        Whitespace::Space | Whitespace::Newline | Whitespace::Tab => Ok(()),
        Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_) => {
            Err(Refusal::new(Rule::Token, "a comment"))
        }
    }
}

/// `$1` for PostgreSQL; `?`, `?1` and, as this module writes it, nothing else for SQLite.
fn check_placeholder(dialect: Dialect, text: &str) -> Result<(), Refusal> {
    let sign = match dialect {
        Dialect::Postgres => '$',
        Dialect::Sqlite => '?',
    };
    let number = text.strip_prefix(sign);
    let is_numbered = |it: &str| {
        it.len() <= 4 && !it.starts_with('0') && it.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_bare = dialect == Dialect::Sqlite && number == Some("");
    if is_bare || number.is_some_and(|it| !it.is_empty() && is_numbered(it)) {
        return Ok(());
    }
    Err(Refusal::new(Rule::Parameter, format!("`{}`", shown(text))))
}
