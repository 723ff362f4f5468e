//! `devstack up`: runs the stack without the API.

use std::fs;
use std::io::{Write as _, stdout};
use std::path::Path;

use devstack::Stack;

use crate::{Outcome, shutdown_signal};

pub(crate) async fn run(env_file: Option<&Path>) -> Outcome {
    let shutdown = shutdown_signal()?;
    tokio::pin!(shutdown);
    eprintln!(
        "Starting PostgreSQL, Valkey, RabbitMQ and stand-ins for the auth service and GitHub …"
    );
    let stack = tokio::select! {
        stack = Stack::builder().everything().start() => stack?,
        () = &mut shutdown => return Ok(()),
    };
    let exports: String = stack
        .env()
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect();
    match env_file {
        Some(file) => {
            fs::write(file, exports).map_err(|e| format!("writing {}: {e}", file.display()))?;
            eprintln!(
                "Settings for the API written to {0}; load them with `. {0}`.",
                file.display()
            );
        }
        None => {
            write!(stdout(), "{exports}")?;
            stdout().flush()?;
        }
    }
    eprintln!("Ready. Press Ctrl-C to stop all servers.");
    shutdown.await;
    eprintln!("Stopping …");
    Ok(())
}

/// Quotes a value as one word of a POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_are_quoted_for_the_shell() {
        assert_eq!(super::quoted("a b"), "'a b'");
        assert_eq!(super::quoted("it's"), r"'it'\''s'");
    }
}
