//! Line ends in the heads of requests.
//!
//! The HTTP library takes a bare LF as the end of a line. A proxy in front that does not sees
//! another request than this server (request smuggling), so a head with one is refused.

/// A byte that is valid nowhere in a head: the library refuses it with 400.
const INVALID: u8 = 0;
const END_OF_HEAD: [u8; 4] = *b"\r\n\r\n";

/// The state of the check, across reads.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    /// The last bytes received.
    tail: [u8; 3],
    /// The head is complete: what follows is a body, or a request that was sent before the response
    /// to this one.
    is_complete: bool,
}

impl LineEnds {
    /// Checks the first bytes of a head.
    pub(super) fn check_first(&mut self, received: &mut [u8]) {
        self.is_complete = false;
        self.check(received);
    }

    /// Checks more of a head: makes bare line feeds invalid. What follows the head stays as it is.
    pub(super) fn check(&mut self, received: &mut [u8]) {
        let mut from = 0;
        while !self.is_complete
            && let Some(offset) = memchr::memchr(b'\n', &received[from..])
        {
            let at = from + offset;
            if self.before(received, at, 1) != b'\r' {
                received[at] = INVALID;
            } else if (2..4).all(|back| self.before(received, at, back) == END_OF_HEAD[3 - back]) {
                self.is_complete = true;
            }
            from = at + 1;
        }
        self.skip(received);
    }

    /// Notes bytes that are not to be checked.
    pub(super) fn skip(&mut self, received: &[u8]) {
        let tail = [3, 2, 1].map(|back| self.before(received, received.len(), back));
        self.tail = tail;
    }

    /// The byte `back` bytes before an index, which may have come with an earlier read.
    fn before(&self, received: &[u8], index: usize, back: usize) -> u8 {
        match index.checked_sub(back) {
            Some(index) => received[index],
            None => self.tail[3 + index - back],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a request in reads of a size; returns what the library would get.
    fn checked(request: &[u8], size: usize) -> Vec<u8> {
        let mut line_ends = LineEnds::default();
        let mut bytes = request.to_vec();
        for (i, read) in bytes.chunks_mut(size).enumerate() {
            if i == 0 {
                line_ends.check_first(read);
            } else {
                line_ends.check(read);
            }
        }
        bytes
    }

    #[test]
    fn bare_line_feeds_of_the_head_are_made_invalid() {
        for request in [
            &b"GET / HTTP/1.1\nhost: x\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nhost: x\n\r\n",
            b"GET / HTTP/1.1\r\nhost: x\r\n\n",
            b"\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            for size in 1..=request.len() {
                let found = checked(request, size);
                assert_eq!(
                    found.iter().filter(|byte| **byte == 0).count(),
                    1,
                    "{request:?}"
                );
            }
        }
    }

    #[test]
    fn a_body_stays_as_it_is() {
        let request = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\na\n\nb\n\r\n\r\n";
        for size in 1..=request.len() {
            assert_eq!(checked(request, size), request);
        }
    }

    #[test]
    fn the_head_of_a_second_request_is_checked_again() {
        let mut line_ends = LineEnds::default();
        line_ends.check_first(&mut b"PUT / HTTP/1.1\r\n\r\n".to_vec());
        line_ends.skip(b"{\"a\":\n1}");
        let mut second = b"GET / HTTP/1.1\n\n".to_vec();
        line_ends.check_first(&mut second);
        assert_eq!(second, b"GET / HTTP/1.1\0\0");
    }
}
