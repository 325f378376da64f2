//! The functions behind an expression: CEL's own, and those that compiling weaves in. Their names begin with `@`,
//! which no expression can write.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelString, DYN_TYPE, Kind, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError, extensions};

use super::meter::Meter;
use crate::filter::regular_expression::Compiled;

/// `@pay(@meter, value)`: the value, paid for.
pub(super) const PAY: &str = "@pay";
/// `@key(@meter, key)`: the key of an index, paid for.
pub(super) const KEY: &str = "@key";
/// `@range(@meter, steps per element, range)`: the elements of a loop, paid for with all its rounds.
pub(super) const RANGE: &str = "@range";
/// `@matches(@meter, text, regex)`: whether the text has a match.
pub(super) const SEARCH: &str = "@matches";

/// Bytes times parts of a regular expression that are searched in one step. Most searches are quicker, but a text
/// can be made for an expression so that every byte is tried against every part.
const SEARCHED_PER_STEP: u64 = 16;
/// What every expression is taken to have at least.
const SEARCH_PARTS_MIN: u64 = 4;

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// One for all expressions: it holds no state.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    let any = |count| (0..count).map(|_| DYN_TYPE).collect();
    env.add_extension(extensions::strings)
        .and_then(|()| env.add_extension(extensions::math))
        .and_then(|()| env.add_overload(PAY, PAY, any(2), pay))
        .and_then(|()| env.add_overload(KEY, KEY, any(2), key))
        .and_then(|()| env.add_overload(RANGE, RANGE, any(3), range))
        .and_then(|()| env.add_overload(SEARCH, SEARCH, any(3), search))
        .expect("every function is declared once, and none of CEL's begins with @");
    Arc::new(env)
});

static REGEX: Type = Type::new_unspecified_type("@regex");

/// A compiled regular expression as a value of the expression language.
#[derive(Debug, Clone)]
pub(super) struct RegexValue(pub Compiled);

impl Val for RegexValue {
    fn get_type(&self) -> &Type {
        &REGEX
    }

    fn cel_type() -> &'static Type {
        &REGEX
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for RegexValue {}

fn pay<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [meter, value] = take(arguments)?;
    meter_of(&meter)?.pay_for(value.as_ref())?;
    Ok(value)
}

/// CEL copies the whole container into the error about a key that it cannot have, so such a key ends here.
fn key<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [meter, key] = take(arguments)?;
    let can_be_key = match key.get_type().kind() {
        Kind::Boolean | Kind::Int | Kind::UInt | Kind::String => true,
        Kind::Double => {
            key.downcast_ref::<CelDouble>().is_some_and(|number| number.inner().fract() == 0.0)
        }
        _ => false,
    };
    if !can_be_key {
        return Err(ExecutionError::function_error("[]", "no key"));
    }
    meter_of(&meter)?.pay_for(key.as_ref())?;
    Ok(key)
}

/// Pays for copying every element into the loop's variable and for the rounds. The keys of a map come in order:
/// CEL leaves it open, and the library takes one that differs from run to run.
fn range<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [meter, steps_per_element, range] = take(arguments)?;
    let meter = meter_of(&meter)?;
    let steps_per_element =
        steps_per_element.downcast_ref::<CelInt>().map_or(1, |steps| steps.inner().unsigned_abs());
    meter.pay_for(range.as_ref())?;
    let rounds = |len: usize| (len as u64).saturating_mul(steps_per_element);
    if let Some(list) = range.downcast_ref::<CelList>() {
        meter.pay(rounds(list.inner().len()))?;
    } else if let Some(map) = range.downcast_ref::<CelMap>() {
        meter.pay(rounds(map.inner().len()))?;
        let mut keys: Vec<_> = map.inner().keys().collect();
        keys.sort_unstable();
        let keys: Vec<Box<dyn Val + 'v>> =
            keys.into_iter().map(|key| CowVal::from(key.inner()).into_owned()).collect();
        return Ok(CowVal::owned(CelList::from(keys)));
    }
    Ok(range)
}

fn search<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [meter, text, regex] = take(arguments)?;
    let (Some(text), Some(RegexValue(Compiled { regex, parts }))) =
        (text.downcast_ref::<CelString>(), regex.downcast_ref::<RegexValue>())
    else {
        return Err(ExecutionError::function_error("matches", "takes a string"));
    };
    let searched = (text.inner().len() as u64).saturating_mul(SEARCH_PARTS_MIN.max(*parts));
    meter_of(&meter)?.pay(searched / SEARCHED_PER_STEP)?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}

fn take<'b, 'v, const COUNT: usize>(
    arguments: Arguments<'b, 'v>,
) -> Result<[CowVal<'b, 'v>; COUNT], ExecutionError> {
    let actual = arguments.len();
    arguments.try_into().map_err(|_| ExecutionError::invalid_argument_count(COUNT, actual))
}

fn meter_of<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a Meter, ExecutionError> {
    value
        .downcast_ref::<Meter>()
        .ok_or_else(|| ExecutionError::InternalError("no meter".to_owned()))
}
