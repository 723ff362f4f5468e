//! The named statements of a session.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};

/// The most statements that a session keeps, which the server holds in memory as well. There are
/// fewer texts in this server; the limit is for what may be added.
const MAX_STATEMENTS: usize = 64;

/// The named statements of a session, by their text. The server forgets a statement once its last
/// use has ended.
#[derive(Default)]
pub(super) struct Statements(Mutex<HashMap<Box<str>, Statement>>);

impl Statements {
    /// The statement of this text, prepared unless it is known.
    pub(super) async fn get(
        &self,
        client: &Client,
        sql: &str,
        types: &[Type],
    ) -> Result<Statement, Error> {
        if let Some(statement) = self.0.lock().get(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare_typed(sql, types).await?;
        let mut statements = self.0.lock();
        if statements.len() >= MAX_STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }

    /// Forgets all statements, as the server or a pooler has.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// Whether the server or a pooler no longer knows a statement (26000), or knows another of its name
/// (42P05), or its result has other columns since a change of a table (0A000). Nothing was executed.
pub(super) fn is_forgotten(error: &Error) -> bool {
    let code = error.code().map(tokio_postgres::error::SqlState::code);
    code.is_some_and(|code| ["26000", "42P05", "0A000"].contains(&code))
}
