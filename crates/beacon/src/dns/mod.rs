//! DNS messages (RFC 1035 §4), as far as asking for the addresses of a name and for the servers of a service
//! needs them; by multicast as well (RFC 6762).
//!
//! Used by [`crate::resolve`] and [`crate::find`]. Answers come from the network: whatever is in them, parsing
//! ends and does not panic.

mod name;
mod record;

use std::net::IpAddr;

pub use name::Name;
pub use record::{Data, Record, Service};

/// Which kind of record is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// Another name: for a service, its instances.
    Ptr,
    /// Settings of a service.
    Txt,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// Host and port of a service (RFC 2782).
    Srv,
}

impl Kind {
    const ALL: [Self; 5] = [Self::A, Self::Ptr, Self::Txt, Self::Aaaa, Self::Srv];

    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ptr => 12,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }

    fn of_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Why an answer is of no use.
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

/// What a name server answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for. Records of other names are among them, as they are what the name is an alias for.
    pub records: Vec<Record>,
    /// What comes with it, unasked (the additional section).
    pub more: Vec<Record>,
}

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const RECURSION_DESIRED: u8 = 0x01;
const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;

/// A question to a name server.
#[must_use]
pub fn question(name: &Name, kind: Kind, id: u16) -> Vec<u8> {
    message(name, kind, id, RECURSION_DESIRED)
}

/// A question to whoever is on the link (RFC 6762 §5.1: one that takes the answer by unicast and keeps nothing).
#[must_use]
pub fn multicast_question(name: &Name, kind: Kind, id: u16) -> Vec<u8> {
    message(name, kind, id, 0)
}

