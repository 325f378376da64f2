//! The configuration described for people and programs: the reference and the JSON Schema, both made from
//! the types.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Config;
use super::environment::variable_of;
use super::layers::{at, default_tree, leaves};

impl Config {
    /// The JSON Schema of the configuration file, draft 2020-12.
    pub fn json_schema() -> String {
        let mut schema = schema_tree();
        allow_empty_sections(&mut schema);
        serde_json::to_string_pretty(&schema).expect("a schema is plain data")
    }

    /// The reference of all settings, as Markdown.
    pub fn reference() -> String {
        let (schema, defaults) = (schema_tree(), default_tree());
        let mut text = String::from(PREAMBLE);
        let mut section = "";
        // The order of a tree depends on how its library was built; a generated file must not.
        let mut paths = leaves(&defaults);
        paths.sort_unstable();
        for path in &paths {
            let name = path.split('.').next().unwrap_or_default();
            if name != section {
                section = name;
                let about = property(&schema, name).map(description).unwrap_or_default();
                let _ = write!(
                    text,
                    "\n## {name}\n\n{about}\n\n\
                     | setting | variable | default | limits | meaning |\n|---|---|---|---|---|\n"
                );
            }
            let leaf = property(&schema, path).unwrap_or(&Value::Null);
            let default = at(&defaults, path).map(shown).unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{path}` | `{}` | {default} | {} | {} |",
                variable_of(path),
                limits(leaf),
                description(leaf).replace('|', "\\|")
            );
        }
        text
    }
}

const PREAMBLE: &str = "# Configuration of the store node\n\n\
    Made from the types in `src/config/mod.rs`; do not edit. Defaults are overridden by the YAML file that\n\
    `--config` names, that by the variables, and those by flags: `--set raft.heartbeat_ms=100`, or the short\n\
    ones that `reckon-node run --help` lists. Unknown keys and variables are errors; an absent, null or empty\n\
    section means its defaults. `--dump-config` prints what is in effect, `--print-config-schema` a JSON Schema.\n";

/// The schema with every section in its place, without references.
pub(super) fn schema_tree() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// The part of the schema that describes the section or leaf at `path`.
pub(super) fn property<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(schema, |part, name| part.get("properties")?.get(name))
}

/// A section that is null means its defaults, which the plain types do not say.
fn allow_empty_sections(schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for part in properties.values_mut() {
        if part.get("properties").is_some() {
            allow_empty_sections(part);
            part["type"] = json!(["object", "null"]);
        }
    }
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn limits(schema: &Value) -> String {
    let limit = |key| schema.get(key).and_then(Value::as_u64);
    let range = |min: Option<u64>, max: Option<u64>, unit: &str| match (min, max) {
        (None, None) => None,
        (min, Some(max)) => Some(format!("{}–{max}{unit}", min.unwrap_or(0))),
        (Some(1), None) => Some("not empty".to_owned()),
        (Some(min), None) => Some(format!("at least {min}{unit}")),
    };
    if schema.get("type").and_then(Value::as_str) == Some("integer") {
        return range(limit("minimum"), limit("maximum"), "").unwrap_or_default();
    }
    range(limit("minLength"), limit("maxLength"), " characters").unwrap_or_default()
}
