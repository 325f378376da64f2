//! Compiles the protobuf files of `reckon.v1` with `protox`, so that no `protoc` is needed.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("../proto");
    let files = [
        "event",
        "filter",
        "subscription",
        "streams",
        "subscriptions",
        "cluster",
        "health",
        "peer",
    ]
    .map(|name| root.join(format!("reckon/v1/{name}.proto")));
    println!("cargo::rerun-if-changed={}", root.display());

    let descriptors = protox::compile(files, [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("reckon_descriptor.bin"), descriptors.encode_to_vec())?;
    // Maps in the order of their keys: the same message is always the same bytes.
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
