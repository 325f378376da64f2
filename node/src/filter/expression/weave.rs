//! From the tree of an expression to one that can be evaluated safely: names and types are checked, and calls that
//! pay are woven in before everything whose cost depends on data.
//!
//! Evaluating a node costs about the same whatever it is, with these exceptions, each paid for by going over the
//! value once: what operators compare, add up, copy or put into an error; what functions go through; what becomes an
//! element of a list or a map; and what a loop runs over, together with the nodes of all its rounds. Values that
//! are small by their type, and those that were only just made and paid for, are exempt. So time and memory of an
//! evaluation are bounded by its steps, whatever the expression and the event.

use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, SelectExpr,
    operators,
};

use super::ExpressionError;
use super::environment::{KEY, PAY, RANGE, RegexValue, SEARCH};
use super::functions::{self, MATCHES, NAMESPACE, NoFunction, TYPE_NAMES};
use super::parse::{Parsed, is_ident};
use super::tree;
use super::types::{self, StaticType};
use super::values::{EVENT, FIELDS, METER, REGEX};
use crate::filter::regular_expression;
use crate::limits;

/// An expression that can be evaluated.
#[derive(Debug)]
pub(super) struct Woven {
    pub root: IdedExpr,
    pub gives: StaticType,
    pub regexes: Vec<RegexValue>,
    /// The fields of the event that it refers to, as `event.data`.
    pub variables: BTreeSet<&'static str>,
}

/// Checks an expression, and makes it pay.
pub(super) fn weave(mut parsed: Parsed) -> Result<Woven, ExpressionError> {
    let root = std::mem::take(&mut parsed.root);
    let mut weaver =
        Weaver { parsed, scopes: Vec::new(), regexes: Vec::new(), variables: BTreeSet::new() };
    let (root, gives) = weaver.expr(root)?;
    Ok(Woven { root, gives, regexes: weaver.regexes, variables: weaver.variables })
}

struct Weaver {
    /// Without its root.
    parsed: Parsed,
    /// The variables of the loops around, and what they are.
    scopes: Vec<(String, StaticType)>,
    regexes: Vec<RegexValue>,
    variables: BTreeSet<&'static str>,
}

type Typed = (IdedExpr, StaticType);

impl Weaver {
    fn expr(&mut self, expr: IdedExpr) -> Result<Typed, ExpressionError> {
        let id = expr.id;
        let (expr, gives) = match expr.expr {
            Expr::Literal(literal) => {
                let gives = StaticType::of_literal(&literal);
                (Expr::Literal(literal), gives)
            }
            Expr::Ident(name) => {
                let gives = self.ident(id, &name)?;
                (Expr::Ident(name), gives)
            }
            Expr::Select(select) => self.select(id, select)?,
            Expr::Call(call) => self.call(id, call)?,
            Expr::List(mut list) => {
                let elements = std::mem::take(&mut list.elements);
                list.elements = elements
                    .into_iter()
                    .map(|element| self.expr(element).map(paid))
                    .collect::<Result<_, _>>()?;
                (Expr::List(list), StaticType::List)
            }
            Expr::Map(map) => (self.map(map)?, StaticType::Map),
            Expr::Comprehension(looped) => self.comprehension(*looped)?,
            Expr::Struct(made) => {
                let name = made.type_name;
                let offset = self.parsed.name_offset(id, &name);
                let reason = format!("makes a {name}, but there are no message types here");
                return Err(ExpressionError::invalid(offset, reason));
            }
            Expr::Unspecified => return Err(self.invalid(id, "is no expression")),
        };
        Ok((IdedExpr { id, expr }, gives))
    }

    fn ident(&self, id: u64, name: &str) -> Result<StaticType, ExpressionError> {
        if let Some(gives) = self.in_scope(name) {
            return Ok(gives);
        }
        if TYPE_NAMES.contains(&name) {
            return Ok(StaticType::Type);
        }
        Err(if name == EVENT {
            self.invalid(id, "uses event as a whole; use its fields, such as event.event_type")
        } else {
            self.invalid(
                id,
                format!("refers to {name}, which is not there; the one variable is event"),
            )
        })
    }

