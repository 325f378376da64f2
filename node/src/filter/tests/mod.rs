//! Filters asked about events. What patterns, partitions and expressions mean in detail is tested beside them.

mod any_expression;
mod asked;
mod budget;
mod errors;
mod events;
mod expressions;
mod page;
mod terms;

pub(crate) use events::Given;
