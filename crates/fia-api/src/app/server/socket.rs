//! The socket of a connection as the HTTP library reads and writes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::app::server::activity::{Activity, Received};
use crate::app::server::line_ends::LineEnds;

/// How long a closed connection goes on reading what its client still sends: closing it with unread
/// data would reset it, and the client would lose the response.
const LINGER_TIME: Duration = Duration::from_secs(30);
/// The most that is read meanwhile, in bytes.
const LINGER_BYTES: usize = 256 * 1024 * 1024;
/// The size of one read meanwhile, in bytes.
const LINGER_BUFFER: usize = 16 * 1024;
/// The reads after which other connections have their turn.
const LINGER_READS: usize = 4;
/// The pause after them is a millisecond for so many closed connections, so that what strangers go on
/// sending does not occupy the processor; and the longest pause.
const LINGERING_PER_MILLISECOND: usize = 4;
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// The closed connections of this process whose clients still send.
static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// A socket that reports its activity, refuses bare line feeds in heads, and closes without losing
/// the last response.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    line_ends: LineEnds,
    lingering: Option<Lingering>,
}

#[derive(Debug)]
struct Lingering {
    end: Pin<Box<Sleep>>,
    pause: Option<Pin<Box<Sleep>>>,
    remaining: usize,
}

impl Lingering {
    fn begin() -> Self {
        LINGERING.fetch_add(1, Ordering::Relaxed);
        Self {
            end: Box::pin(sleep(LINGER_TIME)),
            pause: None,
            remaining: LINGER_BYTES,
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The pause between the reads of so many closed connections.
fn pause_among(lingering: usize) -> Duration {
    let millis = lingering / LINGERING_PER_MILLISECOND;
    Duration::from_millis(millis as u64).min(LONGEST_PAUSE)
}

impl Socket {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            line_ends: LineEnds::default(),
            lingering: None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let received = &mut buffer.filled_mut()[before..];
        if !received.is_empty() {
            match self.activity.received() {
                Received::FirstOfHead => self.line_ends.check_first(received),
                Received::MoreOfHead => self.line_ends.check(received),
                Received::Body => self.line_ends.skip(received),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.set_stalled(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.activity.set_stalled(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ends sending. If the client is still sending a body, discards the rest of it, within limits.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.activity.has_unread_body() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(Lingering::begin);
        if lingering.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(pause) = &mut lingering.pause {
            ready!(pause.as_mut().poll(context));
            lingering.pause = None;
        }
        let mut discarded = [0; LINGER_BUFFER];
        for _ in 0..LINGER_READS {
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer));
            let received = buffer.filled().len();
            lingering.remaining = lingering.remaining.saturating_sub(received);
            // A reset ends it as an end does: the client has gone.
            if read.is_err() || received == 0 || lingering.remaining == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let pause = pause_among(LINGERING.load(Ordering::Relaxed));
        lingering.pause = (!pause.is_zero()).then(|| Box::pin(sleep(pause)));
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_closed_connections_are_read_without_pause_and_many_with_a_limited_one() {
        assert_eq!(pause_among(3), Duration::ZERO);
        assert_eq!(pause_among(40), Duration::from_millis(10));
        assert_eq!(pause_among(5000), LONGEST_PAUSE);
    }
}
