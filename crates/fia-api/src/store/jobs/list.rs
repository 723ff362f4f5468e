//! Lists of jobs: a page as one body, or a long list in chunks.

use bytes::{BufMut as _, Bytes};
use tokio_postgres::Row;

use crate::model::JobList;
use crate::model::json::append;
use crate::store::jobs::order::direction;
use crate::store::jobs::page::{PageIds, Request, all, looked_up_ids};
use crate::store::jobs::row::{ColumnCursor, JOB, JOIN_RUN, JOIN_SCRIPT, RUN};
use crate::store::jobs::selection::Viewer;
use crate::store::jobs::tables::read;
use crate::store::jobs::values::Values;
use crate::store::rows::Rows;
use crate::store::{Db, StoreError};

/// Returns a page of a list as the response body, a JSON array.
///
/// # Errors
/// [`StoreError::BadValue`] if a filter's text is not a timestamp; otherwise when the database
/// fails.
pub async fn page(db: &Db, list: &JobList, viewer: Option<&Viewer>) -> Result<Bytes, StoreError> {
    let rows = read(db, &list.selection, move |tables| {
        Box::pin(async move {
            let tables = &tables;
            let request = Request {
                list,
                viewer,
                tables,
            };
            let mut selected = request.selected();
            if selected.is_empty() {
                return Ok(Vec::new());
            }
            if let Some(ids) = looked_up_ids(&mut selected, list) {
                let jobs = jobs_of_ids(list, &format!("ARRAY({ids})"));
                return db.lookup(&jobs, &selected.values.params()).await;
            }
            let jobs = jobs_of_ids(list, "$1");
            db.query_by_keys(|| PageIds::first(request), &jobs).await
        })
    });
    let mut body = Body::new(list.include_run);
    for row in rows.await? {
        body.push(&row)?;
    }
    Ok(body.end())
}

/// A long list that is read while it is sent, in constant memory.
pub struct Listing {
    rows: Option<Rows>,
    body: Body,
}

impl Listing {
    /// Minimum size of a chunk, in bytes.
    const CHUNK: usize = 64 * 1024;

    /// Starts to read a list.
    ///
    /// # Errors
    /// As [`page`]; [`StoreError::Busy`] if too many such lists are being read.
    pub async fn open(
        db: &Db,
        list: &JobList,
        viewer: Option<&Viewer>,
    ) -> Result<Self, StoreError> {
        let rows = read(db, &list.selection, move |tables| {
            Box::pin(async move {
                let tables = &tables;
                let (sql, values) = statement(Request {
                    list,
                    viewer,
                    tables,
                });
                Rows::open(db, &sql, &values.params()).await
            })
        });
        Ok(Self {
            rows: Some(rows.await?),
            body: Body::new(list.include_run),
        })
    }

    /// Returns the next chunk of the JSON array; `None` after the last.
    ///
    /// # Errors
    /// When the database fails, or the list exceeds its timeout.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(rows) = &mut self.rows else {
            return Ok(None);
        };
        while let Some(row) = rows.next().await? {
            self.body.push(&row)?;
            if self.body.text.len() >= Self::CHUNK {
                return Ok(Some(std::mem::take(&mut self.body.text).into()));
            }
        }
        if let Some(rows) = self.rows.take() {
            rows.close().await?;
        }
        let body = std::mem::replace(&mut self.body, Body::new(false));
        Ok(Some(body.end()))
    }

    /// Whether [`Listing::next`] has returned the last chunk.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rows.is_none()
    }
}

/// A JSON array of jobs that is being written.
struct Body {
    text: Vec<u8>,
    begun: bool,
    include_run: bool,
}

impl Body {
    fn new(include_run: bool) -> Self {
        Self {
            text: Vec::new(),
            begun: false,
            include_run,
        }
    }

    fn push(&mut self, row: &Row) -> Result<(), StoreError> {
        let mut columns = ColumnCursor::of(row);
        let mut job = columns.job()?;
        if self.include_run {
            job.run = Some(columns.run()?);
        }
        self.text.put_u8(if self.begun { b',' } else { b'[' });
        self.begun = true;
        append(&mut self.text, &job);
        Ok(())
    }

    fn end(mut self) -> Bytes {
        if !self.begun {
            self.text.put_u8(b'[');
        }
        self.text.put_u8(b']');
        self.text.into()
    }
}

/// The columns of a list, and what they are joined from.
fn columns(list: &JobList) -> (String, String) {
    if list.include_run {
        (format!("{JOB}, {RUN}"), format!("{JOIN_SCRIPT} {JOIN_RUN}"))
    } else {
        (JOB.to_owned(), JOIN_SCRIPT.to_owned())
    }
}

/// Selects jobs by an array of their ids, in the order of these. The planner expects few elements of
/// an array that it does not know, and joins their jobs by keys.
fn jobs_of_ids(list: &JobList, ids: &str) -> String {
    let (columns, joins) = columns(list);
    format!(
        "SELECT {columns} FROM unnest({ids}) WITH ORDINALITY AS page (id, place) \
         JOIN jobs ON jobs.id = page.id {joins} ORDER BY page.place"
    )
}

/// Selects the page, and joins the full rows of its jobs only.
fn statement(request: Request<'_>) -> (String, Values) {
    let (mut selected, list) = (request.selected(), request.list);
    let page = all(&mut selected, list);
    let (columns, joins) = columns(list);
    let direction = direction(list);
    let sql = format!(
        "SELECT {columns} FROM ({page}) page JOIN jobs ON jobs.id = page.id {joins} \
         ORDER BY page.key {direction}, page.id {direction}"
    );
    (sql, selected.values)
}
