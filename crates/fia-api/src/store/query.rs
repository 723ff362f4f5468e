//! One statement in a transaction of its own.
//!
//! A direct session needs no statement around a read: it has the settings already, and a statement
//! is a transaction. Behind a pooler, `BEGIN` with the settings, the statement and `COMMIT` are sent
//! together and reach the same server connection.

use tokio_postgres::{Error, Row};

use crate::store::begin::{BEGIN, BEGIN_LOOKUP, Param};
use crate::store::connection::Connection;
use crate::store::retry::{Repeat, repeated};
use crate::store::session::{Session, SessionKind};
use crate::store::statements::is_forgotten;
use crate::store::timeout::with_timeout;
use crate::store::{Db, StoreError};

/// One statement.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) sql: &'a str,
    pub(super) params: &'a [Param<'a>],
    pub(super) purpose: Purpose<'a>,
}

/// What a statement is for, which decides how it is sent and whether it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// A read that is planned for its values each time.
    Read,
    /// A read by keys: its plan does not depend on the values, so the server may keep it.
    Lookup,
    /// A read with other settings: the `BEGIN` of its transaction.
    ReadAfter(&'a str),
    /// It may change data.
    Write,
}

/// The responses to a statement.
struct Responses {
    rows: Result<Vec<Row>, Error>,
    /// The response to `COMMIT`, if that was sent.
    ended: Result<(), Error>,
}

impl Db {
    /// Reads with one statement, in one round trip.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(sql, params, Purpose::Read).await
    }

    /// Reads by keys, as [`Db::query`] does; the server keeps the plan where the session allows it.
    pub(super) async fn lookup(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(sql, params, Purpose::Lookup).await
    }

    /// Reads as [`Db::query`] does, with `begin` instead of [`BEGIN`].
    pub(super) async fn query_after(
        &self,
        begin: &str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(sql, params, Purpose::ReadAfter(begin)).await
    }

    /// Runs one statement that may change data, in one round trip.
    ///
    /// After an error the change may have been made: the response to `COMMIT` can be lost.
    pub(super) async fn write(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(sql, params, Purpose::Write).await
    }

    async fn run(
        &self,
        sql: &str,
        params: &[Param<'_>],
        purpose: Purpose<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let query = Query {
            sql,
            params,
            purpose,
        };
        let repeat = match purpose {
            Purpose::Write => Repeat::IfRefused,
            Purpose::Read | Purpose::Lookup | Purpose::ReadAfter(_) => Repeat::Always,
        };
        let attempt = async || {
            let connection = match purpose {
                Purpose::Lookup => self.connection_of_lookup().await?,
                Purpose::Read | Purpose::ReadAfter(_) | Purpose::Write => self.connection().await?,
            };
            self.query_on(connection, query).await
        };
        repeated(repeat, attempt).await
    }

    /// Runs the statement on a connection, and releases that unless a response is missing.
    pub(super) async fn query_on(
        &self,
        connection: Connection,
        query: Query<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let work = async {
            let responses = query.responses(connection.session()).await?;
            let rows = match responses.rows.map_err(StoreError::from) {
                Ok(rows) => rows,
                Err(error) => {
                    self.discard_after(&error);
                    // All responses have arrived, so even after an error the connection is idle.
                    if !error.is_failover() {
                        connection.release();
                    }
                    return Err(error);
                }
            };
            // Whether it was committed is unknown.
            responses
                .ended
                .map_err(|error| match StoreError::from(error) {
                    StoreError::Failover(text) => StoreError::Lost(text),
                    other => other,
                })?;
            connection.release();
            Ok(rows)
        };
        self.metrics.observe_statement(query.sql, work).await
    }
}

impl Query<'_> {
    /// Sends the statement; once more if the server no longer has it.
    async fn responses(self, session: &Session) -> Result<Responses, StoreError> {
        let responses = with_timeout(self.send(session)).await?;
        if self.is_named(session) && responses.rows.as_ref().is_err_and(is_forgotten) {
            session.statements().clear();
            return with_timeout(self.send(session)).await;
        }
        Ok(responses)
    }

    pub(super) fn is_named(self, session: &Session) -> bool {
        self.purpose == Purpose::Lookup && session.kind() != SessionKind::Pooled
    }

    async fn send(self, session: &Session) -> Result<Responses, Error> {
        let begin = match (self.purpose, session.kind()) {
            (Purpose::Read | Purpose::Lookup, SessionKind::Direct) => {
                return Ok(Responses {
                    rows: self.rows(session).await,
                    ended: Ok(()),
                });
            }
            (Purpose::ReadAfter(begin), _) => begin,
            (Purpose::Lookup, SessionKind::Pooled) => BEGIN_LOOKUP,
            (Purpose::Read | Purpose::Lookup | Purpose::Write, _) => BEGIN,
        };
        if self.is_named(session) {
            // Now, so that nothing comes between the statements of the transaction.
            self.prepare(session).await?;
        }
        let client = session.client();
        let (begun, rows, ended) = tokio::join!(
            client.batch_execute(begin),
            self.rows(session),
            client.batch_execute("COMMIT"),
        );
        Ok(Responses {
            rows: begun.and(rows),
            ended,
        })
    }

    /// The rows, without the statements of a transaction around it.
    pub(super) async fn rows(self, session: &Session) -> Result<Vec<Row>, Error> {
        if !self.is_named(session) {
            return session.client().query_typed(self.sql, self.params).await;
        }
        let statement = self.prepare(session).await?;
        let values: Vec<_> = self.params.iter().map(|(value, _)| *value).collect();
        session.client().query(&statement, &values).await
    }

    pub(super) async fn prepare(
        self,
        session: &Session,
    ) -> Result<tokio_postgres::Statement, Error> {
        let types: Vec<_> = self.params.iter().map(|(_, of)| of.clone()).collect();
        let statements = session.statements();
        statements.get(session.client(), self.sql, &types).await
    }
}
