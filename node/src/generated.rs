//! Keeps the generated references beside the code equal to what the code says.

use std::path::Path;

/// Fails when the file, named from the crate's folder, is not this text; with `UPDATE=1` in the environment it
/// writes the file instead.
#[track_caller]
pub(crate) fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{file} is stale: run this test again with UPDATE=1");
}
