//! From the text of an expression to its tree, within limits.

use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use cel::{ParseError, ParseErrors};

use super::ExpressionError;
use super::environment::ENVIRONMENT;
use super::tree;
use crate::limits;

/// The tree of an expression with its macros expanded, and where its nodes stand in the text.
#[derive(Debug)]
pub(super) struct Parsed {
    pub root: IdedExpr,
    source: SourceInfo,
}

impl Parsed {
    /// Parses, and checks the size of what comes out. Needs a large stack.
    pub fn new(text: &str) -> Result<Self, ExpressionError> {
        check_length(text)?;
        let parser = ENVIRONMENT.parser().max_recursion_depth(limits::EXPRESSION_NESTING_MAX);
        let (root, source) =
            parser.parse_with_source_info(text).map_err(|errors| first_error(text, &errors))?;
        check_size(&root)?;
        Ok(Self { root, source })
    }

    /// Where a node begins, in bytes.
    pub fn offset(&self, id: u64) -> usize {
        let start = self.source.offset_for(id).map_or(0, |(start, _)| start as usize);
        start.min(self.source.source.len())
    }

    /// Where a call names its function: the node itself begins at the bracket behind the name.
    pub fn name_offset(&self, id: u64, name: &str) -> usize {
        let bracket = self.offset(id);
        let before = self.source.source[..bracket].trim_end();
        before.strip_suffix(name).map_or(bracket, str::len)
    }
}

fn check_length(text: &str) -> Result<(), ExpressionError> {
    if text.len() > limits::EXPRESSION_BYTES_MAX {
        return Err(ExpressionError::LimitExceeded {
            limit: "expression_bytes_max",
            value: text.len(),
            maximum: limits::EXPRESSION_BYTES_MAX,
            unit: "bytes",
        });
    }
    Ok(())
}

fn check_size(root: &IdedExpr) -> Result<(), ExpressionError> {
    let size = tree::size(root);
    if size.depth > limits::EXPRESSION_DEPTH_MAX {
        return Err(ExpressionError::LimitExceeded {
            limit: "expression_depth_max",
            value: size.depth,
            maximum: limits::EXPRESSION_DEPTH_MAX,
            unit: "levels",
        });
    }
    if size.nodes > limits::EXPRESSION_NODES_MAX {
        return Err(ExpressionError::LimitExceeded {
            limit: "expression_nodes_max",
            value: size.nodes,
            maximum: limits::EXPRESSION_NODES_MAX,
            unit: "nodes",
        });
    }
    Ok(())
}

fn first_error(text: &str, errors: &ParseErrors) -> ExpressionError {
    if errors.errors.iter().any(|error| error.msg.contains("Recursion limit")) {
        let maximum = usize::from(limits::EXPRESSION_NESTING_MAX);
        return ExpressionError::LimitExceeded {
            limit: "expression_nesting_max",
            value: maximum + 1,
            maximum,
            unit: "or more levels of brackets",
        };
    }
    let Some(error) = errors.errors.first() else {
        return ExpressionError::invalid(0, "is no expression");
    };
    let what = error.msg.strip_prefix(SYNTAX_ERROR).unwrap_or(&error.msg);
    // What else could stand there is a list of everything that CEL knows.
    let what = what.split_once(" expecting {").map_or(what, |(what, _)| what);
    ExpressionError::invalid(error_offset(text, error), format!("is no expression: {what}"))
}

const SYNTAX_ERROR: &str = "Syntax error: ";

/// The place of an error in bytes. The parser counts lines and columns from 1; a column is in characters,
/// but in bytes where a macro refuses what it is given.
fn error_offset(text: &str, error: &ParseError) -> usize {
    let (line, column) = error.pos;
    let (Ok(line), Ok(column)) = (usize::try_from(line - 1), usize::try_from(column - 1)) else {
        return 0;
    };
    let mut line_start = 0;
    let mut lines = text.split_inclusive('\n');
    for passed in lines.by_ref().take(line) {
        line_start += passed.len();
    }
    let rest = &text[line_start..];
    let of_macro = error.expr_id == 0 && !error.msg.starts_with(SYNTAX_ERROR);
    let within = if of_macro {
        column
    } else {
        rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset)
    };
    let mut offset = (line_start + within).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Whether the expression is an identifier of this name.
pub(super) fn is_ident(expr: &IdedExpr, name: &str) -> bool {
    matches!(&expr.expr, Expr::Ident(ident) if ident == name)
}
