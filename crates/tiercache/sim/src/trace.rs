//! The trace of a history: a hash of every event, and on demand their texts.

/// A recorded event.
pub(crate) struct Line {
    /// Milliseconds since the start.
    pub(crate) at: u64,
    pub(crate) who: Who,
    pub(crate) text: String,
}

/// A column of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    World,
    Valkey,
    Database,
    Process(usize),
}

/// The events of a history.
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Vec<Line>>,
}

const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Trace {
    pub(crate) fn new(is_recorded: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            lines: is_recorded.then(Vec::new),
        }
    }

    /// Adds numbers to the hash.
    pub(crate) fn add(&mut self, numbers: &[u64]) {
        self.events += 1;
        for number in numbers {
            self.hash = (self.hash ^ number).wrapping_mul(PRIME).rotate_left(23);
        }
    }

    /// Adds bytes to the hash.
    pub(crate) fn add_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.add(&[at, bytes.len() as u64]);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.hash = (self.hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME);
        }
    }

    /// Whether texts are wanted.
    pub(crate) fn is_recorded(&self) -> bool {
        self.lines.is_some()
    }

    /// Records a text, if texts are wanted.
    pub(crate) fn line(&mut self, at: u64, who: Who, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let text = text();
            lines.push(Line { at, who, text });
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn take_lines(&mut self) -> Vec<Line> {
        self.lines.take().unwrap_or_default()
    }
}

/// Bytes of the protocol as a text: markers by their names.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let nonce = |text: &str| {
        let mut hash = 0_u32;
        for byte in text.bytes() {
            hash = hash.wrapping_mul(31).wrapping_add(u32::from(byte));
        }
        format!("{:04x}", hash >> 16)
    };
    match (text.get(..5), text.len()) {
        (Some("null\t"), 69) => format!("lease:{}", nonce(&text)),
        (Some("null\n"), 69) => format!("fence:{}", nonce(&text[..68])),
        (Some("null\r"), 69) => format!("generation:{}", nonce(&text)),
        _ if text.len() > 80 => format!("{} bytes", text.len()),
        _ => text.trim_end().to_owned(),
    }
}
