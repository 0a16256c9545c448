//! Apps in their table.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, ToSql};

use super::super::error::Error;
use super::filter::Conditions;
use super::table::{Record, Table, updated};
use crate::domain::api_key::Environment;
use crate::domain::app::{App, AppState};
use crate::domain::app_settings::{
    AccessTokenFormat, AppSettings, Binding, ClientKeys, Mtls, SecureMode,
};
use crate::domain::boost::Boost;
use crate::domain::factor::Factor;
use crate::domain::id::AppId;
use crate::domain::listing::Page;
use crate::domain::name::Name;
use crate::domain::registry::change::Allowed;
use crate::domain::shelf::Shelf;
use crate::domain::time::Timestamp;
use crate::domain::token::{ClientAuthMethod, ClientAuthMethods};

static APPS: Table = Table {
    name: "apps",
    columns: &[
        "id",
        "name",
        "state",
        "contact",
        "created_at",
        "environment",
        "auth_methods",
        "mtls",
        "secure_mode",
        "binding",
        "jwks",
        "jwks_url",
        "callbacks",
        "certificates_max",
        "keys_max",
        "access_token_format",
        "boosts",
    ],
    show: |bits| AppId::from_bits(bits).to_string(),
};

fn read(record: &Record<'_>) -> Result<App, Error> {
    Ok(App {
        id: AppId::from_bits(record.bits("id")?),
        name: record.parsed("name")?,
        state: record.word("state", &AppState::ALL, AppState::as_str)?,
        contact: record.value("contact")?,
        settings: settings(record)?,
        boosts: boosts(record)?,
        created_at: record.time("created_at")?,
    })
}

fn settings(record: &Record<'_>) -> Result<AppSettings, Error> {
    Ok(AppSettings {
        environment: record.word("environment", &Environment::ALL, Environment::as_str)?,
        auth_methods: methods(record)?,
        mtls: record.word("mtls", Mtls::ALL, Mtls::as_str)?,
        secure_mode: record.word("secure_mode", SecureMode::ALL, SecureMode::as_str)?,
        binding: record.word("binding", Binding::ALL, Binding::as_str)?,
        keys: client_keys(record)?,
        callbacks: words(record.text("callbacks")?).map(Arc::from).collect(),
        certificates_max: record.value("certificates_max")?,
        keys_max: record.value("keys_max")?,
        access_token_format: record.word(
            "access_token_format",
            AccessTokenFormat::ALL,
            AccessTokenFormat::as_str,
        )?,
    })
}

/// The boosts of an App, in one text: id, key, limit, hundredths of the factor, end and beginning; `-` for what a boost
/// does not have.
fn boosts(record: &Record<'_>) -> Result<Arc<[Boost]>, Error> {
    let written = record.text("boosts")?.split(';');
    let written = written.filter(|boost| !boost.is_empty());
    let read = written.map(|boost| boost_of(boost).ok_or_else(|| record.corrupt("boosts")));
    read.collect()
}

fn boost_of(text: &str) -> Option<Boost> {
    let mut parts = words(text);
    let id = parts.next()?.parse().ok()?;
    let key = given(parts.next()?).ok()?;
    let limit = given(parts.next()?).ok()?;
    let hundredths = parts.next()?.parse().ok()?;
    let mut time = || Some(Timestamp::from_unix_millis(parts.next()?.parse().ok()?));
    Some(Boost {
        id,
        key,
        limit,
        factor: Factor::from_hundredths(hundredths).ok()?,
        until: time()?,
        created_at: time()?,
    })
}

/// The value of a place that may be empty.
fn given<T: std::str::FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    match text {
        NOTHING => Ok(None),
        text => text.parse().map(Some),
    }
}

const NOTHING: &str = "-";

fn written(boosts: &[Boost]) -> String {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let one = |boost: &Boost| {
        let key = or_nothing(boost.key.map(|key| key.to_string()));
        let limit = or_nothing(boost.limit.as_ref().map(Name::to_string));
        let hundredths = boost.factor.hundredths();
        let (until, created_at) = (boost.until.unix_millis(), boost.created_at.unix_millis());
        format!(
            "{} {key} {limit} {hundredths} {until} {created_at}",
            boost.id
        )
    };
    boosts.iter().map(one).collect::<Vec<_>>().join(";")
}

fn methods(record: &Record<'_>) -> Result<Option<ClientAuthMethods>, Error> {
    const COLUMN: &str = "auth_methods";
    let text: Option<String> = record.value(COLUMN)?;
    let Some(text) = text else { return Ok(None) };
    let known = |word: &str| {
        let mut all = ClientAuthMethod::ALL.into_iter();
        all.find(|method| method.as_str() == word)
    };
    let methods: Option<Vec<_>> = words(&text).map(known).collect();
    let methods = methods.ok_or_else(|| record.corrupt(COLUMN))?;
    Ok(Some(ClientAuthMethods::new(&methods)))
}

