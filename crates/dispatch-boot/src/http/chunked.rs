//! Takes chunked bodies apart (RFC 9112 §7.1).

/// The longest line between chunks, in bytes.
const MAX_LINE: usize = 1024;

/// What came of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// There is more to come.
    More,
    /// The body is complete.
    Done,
    /// The body is longer than it may be.
    TooLong,
    /// This is not a chunked body.
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
}

/// A chunked body that is being read.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    line: Vec<u8>,
    body: Vec<u8>,
    limit: u64,
}

impl Decoder {
    /// A decoder for a body of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { state: State::Size, line: Vec::new(), body: Vec::new(), limit }
    }

    /// The body so far.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Takes more bytes. Returns what came of them, and how many of them belong to this body.
    pub fn feed(&mut self, bytes: &[u8]) -> (Chunked, usize) {
        let mut rest = bytes;
        let used = |rest: &[u8]| bytes.len() - rest.len();
        while !rest.is_empty() {
            if let State::Data(left) = self.state {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let (data, after) = rest.split_at(count);
                self.body.extend_from_slice(data);
                rest = after;
                let left = left - count as u64;
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(rest);
                // One more for the carriage return, whose line feed may come with the next bytes.
                let what = if self.line.len() > MAX_LINE + 1 { Chunked::Bad } else { Chunked::More };
                return (what, bytes.len());
            };
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            match self.take_line(&line) {
                Chunked::More => {}
                end => return (end, used(rest)),
            }
        }
        (Chunked::More, bytes.len())
    }

    fn take_line(&mut self, line: &[u8]) -> Chunked {
        let Some(line) = line.strip_suffix(b"\r").filter(|line| line.len() <= MAX_LINE) else {
            return Chunked::Bad;
        };
        match self.state {
            State::Size => {
                let Some(size) = chunk_size(line) else { return Chunked::Bad };
                if size > self.limit.saturating_sub(self.body.len() as u64) {
                    return Chunked::TooLong;
                }
                self.state = if size == 0 { State::Trailer } else { State::Data(size) };
            }
            State::DataEnd if line.is_empty() => self.state = State::Size,
            State::Trailer if line.is_empty() => return Chunked::Done,
            // What trailers say is of no interest.
            State::Trailer => {}
            State::DataEnd | State::Data(_) => return Chunked::Bad,
        }
        Chunked::More
    }
}

/// `chunk-size [ BWS ";" chunk-ext ]`, to the letter: a reader in front of us that is less lenient would see another
/// body (RFC 9112 §11.2).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let (digits, rest) = line.split_at(line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count());
    let extension = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if !matches!(extension, None | Some(b';')) || line.contains(&b'\r') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chunked_body_is_put_together() {
        let mut decoder = Decoder::new(100);
        let bytes = b"4\r\nWiki\r\n6;x=y\r\npedia \r\n0\r\nTrailer: t\r\n\r\nGET";
        assert_eq!(decoder.feed(bytes), (Chunked::Done, bytes.len() - 3));
        assert_eq!(decoder.into_body(), b"Wikipedia ");
    }

    #[test]
    fn a_body_over_the_limit_is_noticed_before_it_is_read() {
        assert_eq!(Decoder::new(10).feed(b"b\r\n").0, Chunked::TooLong);
        assert_eq!(Decoder::new(10).feed(b"ffffffffffffffff\r\n").0, Chunked::TooLong);
        assert_eq!(Decoder::new(10).feed(b"a\r\n0123456789\r\n1\r\n").0, Chunked::TooLong);
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        for bytes in [
            &b"x\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"4\nWiki",
            b"1\r\nab\r\n",
            b"fffffffffffffffff\r\n",
            b" 1\r\n",
            b"1 2\r\n",
            b"1\r;x\r\n",
            b"1\r\r\n",
        ] {
            assert_eq!(Decoder::new(100).feed(bytes).0, Chunked::Bad, "{bytes:?}");
        }
        assert_eq!(Decoder::new(100).feed(&[b'0'; MAX_LINE + 2]).0, Chunked::Bad);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut decoder = Decoder::new(100);
            for piece in pieces {
                let (_, used) = decoder.feed(&piece);
                prop_assert!(used <= piece.len());
            }
            prop_assert!(decoder.into_body().len() <= 100);
        }

        #[test]
        fn how_it_is_cut_does_not_matter(body in proptest::collection::vec(any::<u8>(), 1..200), chunk in 1..50_usize, piece in 1..50_usize) {
            let mut bytes = Vec::new();
            for data in body.chunks(chunk) {
                bytes.extend(format!("{:x}\r\n", data.len()).into_bytes());
                bytes.extend(data);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            let mut decoder = Decoder::new(1000);
            let results: Vec<Chunked> = bytes.chunks(piece).map(|piece| decoder.feed(piece).0).collect();
            prop_assert_eq!(results.last(), Some(&Chunked::Done));
            prop_assert_eq!(decoder.into_body(), body);
        }
    }
}
