//! What an evaluation costs, counted while it runs. The CEL library has no counter of its own, so compiling
//! weaves calls into the tree that pay before the costly part happens: see [`super::weave`].

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cel::ExecutionError;
use cel::common::types::{CelBytes, CelList, CelMap, CelString, Type};
use cel::common::value::{StaticVal, Val};

/// Bytes of text that are touched in one step.
const BYTES_PER_STEP: usize = 64;

static METER: Type = Type::new_unspecified_type("@meter");

/// The steps that are left of an evaluation. A value of the expression language, so that functions get it as an
/// argument; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    /// Below zero: there were too few.
    steps_left: Arc<AtomicI64>,
}

impl Meter {
    pub fn new(steps_max: u64) -> Self {
        let steps = i64::try_from(steps_max).unwrap_or(i64::MAX);
        Self { steps_left: Arc::new(AtomicI64::new(steps)) }
    }

    /// Pays for what is about to happen, or says that it must not. Once it said so, it always does: conditions over
    /// lists pass over errors, and must not go on.
    pub fn pay(&self, steps: u64) -> Result<(), ExecutionError> {
        let left = self.left();
        if left >= 0 {
            let left = left.saturating_sub(i64::try_from(steps).unwrap_or(i64::MAX));
            // One evaluation runs on one thread.
            self.steps_left.store(left, Ordering::Relaxed);
        }
        if self.exhausted() {
            Err(ExecutionError::function_error("", "over budget"))
        } else {
            Ok(())
        }
    }

    /// Pays for going over a value once, as comparing, copying and dropping it do.
    pub fn pay_for(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        let most = u64::try_from(self.left()).unwrap_or(0).saturating_add(1);
        let mut steps = 0;
        weigh(value, most, &mut steps);
        self.pay(steps)
    }

    /// Whether something was not paid for. The result of the evaluation then means nothing.
    pub fn exhausted(&self) -> bool {
        self.left() < 0
    }

    fn left(&self) -> i64 {
        self.steps_left.load(Ordering::Relaxed)
    }
}

/// Adds up the steps of going over a value, and stops when there are more than `most`. Recurses as deep as
/// values nest: as deep as JSON may, and what one expression puts around it.
fn weigh(value: &dyn Val, most: u64, steps: &mut u64) {
    *steps += 1;
    if *steps > most {
        return;
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        *steps += text_steps(text.inner().len());
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        *steps += text_steps(bytes.inner().len());
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        for element in list.inner() {
            weigh(element.as_ref(), most, steps);
            if *steps > most {
                return;
            }
        }
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        for (key, value) in map.inner() {
            weigh(key.inner(), most, steps);
            weigh(value.as_ref(), most, steps);
            if *steps > most {
                return;
            }
        }
    }
}

/// Steps of going over so many bytes.
pub(super) const fn text_steps(bytes: usize) -> u64 {
    (bytes / BYTES_PER_STEP) as u64
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &METER
    }

    fn cel_type() -> &'static Type {
        &METER
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

impl StaticVal for Meter {}
