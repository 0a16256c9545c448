//! Key pairs, requests and authorities of the tests' own, so that a bug in the gateway's cannot hide behind itself.

use std::path::{Path, PathBuf};

use super::process::run;

/// A private key and a certificate signing request, made by OpenSSL.
#[derive(Debug)]
pub struct KeyAndRequest {
    pub key: PathBuf,
    pub csr: PathBuf,
}

/// Makes a key of the kind that `args` names, and a request for it.
pub fn request_with(dir: &Path, name: &str, args: &[&str]) -> KeyAndRequest {
    let key = dir.join(format!("{name}.key"));
    let csr = dir.join(format!("{name}.csr"));
    let mut all = vec![
        "req",
        "-new",
        "-nodes",
        "-subj",
        "/CN=whatever the partner likes",
    ];
    all.extend(args);
    let (key_text, csr_text) = (
        key.to_str().unwrap().to_owned(),
        csr.to_str().unwrap().to_owned(),
    );
    all.extend(["-keyout", &key_text, "-out", &csr_text]);
    run(dir, "openssl", &all).ok();
    KeyAndRequest { key, csr }
}

/// Makes a P-256 key and a request for it.
pub fn request(dir: &Path, name: &str) -> KeyAndRequest {
    request_with(
        dir,
        name,
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    )
}

/// An authority that the gateway has never heard of.
#[derive(Debug)]
pub struct Stranger {
    dir: PathBuf,
    name: String,
}

impl Stranger {
    pub fn new(dir: &Path, name: &str, subject: &str) -> Self {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let args = [
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            subject,
            "-days",
            "30",
            "-keyout",
            &key,
            "-out",
            &pem,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        run(dir, "openssl", &args).ok();
        Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        }
    }

    /// An authority whose files exist already: `NAME.pem` and `NAME.key`.
    pub fn at(dir: &Path, name: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// Signs a certificate with these extensions, in OpenSSL's words.
    pub fn sign(&self, request: &KeyAndRequest, extensions: &str) -> PathBuf {
        let stem = request.csr.file_stem().unwrap().to_str().unwrap();
        let out = self.dir.join(format!("{stem}.by-{}.pem", self.name));
        let ext = self.dir.join(format!("{stem}.ext"));
        std::fs::write(&ext, extensions).unwrap();
        let key = format!("{}.key", self.name);
        let args = [
            "x509",
            "-req",
            "-in",
            request.csr.to_str().unwrap(),
            "-CA",
            self.certificate().to_str().unwrap(),
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-days",
            "10",
            "-extfile",
            ext.to_str().unwrap(),
            "-out",
            out.to_str().unwrap(),
        ]
        .map(str::to_owned);
        run(&self.dir, "openssl", &args.each_ref().map(String::as_str)).ok();
        out
    }
}