fn message(name: &Name, kind: Kind, id: u16, flags: u8) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + name.as_bytes().len() + 4);
    message.extend(id.to_be_bytes());
    message.extend([flags, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(name.as_bytes());
    message.extend(kind.number().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// The answer to `question`, if `message` is that.
pub fn answer(message: &[u8], question: &[u8]) -> Result<Answer, DnsError> {
    let (Some(header), Some(asked)) = (Header::read(message), question.get(HEADER..)) else {
        return Err(DnsError::NotOurs);
    };
    let echo = message.get(HEADER..HEADER + asked.len());
    let same_question = header.questions == 1 && echo.is_some_and(|echo| echo.eq_ignore_ascii_case(asked));
    if !question.starts_with(&header.id.to_be_bytes()) || !header.is_response || !same_question {
        return Err(DnsError::NotOurs);
    }
    match header.code {
        0 => {}
        3 => return Err(DnsError::NoSuchName),
        other => return Err(DnsError::Failed(other)),
    }
    let mut records = Records { message, at: HEADER + asked.len() };
    let found = records.take(header.answers);
    if found.len() < usize::from(header.answers) {
        // What a truncated answer still holds is as good as the whole.
        return if header.is_truncated {
            Ok(Answer { records: found, more: Vec::new() })
        } else {
            Err(DnsError::Damaged)
        };
    }
    let authorities = records.take(header.authorities);
    let more = if authorities.len() == usize::from(header.authorities) {
        records.take(header.additional)
    } else {
        Vec::new()
    };
    Ok(Answer { records: found, more })
}

/// The addresses in the answer to `question`.
pub fn addresses(message: &[u8], question: &[u8]) -> Result<Vec<IpAddr>, DnsError> {
    let address = |record: Record| match record.data {
        Data::Address(address) => Some(address),
        _ => None,
    };
    Ok(answer(message, question)?.records.into_iter().filter_map(address).collect())
}

/// All that somebody on the link says in answer to questions with the number `id`, which is repeated for those
/// who ask only once (RFC 6762 §6.7). Of a damaged message, what comes before the damage.
#[must_use]
pub fn multicast_records(message: &[u8], id: u16) -> Vec<Record> {
    let Some(header) = Header::read(message).filter(|header| header.is_response && header.id == id) else {
        return Vec::new();
    };
    let mut at = HEADER;
    for _ in 0..header.questions {
        let Some((_, end)) = Name::read(message, at) else { return Vec::new() };
        at = end + 4;
    }
    let count =
        [header.answers, header.authorities, header.additional].into_iter().fold(0, u16::saturating_add);
    Records { message, at }.take(count)
}

struct Header {
    id: u16,
    is_response: bool,
    is_truncated: bool,
    code: u8,
    questions: u16,
    answers: u16,
    authorities: u16,
    additional: u16,
}

impl Header {
    fn read(message: &[u8]) -> Option<Self> {
        let &[id, [flags, code], questions, answers, authorities, additional] =
            message.get(..HEADER)?.as_chunks::<2>().0
        else {
            return None;
        };
        Some(Self {
            id: u16::from_be_bytes(id),
            is_response: flags & RESPONSE != 0,
            is_truncated: flags & TRUNCATED != 0,
            code: code & 0x0f,
            questions: u16::from_be_bytes(questions),
            answers: u16::from_be_bytes(answers),
            authorities: u16::from_be_bytes(authorities),
            additional: u16::from_be_bytes(additional),
        })
    }
}

/// The records from somewhere in a message on.
struct Records<'a> {
    message: &'a [u8],
    at: usize,
}

impl Records<'_> {
    /// The next `count`, or those before the first damaged one.
    fn take(&mut self, count: u16) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..count {
            let Some((record, end)) = Record::read(self.message, self.at) else { break };
            self.at = end;
            records.push(record);
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &str, kind: Kind, id: u16) -> Option<Vec<u8>> {
        Some(super::question(&Name::parse(name)?, kind, id))
    }

    fn response(question: &[u8], code: u8, records: &[&[u8]]) -> Vec<u8> {
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
        let found = addresses(&response(&asked, 0, &[ALIAS, V4, V6]), &asked).expect("addresses");
        assert_eq!(found, ["10.0.2.2".parse::<IpAddr>().expect("v4"), "fd00::1".parse().expect("v6")]);
    }

    #[test]
    fn failures_are_told_apart() {
        let asked = question("lab", Kind::A, 7).expect("a name");
        assert_eq!(addresses(&response(&asked, 3, &[]), &asked), Err(DnsError::NoSuchName));
        assert_eq!(addresses(&response(&asked, 2, &[]), &asked), Err(DnsError::Failed(2)));
        assert_eq!(addresses(&response(&asked, 0, &[&V4[..9]]), &asked), Err(DnsError::Damaged));
        assert_eq!(addresses(&response(&asked, 0, &[]), &asked), Ok(vec![]));
    }

    #[test]
    fn answers_to_other_questions_are_not_ours() {
        let asked = question("lab", Kind::A, 7).expect("a name");
        for other in
            [question("lab", Kind::A, 8), question("lax", Kind::A, 7), question("lab", Kind::Aaaa, 7)]
        {
            let message = response(&other.expect("a name"), 0, &[V4]);
            assert_eq!(addresses(&message, &asked), Err(DnsError::NotOurs));
        }
        assert_eq!(addresses(&asked, &asked), Err(DnsError::NotOurs), "a question is no answer");
    }

    const INSTANCE: &[u8] = &[0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'x', 0xc0, 12];

    #[test]
    fn what_comes_with_an_answer_is_kept_apart_from_it() {
        let asked = question("_dispatch._tcp.lab", Kind::Ptr, 7).expect("a name");
        let mut message = response(&asked, 0, &[INSTANCE, V4, V6]);
        (message[7], message[9], message[11]) = (1, 1, 1);
        let found = answer(&message, &asked).expect("an answer");
        let instance = Name::parse("x._dispatch._tcp.lab").expect("a name");
        assert_eq!(found.records[0].data, Data::Pointer(instance));
        assert_eq!((found.records.len(), found.more.len()), (1, 1));
        assert_eq!(found.more[0].data, Data::Address("fd00::1".parse().expect("v6")));
    }

    #[test]
    fn service_and_text_records_are_understood() {
        let service: &[u8] =
            &[0xc0, 12, 0, 33, 0x80, 1, 0, 0, 0, 9, 0, 10, 0, 1, 0, 2, 0x1f, 0x90, 1, b'h', 0xc0, 12];
        let text: &[u8] =
            &[0xc0, 12, 0, 16, 0x80, 1, 0, 0, 0, 9, 0, 9, 6, b'p', b'a', b't', b'h', b'=', b'/', 1, 0xff];
        let asked = multicast_question(&Name::parse("lab").expect("a name"), Kind::Srv, 7);
        let found = multicast_records(&response(&asked, 0, &[service, text]), 7);
        let target = Name::parse("h.lab").expect("a name");
        let expected = Service { priority: 1, weight: 2, port: 8080, target };
        assert_eq!(found[0].data, Data::Service(expected));
        assert_eq!(found[1].data, Data::Text(vec![b"path=/".to_vec(), vec![0xff]]));
        assert_eq!(multicast_records(&response(&asked, 0, &[text]), 8), [], "another's question");
    }

    proptest! {
        #[test]
        fn any_message_is_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count: u8) {
            let asked = question("lab", Kind::A, 7).expect("a name");
            let _ = addresses(&bytes, &asked);
            let mut message = response(&asked, 0, &[&bytes]);
            message[7] = count;
            let _ = addresses(&message, &asked);
            (message[5], message[9], message[11]) = (0, count, count);
            let _ = multicast_records(&message, 7);
            let _ = multicast_records(&bytes, 7);
        }
    }
}
