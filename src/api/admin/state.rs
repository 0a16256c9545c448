//! The state of the admin API's operations.

use std::sync::Arc;

use bytes::Bytes;

use super::failures::Failures;
use super::operations::Operations;
use crate::control::service::Control;
use crate::domain::time::Clock;

/// The state of the admin API's operations. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct AdminState {
    pub control: Control,
    pub operations: Arc<dyn Operations>,
    pub clock: Arc<dyn Clock>,
    pub failures: Arc<Failures>,
    /// The OpenAPI document, which describes the router that has this state.
    pub document: Bytes,
}

impl AdminState {
    pub fn new(
        control: Control,
        operations: Arc<dyn Operations>,
        clock: Arc<dyn Clock>,
        document: Bytes,
    ) -> Self {
        Self {
            control,
            operations,
            clock,
            failures: Arc::default(),
            document,
        }
    }
}