    fn in_scope(&self, name: &str) -> Option<StaticType> {
        self.scopes.iter().rev().find(|(scoped, _)| scoped == name).map(|&(_, gives)| gives)
    }

    fn select(
        &mut self,
        id: u64,
        select: SelectExpr,
    ) -> Result<(Expr, StaticType), ExpressionError> {
        let SelectExpr { operand, field, test } = select;
        if is_ident(&operand, EVENT) && self.in_scope(EVENT).is_none() {
            let gives = self.event_field(id, &field)?;
            return Ok(if test {
                // An event has all of its fields; those it lacks are null.
                (Expr::Literal(LiteralValue::Boolean(true.into())), StaticType::Bool)
            } else {
                (Expr::Select(SelectExpr { operand, field, test }), gives)
            });
        }
        let (operand, of) = self.expr(*operand)?;
        if !of.may_be(StaticType::Map) {
            return Err(self.invalid(id, format!("asks for the field {field} of {of}")));
        }
        let gives = if test { StaticType::Bool } else { StaticType::Dyn };
        Ok((Expr::Select(SelectExpr { operand: Box::new(operand), field, test }), gives))
    }

    fn event_field(&mut self, id: u64, field: &str) -> Result<StaticType, ExpressionError> {
        let Some((name, gives)) = FIELDS.iter().find(|(name, _)| *name == field) else {
            let names = FIELDS.map(|(name, _)| name).join(", ");
            let reason = format!("refers to event.{field}, but an event has: {names}");
            return Err(self.invalid(id, reason));
        };
        self.variables.insert(name);
        Ok(*gives)
    }

    fn call(&mut self, id: u64, call: CallExpr) -> Result<(Expr, StaticType), ExpressionError> {
        let CallExpr { func_name: name, target, args } = call;
        match (target, args.len()) {
            (None, 3) if name == operators::CONDITIONAL => self.conditional(args),
            (None, 2) if is_logical(&name) => {
                let args =
                    args.into_iter().map(|arg| self.condition(arg)).collect::<Result<_, _>>()?;
                Ok((operator(name, args), StaticType::Bool))
            }
            (None, 2) if name == operators::INDEX => self.index(id, args),
            (None, 1 | 2) if is_operator(&name) => self.operator(id, name, args),
            (Some(target), _) if is_ident(&target, NAMESPACE) => {
                // The library takes such a call for one of a function of the namespace, whatever the variable.
                self.function(id, &format!("{NAMESPACE}.{name}"), None, args)
            }
            (target, _) => self.function(id, &name, target.map(|target| *target), args),
        }
    }

    fn conditional(&mut self, args: Vec<IdedExpr>) -> Result<(Expr, StaticType), ExpressionError> {
        let mut args = args.into_iter();
        let (Some(condition), Some(then), Some(otherwise)) =
            (args.next(), args.next(), args.next())
        else {
            return Err(ExpressionError::invalid(0, "is no expression"));
        };
        let condition = self.condition(condition)?;
        let (then, gives) = self.expr(then)?;
        let (otherwise, or_gives) = self.expr(otherwise)?;
        let gives = if gives == or_gives { gives } else { StaticType::Dyn };
        Ok((operator(operators::CONDITIONAL.to_owned(), vec![condition, then, otherwise]), gives))
    }

    /// An expression where only a bool makes sense.
    fn condition(&mut self, expr: IdedExpr) -> Result<IdedExpr, ExpressionError> {
        let id = expr.id;
        let (expr, gives) = self.expr(expr)?;
        if gives.may_be(StaticType::Bool) {
            Ok(expr)
        } else {
            Err(self.invalid(id, format!("takes {gives} for a condition")))
        }
    }

