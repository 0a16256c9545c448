//! The state of the admin API's operations.

use std::sync::Arc;

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
}

impl AdminState {
    pub fn new(control: Control, operations: Arc<dyn Operations>, clock: Arc<dyn Clock>) -> Self {
        Self {
            control,
            operations,
            clock,
            failures: Arc::default(),
        }
    }
}
