//! The admin API's routes. Each is added with its description, so there is none that the OpenAPI document lacks.

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::authenticate::authenticate;
use super::state::AdminState;
use super::{
    admin_tokens, apps, audit, boosts, certificates, csr, gateway, keys, sessions, token_keys,
    users,
};
use crate::api::edge::{self, Edge};

/// The whole admin API.
pub fn router(state: AdminState, edge: Edge) -> Router {
    let (router, _) = described().split_for_parts();
    let router = router
        .layer(from_fn_with_state(state.clone(), authenticate))
        .with_state(state);
    edge::around(router, edge)
}

/// The descriptions of all routes.
pub fn descriptions() -> OpenApi {
    described().into_openapi()
}

fn described() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(apps::create::create, apps::list::list))
        .routes(routes!(apps::get::get, apps::set::set))
        .routes(routes!(apps::suspend::suspend))
        .routes(routes!(apps::resume::resume))
        .routes(routes!(apps::revoke::revoke))
        .routes(routes!(certificates::sign::sign, certificates::list::list))
        .routes(routes!(certificates::get::get))
        .routes(routes!(certificates::revoke::revoke))
        .routes(routes!(csr::inspect::inspect))
        .routes(routes!(keys::create::create, keys::list::list))
        .routes(routes!(keys::import::import))
        .routes(routes!(keys::identify::identify))
        .routes(routes!(keys::get::get))
        .routes(routes!(keys::rotate::rotate))
        .routes(routes!(keys::revoke::revoke))
        .routes(routes!(
            admin_tokens::create::create,
            admin_tokens::list::list
        ))
        .routes(routes!(admin_tokens::revoke::revoke))
        .routes(routes!(token_keys::list::list))
        .routes(routes!(token_keys::rotate::rotate))
        .routes(routes!(sessions::list::list))
        .routes(routes!(sessions::get::get))
        .routes(routes!(sessions::revoke::revoke))
        .routes(routes!(users::revoke::revoke))
        .routes(routes!(boosts::create::create, boosts::list::list))
        .routes(routes!(boosts::end::end))
        .routes(routes!(audit::list::list))
        .routes(routes!(gateway::status::status))
        .routes(routes!(gateway::reload::reload))
        .routes(routes!(gateway::drain::drain, gateway::drain::progress))
        .routes(routes!(gateway::document::document))
}
