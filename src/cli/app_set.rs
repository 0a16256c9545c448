//! `countersign app set`: an App's settings, field by field.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::Args;
use serde_json::{Map, Value};

use super::client::Admin;
use super::confirm::Confirmation;
use super::exit::{Exit, Failure};
use super::files;
use super::listing;
use super::plain::plain;

/// Change the settings of an App: the fields that are named.
#[derive(Args, Debug)]
#[command(after_help = "\
Fields:
  contact              a text
  environment          live, test
  auth_methods         a list of client_secret_basic, client_secret_post, tls_client_auth,
                       self_signed_tls_client_auth, private_key_jwt
  mtls                 off, optional, token_endpoint, always
  secure_mode          required, off
  binding              thumbprint, app, dpop, none
  jwks                 a file with a JWK set
  jwks_url             the https URL of one
  callbacks            a list of https URLs
  certificates_max     a number
  keys_max             a number
  access_token_format  jwt, opaque

Examples:
  countersign app set acme mtls=token_endpoint auth_methods=client_secret_basic,private_key_jwt
  countersign app set acme jwks=acme.jwks.json
  countersign app set acme keys_max=")]
pub(super) struct AppSet {
    /// The App's name or id.
    app: String,
    /// A field and its new value; a list has commas. Without a value, the field gets its default.
    #[arg(value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Fields that are lists.
const LISTS: &[&str] = &["auth_methods", "callbacks"];

/// Fields that are JSON in a file.
const FILES: &[&str] = &["jwks"];

/// The most that the admin API reads.
const FILE_BYTES_MAX: u64 = 128 * 1024;

/// Fields that are numbers.
const NUMBERS: &[&str] = &["certificates_max", "keys_max"];

impl AppSet {
    pub(super) async fn run(&self, admin: &Admin) -> Result<Value, Failure> {
        let mut body = self.body()?;
        if self.confirmation.yes {
            body.insert("confirm".to_owned(), true.into());
        }
        match self.send(admin, &body).await {
            Err(failure) if failure.wants_confirmation() && std::io::stdin().is_terminal() => {
                self.confirmation.ask(&format!("{failure}\nChange it?"))?;
                body.insert("confirm".to_owned(), true.into());
                self.send(admin, &body).await
            }
            Err(failure) if failure.wants_confirmation() => {
                Err(failure.help("confirm the change with --yes"))
            }
            answer => answer,
        }
    }

    async fn send(&self, admin: &Admin, body: &Map<String, Value>) -> Result<Value, Failure> {
        let path = listing::path("/apps", &self.app, "");
        admin.patch(&path, body.clone().into()).await
    }

    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        for field in &self.fields {
            let (name, text) = field.split_once('=').ok_or_else(|| {
                usage(format!("{} is no field with a value", plain(field)))
                    .help("write it as FIELD=VALUE, for example mtls=always")
            })?;
            if body.insert(name.to_owned(), value(name, text)?).is_some() {
                return Err(usage(format!("{} is given twice", plain(name))));
            }
        }
        Ok(body)
    }
}

/// The value of a field as the admin API reads it, which judges the rest.
fn value(name: &str, text: &str) -> Result<Value, Failure> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    if LISTS.contains(&name) {
        let parts = text.split(',').map(str::trim);
        return Ok(parts.filter(|part| !part.is_empty()).collect());
    }
    if NUMBERS.contains(&name) {
        let number = text.parse::<u32>();
        let refused = |_| usage(format!("{name} is a number, and {} is none", plain(text)));
        return number.map(Value::from).map_err(refused);
    }
    if FILES.contains(&name) {
        return json_file(text);
    }
    Ok(text.into())
}

fn json_file(path: &str) -> Result<Value, Failure> {
    let text = files::read_text(Path::new(path), FILE_BYTES_MAX)?;
    serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} is not JSON: {error}", plain(path));
        Failure::new(Exit::Invalid, message)
    })
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(fields: &[&str]) -> Result<Value, String> {
        let set = AppSet {
            app: "acme".to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            confirmation: Confirmation { yes: false },
        };
        let body = set.body().map_err(|failure| failure.to_string())?;
        Ok(body.into())
    }

    #[test]
    fn fields_are_texts_lists_and_numbers_and_nothing_is_the_default() {
        let read = body(&[
            "mtls=always",
            "auth_methods=client_secret_basic, private_key_jwt",
            "keys_max=5",
            "contact=",
            "callbacks=https://a.test/?x=1",
        ]);
        let expected = json!({
            "mtls": "always",
            "auth_methods": ["client_secret_basic", "private_key_jwt"],
            "keys_max": 5,
            "contact": null,
            "callbacks": ["https://a.test/?x=1"],
        });
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn what_is_no_field_is_refused_before_anything_is_asked() {
        for (fields, said) in [
            (&["mtls"][..], "write it as FIELD=VALUE"),
            (&["keys_max=many"], "keys_max is a number"),
            (&["mtls=off", "mtls=always"], "mtls is given twice"),
        ] {
            let refused = body(fields).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
