//! Lists of jobs: a page at once, or a long list piece by piece.

use bytes::{BufMut as _, Bytes};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::model::json::append;
use crate::model::{Direction, JobList, Page};
use crate::store::jobs::row::{Cells, JOB, JOIN_RUN, JOIN_SCRIPT, RUN};
use crate::store::jobs::selection::{Selected, Viewer};
use crate::store::jobs::values::Values;
use crate::store::rows::Rows;
use crate::store::{Db, StoreError};

/// A page of a list, as it is answered: a JSON array.
///
/// # Errors
/// [`StoreError::BadValue`] where a filter's text is no moment; else when the database fails.
pub async fn page(db: &Db, list: &JobList, viewer: Option<&Viewer>) -> Result<Bytes, StoreError> {
    let (sql, values) = statement(list, viewer);
    let mut body = Body::new(list.include_run);
    for row in db.query(&sql, &values.params()).await? {
        body.push(&row)?;
    }
    Ok(body.end())
}

/// A long list, read while it is sent: what is held of it does not grow with its length.
pub struct Listing {
    rows: Option<Rows>,
    body: Body,
}

impl Listing {
    /// How much is collected before it is passed on, in bytes.
    const PIECE: usize = 64 * 1024;

    /// Begins to read a list.
    ///
    /// # Errors
    /// As [`page`]; and [`StoreError::Busy`] where too many such lists are being read.
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

    /// The next piece of the JSON array; `None` after the last.
    ///
    /// # Errors
    /// When the database fails, or the whole takes longer than it may.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(rows) = &mut self.rows else {
            return Ok(None);
        };
        while let Some(row) = rows.next().await? {
            self.body.push(&row)?;
            if self.body.text.len() >= Self::PIECE {
                return Ok(Some(std::mem::take(&mut self.body.text).into()));
            }
        }
        if let Some(rows) = self.rows.take() {
            rows.close().await?;
        }
        let body = std::mem::replace(&mut self.body, Body::new(false));
        Ok(Some(body.end()))
    }

    /// Whether [`Listing::next`] has given the last piece.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rows.is_none()
    }
}

/// A JSON array of jobs, as far as it is written.
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
        let mut cells = Cells::of(row);
        let mut job = cells.job()?;
        if self.include_run {
            job.run = Some(cells.run()?);
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

/// The page is cut from ids and sort keys alone; only its jobs are then looked up whole.
fn statement(list: &JobList, viewer: Option<&Viewer>) -> (String, Values) {
    let mut selected = Selected::new(&list.selection);
    if let Some(viewer) = viewer {
        selected.restrict(viewer, list.selection.instrument.is_some());
    }
    let (page, values) = cut(selected, list);
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

/// The ids and sort keys of a page, in order.
fn cut(mut selected: Selected, list: &JobList) -> (String, Values) {
    let key = selected.sort_key(list.ordering.by);
    let order = |key: &str, id: &str| {
        let direction = direction(list);
        format!("ORDER BY {key} {direction}, {id} {direction}")
    };
    let found = format!("SELECT jobs.id, {key} AS key {}", selected.source());
    let in_order = order(key, "jobs.id");
    let Page { limit, offset } = list.page;
    let part = part(&mut selected.values, limit, offset);
    if limit == 0 || !list.ordering.by.is_text() || selected.is_of_instruments() {
        return (format!("{found} {in_order}{part}"), selected.values);
    }
    // An index can hold short texts only: so the short ones and the long ones are cut apart,
    // each to as many as the page may need. Not so for an instrument: its name is in each text,
    // so that such an index may have the whole of it at its far end.
    let most = selected
        .values
        .bind(limit.saturating_add(offset), Type::INT8);
    let is_long = format!("octet_length({key}) > {LONG_TEXT}");
    let sql = format!(
        "SELECT id, key FROM (\
         ({found} AND ({is_long}) IS NOT TRUE {in_order} LIMIT {most}) UNION ALL \
         ({found} AND {is_long} {in_order} LIMIT {most})) parts {}{part}",
        order("key", "id")
    );
    (sql, selected.values)
}

/// Longer texts stand in no index of `indexes.sql`, in bytes.
const LONG_TEXT: u32 = 512;

/// `LIMIT` and `OFFSET`, where there are any.
fn part(values: &mut Values, limit: i64, offset: i64) -> String {
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
