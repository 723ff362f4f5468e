//! A check of JSON syntax in constant memory, for bodies of callers who are not known yet.
//!
//! Accepts what the parser accepts, and lone surrogates, but builds no tree and keeps no text: the state is the kind of
//! each open container, a bit each. Works on chunks, as they arrive.

/// The deepest nesting that the parser accepts.
const MAX_DEPTH: u32 = 127;

/// The state of a check.
#[derive(Debug, Clone)]
pub struct SyntaxCheck {
    state: State,
    /// The open containers, the innermost in the lowest bit; set for objects.
    containers: u128,
    depth: u32,
    nodes: usize,
}

/// What may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value.
    Value,
    /// A value, or the end of an array that has just begun.
    ItemOrEnd,
    /// A key, or the end of an object that has just begun.
    KeyOrEnd,
    /// A key.
    Key,
    /// The colon after a key.
    Colon,
    /// A comma or the end of a container, or of the text.
    AfterValue,
    /// The rest of a string.
    Text { is_key: bool, escape: Escape },
    /// The rest of a number.
    Number(Number),
    /// The rest of `null`, `true` or `false`.
    Literal(&'static [u8]),
    /// Nothing: the text is invalid.
    Invalid,
}

/// The part of an escape sequence that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Backslash,
    /// `\u` with this many of its four digits missing.
    Digits(u8),
}

/// The part of a number that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Default for SyntaxCheck {
    fn default() -> Self {
        Self {
            state: State::Value,
            containers: 0,
            depth: 0,
            nodes: 0,
        }
    }
}

impl SyntaxCheck {
    /// Checks the next part of a text, whose encoding is checked elsewhere.
    pub fn push(&mut self, mut chunk: &[u8]) {
        while let Some((first, rest)) = chunk.split_first() {
            chunk = match self.state {
                State::Invalid => return,
                State::Text {
                    escape: Escape::None,
                    ..
                } => {
                    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
                    match chunk.iter().position(ends) {
                        None => return,
                        Some(0) => {
                            self.step(*first);
                            rest
                        }
                        Some(plain) => &chunk[plain..],
                    }
                }
                _ => {
                    self.step(*first);
                    rest
                }
            };
        }
    }

    /// Returns true if the text, which ends here, is one JSON value.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let ended = match self.state {
            State::AfterValue => true,
            State::Number(number) => number.may_end(),
            _ => false,
        };
        ended && self.depth == 0
    }

    /// Returns true if the text so far may be the beginning of a JSON value.
    #[must_use]
    pub fn may_continue(&self) -> bool {
        self.state != State::Invalid
    }

    /// The values and keys so far.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    fn step(&mut self, byte: u8) {
        let blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.state = match self.state {
            State::Text { is_key, escape } => text(is_key, escape, byte),
            State::Number(number) => match number.next(byte) {
                Some(number) => State::Number(number),
                None if number.may_end() => {
                    self.state = State::AfterValue;
                    return self.step(byte);
                }
                None => State::Invalid,
            },
            State::Literal(rest) => match rest.split_first() {
                Some((expected, [])) if *expected == byte => State::AfterValue,
                Some((expected, rest)) if *expected == byte => State::Literal(rest),
                _ => State::Invalid,
            },
            State::Invalid => State::Invalid,
            state if blank => state,
            State::ItemOrEnd if byte == b']' => self.close(),
            State::Value | State::ItemOrEnd => self.begin(byte),
            State::KeyOrEnd if byte == b'}' => self.close(),
            State::KeyOrEnd | State::Key if byte == b'"' => {
                self.nodes += 1;
                State::Text {
                    is_key: true,
                    escape: Escape::None,
                }
            }
            State::Colon if byte == b':' => State::Value,
            State::AfterValue => self.after_value(byte),
            State::KeyOrEnd | State::Key | State::Colon => State::Invalid,
        };
    }

    fn begin(&mut self, byte: u8) -> State {
        self.nodes += 1;
        match byte {
            b'[' => self.open(false, State::ItemOrEnd),
            b'{' => self.open(true, State::KeyOrEnd),
            b'"' => State::Text {
                is_key: false,
                escape: Escape::None,
            },
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Digits),
            b'n' => State::Literal(b"ull"),
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            _ => State::Invalid,
        }
    }

    fn open(&mut self, is_object: bool, next: State) -> State {
        if self.depth == MAX_DEPTH {
            return State::Invalid;
        }
        self.depth += 1;
        self.containers = self.containers << 1 | u128::from(is_object);
        next
    }

    fn close(&mut self) -> State {
        self.depth -= 1;
        self.containers >>= 1;
        State::AfterValue
    }

    fn after_value(&mut self, byte: u8) -> State {
        let in_object = self.containers & 1 == 1;
        match byte {
            _ if self.depth == 0 => State::Invalid,
            b',' if in_object => State::Key,
            b',' => State::Value,
            b'}' if in_object => self.close(),
            b']' if !in_object => self.close(),
            _ => State::Invalid,
        }
    }
}

/// The state after a byte of a string.
fn text(is_key: bool, escape: Escape, byte: u8) -> State {
    let next = match (escape, byte) {
        (Escape::None, b'"') if is_key => return State::Colon,
        (Escape::None, b'"') => return State::AfterValue,
        (Escape::None, b'\\') => Escape::Backslash,
        (Escape::None, 0x20..) => Escape::None,
        (Escape::Backslash, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::None,
        (Escape::Backslash, b'u') => Escape::Digits(4),
        (Escape::Digits(1), digit) if digit.is_ascii_hexdigit() => Escape::None,
        (Escape::Digits(missing), digit) if digit.is_ascii_hexdigit() => {
            Escape::Digits(missing - 1)
        }
        _ => return State::Invalid,
    };
    State::Text {
        is_key,
        escape: next,
    }
}

impl Number {
    fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Digits | Self::Fraction | Self::ExponentDigits
        )
    }

    /// The state after a further byte, if it belongs to the number.
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Some(Self::Digits),
            (Self::Zero | Self::Digits, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Some(Self::ExponentDigits)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
