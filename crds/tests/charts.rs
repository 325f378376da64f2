//! The charts keep step with the workspace, and carry what its types understand.

use std::path::{Path, PathBuf};

use reckon_crds::{EventStore, Subscription};
use serde_json::Value;

fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts")
}

fn read(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_charts_have_the_version_of_the_workspace() {
    for chart in ["reckon", "reckon-crds"] {
        let description = read(&charts().join(chart).join("Chart.yaml"));
        assert_eq!(description["name"], chart);
        assert_eq!(description["version"], env!("CARGO_PKG_VERSION"), "version of {chart}");
        assert_eq!(description["appVersion"], env!("CARGO_PKG_VERSION"), "appVersion of {chart}");
    }
}

#[test]
fn images_follow_the_version_of_the_chart() {
    let values = read(&charts().join("reckon/values.yaml"));
    for (image, repository) in [("image", "reckon.dev/operator"), ("nodeImage", "reckon.dev/node")]
    {
        assert_eq!(values[image]["repository"], repository);
        assert_eq!(values[image]["tag"], "", "an empty tag stands for the chart's appVersion");
    }
}

#[test]
fn every_value_is_in_the_schema() {
    let values = read(&charts().join("reckon/values.yaml"));
    let schema = read(&charts().join("reckon/values.schema.json"));
    assert_eq!(schema["additionalProperties"], false, "a misspelt value is an error");
    for name in values.as_object().unwrap().keys() {
        assert!(schema["properties"].get(name).is_some(), "`{name}` is not in the schema");
    }
}

/// Checks that this is one of our resources, and that its rules allow it; what kind it is.
fn check(origin: &str, resource: Value) -> String {
    let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
    let verdict = match kind.as_str() {
        "EventStore" => {
            serde_json::from_value(resource).map(|store: EventStore| store.validate_cel())
        }
        "Subscription" => serde_json::from_value(resource)
            .map(|subscription: Subscription| subscription.validate_cel()),
        other => panic!("{origin}: {other} is not ours"),
    };
    let verdict = verdict.unwrap_or_else(|error| panic!("{origin}: {error}"));
    assert!(verdict.is_ok(), "{origin}: {verdict:?}");
    kind
}

#[test]
fn every_example_is_something_that_the_rules_allow() {
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(charts().join("reckon/examples")).unwrap() {
        let path = entry.unwrap().path();
        kinds.push(check(&path.display().to_string(), read(&path)));
    }
    let count = |kind: &str| kinds.iter().filter(|other| *other == kind).count();
    assert!(count("EventStore") >= 2, "one for a single node, one for a replicated store");
    assert!(count("Subscription") >= 2, "one with a sink, one for consumers that connect");
}

#[test]
fn what_the_readme_shows_is_something_that_the_rules_allow() {
    let readme = std::fs::read_to_string(charts().join("../README.md")).unwrap();
    let mut kinds = Vec::new();
    for block in readme.split("```yaml\n").skip(1) {
        let (manifest, _) = block.split_once("```").expect("a block has an end");
        kinds.push(check("README.md", serde_saphyr::from_str(manifest).unwrap()));
    }
    assert_eq!(kinds, ["Subscription"]);
    for word in readme.split_whitespace().filter(|word| word.starts_with("charts/")) {
        assert!(charts().join("..").join(word).exists(), "the README names {word}");
    }
}

#[test]
fn the_operator_is_given_no_right_to_everything() {
    let templates = charts().join("reckon/templates");
    for entry in std::fs::read_dir(&templates).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let line = line.trim();
            let grants =
                ["verbs:", "resources:", "apiGroups:"].iter().any(|key| line.contains(key));
            assert!(!(grants && line.contains('*')), "{}: {line}", path.display());
        }
    }
}

/// The names of metrics in a text, without what is added to those of histograms.
fn metrics_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("reckon_"));
    let suffixes = ["_bucket", "_count", "_sum"];
    let plain = |name: &str| {
        let stripped = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        stripped.unwrap_or(name).to_owned()
    };
    names.map(plain).collect()
}

#[test]
fn alerts_and_the_dashboard_ask_for_metrics_that_are_there() {
    let of_nodes = std::fs::read_to_string(charts().join("../node/METRICS.md")).unwrap();
    let of_operator = charts().join("../operator/src/metrics.rs");
    let of_operator = std::fs::read_to_string(of_operator).unwrap();
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(charts().join("reckon/files").join(file)).unwrap();
        let names = metrics_in(&text);
        assert!(names.len() > 10, "{file} asks for something");
        for name in names {
            let known = match name.strip_prefix("reckon_operator_") {
                Some(name) => of_operator.contains(&format!("\"{name}\"")),
                None => of_nodes.contains(&format!("| `{name}` |")),
            };
            assert!(known, "{file} asks for {name}");
        }
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let alerts = read(&charts().join("reckon/files/alerts.yaml"));
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let page = std::fs::read_to_string(charts().join("README.md")).unwrap();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        for annotation in ["summary", "runbook"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{name} has no {annotation}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        assert!(page.contains(&format!("| `{name}` |")), "charts/README.md says nothing of {name}");
    }
}

#[test]
fn every_state_of_a_store_is_explained() {
    let verdicts = charts().join("../operator/src/plan/verdict.rs");
    let verdicts = std::fs::read_to_string(verdicts).unwrap();
    let page = std::fs::read_to_string(charts().join("README.md")).unwrap();
    let reasons = verdicts.lines().filter_map(|line| {
        let (_, reason) = line.trim().strip_prefix("pub const ")?.split_once(": &str = \"")?;
        reason.strip_suffix("\";")
    });
    let reasons: Vec<&str> = reasons.collect();
    assert!(reasons.len() > 15, "{reasons:?}");
    for reason in reasons {
        assert!(page.contains(&format!("\n| `{reason}` |")), "charts/README.md lacks {reason}");
    }
}
