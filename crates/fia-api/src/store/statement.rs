//! The names of statements in traces: operation and table, never values.

/// The name of a statement, such as `SELECT jobs`.
///
/// The operation is that of the main statement, behind `WITH`; the table is the first one that
/// it names.
pub(super) fn statement_name(sql: &str) -> String {
    let (operation, rest) = main_statement(sql);
    let mut words = rest.split_whitespace();
    let table = match operation.as_str() {
        "UPDATE" => words.next(),
        "SELECT" | "DELETE" => after(words, "FROM"),
        "INSERT" => after(words, "INTO"),
        _ => None,
    };
    // A subquery or a function has no name.
    let is_name = |table: &&str| table.starts_with(|first: char| first.is_ascii_alphabetic());
    match table.filter(is_name) {
        Some(table) => {
            let name = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
            format!(
                "{operation} {}",
                table.split(name).next().unwrap_or_default()
            )
        }
        None => operation,
    }
}

fn after<'a>(mut words: impl Iterator<Item = &'a str>, keyword: &str) -> Option<&'a str> {
    words.find(|word| word.eq_ignore_ascii_case(keyword))?;
    words.next()
}

/// The operation of the main statement, and what follows it.
fn main_statement(sql: &str) -> (String, &str) {
    let sql = sql.trim_start();
    let first = sql.split_whitespace().next().unwrap_or_default();
    if !first.eq_ignore_ascii_case("WITH") {
        let operation = first.trim_end_matches(';').to_ascii_uppercase();
        return (operation, &sql[first.len()..]);
    }
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, c) in sql.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_ascii_alphabetic() {
            continue;
        }
        let word = sql.get(start..at).unwrap_or_default();
        start = at + c.len_utf8();
        let ends_at_top = depth == 0 || (depth == 1 && c == '(');
        let is_operation = ["SELECT", "INSERT", "UPDATE", "DELETE"]
            .iter()
            .any(|operation| word.eq_ignore_ascii_case(operation));
        if ends_at_top && is_operation {
            return (word.to_ascii_uppercase(), &sql[at..]);
        }
    }
    ("WITH".to_owned(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_named_by_operation_and_table() {
        for (sql, name) in [
            (
                "SELECT specification::text FROM instruments WHERE x = $1",
                "SELECT instruments",
            ),
            ("SELECT a FROM jobs\n JOIN runs ON true", "SELECT jobs"),
            ("SELECT 1", "SELECT"),
            ("SELECT pg_advisory_xact_lock($1)", "SELECT"),
            ("SELECT count(*) FROM (SELECT 1 FROM jobs) page", "SELECT"),
            (
                "INSERT INTO fia_api_outbox (queue, body) VALUES ($1, $2)",
                "INSERT fia_api_outbox",
            ),
            ("insert into scripts(script) values ($1)", "INSERT scripts"),
            (
                "UPDATE instruments SET latest_run = $2 WHERE x = $1",
                "UPDATE instruments",
            ),
            (
                "DELETE FROM fia_api_outbox WHERE id = ANY($1)",
                "DELETE fia_api_outbox",
            ),
            (
                "WITH free AS MATERIALIZED ( SELECT id FROM a WHERE b(c) IS NULL ) \
                 UPDATE fia_api_outbox message SET x = 1 FROM free",
                "UPDATE fia_api_outbox",
            ),
            (
                "WITH page AS (SELECT id FROM jobs) SELECT * FROM page",
                "SELECT page",
            ),
            ("COMMIT", "COMMIT"),
            ("BEGIN; SET LOCAL jit = off", "BEGIN"),
            ("", ""),
        ] {
            assert_eq!(statement_name(sql), name, "{sql}");
        }
    }
}
