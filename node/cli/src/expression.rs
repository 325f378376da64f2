//! `reckon check-expression`: whether an expression can be used, before it is.

use reckon_api::{Client, v1};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// Check a CEL expression over an event, without evaluating it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  reckon check-expression 'event.data.total > 100 && event.event_type == \"OrderPlaced\"'
  reckon check-expression 'event.data.total' --output json | jq .filter")]
pub struct CheckExpression {
    /// The expression.
    expression: String,
}

#[derive(Debug, Serialize)]
struct Checked<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    filter: bool,
    variables: &'a [String],
}

impl CheckExpression {
    pub async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let request = v1::CheckExpressionRequest { expression: self.expression };
        print(&client.check_expression(request).await?, output)
    }
}

fn print(answer: &v1::CheckExpressionResponse, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let v1::CheckExpressionResponse { r#type: kind, filter, variables } = answer;
        return output.json(&Checked { kind, filter: *filter, variables });
    }
    let use_as = if answer.filter { "can be a filter" } else { "cannot be a filter" };
    let refers = match answer.variables.as_slice() {
        [] => "refers to nothing".to_owned(),
        names => format!("refers to {}", names.join(", ")),
    };
    output.line(&format!("gives {}, {use_as}, {refers}", answer.r#type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    #[test]
    fn a_person_reads_one_sentence() {
        let answer = v1::CheckExpressionResponse {
            r#type: "bool".to_owned(),
            filter: true,
            variables: vec!["event.data".to_owned()],
        };
        let (mut output, written) = Output::to_memory(Format::Text);
        print(&answer, &mut output).unwrap();
        assert_eq!(written.text(), "gives bool, can be a filter, refers to event.data\n");
    }
}
