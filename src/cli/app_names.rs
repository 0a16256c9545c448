//! The Apps' names in tables: answers of the admin API name Apps by their ids, which nobody remembers.

use std::collections::HashMap;

use serde_json::Value;

use super::client::Admin;
use super::listing;
use super::output::Format;

/// The most Apps that are asked for to show one table; the rest are shown by their ids.
const ASKED_MAX: usize = 500;

/// Puts the App's name in front of its id in every item that belongs to one, where a person reads it.
pub(super) async fn name_apps(admin: &Admin, format: Format, items: &mut [Value]) {
    if format != Format::Table {
        return;
    }
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    for item in items {
        let Some(app) = item.get_mut("app") else {
            continue;
        };
        let Some(id) = app.as_str().map(str::to_owned) else {
            continue;
        };
        let name = match known.get(&id) {
            Some(name) => name.clone(),
            None if known.len() < ASKED_MAX => {
                let name = name_of(admin, &id).await;
                known.insert(id.clone(), name.clone());
                name
            }
            None => None,
        };
        if let Some(name) = name {
            *app = format!("{name} ({id})").into();
        }
    }
}

/// The same for the thing of this name in an answer, which is the whole answer where there is no such name.
pub(super) async fn name_app(admin: &Admin, format: Format, answer: &mut Value, thing: &str) {
    let item = match answer.get_mut(thing) {
        Some(item) => item,
        None => answer,
    };
    name_apps(admin, format, std::slice::from_mut(item)).await;
}

/// `None` where it cannot be found out: the table says the id then.
async fn name_of(admin: &Admin, id: &str) -> Option<String> {
    let app = admin.get(&listing::path("/apps", id, "")).await.ok()?;
    app.get("name")?.as_str().map(str::to_owned)
}
