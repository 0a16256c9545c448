//! The settings of the data plane, from the configuration.

use super::descriptors::Shares;
use crate::config::metrics::{AppLabel as WrittenLabel, AppSeries};
use crate::config::parts::Fixed;
use crate::config::tcp::Tcp;
use crate::net::discard::Discard;
use crate::net::tcp::TcpOptions;
use crate::proxy::settings::{AppLabel, FailedAuthentication, HttpBounds, Settings, Timeouts};
use crate::proxy::upstream::tcp_options;

/// The settings that the data plane keeps until the process ends.
pub fn proxy(config: &Fixed<'_>, shares: &Shares) -> Settings {
    let partners = &config.listeners.partners;
    let caller_id = partners.http.caller_request_id;
    let number = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        connections_max: shares.partners,
        connections_per_address: shares.per_address,
        proxy_protocol_from: partners.proxy_protocol.trusted.clone(),
        trusted_hops: partners.forwarded.trusted.clone(),
        timeouts: Timeouts {
            handshake: partners.timeouts.handshake.get(),
            first_request: partners.timeouts.first_request.get(),
            header: partners.timeouts.header.get(),
            idle: partners.timeouts.keep_alive.get(),
            body_stall: partners.timeouts.body.get(),
            body_pace: partners.timeouts.body_pace.get(),
            write_stall: partners.timeouts.body.get(),
            tunnel_idle: partners.timeouts.tunnel.get(),
            ..Timeouts::default()
        },
        http: HttpBounds {
            headers_bytes_max: number(partners.http.header_bytes_max.get()),
            headers_max: usize::from(partners.http.headers_max),
            target_bytes_max: number(partners.http.uri_bytes_max.get()),
            streams_max: partners.http.streams_max,
            resets_max: partners.http.resets_max,
            unsent_max: number(partners.http.unsent_bytes_max.get()),
        },
        discard: Discard {
            bytes: partners.discard.bytes_max.get(),
            time: partners.discard.time.get(),
            pause: partners.discard.pause.get(),
        },
        caller_request_id: caller_id.map(|name| name.0.clone()),
        failed_authentication: FailedAuthentication {
            count: partners.auth_failures.rate.count,
            period: partners.auth_failures.rate.period.get(),
            burst: partners.auth_failures.burst,
        },
        signed_body_max: config.signatures.body_max.get(),
        app_label: app_label(&config.metrics.apps),
        ..Settings::default()
    }
}

/// The TCP options for the sockets of a listener or to an upstream.
pub fn tcp_options(written: &Tcp) -> TcpOptions {
    tcp_options::options(&written.into())
}

fn app_label(apps: &AppSeries) -> AppLabel {
    match apps.label {
        WrittenLabel::Off => AppLabel::Off,
        WrittenLabel::Listed => AppLabel::Listed(apps.names.clone()),
        WrittenLabel::First => AppLabel::First(apps.max as usize),
    }
}
