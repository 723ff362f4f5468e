//! The limit of file descriptors, and how many connections it allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors for everything but connections: files of downloads, uploads and archives, the
/// database, Valkey, RabbitMQ and HTTP clients.
const RESERVED: u64 = 256;

/// Raises the soft limit of open files to the hard limit. Returns the connections that may be open
/// at the same time: the limit without what all else needs, and at least half of it.
pub(super) fn max_connections() -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "limit of open files unknown");
            return usize::MAX;
        }
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, "limit of open files not raised");
            soft
        }
    };
    tracing::debug!(limit, "limit of open files");
    allowed(limit)
}

fn allowed(limit: u64) -> usize {
    let allowed = limit.saturating_sub(RESERVED).max(limit / 2);
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_everything_else() {
        assert_eq!(
            [100, 400, 1024, 1_048_576].map(allowed),
            [50, 200, 768, 1_048_320]
        );
    }
}
