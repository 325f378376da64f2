//! Images as OCI archives, written without a container engine: one layer with a few files, as `FROM scratch` gives.
//! Knows no Kubernetes.
//!
//! Source of the format: the OCI image specification, layout and manifest, version 1.1.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What goes into an image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Repository and tag, as a pod names it.
    pub reference: String,
    /// Files of the machine, and where the image has them (no leading slash). All are made executable.
    pub files: Vec<(PathBuf, String)>,
    /// What a container runs unless told otherwise.
    pub entrypoint: Vec<String>,
    /// User and group, by number: there is no `/etc/passwd`.
    pub user: String,
}

impl Image {
    /// Writes the archive to `path` and returns the size of its layer in bytes. The same input gives the same bytes.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "User": self.user, "Env": ["PATH=/"] },
            "rootfs": { "type": "layers", "diff_ids": [reference_of(&layer)] },
        });
        let config = serde_json::to_vec(&config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        });
        let manifest = serde_json::to_vec(&manifest)?;
        let mut listed = descriptor(MANIFEST, &manifest);
        listed["annotations"] = json!({
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": self.reference,
        });
        let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [listed] }))?;

        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut archive = Builder::new(BufWriter::new(file));
        append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
        append(&mut archive, "index.json", &index, 0o644)?;
        for blob in [&layer, &config, &manifest] {
            append(&mut archive, &format!("blobs/sha256/{}", sha256_hex(blob)), blob, 0o644)?;
        }
        archive.into_inner()?.flush()?;
        Ok(layer.len() as u64)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (source, target) in &self.files {
            let content = std::fs::read(source)
                .with_context(|| format!("cannot read {}", source.display()))?;
            append(&mut layer, target, &content, 0o755)?;
        }
        Ok(layer.into_inner()?)
    }
}

/// Owner, group and time are always zero, so that equal contents are equal images.
fn append(archive: &mut Builder<impl Write>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)?;
    Ok(())
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": reference_of(content), "size": content.len() })
}

fn reference_of(content: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(content))
}

/// The SHA-256 of `content` in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(content: &[u8]) -> String {
    use std::fmt::Write;
    digest(&SHA256, content).as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all writes");
        text
    })
}

/// This machine's architecture, in the words of OCI.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, io::Read};

    use super::*;

    #[test]
    fn every_reference_in_an_archive_leads_to_a_blob_of_that_digest_and_size() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, "content").unwrap();
        let image = Image {
            reference: "reckon.dev/test:1".into(),
            files: vec![(program, "program".into())],
            entrypoint: vec!["/program".into()],
            user: "65532:65532".into(),
        };
        let path = folder.path().join("image.tar");
        image.write(&path).unwrap();

        let mut entries = HashMap::new();
        for entry in tar::Archive::new(File::open(&path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            entries.insert(entry.path().unwrap().to_str().unwrap().to_owned(), content);
        }
        let follow = |reference: &serde_json::Value| {
            let digest = reference["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let blob = &entries[&format!("blobs/sha256/{digest}")];
            assert_eq!(sha256_hex(blob), digest);
            assert_eq!(reference["size"], blob.len());
            blob.clone()
        };
        let index: serde_json::Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        let manifest: serde_json::Value =
            serde_json::from_slice(&follow(&index["manifests"][0])).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = follow(&manifest["layers"][0]);
        let mut layer = tar::Archive::new(layer.as_slice());
        let entry = layer.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().mode().unwrap() & 0o777, 0o755);
    }
}
