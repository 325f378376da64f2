//! How the sources of configuration are laid over each other.
//!
//! Everything is merged as a tree of JSON values whose shape is that of the defaults, so that a mistake is
//! found where it was made and named by its path and its source. All mistakes are reported at once.

use std::fmt::{self, Write as _};
use std::io;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::environment::{PREFIX, is_foreign, variable_of};
use super::{Config, checks};

/// How unlike a name may be, in single edits, and still be suggested: a third of its length, at least this.
const SUGGESTION_EDITS_MIN: usize = 2;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or not for us to read.
    #[error("the configuration file {file} cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no YAML.
    #[error("the configuration file {file} is not valid YAML: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong, and where.
        message: String,
    },
    /// A `--set` without an equals sign.
    #[error("--set {text}: expected PATH=VALUE")]
    MalformedSet {
        /// What followed the flag.
        text: String,
    },
    /// Keys or values that cannot be used, all of them.
    #[error("the configuration cannot be used:{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The values cannot be written as YAML.
    #[error("the configuration cannot be written as YAML: {0}")]
    Dump(String),
}

impl ConfigError {
    /// Whether the same sources may give a configuration later: never.
    pub const fn retryable(&self) -> bool {
        false
    }
}

fn list(problems: &[Problem]) -> String {
    let mut lines = String::new();
    for problem in problems {
        let _ = write!(lines, "\n  - {problem}");
    }
    lines
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field, such as `raft.heartbeat_ms`, or the name that is unknown.
    pub field: String,
    /// Where it was set: a file, a variable or a flag; empty when several together are wrong.
    pub origin: String,
    /// What is wrong with it, with the value and the limit.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, origin, message } = self;
        if origin.is_empty() || origin == field {
            write!(f, "{field}: {message}")
        } else {
            write!(f, "{field} ({origin}): {message}")
        }
    }
}

/// A single value set from outside the file.
#[derive(Debug, Clone)]
pub(super) struct Override {
    /// The variable or flag.
    pub origin: String,
    /// The path of the leaf.
    pub path: String,
    /// The value as text.
    pub value: String,
}

/// The sources, from the weakest to the strongest.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    /// Name and text of the file.
    pub file: Option<(String, String)>,
    /// Names and values of all variables of the process.
    pub environment: Vec<(String, String)>,
    /// What the flags set.
    pub flags: Vec<Override>,
}

impl Layers {
    /// Lays the sources over the defaults and checks what comes of it.
    pub(super) fn merge(self) -> Result<Config, ConfigError> {
        let mut merge = Merge::new();
        if let Some((file, text)) = self.file {
            match serde_saphyr::from_str::<Option<Value>>(&text) {
                Ok(Some(value)) => merge.lay(value, "", &format!("in {file}")),
                Ok(None) => {}
                Err(error) => {
                    return Err(ConfigError::Syntax { file, message: error.to_string() });
                }
            }
        }
        merge.lay_environment(self.environment);
        for flag in &self.flags {
            merge.set(flag);
        }
        if !merge.problems.is_empty() {
            return Err(ConfigError::Invalid(merge.problems));
        }
        let config = Config::deserialize(&merge.tree)
            .expect("every leaf was read on its own before it was laid");
        let problems = checks::check(&config, &merge.tree, &merge.origins);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
    }
}