    fn index(
        &mut self,
        id: u64,
        args: Vec<IdedExpr>,
    ) -> Result<(Expr, StaticType), ExpressionError> {
        let mut typed = Vec::with_capacity(2);
        for arg in args {
            typed.push(self.expr(arg)?);
        }
        let [(container, of), (key, by)] = pair(typed)?;
        let by_position = matches!(by, StaticType::Int | StaticType::Uint | StaticType::Dyn);
        let by_key = by_position || matches!(by, StaticType::String | StaticType::Bool);
        let fits = match of {
            StaticType::List => by_position,
            StaticType::Map | StaticType::Dyn => by_key,
            _ => false,
        };
        if !fits {
            return Err(self.invalid(id, format!("looks up {by} in {of}")));
        }
        let key = if exempt(&key, by) { key } else { paying(KEY, vec![key]) };
        Ok((operator(operators::INDEX.to_owned(), vec![container, key]), StaticType::Dyn))
    }

    fn operator(
        &mut self,
        id: u64,
        name: String,
        args: Vec<IdedExpr>,
    ) -> Result<(Expr, StaticType), ExpressionError> {
        let mut typed = Vec::with_capacity(2);
        for arg in args {
            typed.push(self.expr(arg)?);
        }
        let gives = match typed.as_slice() {
            [(_, operand)] => types::unary(&name, *operand),
            [(_, left), (_, right)] => types::binary(&name, *left, *right),
            _ => None,
        };
        let Some(gives) = gives else {
            let operands: Vec<&str> = typed.iter().map(|(_, gives)| gives.as_str()).collect();
            let symbol = name.trim_matches(['_', '@']);
            let reason = format!("uses {symbol} with {}", operands.join(" and "));
            return Err(self.invalid(id, reason));
        };
        let is_equality = name == operators::EQUALS || name == operators::NOT_EQUALS;
        // Equality makes no errors, and goes no further than the smaller side.
        let args = if is_equality && typed.iter().any(|(expr, gives)| exempt(expr, *gives)) {
            typed.into_iter().map(|(expr, _)| expr).collect()
        } else {
            typed.into_iter().map(paid).collect()
        };
        Ok((operator(name, args), gives))
    }

    fn function(
        &mut self,
        id: u64,
        name: &str,
        target: Option<IdedExpr>,
        mut args: Vec<IdedExpr>,
    ) -> Result<(Expr, StaticType), ExpressionError> {
        let member = target.is_some();
        args.splice(0..0, target);
        let mut typed = Vec::with_capacity(args.len());
        for arg in args {
            typed.push(self.expr(arg)?);
        }
        let argument_types: Vec<StaticType> = typed.iter().map(|&(_, gives)| gives).collect();
        let function = functions::find(name, member, &argument_types).map_err(|error| {
            let written = functions::as_written(name);
            let reason = match error {
                NoFunction::Unknown => format!("calls {written}, which is not there"),
                NoFunction::Mismatched => {
                    let names: Vec<&str> =
                        argument_types.iter().map(|argument| argument.as_str()).collect();
                    format!("calls {written} with {}", names.join(", "))
                }
            };
            let last_part = written.rsplit('.').next().unwrap_or(written);
            ExpressionError::invalid(self.parsed.name_offset(id, last_part), reason)
        })?;
        let gives = function.result;
        if function.name == MATCHES {
            return Ok((self.search(id, typed)?, gives));
        }
        let mut args: Vec<IdedExpr> = typed.into_iter().map(paid).collect();
        let target = member.then(|| Box::new(args.remove(0)));
        Ok((Expr::Call(CallExpr { func_name: name.to_owned(), target, args }), gives))
    }

    /// The library compiles a regular expression anew each time; here it is compiled once.
    fn search(&mut self, id: u64, typed: Vec<Typed>) -> Result<Expr, ExpressionError> {
        let [(text, _), (pattern, _)] = pair(typed)?;
        let Expr::Literal(LiteralValue::String(pattern_text)) = &pattern.expr else {
            let id = if pattern.id == 0 { id } else { pattern.id };
            return Err(self.invalid(id, "has a regular expression that is not written out"));
        };
        let regex = regular_expression::compile(pattern_text.inner()).map_err(|invalid| {
            // The place within the literal is not known: it may be escaped.
            self.invalid(pattern.id, format!("has a regular expression that {}", invalid.reason))
        })?;
        let number = self.regexes.len();
        if number == limits::EXPRESSION_REGEXES_MAX {
            return Err(ExpressionError::LimitExceeded {
                limit: "expression_regexes_max",
                value: number + 1,
                maximum: number,
                unit: "regular expressions",
            });
        }
        self.regexes.push(RegexValue(regex));
        Ok(paying(SEARCH, vec![text, ident(format!("{REGEX}{number}"))]).expr)
    }

