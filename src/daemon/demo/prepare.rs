//! The preparations of a partner and an operator for the first call, through the product's own admin API.

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};

use super::directory::Directory;
use crate::api::client::AdminClient;
use crate::crypto::request;

/// The App that the demo's partner belongs to.
const APP: &str = "acme";

/// Creates each object that is missing or no longer valid: an App, a certificate, a key, an admin token.
pub async fn prepare(
    directory: &Directory,
    admin: &AdminClient,
    ca_pem: &str,
) -> anyhow::Result<()> {
    Directory::write(&directory.ca(), ca_pem)?;
    app(admin).await?;
    if !is_active(admin, "certificates", &directory.certificate_id()).await {
        certificate(directory, admin).await?;
    }
    if !is_active(admin, "keys", &directory.server_key_id()).await {
        key(directory, admin).await?;
    }
    if Directory::read(&directory.admin_token()).is_none() {
        let made = post(
            admin,
            "/api/v1/admin-tokens",
            &json!({ "name": "demo", "role": "admin" }),
        )
        .await?;
        Directory::write_secret(&directory.admin_token(), text(&made, "/secret")?)?;
    }
    directory.write_curl_files()
}

async fn app(admin: &AdminClient) -> anyhow::Result<()> {
    if admin
        .call(Method::GET, &format!("/api/v1/apps/{APP}"), None)
        .await
        .is_err()
    {
        post(admin, "/api/v1/apps", &json!({ "name": APP })).await?;
    }
    Ok(())
}

/// True if the object that this file names exists and is active.
async fn is_active(admin: &AdminClient, kind: &str, id: &std::path::Path) -> bool {
    let Some(id) = Directory::read(id) else {
        return false;
    };
    let found = admin
        .call(Method::GET, &format!("/api/v1/{kind}/{id}"), None)
        .await;
    found.is_ok_and(|found| {
        let state = found
            .get("state")
            .or_else(|| found.pointer("/certificate/state"));
        state.is_some_and(|state| state == "active")
    })
}

/// Generates a key pair and a CSR as the partner does, and has the CSR signed as the operator does.
async fn certificate(directory: &Directory, admin: &AdminClient) -> anyhow::Result<()> {
    let made = request::generate("acme's server")?;
    Directory::write_secret(&directory.certificate_key(), made.key_pem.expose())?;
    Directory::write(&directory.request(), &made.csr_pem)?;
    let asked = json!({ "app": APP, "name": "prod", "csr": made.csr_pem });
    let signed = post(admin, "/api/v1/certificates", &asked).await?;
    Directory::write(&directory.certificate(), text(&signed, "/pem")?)?;
    Directory::write(
        &directory.certificate_id(),
        text(&signed, "/certificate/id")?,
    )
}

async fn key(directory: &Directory, admin: &AdminClient) -> anyhow::Result<()> {
    let made = post(
        admin,
        "/api/v1/keys",
        &json!({ "app": APP, "scopes": ["orders:read"] }),
    )
    .await?;
    Directory::write_secret(&directory.server_key(), text(&made, "/secret")?)?;
    Directory::write(&directory.server_key_id(), text(&made, "/key/id")?)
}

async fn post(admin: &AdminClient, path: &str, body: &Value) -> anyhow::Result<Value> {
    admin
        .call(Method::POST, path, Some(body.clone()))
        .await
        .with_context(|| format!("POST {path}"))
}

fn text<'v>(value: &'v Value, at: &str) -> anyhow::Result<&'v str> {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .with_context(|| format!("the answer has no {at}"))
}