struct Merge {
    defaults: Value,
    tree: Value,
    /// The paths of all leaves.
    leaves: Vec<String>,
    origins: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl Merge {
    fn new() -> Self {
        let defaults = default_tree();
        let leaves = leaves(&defaults);
        let (origins, problems) = (Vec::new(), Vec::new());
        Self { tree: defaults.clone(), defaults, leaves, origins, problems }
    }

    /// Lays a tree of the file at `path` over what is there. An empty section leaves everything as it is.
    fn lay(&mut self, value: Value, path: &str, origin: &str) {
        let Some(known) = at(&self.defaults, path) else { return };
        let Value::Object(known) = known else {
            if !value.is_null() {
                self.set_value(path, value, origin);
            }
            return;
        };
        let names: Vec<String> = known.keys().cloned().collect();
        let section = match value {
            Value::Null => return,
            Value::Object(section) => section,
            other => {
                let place = if path.is_empty() { "the file" } else { path };
                let message =
                    format!("expected a section with the keys {}, found {other}", names.join(", "));
                return self.problem(place, origin, message);
            }
        };
        for (name, value) in section {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if names.contains(&name) {
                self.lay(value, &inner, origin);
            } else {
                let candidates = names.iter().map(String::as_str);
                let elsewhere =
                    || self.leaves.iter().find(|leaf| leaf.rsplit('.').next() == Some(&name));
                let hint = match nearest(&name, candidates) {
                    Some(near) => did_you_mean(near),
                    None => elsewhere().map(|leaf| did_you_mean(leaf)).unwrap_or_default(),
                };
                self.problem(&inner, origin, format!("unknown key{hint}"));
            }
        }
    }

    fn lay_environment(&mut self, mut environment: Vec<(String, String)>) {
        environment.sort();
        let variables: Vec<(String, String)> =
            self.leaves.iter().map(|path| (variable_of(path), path.clone())).collect();
        for (name, value) in environment {
            if !name.starts_with(PREFIX) {
                continue;
            }
            if let Some((_, path)) = variables.iter().find(|(variable, _)| *variable == name) {
                self.set(&Override { origin: name, path: path.clone(), value });
            } else if !is_foreign(&name, &value) {
                let known = variables.iter().map(|(variable, _)| variable.as_str());
                let hint = nearest(&name, known).map(did_you_mean).unwrap_or_default();
                self.problem(&name, &name, format!("unknown variable{hint}"));
            }
        }
    }

    /// Sets one leaf from text.
    fn set(&mut self, Override { origin, path, value }: &Override) {
        match at(&self.defaults, path) {
            Some(Value::Object(_)) => {
                self.problem(path, origin, "is a section; set one of the values in it".to_owned());
            }
            Some(default) => {
                let value = from_text(value, default);
                self.set_value(path, value, origin);
            }
            None => {
                let hint = nearest(path, self.leaves.iter().map(String::as_str))
                    .map(did_you_mean)
                    .unwrap_or_default();
                self.problem(path, origin, format!("unknown key{hint}"));
            }
        }
    }

    /// Puts a leaf in its place if the field can hold it.
    fn set_value(&mut self, path: &str, value: Value, origin: &str) {
        let mut alone = self.defaults.clone();
        *at_mut(&mut alone, path).expect("the path was found in the defaults") = value.clone();
        if let Err(error) = Config::deserialize(&alone) {
            return self.problem(path, origin, format!("{value} cannot be used: {error}"));
        }
        *at_mut(&mut self.tree, path).expect("the tree has the shape of the defaults") = value;
        self.origins.retain(|(known, _)| known != path);
        self.origins.push((path.to_owned(), origin.to_owned()));
    }

    fn problem(&mut self, field: &str, origin: &str, message: String) {
        self.problems.push(Problem { field: field.to_owned(), origin: origin.to_owned(), message });
    }
}

/// The defaults as a tree; its shape is the shape of every configuration.
pub(super) fn default_tree() -> Value {
    serde_json::to_value(Config::default()).expect("a configuration is plain data")
}

/// The paths of all leaves of a tree, in its order.
pub(super) fn leaves(tree: &Value) -> Vec<String> {
    fn walk(section: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
        for (name, value) in section {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                Value::Object(section) => walk(section, &path, found),
                _ => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk(tree.as_object().expect("the tree is a section"), "", &mut found);
    found
}

/// What stands at a path; the empty path is the whole tree.
pub(super) fn at<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(tree);
    }
    path.split('.').try_fold(tree, |value, name| value.as_object()?.get(name))
}

fn at_mut<'a>(tree: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(tree, |value, name| value.as_object_mut()?.get_mut(name))
}

/// Reads text as the kind of value that the default is. Text that is no number stays text, which the field
/// then refuses in its own words.
fn from_text(text: &str, default: &Value) -> Value {
    let as_text = || Value::String(text.to_owned());
    match default {
        Value::String(_) => as_text(),
        Value::Null => {
            if text.is_empty() {
                Value::Null
            } else {
                as_text()
            }
        }
        Value::Array(_) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).unwrap_or_else(|_| as_text())
        }
        Value::Array(_) => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| Value::String(part.to_owned()))
            .collect(),
        _ => serde_json::from_str(text.trim()).unwrap_or_else(|_| as_text()),
    }
}

/// The known name that is most like this one, if it is like it at all.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= SUGGESTION_EDITS_MIN.max(name.chars().count() / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

fn did_you_mean(name: &str) -> String {
    format!("; did you mean `{name}`?")
}
