//! The wire format: commands in, replies out.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// The arguments of a command.
pub(crate) type Args = Vec<Bytes>;

/// Takes the next whole command from the bytes that a client has sent.
pub(crate) fn take_command(buffer: &mut BytesMut) -> Option<Args> {
    let (count, mut at) = header(buffer, 0, b'*')?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, start) = header(buffer, at, b'$')?;
        at = start + len + 2;
        if buffer.len() < at {
            return None;
        }
        spans.push(start..start + len);
    }
    let whole = buffer.split_to(at).freeze();
    Some(spans.into_iter().map(|span| whole.slice(span)).collect())
}

fn header(buffer: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let rest = buffer.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    (rest.len() > end + 1).then_some(())?;
    assert_eq!(rest[0], kind, "not a command");
    let number = std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
    Some((number, at + end + 2))
}

/// A reply, or a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple(&'static str),
    Error(Cow<'static, str>),
    Int(i64),
    Bulk(Bytes),
    Nil,
    Array(Vec<Self>),
    /// EXEC of a transaction that was not executed.
    NilArray,
    /// Pairs; with RESP2 an array.
    Map(Vec<(Self, Self)>),
    /// Text; with RESP2 a bulk string.
    Verbatim(String),
    Push(Vec<Self>),
}

impl Reply {
    pub(crate) fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(text.into())
    }

    pub(crate) fn text(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// A text for a timeline.
    pub(crate) fn readable(&self) -> String {
        match self {
            Self::Bulk(bytes) => crate::trace::readable(bytes),
            Self::Array(items) | Self::Push(items) => {
                let items: Vec<String> = items.iter().map(Self::readable).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Simple(text) => (*text).to_owned(),
            Self::Error(text) => text.clone().into_owned(),
            Self::Int(number) => number.to_string(),
            Self::Nil | Self::NilArray => "nil".to_owned(),
            Self::Map(_) | Self::Verbatim(_) => "…".to_owned(),
        }
    }

    /// Appends the bytes on the wire.
    pub(crate) fn write(&self, out: &mut BytesMut, resp3: bool) {
        let mut line = |kind: char, text: &str| {
            out.extend_from_slice(format!("{kind}{text}\r\n").as_bytes());
        };
        match self {
            Self::Simple(text) => line('+', text),
            Self::Error(text) => line('-', text),
            Self::Int(number) => line(':', &number.to_string()),
            Self::Nil if resp3 => line('_', ""),
            Self::NilArray if resp3 => line('_', ""),
            Self::Nil => line('$', "-1"),
            Self::NilArray => line('*', "-1"),
            Self::Bulk(bytes) => {
                line('$', &bytes.len().to_string());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Verbatim(text) if resp3 => {
                line('=', &(text.len() + 4).to_string());
                out.extend_from_slice(format!("txt:{text}\r\n").as_bytes());
            }
            Self::Verbatim(text) => Self::Bulk(text.clone().into()).write(out, resp3),
            Self::Array(items) | Self::Push(items) => {
                let kind = if matches!(self, Self::Push(_)) {
                    '>'
                } else {
                    '*'
                };
                line(kind, &items.len().to_string());
                items.iter().for_each(|item| item.write(out, resp3));
            }
            Self::Map(pairs) => {
                match resp3 {
                    true => line('%', &pairs.len().to_string()),
                    false => line('*', &(pairs.len() * 2).to_string()),
                }
                for (key, value) in pairs {
                    key.write(out, resp3);
                    value.write(out, resp3);
                }
            }
        }
    }
}

/// Takes one whole reply or push from the bytes that a server has sent, as raw bytes.
pub(crate) fn take_reply(buffer: &mut BytesMut) -> Option<Bytes> {
    let len = reply_len(buffer)?;
    Some(buffer.split_to(len).freeze())
}

fn reply_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let number = || {
        std::str::from_utf8(&bytes[1..end])
            .ok()?
            .parse::<i64>()
            .ok()
    };
    let mut at = end + 2;
    match bytes[0] {
        b'$' | b'=' => {
            let len = number()?;
            at += usize::try_from(len).map_or(0, |len| len + 2);
        }
        kind @ (b'*' | b'>' | b'%') => {
            let count = number()?.max(0) * if kind == b'%' { 2 } else { 1 };
            for _ in 0..count {
                at += reply_len(bytes.get(at..)?)?;
            }
        }
        _ => {}
    }
    (bytes.len() >= at).then_some(at)
}
