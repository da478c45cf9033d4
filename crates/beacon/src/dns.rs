//! DNS messages (RFC 1035 §4), as far as asking for the addresses of a name needs them.
//!
//! Used by [`crate::resolve`]. Answers come from the network: whatever is in them, parsing ends and does not
//! panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which kind of address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    A,
    /// IPv6 (RFC 3596).
    Aaaa,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// Why an answer has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// It answers another question, or is no DNS message; keep waiting for the right one.
    #[error("the message does not answer the question")]
    NotOurs,
    /// The name server is sure that there is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The name server could not say.
    #[error("the name server failed with code {0}")]
    Failed(u8),
    /// It answers our question, but is cut off or malformed.
    #[error("the name server's answer is damaged")]
    Damaged,
}

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const RECURSION_DESIRED: u8 = 0x01;
const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;

/// A question for the addresses of `name`; `None` if no DNS name can look like that.
#[must_use]
pub fn question(name: &str, kind: Kind, id: u16) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > 253 {
        return None;
    }
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    message.extend(id.to_be_bytes());
    message.extend([RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.number().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Some(message)
}

/// The addresses in the answer to `question`. Records of other names are taken as well, as they are what the
/// name is an alias for.
pub fn addresses(message: &[u8], question: &[u8]) -> Result<Vec<IpAddr>, DnsError> {
    let (&[id_high, id_low, flags, code, 0, 1, answers_high, answers_low, ..], Some(asked)) =
        (message, question.get(HEADER..))
    else {
        return Err(DnsError::NotOurs);
    };
    let same_question =
        message.get(HEADER..HEADER + asked.len()).is_some_and(|echo| echo.eq_ignore_ascii_case(asked));
    if !question.starts_with(&[id_high, id_low]) || flags & RESPONSE == 0 || !same_question {
        return Err(DnsError::NotOurs);
    }
    match code & 0x0f {
        0 => {}
        3 => return Err(DnsError::NoSuchName),
        other => return Err(DnsError::Failed(other)),
    }
    let mut found = Vec::new();
    let mut rest = message.get(HEADER + asked.len()..).unwrap_or_default();
    for _ in 0..u16::from_be_bytes([answers_high, answers_low]) {
        let Some((address, after)) = record(rest) else {
            // What a truncated answer still holds is as good as the whole.
            return if flags & TRUNCATED != 0 { Ok(found) } else { Err(DnsError::Damaged) };
        };
        found.extend(address);
        rest = after;
    }
    Ok(found)
}

/// Takes one resource record off the front: its address if it is one, and what comes after.
fn record(bytes: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let rest = skip_name(bytes)?;
    let &[kind_high, kind_low, class_high, class_low, _, _, _, _, length_high, length_low, ..] = rest else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let data = rest.get(10..10 + length)?;
    let class = u16::from_be_bytes([class_high, class_low]);
    let kind = u16::from_be_bytes([kind_high, kind_low]);
    let address = if class != CLASS_IN {
        None
    } else if kind == Kind::A.number() {
        <[u8; 4]>::try_from(data).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
    } else if kind == Kind::Aaaa.number() {
        <[u8; 16]>::try_from(data).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
    } else {
        None
    };
    Some((address, rest.get(10 + length..)?))
}

/// Skips a name; a pointer (RFC 1035 §4.1.4) ends it and need not be followed.
fn skip_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        match *bytes.first()? {
            0 => return bytes.get(1..),
            length @ 1..=63 => bytes = bytes.get(1 + usize::from(length)..)?,
            0xc0.. => return bytes.get(2..),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(question: &[u8], code: u8, records: &[&[u8]]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] |= RESPONSE;
        message[3] = 0x80 | code;
        message[7] = records.len().try_into().expect("few");
        message.extend(records.concat());
        message
    }

    const ALIAS: &[u8] = &[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'x', 0xc0, 12];
    const V4: &[u8] = &[1, b'x', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 2, 2];
    const V6: &[u8] =
        &[0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 9, 0, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    #[test]
    fn a_question_looks_as_rfc_1035_says() {
        let message = question("Lab.example.", Kind::A, 0x1234).expect("a name");
        assert_eq!(message, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03Lab\x07example\0\0\x01\0\x01");
        for bad in ["", ".", "a..b", &"x".repeat(64), &"abc.".repeat(80)] {
            assert_eq!(question(bad, Kind::A, 1), None, "{bad}");
        }
    }

    #[test]
    fn aliases_and_both_kinds_of_address_are_understood() {
        let asked = question("lab", Kind::A, 7).expect("a name");
        let found = addresses(&answer(&asked, 0, &[ALIAS, V4, V6]), &asked).expect("addresses");
        assert_eq!(found, ["10.0.2.2".parse::<IpAddr>().expect("v4"), "fd00::1".parse().expect("v6")]);
    }

    #[test]
    fn failures_are_told_apart() {
        let asked = question("lab", Kind::A, 7).expect("a name");
        assert_eq!(addresses(&answer(&asked, 3, &[]), &asked), Err(DnsError::NoSuchName));
        assert_eq!(addresses(&answer(&asked, 2, &[]), &asked), Err(DnsError::Failed(2)));
        assert_eq!(addresses(&answer(&asked, 0, &[&V4[..9]]), &asked), Err(DnsError::Damaged));
        assert_eq!(addresses(&answer(&asked, 0, &[]), &asked), Ok(vec![]));
    }

    #[test]
    fn answers_to_other_questions_are_not_ours() {
        let asked = question("lab", Kind::A, 7).expect("a name");
        for other in
            [question("lab", Kind::A, 8), question("lax", Kind::A, 7), question("lab", Kind::Aaaa, 7)]
        {
            let message = answer(&other.expect("a name"), 0, &[V4]);
            assert_eq!(addresses(&message, &asked), Err(DnsError::NotOurs));
        }
        assert_eq!(addresses(&asked, &asked), Err(DnsError::NotOurs), "a question is no answer");
    }

    proptest! {
        #[test]
        fn any_message_is_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count: u8) {
            let asked = question("lab", Kind::A, 7).expect("a name");
            let _ = addresses(&bytes, &asked);
            let mut message = answer(&asked, 0, &[&bytes]);
            message[7] = count;
            let _ = addresses(&message, &asked);
        }

        #[test]
        fn any_name_is_judged_without_panic(name in ".{0,300}") {
            let _ = question(&name, Kind::Aaaa, 1);
        }
    }
}