    fn map(&mut self, mut map: MapExpr) -> Result<Expr, ExpressionError> {
        for entry in &mut map.entries {
            if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                let (key, gives) = self.expr(std::mem::take(&mut entry.key))?;
                entry.key = if exempt(&key, gives) { key } else { paying(KEY, vec![key]) };
                entry.value = paid(self.expr(std::mem::take(&mut entry.value))?);
            }
        }
        Ok(Expr::Map(map))
    }

    fn comprehension(
        &mut self,
        looped: ComprehensionExpr,
    ) -> Result<(Expr, StaticType), ExpressionError> {
        let range_id = looped.iter_range.id;
        let (range, of) = self.expr(looped.iter_range)?;
        if !of.may_be(StaticType::List) && !of.may_be(StaticType::Map) {
            return Err(self.invalid(range_id, format!("loops over {of}")));
        }
        let (accu_init, accumulates) = self.expr(looped.accu_init)?;
        let outer_scopes = self.scopes.len();
        self.scopes.push((looped.iter_var.clone(), StaticType::Dyn));
        self.scopes.push((looped.accu_var.clone(), accumulates));
        let (loop_cond, _) = self.expr(looped.loop_cond)?;
        let (loop_step, _) = self.expr(looped.loop_step)?;
        let (result, gives) = self.expr(looped.result)?;
        self.scopes.truncate(outer_scopes);

        let nodes = tree::size(&loop_cond).nodes + tree::size(&loop_step).nodes;
        let steps = i64::try_from(nodes).unwrap_or(i64::MAX);
        let steps = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(steps.into())) };
        let woven = ComprehensionExpr {
            iter_range: paying(RANGE, vec![steps, range]),
            accu_init,
            loop_cond,
            loop_step,
            result,
            ..looped
        };
        Ok((Expr::Comprehension(Box::new(woven)), gives))
    }

    fn invalid(&self, id: u64, reason: impl Into<String>) -> ExpressionError {
        ExpressionError::invalid(self.parsed.offset(id), reason)
    }
}

fn is_logical(name: &str) -> bool {
    name == operators::LOGICAL_AND || name == operators::LOGICAL_OR
}

/// Whether the parser means an operator by this name, and not what somebody wrote.
fn is_operator(name: &str) -> bool {
    matches!(
        name,
        operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
            | operators::LOGICAL_NOT
            | operators::NEGATE
            | operators::NOT_STRICTLY_FALSE
    )
}

fn pair(typed: Vec<Typed>) -> Result<[Typed; 2], ExpressionError> {
    typed.try_into().map_err(|_| ExpressionError::invalid(0, "is no expression"))
}

fn operator(name: String, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name, target: None, args })
}

fn ident(name: String) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(name) }
}

/// A call of a function that pays.
fn paying(function: &str, mut args: Vec<IdedExpr>) -> IdedExpr {
    args.insert(0, ident(METER.to_owned()));
    IdedExpr { id: 0, expr: operator(function.to_owned(), args) }
}

/// The same value, paid for unless it is exempt.
fn paid((expr, gives): Typed) -> IdedExpr {
    if exempt(&expr, gives) { expr } else { paying(PAY, vec![expr]) }
}

/// Whether a value is small, or was only just made out of what was paid for. The library recognises the loops of
/// macros by their shape, in which accumulators and lists must stand as they are.
fn exempt(expr: &IdedExpr, gives: StaticType) -> bool {
    gives.is_scalar()
        || match &expr.expr {
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Comprehension(_) => true,
            Expr::Ident(name) => name.starts_with('@'),
            _ => false,
        }
}
