//! The demo's directory: one place for every file, so that the tour's commands are short.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::daemon::lock::make_private;

/// The host whose API the demo protects.
pub const HOST: &str = "localhost";

/// The addresses of the demo's gateway.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub partners: SocketAddr,
    pub admin: SocketAddr,
    pub ops: SocketAddr,
}

impl Listen {
    /// The addresses: the given ones, or this machine alone, so that a demo which is shown to others exposes the
    /// partners' port only. By default any port is used when the usual one is taken or when the partners' port may be
    /// any; the tour shows it.
    pub fn settle(
        partners: SocketAddr,
        admin: Option<SocketAddr>,
        ops: Option<SocketAddr>,
        any_ports: bool,
    ) -> Self {
        let own = |port: u16| {
            let usual = SocketAddr::from(([127, 0, 0, 1], port));
            let is_free = || TcpListener::bind(usual).is_ok();
            if any_ports || !is_free() {
                SocketAddr::from(([127, 0, 0, 1], 0))
            } else {
                usual
            }
        };
        Self {
            partners,
            admin: admin.unwrap_or_else(|| own(7443)),
            ops: ops.unwrap_or_else(|| own(7444)),
        }
    }
}

/// The demo's directory and the paths in it.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        make_private(path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(std::path::absolute(path)?))
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn config(&self) -> PathBuf {
        self.0.join("countersign.yaml")
    }

    pub fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub fn certificate(&self) -> PathBuf {
        self.0.join("partner.pem")
    }

    pub fn certificate_id(&self) -> PathBuf {
        self.0.join("partner.id")
    }

    pub fn certificate_key(&self) -> PathBuf {
        self.0.join("partner.key")
    }

    pub fn request(&self) -> PathBuf {
        self.0.join("partner.csr")
    }

    pub fn server_key(&self) -> PathBuf {
        self.0.join("server-key")
    }

    pub fn server_key_id(&self) -> PathBuf {
        self.0.join("server-key.id")
    }

    /// Files of curl's options for each caller, in place of variables, which each shell writes in its own way.
    pub fn write_curl_files(&self) -> anyhow::Result<()> {
        let read = |path: PathBuf| Self::read(&path).unwrap_or_default();
        let (key, id) = (read(self.server_key()), read(self.server_key_id()));
        let token = read(self.admin_token());
        let partner = "cacert = \"ca.pem\"\ncert = \"partner.pem\"\nkey = \"partner.key\"\n";
        Self::write(&self.0.join("partner.curl"), partner)?;
        Self::write_secret(
            &self.0.join("server-key.curl"),
            &format!("user = \"{id}:{key}\"\n"),
        )?;
        Self::write_secret(
            &self.0.join("operator.curl"),
            &format!(
                "cacert = \"ca.pem\"\nheader = \"Authorization: Bearer {token}\"\n\
                 header = \"Content-Type: application/json\"\n"
            ),
        )
    }

    pub fn admin_token(&self) -> PathBuf {
        self.0.join("admin-token")
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// Reads a file of one line; `None` when there is no such file.
    pub fn read(path: &Path) -> Option<String> {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim_end().to_owned())
    }

    /// Writes a file that every user may read.
    pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Writes a file that only its owner may read.
    pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text.as_bytes())
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Writes the configuration for a gateway at these addresses.
    ///
    /// For an API of your own the gateway protects every path; the echo answers below `/orders`.
    pub fn write_config(&self, listen: Listen, upstream: &str, prefix: &str) -> anyhow::Result<()> {
        let Listen {
            partners,
            admin,
            ops,
        } = listen;
        let text = format!(
            "# Written by `countersign demo` at each start; copy it to keep changes.
version: 1
data_directory: .
listeners:
  partners: {{ address: \"{partners}\", connections_max: 1000 }}
admin: {{ address: \"{admin}\", socket: admin.sock }}
ops: {{ address: \"{ops}\" }}
tls:
  client_auth: {{ mode: optional, reject: explain }}
tokens: {{ issuer: \"https://{HOST}:{}\" }}
access_log: {{ path: log/access.log }}
log: {{ level: warn }}
hosts:
  {HOST}:
    require: mtls_and_token
    routes:
      - match: {{ prefix: {prefix} }}
        scopes: [orders:read]
        limit: {{ per: app, rate: 100/s, burst: 200 }}
        upstream: api
upstreams:
  api: {{ endpoints: [\"{upstream}\"] }}
",
            partners.port()
        );
        fs::create_dir_all(self.0.join("log")).context("making the log's directory")?;
        Self::write(&self.config(), &text)
    }
}
