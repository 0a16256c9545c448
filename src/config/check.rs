//! Problems that span sections, all at once.

use super::document::Node;
use super::problem::Finding;
use super::root::Config;

pub fn check(_config: &Config, _written: &Node) -> Vec<Finding> {
    Vec::new()
}
