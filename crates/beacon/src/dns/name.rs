//! Names as they are written in DNS messages (RFC 1035 §3.1), whose labels may hold any byte: the name of a
//! service instance is free text, dots and all (RFC 6763 §4.3).

use std::cmp::Ordering;
use std::fmt;

/// The longest name in bytes, its length bytes and the root included (RFC 1035 §3.1).
const MAX_BYTES: usize = 255;

/// A full name. The case of ASCII letters makes no difference (RFC 4343).
#[derive(Clone)]
pub struct Name(Vec<u8>);

impl Name {
    /// Reads a name in the usual form, with or without a dot at its end; `None` if no DNS name can look like
    /// that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut bytes = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            bytes.push(length);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        (bytes.len() <= MAX_BYTES).then_some(Self(bytes))
    }

    /// Reads the name that begins at `start` of a message, and tells where it ends there. A pointer (RFC 1035
    /// §4.1.4) may only lead to before what has been read of the name so far, so that reading ends.
    pub(super) fn read(message: &[u8], start: usize) -> Option<(Self, usize)> {
        let mut bytes = Vec::new();
        let (mut at, mut earliest, mut end) = (start, start, None);
        loop {
            let length = *message.get(at)?;
            match length {
                0 => {
                    bytes.push(0);
                    return (bytes.len() <= MAX_BYTES).then_some((Self(bytes), end.unwrap_or(at + 1)));
                }
                1..=63 => {
                    let after = at + 1 + usize::from(length);
                    bytes.extend(message.get(at..after)?);
                    at = after;
                }
                0xc0.. => {
                    let low = *message.get(at + 1)?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    end.get_or_insert(at + 2);
                    if target >= earliest {
                        return None;
                    }
                    (at, earliest) = (target, target);
                }
                _ => return None,
            }
            if bytes.len() > MAX_BYTES {
                return None;
            }
        }
    }

    /// The name as a message has it, not compressed.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first label and the name that is left without it; `None` for the root.
    #[must_use]
    pub fn split_first(&self) -> Option<(&[u8], Self)> {
        let label = self.labels().next()?;
        Some((label, Self(self.0.get(1 + label.len()..)?.to_vec())))
    }

    /// The labels, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            (!label.is_empty()).then_some(label)
        })
    }

    /// Whether this is the root, which as the target of a service says that there is none (RFC 2782).
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == [0]
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Length bytes are below the letters, so that they are left alone.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        let labels = |name: &Self| name.labels().map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>();
        labels(self).cmp(&labels(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels().try_for_each(|label| write!(to, "{}.", String::from_utf8_lossy(label).escape_debug()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_compressed_name_is_put_together() {
        let message = b"\x03lab\x07example\0\x01a\xc0\x00\xc0\x0d";
        let whole = Name::parse("A.Lab.example").expect("a name");
        assert_eq!(Name::read(message, 13), Some((whole.clone(), 17)));
        assert_eq!(Name::read(message, 17), Some((whole, 19)));
    }

    #[test]
    fn a_pointer_that_does_not_lead_back_is_refused() {
        for message in [&b"\xc0\x00"[..], b"\xc0\x02\0", b"\x01a\xc0\x00", b"\xc0\x05\0\0\0\0"] {
            assert_eq!(Name::read(message, 0), None, "{message:?}");
        }
        assert_eq!(Name::read(b"\0\x01a\xc0\x01", 1), None, "to itself");
    }

    #[test]
    fn a_label_with_a_dot_is_one_label() {
        let (name, _) = Name::read(b"\x05lab.1\x09_dispatch\0", 0).expect("a name");
        let (label, rest) = name.split_first().expect("a label");
        assert_eq!((label, rest), (&b"lab.1"[..], Name::parse("_dispatch").expect("a name")));
    }

    #[test]
    fn names_are_in_order_of_their_labels() {
        let name = |text| Name::parse(text).expect("a name");
        assert!(name("a-long-one.x") < name("B.x") && name("b.x") < name("b.y"));
        assert_eq!(name("b.X").cmp(&name("B.x")), Ordering::Equal);
        assert_eq!(name("lab.Example.").to_string(), "lab.Example.");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0xc0..=0xc1u8, 0..4u8], 0..300),
            at in 0..300usize,
        ) {
            if let Some((name, end)) = Name::read(&bytes, at) {
                prop_assert!(end <= bytes.len() && name.as_bytes().len() <= MAX_BYTES);
                prop_assert_eq!(Name::read(name.as_bytes(), 0), Some((name.clone(), name.as_bytes().len())));
                let _ = name.to_string();
            }
        }

        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,300}") {
            let _ = Name::parse(&text);
        }
    }
}
