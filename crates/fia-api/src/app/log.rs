//! The log on standard error: text for people, or one flat JSON object a line.

use std::fmt;
use std::io::IsTerminal as _;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::app::log_level::LogLevel;
use crate::config::{self, LogFormat};

/// Starts the log of this process, and returns the control of its level. Call it once.
pub fn start_log(config: &config::Log) -> LogLevel {
    let (filter, handle) = reload::Layer::new(levels(config.level));
    let lines = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => lines.with(layer).init(),
        LogFormat::Json => {
            let layer = layer.fmt_fields(JsonFields::new()).event_format(FlatJson);
            lines.with(layer).init();
        }
    }
    let apply = move |level| {
        // Fails only without a subscriber.
        let _ = handle.modify(|filter| *filter = levels(level));
    };
    LogLevel::new(config.level, apply)
}

/// What is logged at a level.
fn levels(level: Level) -> Targets {
    // Below `info`, libraries may log payloads: scripts, tokens.
    Targets::new()
        .with_default(level.min(Level::INFO))
        .with_targets(["fia_api", "tiercache"].map(|ours| (ours, level)))
        // Logs an error for each closed channel, which the module `broker` reports once.
        .with_target("lapin", LevelFilter::OFF)
}

/// One JSON object a line: `timestamp`, `level`, `target`, `message`, the event's fields, and those
/// of the spans around it, such as `request_id`. Nothing is nested.
#[derive(Debug)]
struct FlatJson;

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        let (level, target) = (metadata.level(), metadata.target());
        write!(writer, "\",\"level\":\"{level}\",\"target\":\"{target}\"")?;
        let mut fields = Fields {
            writer: writer.by_ref(),
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<JsonFields>>();
            // An object, whose braces are left out.
            let inner = formatted.map_or("", |fields| fields.fields.as_str());
            let inner = inner.trim_start_matches('{').trim_end_matches('}');
            if !inner.is_empty() {
                write!(writer, ",{inner}")?;
            }
        }
        writer.write_str("}\n")
    }
}

/// Writes the fields of an event as members of an object.
struct Fields<'a> {
    writer: Writer<'a>,
    result: fmt::Result,
}

impl Fields<'_> {
    fn member(&mut self, field: &Field, value: impl Serialize) {
        if self.result.is_ok() {
            self.result = match serde_json::to_string(&value) {
                Ok(value) => write!(self.writer, ",\"{field}\":{value}"),
                Err(_) => Err(fmt::Error),
            };
        }
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The objects that are logged by `work`.
    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(FlatJson)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_are_flat_and_carry_the_fields_of_their_spans() {
        let lines = logged(|| {
            let span = tracing::error_span!("request", request_id = "a-1");
            let entered = span.enter();
            let why = "quote \" and {brace}";
            tracing::warn!(
                elapsed_ms = 1.5,
                keys = 2_u64,
                why,
                absent = None::<u64>,
                "event"
            );
            drop(entered);
            tracing::info!("outside");
        });
        let fields = |line: &Value| {
            let mut fields = line.as_object().unwrap().clone();
            let timestamp = fields.remove("timestamp").unwrap();
            assert!(timestamp.as_str().unwrap().ends_with('Z'), "{timestamp}");
            Value::Object(fields)
        };
        let target = module_path!();
        assert_eq!(
            lines.iter().map(fields).collect::<Vec<_>>(),
            [
                json!({
                    "level": "WARN", "target": target, "message": "event", "elapsed_ms": 1.5,
                    "keys": 2, "why": "quote \" and {brace}", "request_id": "a-1",
                }),
                json!({ "level": "INFO", "target": target, "message": "outside" }),
            ]
        );
    }
}
