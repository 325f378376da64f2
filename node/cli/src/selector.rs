//! Which events a subscription is for, as the command line says it.

use std::str::FromStr;

use reckon_api::v1::{self, event_pattern, selector::Kind};

use crate::failure::Failure;

/// Which events. One way of choosing; conditions on data and an expression go together.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which events (one way of choosing)")]
pub struct SelectorArgs {
    /// Every event.
    #[arg(long)]
    all: bool,
    /// The events of one stream.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// The events of one type.
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// Events of streams by pattern: `*` any run of characters, `?` one, `\` takes the next as it is.
    #[arg(long, value_name = "PATTERN")]
    stream_pattern: Option<String>,
    /// Events that have these fields in their envelope or metadata: a JSON object.
    #[arg(long, value_name = "JSON")]
    fields: Option<String>,
    /// Events whose data fulfils this, such as 'order.total gt 100'. Several: all of them. Operators: eq ne gt gte lt
    /// lte in, or == != > >= < <=. The value is JSON; what is none is taken for a text.
    #[arg(long = "where", value_name = "FIELD OP VALUE")]
    conditions: Vec<Condition>,
    /// Events for which this CEL expression over `event` holds.
    #[arg(long, value_name = "CEL")]
    expression: Option<String>,
    /// Events with this tag. Several: any of them.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Of several tags, all.
    #[arg(long, requires = "tags")]
    all_tags: bool,
}

/// A condition on data.
#[derive(Debug, Clone, PartialEq)]
struct Condition(v1::PayloadCondition);

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "a condition is FIELD OP VALUE, such as 'order.total gt 100'".to_owned();
        let (field, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(form)?;
        let (operator, value) =
            rest.trim_start().split_once(char::is_whitespace).ok_or_else(form)?;
        let operator = operator_of(operator)
            .ok_or_else(|| format!("`{operator}` is none of eq ne gt gte lt lte in"))?;
        let value = value.trim();
        let value = if serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok() {
            value.to_owned()
        } else {
            serde_json::Value::from(value).to_string()
        };
        let field = field.to_owned();
        Ok(Self(v1::PayloadCondition { field, operator: operator.into(), value }))
    }
}

/// The operator of this name or sign.
pub fn operator_of(text: &str) -> Option<v1::PayloadOperator> {
    Some(match text {
        "eq" | "==" | "=" => v1::PayloadOperator::Eq,
        "ne" | "!=" => v1::PayloadOperator::Ne,
        "gt" | ">" => v1::PayloadOperator::Gt,
        "gte" | ">=" => v1::PayloadOperator::Gte,
        "lt" | "<" => v1::PayloadOperator::Lt,
        "lte" | "<=" => v1::PayloadOperator::Lte,
        "in" => v1::PayloadOperator::In,
        _ => return None,
    })
}

impl SelectorArgs {
    /// The selector as the protocol writes it; `None` when nothing is said.
    pub fn to_message(&self) -> Result<Option<v1::Selector>, Failure> {
        let pattern = |kind| Kind::EventPattern(v1::EventPattern { kind: Some(kind) });
        let has_payload = !self.conditions.is_empty() || self.expression.is_some();
        let ways = [
            self.all.then_some(Kind::All(true)),
            self.stream.clone().map(Kind::Stream),
            self.event_type.clone().map(Kind::EventType),
            self.stream_pattern.clone().map(event_pattern::Kind::Stream).map(pattern),
            self.fields.clone().map(event_pattern::Kind::Fields).map(pattern),
            has_payload.then(|| {
                Kind::EventPayload(v1::EventPayload {
                    conditions: self.conditions.iter().map(|one| one.0.clone()).collect(),
                    expression: self.expression.clone().unwrap_or_default(),
                })
            }),
            (!self.tags.is_empty())
                .then(|| Kind::Tags(v1::Tags { tags: self.tags.clone(), all: self.all_tags })),
        ];
        let mut chosen = ways.into_iter().flatten();
        let kind = chosen.next();
        if chosen.next().is_some() {
            return Err(Failure::usage(
                "choose events in one way: by --all, --stream, --event-type, --stream-pattern, \
                 --fields, --where and --expression, or --tag",
            ));
        }
        Ok(kind.map(|kind| v1::Selector { kind: Some(kind) }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        selector: SelectorArgs,
    }

    fn chosen(line: &[&str]) -> Result<Option<Kind>, Failure> {
        let line = Line::try_parse_from(["selector"].iter().chain(line)).unwrap();
        Ok(line.selector.to_message()?.and_then(|selector| selector.kind))
    }

    #[test]
    fn events_are_chosen_in_one_way() {
        assert_eq!(chosen(&[]).unwrap(), None);
        assert_eq!(chosen(&["--all"]).unwrap(), Some(Kind::All(true)));
        assert_eq!(chosen(&["--stream", "s"]).unwrap(), Some(Kind::Stream("s".to_owned())));
        let tags = v1::Tags { tags: vec!["a".to_owned(), "b".to_owned()], all: true };
        let line = ["--tag", "a", "--tag", "b", "--all-tags"];
        assert_eq!(chosen(&line).unwrap(), Some(Kind::Tags(tags)));
        assert!(chosen(&["--all", "--stream", "s"]).is_err());
        assert!(chosen(&["--tag", "a", "--where", "b eq 1"]).is_err());
    }

    #[test]
    fn a_condition_is_a_field_an_operator_and_json_or_a_text() {
        let check = |text: &str, field: &str, operator: v1::PayloadOperator, value: &str| {
            let Condition(found) = text.parse().unwrap();
            let operator = operator.into();
            let (field, value) = (field.to_owned(), value.to_owned());
            assert_eq!(found, v1::PayloadCondition { field, operator, value }, "{text}");
        };
        check("total gt 100", "total", v1::PayloadOperator::Gt, "100");
        check("a.b == \"x y\"", "a.b", v1::PayloadOperator::Eq, "\"x y\"");
        check("country ne Côte d'Ivoire", "country", v1::PayloadOperator::Ne, "\"Côte d'Ivoire\"");
        check("state in [\"a\", 1]", "state", v1::PayloadOperator::In, "[\"a\", 1]");
        for text in ["", "total", "total gt", "total like 5"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
