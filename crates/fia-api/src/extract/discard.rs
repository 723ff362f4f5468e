//! The bodies of unknown callers: received in constant memory, only to check their syntax, since the
//! older server reports invalid JSON even to them. Only the beginning is checked: the work that a
//! stranger causes is limited.

use std::ops::ControlFlow;

use http::HeaderMap;

use crate::error::ApiError;
use crate::extract::body::{BOM, is_json, syntax_error};
use crate::extract::receive::Transfer;
use crate::model::json::SyntaxCheck;

/// The part of a body that is checked, in bytes. The rest of a longer one is not awaited, unless its
/// length is unknown and may exceed the limit.
const MAX_CHECKED: usize = 64 * 1024;

/// Receives a body, or the beginning of a longer one, and checks its syntax.
///
/// # Errors
/// As [`Transfer::chunks`]; and if the body is to be JSON and is not.
pub(super) async fn discard(headers: &HeaderMap, transfer: Transfer) -> Result<(), ApiError> {
    let mut check = is_json(headers).then(TextCheck::default);
    let has_length = transfer.has_length();
    let mut left = MAX_CHECKED;
    transfer
        .chunks(|chunk| {
            let (part, is_longer) = match chunk.get(..left) {
                Some(part) => (part, chunk.len() > left),
                None => (&*chunk, false),
            };
            left -= part.len();
            if let Some(check) = &mut check {
                check.push(part);
                check.is_cut |= is_longer;
            }
            if is_longer && has_length {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await?;
    check.map_or(Ok(()), TextCheck::finish)
}

/// Checks the encoding and the JSON syntax of a text that arrives in chunks.
#[derive(Default)]
struct TextCheck {
    received: bool,
    is_invalid: bool,
    /// The beginning of a character whose rest is in the next chunk.
    unfinished: Vec<u8>,
    begun: bool,
    /// The text goes on, but is not checked any further.
    is_cut: bool,
    syntax: SyntaxCheck,
}

impl TextCheck {
    fn push(&mut self, mut chunk: &[u8]) {
        self.received |= !chunk.is_empty();
        while let Some((byte, rest)) = chunk.split_first().filter(|_| !self.unfinished.is_empty()) {
            self.unfinished.push(*byte);
            chunk = rest;
            let character = std::mem::take(&mut self.unfinished);
            self.text(&character);
        }
        self.text(chunk);
    }

    fn text(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.characters(text),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                // Cannot be empty by mistake: this part is valid.
                self.characters(std::str::from_utf8(valid).unwrap_or_default());
                match error.error_len() {
                    Some(_) => self.is_invalid = true,
                    None => self.unfinished = rest.to_vec(),
                }
            }
        }
    }

    fn characters(&mut self, mut text: &str) {
        if !self.begun {
            text = text.trim_start_matches(BOM);
            self.begun = !text.is_empty();
        }
        self.syntax.push(text.as_bytes());
    }

    fn finish(self) -> Result<(), ApiError> {
        let is_json = match self.is_cut {
            true => self.syntax.may_continue(),
            false => self.syntax.is_complete() || !self.received,
        };
        if self.is_invalid || !(self.is_cut || self.unfinished.is_empty()) {
            Err(ApiError::UnreadableBody)
        } else if is_json {
            Ok(())
        } else {
            Err(syntax_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::body::tree;

    fn judged_whole(text: &[u8]) -> Result<(), ApiError> {
        let text = std::str::from_utf8(text).map_err(|_| ApiError::UnreadableBody)?;
        tree(text.trim_start_matches(BOM)).map(drop)
    }

    /// Checked in chunks of any size, a text gets the verdict that parsing it as a whole gives.
    #[test]
    fn texts_in_chunks_are_judged_as_a_whole() {
        let mut texts: Vec<&[u8]> = vec![
            b"\xff{}",
            b"{}\xe2\x82",
            b"{\"\xe2\x28\xa1\":1}",
            b"\xef\xbb{}",
        ];
        for text in [
            "{}",
            "\u{feff}{}",
            "\u{feff}\u{feff}[1]",
            "{}\u{feff}",
            "\u{feff}",
            "[\"\u{20ac}\u{1f600}\"]",
            "[\u{20ac}]",
            "nope",
        ] {
            texts.push(text.as_bytes());
        }
        for text in texts {
            for size in 1..=text.len() {
                let mut check = TextCheck::default();
                text.chunks(size).for_each(|chunk| check.push(chunk));
                let (found, expected) = (check.finish(), judged_whole(text));
                assert_eq!(found, expected, "{text:?} in chunks of {size}");
            }
        }
        assert!(TextCheck::default().finish().is_ok());
    }

    #[test]
    fn the_beginning_of_a_text_is_judged_by_itself() {
        for (text, expected) in [
            (&b"[1, {\"a"[..], Ok(())),
            (b"[\"\xe2\x82", Ok(())),
            (b"[1}", Err(syntax_error())),
            (b"[\"\xe2\x28", Err(ApiError::UnreadableBody)),
        ] {
            let mut check = TextCheck::default();
            check.push(text);
            check.is_cut = true;
            assert_eq!(check.finish(), expected, "{text:?}");
        }
    }
}