fn client_keys(record: &Record<'_>) -> Result<Option<ClientKeys>, Error> {
    let inline: Option<String> = record.value("jwks")?;
    let url: Option<String> = record.value("jwks_url")?;
    let inline = inline.map(|text| ClientKeys::Inline(text.into()));
    Ok(inline.or_else(|| url.map(|url| ClientKeys::Url(url.into()))))
}

/// The words of a list; none of them has a blank in it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

pub(super) fn find(connection: &Connection, id: AppId) -> Result<Option<App>, Error> {
    APPS.one(
        connection,
        "WHERE id = ?",
        [u128::from(id).to_be_bytes()],
        read,
    )
}

pub(super) fn find_by_name(connection: &Connection, name: &Name) -> Result<Option<App>, Error> {
    APPS.one(connection, "WHERE name = ?", [name.as_str()], read)
}

pub(super) fn all(connection: &Connection) -> Result<Shelf<AppId, Arc<App>>, Error> {
    APPS.shelf(connection, |record| {
        read(record).map(|app| (app.id, Arc::new(app)))
    })
}

pub(super) fn list(connection: &Connection, page: &Page<AppId>) -> Result<Vec<App>, Error> {
    let mut conditions = Conditions::default();
    if let Some(after) = page.after {
        conditions.and("id > ?", u128::from(after).to_be_bytes().to_vec());
    }
    let query = conditions.query("id", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    APPS.list(connection, &query, values, read)
}

/// The Apps that were changed after this revision.
pub(super) fn since(connection: &Connection, revision: i64) -> Result<Vec<App>, Error> {
    APPS.list(connection, "WHERE revision > ?", [revision], read)
}

pub(super) fn keep(
    connection: &Connection,
    app: &Allowed<App>,
    revision: i64,
) -> Result<(), Error> {
    if app.is_new() {
        insert(connection, app.value(), revision)
    } else {
        update(connection, app.value(), revision)
    }
}

fn insert(connection: &Connection, app: &App, revision: i64) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO apps (id, created_at, name, state, contact, environment, auth_methods, mtls, secure_mode, \
             binding, jwks, jwks_url, callbacks, certificates_max, keys_max, access_token_format, boosts, revision) \
             VALUES (:id, :created_at, :name, :state, :contact, :environment, :auth_methods, :mtls, :secure_mode, \
             :binding, :jwks, :jwks_url, :callbacks, :certificates_max, :keys_max, :access_token_format, :boosts, :revision)",
        )?
        .execute(&*Row::of(app, revision).with_origin(app).params())?;
    Ok(())
}

fn update(connection: &Connection, app: &App, revision: i64) -> Result<(), Error> {
    let rows = connection
        .prepare_cached(
            "UPDATE apps SET name = :name, state = :state, contact = :contact, environment = :environment, \
             auth_methods = :auth_methods, mtls = :mtls, secure_mode = :secure_mode, binding = :binding, \
             jwks = :jwks, jwks_url = :jwks_url, callbacks = :callbacks, certificates_max = :certificates_max, \
             keys_max = :keys_max, access_token_format = :access_token_format, boosts = :boosts, revision = :revision WHERE id = :id",
        )?
        .execute(&*Row::of(app, revision).params())?;
    updated(rows)
}

/// The values of an App's row, by the names of their parameters.
struct Row(Vec<(&'static str, Value)>);

impl Row {
    fn of(app: &App, revision: i64) -> Self {
        let settings = &app.settings;
        let keys = settings.keys.as_ref();
        let methods = settings.auth_methods.as_ref();
        Self(vec![
            (":id", u128::from(app.id).to_be_bytes().to_vec().into()),
            (":name", text(app.name.as_str())),
            (":state", text(app.state.as_str())),
            (":contact", app.contact.clone().into()),
            (":environment", text(settings.environment.as_str())),
            (
                ":auth_methods",
                methods.map(|all| all.names().join(" ")).into(),
            ),
            (":mtls", text(settings.mtls.as_str())),
            (":secure_mode", text(settings.secure_mode.as_str())),
            (":binding", text(settings.binding.as_str())),
            (
                ":jwks",
                keys.and_then(ClientKeys::inline).map(str::to_owned).into(),
            ),
            (
                ":jwks_url",
                keys.and_then(ClientKeys::url).map(str::to_owned).into(),
            ),
            (":callbacks", settings.callbacks.join(" ").into()),
            (
                ":certificates_max",
                settings.certificates_max.map(i64::from).into(),
            ),
            (":keys_max", settings.keys_max.map(i64::from).into()),
            (
                ":access_token_format",
                text(settings.access_token_format.as_str()),
            ),
            (":boosts", written(&app.boosts).into()),
            (":revision", revision.into()),
        ])
    }

    /// The same, with what never changes.
    fn with_origin(mut self, app: &App) -> Self {
        self.0
            .push((":created_at", app.created_at.unix_millis().into()));
        self
    }

    fn params(&self) -> Vec<(&str, &dyn ToSql)> {
        let each = self.0.iter();
        each.map(|(name, value)| (*name, value as &dyn ToSql))
            .collect()
    }
}

fn text(word: &str) -> Value {
    Value::Text(word.to_owned())
}
