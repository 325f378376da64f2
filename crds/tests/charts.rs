//! The charts keep step with the workspace, and carry what its types understand.

use std::path::{Path, PathBuf};

use reckon_crds::EventStore;
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

#[test]
fn every_example_is_a_store_that_the_rules_allow() {
    let mut examples = 0;
    for entry in std::fs::read_dir(charts().join("reckon/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let store: EventStore = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let verdict = store.validate_cel();
        assert!(verdict.is_ok(), "{}: {verdict:?}", path.display());
        examples += 1;
    }
    assert!(examples >= 2, "one for a single node, one for a replicated store");
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
