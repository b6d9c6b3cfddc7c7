//! From a text to a statement that may be run, or to the reason why not. No I/O.

use crate::sql::expression::PARSER_DEPTH_MAX;
use crate::sql::grants::{Dialect, Grants, Parameter};
use crate::sql::lex;
use crate::sql::reads::{self, Reads};
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::render;
use crate::sql::scope::Reader;
use crate::sql::tree::Footprint;
use sqlparser::ast::Statement;
use sqlparser::parser::{Parser, ParserError};

/// Bytes of a statement as it is run. Filters and masks stand in it once for each mention of their
/// table.
const RUN_BYTES_MAX: usize = 1 << 20;

/// A statement that may be run. Only [`check`] makes one.
#[derive(Clone, Debug)]
pub struct Checked {
    dialect: Dialect,
    understood: String,
    text: String,
    values: Vec<Parameter>,
    columns: Vec<String>,
    rows_max: u32,
    footprint: Footprint,
    reads: Reads,
}

impl Checked {
    /// The caller's statement as it was understood, in one spelling, without filters and masks: for
    /// the record. Checked again, it is itself, unless this spelling is longer than a text may be.
    pub fn understood(&self) -> &str {
        &self.understood
    }

    /// The statement as the database gets it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values of its parameters: the caller's, then those of the filters.
    pub fn values(&self) -> &[Parameter] {
        &self.values
    }

    /// The names of the columns of its result.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows are answered at most.
    pub fn rows_max(&self) -> u32 {
        self.rows_max
    }

    /// Which database it is for.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The tables and columns that the caller's statement names.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// What no caller can have: a statement that nobody checked, to see what stops it.
    #[cfg(test)]
    pub(super) fn unchecked(dialect: Dialect, text: &str, footprint: Footprint) -> Self {
        Self {
            dialect,
            understood: String::new(),
            text: text.to_owned(),
            values: Vec::new(),
            columns: vec!["column".to_owned()],
            rows_max: 10,
            footprint,
            reads: Reads::default(),
        }
    }

    pub(super) fn footprint(&self) -> &Footprint {
        &self.footprint
    }
}

/// Checks a statement against grants, and rewrites it to give no more than they do.
pub fn check(text: &str, parameters: &[Parameter], grants: &Grants) -> Result<Checked, Refusal> {
    lex::on_large_stack(|| check_here(text, parameters, grants))
}

fn check_here(text: &str, parameters: &[Parameter], grants: &Grants) -> Result<Checked, Refusal> {
    let tokens = lex::tokens(grants.dialect, text)?;
    let mut parser = Parser::new(grants.dialect.grammar())
        .with_recursion_limit(PARSER_DEPTH_MAX)
        .with_tokens_with_locations(tokens);
    let statements = parser.parse_statements().map_err(syntax)?;
    // What follows an `END` is not looked at by the parser.
    let rest = parser.next_token();
    if rest.token != sqlparser::tokenizer::Token::EOF {
        let what = format!("`{}`", shown(&rest.token.to_string()));
        return Err(Refusal::new(Rule::Syntax, what).at(rest.span));
    }
    let [statement] = statements.as_slice() else {
        return Err(Refusal::new(Rule::OneStatement, format!("{} statements", statements.len())));
    };
    let Statement::Query(query) = statement else {
        let word = text.split_whitespace().next().unwrap_or_default();
        return Err(Refusal::of(Rule::OnlyQueries, format!("`{}`", shown(word)), statement));
    };
    let mut reader = Reader::new(grants, parameters);
    let query = reader.query(query, None)?;
    reader.check_all_used()?;
    let reads = reads::reads(grants, &query);
    let understood = render::as_understood(grants, &query);
    let (text, values, footprint) = render::as_run(grants, parameters, &query);
    if text.len() > RUN_BYTES_MAX {
        let what = format!("more than {RUN_BYTES_MAX} bytes with its filters and masks");
        return Err(Refusal::new(Rule::Size, what));
    }
    Ok(Checked {
        dialect: grants.dialect,
        understood,
        text,
        values,
        columns: query.columns,
        rows_max: grants.rows_max,
        footprint,
        reads,
    })
}

fn syntax(error: ParserError) -> Refusal {
    match error {
        ParserError::RecursionLimitExceeded => {
            Refusal::new(Rule::Size, "nested deeper than the parser goes")
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            Refusal::new(Rule::Syntax, shown(&text))
        }
    }
}
