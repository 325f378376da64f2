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
