//! Lists of jobs: a page as one body, or a long list in chunks.

use bytes::{BufMut as _, Bytes};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::model::json::append;
use crate::model::{Direction, JobList, Page};
use crate::store::jobs::row::{ColumnCursor, JOB, JOIN_RUN, JOIN_SCRIPT, RUN};
use crate::store::jobs::selection::{Selected, Viewer};
use crate::store::jobs::values::Values;
use crate::store::rows::Rows;
use crate::store::{Db, StoreError};

/// Returns a page of a list as the response body, a JSON array.
///
/// # Errors
/// [`StoreError::BadValue`] if a filter's text is not a timestamp; otherwise when the database
/// fails.
pub async fn page(db: &Db, list: &JobList, viewer: Option<&Viewer>) -> Result<Bytes, StoreError> {
    let (sql, values) = statement(list, viewer);
    let mut body = Body::new(list.include_run);
    for row in db.query(&sql, &values.params()).await? {
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
        let (sql, values) = statement(list, viewer);
        Ok(Self {
            rows: Some(Rows::open(db, &sql, &values.params()).await?),
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

/// Selects the page by ids and sort keys alone, then joins the full rows of its jobs only.
fn statement(list: &JobList, viewer: Option<&Viewer>) -> (String, Values) {
    let mut selected = Selected::new(&list.selection);
    if let Some(viewer) = viewer {
        selected.restrict(viewer, list.selection.instrument.is_some());
    }
    let (page, values) = page_of_ids(selected, list);
    let (columns, joins) = if list.include_run {
        (format!("{JOB}, {RUN}"), format!("{JOIN_SCRIPT} {JOIN_RUN}"))
    } else {
        (JOB.to_owned(), JOIN_SCRIPT.to_owned())
    };
    let direction = direction(list);
    let sql = format!(
        "SELECT {columns} FROM ({page}) page JOIN jobs ON jobs.id = page.id {joins} \
         ORDER BY page.key {direction}, page.id {direction}"
    );
    (sql, values)
}

/// Selects the ids and sort keys of a page, in order.
fn page_of_ids(mut selected: Selected, list: &JobList) -> (String, Values) {
    let key = selected.sort_key(list.ordering.by);
    let order = |key: &str, id: &str| {
        let direction = direction(list);
        format!("ORDER BY {key} {direction}, {id} {direction}")
    };
    let found = format!("SELECT jobs.id, {key} AS key {}", selected.source());
    let in_order = order(key, "jobs.id");
    let Page { limit, offset } = list.page;
    let window = limit_offset(&mut selected.values, limit, offset);
    if limit == 0 || !list.ordering.by.is_text() || selected.is_of_instruments() {
        return (format!("{found} {in_order}{window}"), selected.values);
    }
    // Only short texts are indexed, so short and long texts are selected separately, each up to
    // the end of the page. Not with an instrument filter: its name is in each text, so that all
    // matches may be at the far end of such an index.
    let most = selected
        .values
        .bind(limit.saturating_add(offset), Type::INT8);
    let is_long = format!("octet_length({key}) > {LONG_TEXT}");
    let sql = format!(
        "SELECT id, key FROM (\
         ({found} AND ({is_long}) IS NOT TRUE {in_order} LIMIT {most}) UNION ALL \
         ({found} AND {is_long} {in_order} LIMIT {most})) parts {}{window}",
        order("key", "id")
    );
    (sql, selected.values)
}

/// Maximum size of an indexed text in bytes, as in `indexes.sql`.
const LONG_TEXT: u32 = 512;

/// Returns `LIMIT` and `OFFSET`; a zero omits either.
fn limit_offset(values: &mut Values, limit: i64, offset: i64) -> String {
    let mut sql = String::new();
    for (word, rows) in [("LIMIT", limit), ("OFFSET", offset)] {
        if rows != 0 {
            let rows = values.bind(rows, Type::INT8);
            sql.push_str(&format!(" {word} {rows}"));
        }
    }
    sql
}

fn direction(list: &JobList) -> &'static str {
    match list.ordering.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}
