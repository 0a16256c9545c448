//! The conditions of a list, as SQL.

use rusqlite::types::Value;

use crate::domain::credential::CredentialState;
use crate::domain::listing::CredentialFilter;
use crate::domain::time::Timestamp;

/// The part of a query behind `FROM`, while it grows. Values never become part of the text.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    clauses: Vec<String>,
    pub values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition, in which `?` stands for `value`.
    pub fn and(&mut self, clause: impl Into<String>, value: impl Into<Value>) {
        self.clauses.push(clause.into());
        self.values.push(value.into());
    }

    /// The conditions, the order and the bound.
    pub fn query(&mut self, order: &str, limit: u32) -> String {
        self.values.push(i64::from(limit).into());
        let conditions = match self.clauses.as_slice() {
            [] => String::new(),
            some => format!("WHERE {} ", some.join(" AND ")),
        };
        format!("{conditions}ORDER BY {order} LIMIT ?")
    }

    /// Adds the conditions of a list of credentials, whose end is in the column `end`.
    pub fn credentials(&mut self, filter: &CredentialFilter, end: &str) {
        if let Some(app) = filter.app {
            self.and("app = ?", u128::from(app).to_be_bytes().to_vec());
        }
        if let Some(before) = filter.expiring_before {
            self.and(
                format!("state <> 'revoked' AND {end} < ?"),
                before.unix_millis(),
            );
        }
        if let Some(state) = filter.state {
            self.state(state, filter.at, end);
        }
    }

    fn state(&mut self, state: CredentialState, at: Option<Timestamp>, end: &str) {
        let stored = state.as_str().to_owned();
        match (state, at) {
            (CredentialState::Revoked, _) | (_, None) => self.and("state = ?", stored),
            (CredentialState::Expired, Some(at)) => self.and(
                format!("state <> 'revoked' AND (state = 'expired' OR {end} < ?)"),
                at.unix_millis(),
            ),
            (_, Some(at)) => {
                self.and("state = ?", stored);
                self.and(format!("({end} IS NULL OR {end} >= ?)"), at.unix_millis());
            }
        }
    }
}
