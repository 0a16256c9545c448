//! The tour: commands for a second terminal, and the same steps run by the demo itself.

use std::net::SocketAddr;

use super::directory::{Directory, HOST};
use super::partner::{self, Answer, Partner};
use crate::daemon::addresses::Addresses;

/// The tour as text, for a person with `curl`.
pub fn text(directory: &Directory, addresses: &Addresses) -> String {
    let (port, admin, ops) = (
        addresses.partners.port(),
        addresses.admin.port(),
        addresses.ops,
    );
    let root = directory.root().display();
    format!(
        r#"Countersign stands in front of an API at https://{HOST}:{port}
Paste these commands into a second terminal. They use curl and the files in one directory.

  cd {root}

1. A request without a certificate is refused, with a reason:
  curl --cacert ca.pem https://{HOST}:{port}/orders

2. With the partner's certificate, whoami returns your identity:
  curl -K partner.curl https://{HOST}:{port}/.well-known/countersign/whoami

3. The server key is exchanged for a token of 60 minutes, bound to the certificate:
  curl -s -K partner.curl -K server-key.curl -d grant_type=client_credentials https://{HOST}:{port}/oauth2/token \
    | sed 's/.*"access_token":"\([^"]*\)".*/header = "Authorization: Bearer \1"/' > token.curl

4. The call, and the headers that the API received:
  curl -K partner.curl -K token.curl https://{HOST}:{port}/orders/7

5. The operator revokes the certificate, which closes its open connections:
  curl -K operator.curl -d '{{"reason":"superseded"}}' \
    https://{HOST}:{admin}/api/v1/certificates/$(cat partner.id)/revoke

6. The same call is refused, with the reason:
  curl -K partner.curl -K token.curl https://{HOST}:{port}/orders/7

7. The metrics count all of it:
  curl -s http://{ops}/metrics | grep -E '^countersign_(auth_decisions|tokens_issued|http_requests)_total.* [1-9]'

Stop with Ctrl-C. Another start signs a new certificate in the same directory.
"#
    )
}

/// The result of one step of the tour.
#[derive(Debug)]
pub struct Step {
    pub what: &'static str,
    pub seen: String,
    pub held: bool,
}

/// Runs every step, and returns the results.
pub async fn take(
    directory: &Directory,
    addresses: &Addresses,
    echo: bool,
) -> anyhow::Result<Vec<Step>> {
    let stranger = Partner::new(directory, addresses.partners, false)?;
    let partner = Partner::new(directory, addresses.partners, true)?;
    let first = refused_stranger(&stranger).await?;
    let whoami = whoami(&partner).await?;
    let (minted, token) = mint(directory, &partner).await?;
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str())];
    let called = partner.ask("GET", "/orders/7", &fields, "").await?;
    Ok(vec![
        first,
        whoami,
        minted,
        call(&called, &token, echo),
        revoke(directory, addresses.admin).await?,
        refused_partner(&partner, &fields).await?,
        counted(addresses.ops).await?,
    ])
}

async fn refused_stranger(stranger: &Partner) -> anyhow::Result<Step> {
    let refused = stranger.ask("GET", "/orders", &[], "").await?;
    let reason = refused.at("/reason");
    Ok(step(
        "refused without a certificate",
        format!("{} {reason}", refused.status),
        refused.status == 401 && reason == "cert_missing",
    ))
}

async fn whoami(partner: &Partner) -> anyhow::Result<Step> {
    let path = "/.well-known/countersign/whoami";
    let told = partner.ask("GET", path, &[], "").await?;
    let app = told.at("/app/name");
    Ok(step(
        "whoami",
        format!("{} app {app}", told.status),
        told.status == 200 && app == "acme",
    ))
}

/// Exchanges the server key for a token; returns also the token.
async fn mint(directory: &Directory, partner: &Partner) -> anyhow::Result<(Step, String)> {
    let id = Directory::read(&directory.server_key_id()).unwrap_or_default();
    let secret = Directory::read(&directory.server_key()).unwrap_or_default();
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let fields = [("Content-Type", "application/x-www-form-urlencoded")];
    let minted = partner.ask("POST", "/oauth2/token", &fields, &form).await?;
    let token = minted.at("/access_token");
    let step = step(
        "key for token",
        format!("{} {}", minted.status, minted.at("/token_type")),
        minted.status == 200 && !token.is_empty(),
    );
    Ok((step, token))
}

fn call(called: &Answer, token: &str, echo: bool) -> Step {
    let status = called.status;
    // Only the echo shows the request that it got; another upstream answers as it likes.
    if !echo {
        return step(
            "the call",
            format!("{status} from the upstream"),
            status < 500,
        );
    }
    let shown = called.body.to_ascii_lowercase();
    let verified = shown.contains("x-countersign-app-id") && !called.body.contains(token);
    step(
        "the call",
        format!("{status}, the upstream saw X-Countersign-App-Id: {verified}"),
        status == 200 && verified,
    )
}

async fn revoke(directory: &Directory, admin: SocketAddr) -> anyhow::Result<Step> {
    let operator = Partner::new(directory, admin, false)?;
    let id = Directory::read(&directory.certificate_id()).unwrap_or_default();
    let bearer = format!(
        "Bearer {}",
        Directory::read(&directory.admin_token()).unwrap_or_default()
    );
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let path = format!("/api/v1/certificates/{id}/revoke");
    let body = "{\"reason\":\"superseded\"}";
    let closed = operator.ask("POST", &path, &fields, body).await?;
    let state = closed.at("/certificate/state");
    Ok(step(
        "revoked, with a receipt",
        format!("{} {state}", closed.status),
        closed.status == 200 && state == "revoked",
    ))
}

async fn refused_partner(partner: &Partner, fields: &[(&str, &str)]) -> anyhow::Result<Step> {
    let refused = partner.ask("GET", "/orders/7", fields, "").await?;
    let reason = refused.at("/reason");
    Ok(step(
        "refused, with a reason",
        format!("{} {reason}", refused.status),
        refused.status == 403 && reason == "cert_revoked",
    ))
}

async fn counted(ops: SocketAddr) -> anyhow::Result<Step> {
    let metrics = partner::ask_plain(ops, "/metrics").await?;
    let counted = metrics
        .body
        .lines()
        .filter(|line| line.starts_with("countersign_auth_decisions_total"))
        .find(|line| line.contains("cert_revoked") && !line.ends_with(" 0"))
        .unwrap_or_default();
    Ok(step(
        "counted in the metrics",
        counted.to_owned(),
        !counted.is_empty(),
    ))
}

fn step(what: &'static str, seen: String, held: bool) -> Step {
    Step { what, seen, held }
}
