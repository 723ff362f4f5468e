//! The bodies of unknown callers: received in constant memory, only to check their syntax, since the
//! older server reports invalid JSON even to them.

use http::HeaderMap;

use crate::error::ApiError;
use crate::extract::body::{BOM, is_json, syntax_error};
use crate::extract::receive::Transfer;
use crate::model::json::SyntaxCheck;

/// Receives a body and checks its syntax.
///
/// # Errors
/// As [`Transfer::chunks`]; and if the body is to be JSON and is not.
pub(super) async fn discard(headers: &HeaderMap, transfer: Transfer) -> Result<(), ApiError> {
    let mut check = is_json(headers).then(TextCheck::default);
    transfer
        .chunks(|chunk| {
            if let Some(check) = &mut check {
                check.push(&chunk);
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
        if self.is_invalid || !self.unfinished.is_empty() {
            Err(ApiError::UnreadableBody)
        } else if self.syntax.is_complete() || !self.received {
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
}
