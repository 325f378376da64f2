//! Who may speak to the API server: one key that signs service accounts' tokens, and a static token for each
//! component. The server makes its own certificate, which every kubeconfig trusts.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;

use super::{control_plane::API_URL, network::NodeNetwork};

/// What stands before a P-256 point in a `SubjectPublicKeyInfo` (RFC 5480): the algorithm, the curve, the bit string.
const P256_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The folder of credentials of one cluster.
#[derive(Clone, Debug)]
pub struct Credentials {
    folder: PathBuf,
}

impl Credentials {
    /// Those in the folder of a cluster.
    #[must_use]
    pub fn of(cluster: &Path) -> Self {
        Self { folder: cluster.join("credentials") }
    }

    /// Makes all of them, for the control plane and each node.
    pub fn make(&self, nodes: &[NodeNetwork]) -> Result<()> {
        use std::fmt::Write;
        fs::create_dir_all(&self.folder)?;
        self.make_signing_key()?;
        let mut users = vec![
            ("admin".to_owned(), "admin".to_owned(), "system:masters"),
            ("controller-manager".to_owned(), "system:kube-controller-manager".to_owned(), ""),
            ("scheduler".to_owned(), "system:kube-scheduler".to_owned(), ""),
            ("proxy".to_owned(), "system:kube-proxy".to_owned(), ""),
            ("dns".to_owned(), "system:coredns".to_owned(), ""),
        ];
        for node in nodes {
            users.push((node.name.clone(), format!("system:node:{}", node.name), "system:nodes"));
        }
        let mut tokens = String::new();
        for (file, user, group) in users {
            let token = token()?;
            writeln!(tokens, "{token},{user},{user},\"{group}\"")?;
            write_private(&self.kubeconfig(&file), &self.kubeconfig_text(&token)?)?;
        }
        write_private(&self.tokens(), &tokens)
    }

    /// The kubeconfig of `admin`, a component, or a node by its name.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.kubeconfig"))
    }

    /// The list of users for the API server.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// Signs service accounts' tokens.
    #[must_use]
    pub fn signing_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    /// Checks service accounts' tokens.
    #[must_use]
    pub fn verifying_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    /// Where the API server puts the certificate that it makes for itself.
    #[must_use]
    pub fn server_folder(&self) -> PathBuf {
        self.folder.join("server")
    }

    /// That certificate, with the one that signed it.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.server_folder().join("apiserver.crt")
    }

    fn make_signing_key(&self) -> Result<()> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .map_err(|_| anyhow!("no key could be made"))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random)
            .map_err(|error| anyhow!("the new key is refused: {error}"))?;
        write_private(&self.signing_key(), &pem("PRIVATE KEY", private.as_ref()))?;
        let public = [&P256_KEY_INFO[..], pair.public_key().as_ref()].concat();
        write_private(&self.verifying_key(), &pem("PUBLIC KEY", &public))
    }

    fn kubeconfig_text(&self, token: &str) -> Result<String> {
        // JSON is YAML.
        Ok(serde_json::to_string_pretty(&json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "reckon-e2e", "cluster": {
                "server": API_URL,
                "certificate-authority": self.server_certificate(),
            }}],
            "users": [{ "name": "reckon-e2e", "user": { "token": token } }],
            "contexts": [{ "name": "reckon-e2e", "context": {
                "cluster": "reckon-e2e",
                "user": "reckon-e2e",
            }}],
            "current-context": "reckon-e2e",
        }))?)
    }
}

fn token() -> Result<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("no randomness"))?;
    // Standard base64 of 24 bytes has no padding; `+` and `/` are fine in a bearer token.
    Ok(STANDARD.encode(bytes))
}

/// RFC 7468: lines of 64 characters.
fn pem(label: &str, content: &[u8]) -> String {
    let text = STANDARD.encode(content);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_bytes())?)
}
