//! The table of partner endpoints: each row is an endpoint and its answer. A new endpoint is a file and a row.

use std::pin::Pin;
use std::sync::Arc;

use super::service::PartnerService;
use super::{ca_pem, introspect, jwks, keys, metadata, revoke, token, whoami};
use crate::domain::local::{LocalEndpoint, LocalEndpoints};
use crate::domain::local_call::{LocalAnswer, LocalCall};

/// An answer that waits for something.
pub type Waiting = Pin<Box<dyn Future<Output = LocalAnswer> + Send>>;

/// The answer to a call: at hand, or still to be waited for.
pub enum Answer {
    Ready(Box<LocalAnswer>),
    Waits(Waiting),
}

struct Row {
    endpoint: &'static LocalEndpoint,
    answer: How,
}

/// The two kinds of endpoints.
enum How {
    /// Reads the snapshot and nothing else, and answers on the worker's thread.
    AtOnce(fn(&PartnerService, &LocalCall) -> LocalAnswer),
    /// Checks secrets, signs, or waits for the store, and answers on the control plane's runtime.
    Later(fn(Arc<PartnerService>, LocalCall) -> Waiting),
}

static TABLE: [Row; 8] = [
    Row {
        endpoint: &ca_pem::ENDPOINT,
        answer: How::AtOnce(|service, _| ca_pem::answer(&service.ca_pem.load()).into()),
    },
    Row {
        endpoint: &jwks::ENDPOINT,
        answer: How::AtOnce(|_, call| jwks::answer(&call.snapshot).into()),
    },
    Row {
        endpoint: &keys::ENDPOINT,
        answer: How::Later(|service, call| {
            Box::pin(async move { keys::revoke(&service.control, &call).await })
        }),
    },
    Row {
        endpoint: &metadata::ENDPOINT,
        answer: How::AtOnce(|_, call| metadata::answer(&call.snapshot).into()),
    },
    Row {
        endpoint: &token::ENDPOINT,
        answer: How::Later(|service, call| {
            Box::pin(async move { token::answer(&service.tokens, &service.metrics, &call).await })
        }),
    },
    Row {
        endpoint: &introspect::ENDPOINT,
        answer: How::Later(|service, call| {
            Box::pin(
                async move { introspect::answer(&service.tokens, &service.metrics, &call).await },
            )
        }),
    },
    Row {
        endpoint: &revoke::ENDPOINT,
        answer: How::Later(|service, call| {
            Box::pin(async move { revoke::answer(&service.tokens, &service.metrics, &call).await })
        }),
    },
    Row {
        endpoint: &whoami::ENDPOINT,
        answer: How::AtOnce(|_, call| whoami::answer(call).into()),
    },
];

/// Every endpoint of the table, for the configuration to make routes of.
pub fn endpoints() -> LocalEndpoints {
    TABLE.iter().map(|row| row.endpoint).collect()
}

/// Answers one call, which the walk has routed, authorized and limited. `None` for an endpoint that is not in the table.
pub fn answer(service: &Arc<PartnerService>, call: LocalCall) -> Option<Answer> {
    let row = TABLE
        .iter()
        .find(|row| std::ptr::eq(row.endpoint, call.endpoint))?;
    Some(match row.answer {
        How::AtOnce(answer) => Answer::Ready(Box::new(answer(service, &call))),
        How::Later(answer) => Answer::Waits(answer(Arc::clone(service), call)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::limit::Limit;
    use crate::domain::rate::Rate;

    #[test]
    fn names_and_paths_are_unique_and_limits_have_names() {
        let endpoints = endpoints();
        let names: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.name).collect();
        let paths: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.path).collect();
        assert_eq!(
            (names.len(), paths.len()),
            (endpoints.len(), endpoints.len())
        );
        for endpoint in &endpoints {
            assert!(!endpoint.methods.is_empty(), "{}", endpoint.name);
            for limit in endpoint.limits {
                let Rate { count, burst, .. } = limit.rate;
                assert!(count > 0 && burst > 0, "{}", limit.name);
                let _ = Limit::new(limit.name.parse().unwrap(), limit.per, limit.rate);
            }
        }
    }

    #[test]
    fn an_endpoint_that_checks_secrets_is_closed_to_refused_certificates_and_answers_off_the_worker()
     {
        for row in &TABLE {
            if row.endpoint.checks_secrets {
                assert!(!row.endpoint.open_to_quarantined, "{}", row.endpoint.name);
                assert!(matches!(row.answer, How::Later(_)), "{}", row.endpoint.name);
            }
        }
    }
}
