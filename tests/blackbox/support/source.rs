//! A server of documents over TLS, as an issuer of tokens has one for its keys.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::pki::{self, Stranger};

/// The document at a path.
#[derive(Clone, Debug)]
pub struct Document {
    pub status: &'static str,
    pub head: String,
    pub body: Vec<u8>,
    pub after: Duration,
}

#[derive(Debug, Default)]
struct Shelf {
    documents: HashMap<String, Document>,
    asked: HashMap<String, u64>,
}

/// The server, and the authority that has signed its certificate.
#[derive(Debug)]
pub struct Source {
    pub trusted: PathBuf,
    port: u16,
    shelf: Arc<Mutex<Shelf>>,
}

impl Source {
    pub fn start(dir: &Path) -> Self {
        let authority = Stranger::new(dir, "source-ca", "/CN=the source's authority");
        let request = pki::request(dir, "source");
        let names = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE";
        let chain = authority.sign(&request, names);
        let tls = Arc::new(config(&chain, &request.key));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shelf = Arc::<Mutex<Shelf>>::default();
        let of_thread = Arc::clone(&shelf);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, shelf) = (Arc::clone(&tls), Arc::clone(&of_thread));
                thread::spawn(move || serve(stream, tls, &shelf));
            }
        });
        Self {
            trusted: authority.certificate(),
            port,
            shelf,
        }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn put(&self, path: &str, body: &str) {
        self.put_document(path, "200 OK", "", body.as_bytes(), Duration::ZERO);
    }

    pub fn put_document(
        &self,
        path: &str,
        status: &'static str,
        head: &str,
        body: &[u8],
        after: Duration,
    ) {
        let document = Document {
            status,
            head: head.to_owned(),
            body: body.to_vec(),
            after,
        };
        let mut kept = self.shelf.lock().unwrap();
        kept.documents.insert(path.to_owned(), document);
    }

    pub fn remove(&self, path: &str) {
        self.shelf.lock().unwrap().documents.remove(path);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> u64 {
        let held = self.shelf.lock().unwrap();
        held.asked.get(path).copied().unwrap_or_default()
    }
}

fn config(chain: &Path, key: &Path) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(chain).unwrap();
    let chain: Vec<_> = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a source may be slow")]
fn serve(stream: TcpStream, tls: Arc<rustls::ServerConfig>, shelf: &Mutex<Shelf>) {
    let connection = rustls::ServerConnection::new(tls).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let found = {
        let mut shelf = shelf.lock().unwrap();
        *shelf.asked.entry(path.clone()).or_default() += 1;
        shelf.documents.get(&path).cloned()
    };
    let Some(document) = found else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    thread::sleep(document.after);
    let Document {
        status, head, body, ..
    } = document;
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{head}\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
