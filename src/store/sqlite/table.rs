//! Rows parsed into checked values; a value that cannot be parsed is named, never guessed.

use std::hash::Hash;
use std::str::FromStr;

use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, Params, Row};

use super::super::error::Error;
use crate::domain::shelf::Shelf;
use crate::domain::time::Timestamp;

/// A table and its form of ids. The first column is the id.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
    /// Formats an id of this table for operators.
    pub show: fn(u128) -> String,
}

impl Table {
    /// Reads the rows that `rest`, the query behind `FROM`, selects.
    pub fn list<T>(
        &'static self,
        connection: &Connection,
        rest: &str,
        params: impl Params,
        read: impl Fn(&Record<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = connection.prepare_cached(&self.query(rest))?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(&Record { table: self, row })?);
        }
        Ok(found)
    }

    /// Reads all rows into a map, one at a time: no row of a million is held twice.
    pub fn shelf<K: Hash + Eq + Clone, V: Clone>(
        &'static self,
        connection: &Connection,
        mut read: impl FnMut(&Record<'_>) -> Result<(K, V), Error>,
    ) -> Result<Shelf<K, V>, Error> {
        let count = format!("SELECT count(*) FROM {}", self.name);
        let count: u32 = connection
            .prepare_cached(&count)?
            .query_row([], |row| row.get(0))?;
        let mut statement = connection.prepare_cached(&self.query(""))?;
        let mut rows = statement.query([])?;
        let entries = std::iter::from_fn(|| match rows.next() {
            Ok(row) => row.map(|row| read(&Record { table: self, row })),
            Err(error) => Some(Err(error.into())),
        });
        Shelf::try_build(usize::try_from(count).unwrap_or(0), entries)
    }

    fn query(&self, rest: &str) -> String {
        let columns = self.columns.join(", ");
        format!("SELECT {columns} FROM {} {rest}", self.name)
    }

    /// Reads the row that `rest` selects, if there is one.
    pub fn one<T>(
        &'static self,
        connection: &Connection,
        rest: &str,
        params: impl Params,
        read: impl Fn(&Record<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let found = self.list(connection, rest, params, read)?;
        Ok(found.into_iter().next())
    }
}

/// The result of an update of one row, by the number of rows that it changed.
pub(super) const fn updated(rows: usize) -> Result<(), Error> {
    match rows {
        0 => Err(Error::Missing),
        _ => Ok(()),
    }
}

/// One row being read.
#[derive(Debug)]
pub(super) struct Record<'a> {
    table: &'static Table,
    row: &'a Row<'a>,
}

impl Record<'_> {
    /// The value of a column, if it has the right shape.
    pub fn value<T: FromSql>(&self, column: &'static str) -> Result<T, Error> {
        T::column_result(self.raw(column)?)
            .ok()
            .ok_or_else(|| self.corrupt(column))
    }

    /// A text column, borrowed and not copied.
    pub fn text(&self, column: &'static str) -> Result<&str, Error> {
        self.raw(column)?
            .as_str()
            .ok()
            .ok_or_else(|| self.corrupt(column))
    }

    /// A column of octets, borrowed and not copied.
    pub fn octets(&self, column: &'static str) -> Result<&[u8], Error> {
        self.raw(column)?
            .as_blob()
            .ok()
            .ok_or_else(|| self.corrupt(column))
    }

    fn raw(&self, column: &'static str) -> Result<ValueRef<'_>, Error> {
        let place = self.table.columns.iter().position(|name| *name == column);
        place
            .and_then(|place| self.row.get_ref(place).ok())
            .ok_or_else(|| self.corrupt(column))
    }

    /// A text column, parsed as a type of the domain.
    pub fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, Error> {
        let text = self.text(column)?;
        text.parse().ok().ok_or_else(|| self.corrupt(column))
    }

    /// The bits of an id.
    pub fn bits(&self, column: &'static str) -> Result<u128, Error> {
        self.value(column).map(u128::from_be_bytes)
    }

    pub fn time(&self, column: &'static str) -> Result<Timestamp, Error> {
        self.value(column).map(Timestamp::from_unix_millis)
    }

    pub fn time_if_any(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        let millis: Option<i64> = self.value(column)?;
        Ok(millis.map(Timestamp::from_unix_millis))
    }

    /// The one of `all` whose text is in the column.
    pub fn word<T: Copy>(
        &self,
        column: &'static str,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Result<T, Error> {
        self.word_if_any(column, all, word)?
            .ok_or_else(|| self.corrupt(column))
    }

    /// Like [`Record::word`], for a column that may be NULL.
    pub fn word_if_any<T: Copy>(
        &self,
        column: &'static str,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Result<Option<T>, Error> {
        if self.raw(column)? == ValueRef::Null {
            return Ok(None);
        }
        let text = self.text(column)?;
        let known = all.iter().copied().find(|known| word(*known) == text);
        known.map(Some).ok_or_else(|| self.corrupt(column))
    }

    pub fn corrupt(&self, column: &'static str) -> Error {
        let id = self.row.get(0).map(u128::from_be_bytes);
        Error::Corrupt {
            table: self.table.name,
            column,
            row: id.map_or_else(
                |_| "a row without a readable id".to_owned(),
                self.table.show,
            ),
        }
    }
}
