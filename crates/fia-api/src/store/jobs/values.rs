//! Values bound to a generated statement.

use tokio_postgres::types::{ToSql, Type};

use crate::store::begin::Param;
use crate::store::jobs::time::TimestampText;

/// The values of a statement, in the order of their placeholders.
#[derive(Default)]
pub(super) struct Values {
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
    bytes: usize,
}

impl Values {
    /// Binds a value and returns its placeholder.
    pub(super) fn bind(&mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> String {
        self.values.push((Box::new(value), of));
        format!("${}", self.values.len())
    }

    pub(super) fn text(&mut self, value: String) -> String {
        self.bytes += value.len();
        self.bind(value, Type::TEXT)
    }

    /// The bytes of the texts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Binds the `LIKE` pattern of texts that contain this one, with its wildcards escaped.
    pub(super) fn text_containing(&mut self, text: &str) -> String {
        let mut pattern = String::with_capacity(text.len() + 2);
        pattern.push('%');
        for c in text.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        self.text(pattern)
    }

    pub(super) fn timestamp(&mut self, text: String) -> String {
        self.bind(TimestampText(text), Type::TIMESTAMP)
    }

    /// Returns the values as parameters of the driver.
    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let params = self.values.iter();
        params
            .map(|(value, of)| (&**value as &(dyn ToSql + Sync), of.clone()))
            .collect()
    }
}
