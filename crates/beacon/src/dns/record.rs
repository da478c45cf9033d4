//! Resource records (RFC 1035 §4.1.3), as far as finding a service needs them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Kind;
use super::name::Name;

const CLASS_IN: u16 = 1;
/// In multicast answers the upper bit of the class says that older records are to be forgotten (RFC 6762
/// §10.2). Nobody who reads this keeps any.
const CACHE_FLUSH: u16 = 0x8000;

/// A resource record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub name: Name,
    /// For how many seconds it may be kept. In multicast answers, 0 is a goodbye (RFC 6762 §10.1).
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// PTR.
    Pointer(Name),
    /// SRV.
    Service(Service),
    /// TXT: its strings, each of any bytes.
    Text(Vec<Vec<u8>>),
    /// Something else.
    Other,
}

/// Where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The lowest is to be asked first.
    pub priority: u16,
    /// Among those of one priority, the one with more gets more visitors.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its host.
    pub target: Name,
}

impl Record {
    /// Reads the record that begins at `start` of a message, and tells where it ends there; `None` if it is
    /// damaged.
    pub(super) fn read(message: &[u8], start: usize) -> Option<(Self, usize)> {
        let (name, at) = Name::read(message, start)?;
        let &[kind_high, kind_low, class_high, class_low, a, b, c, d, length_high, length_low] =
            message.get(at..at + 10)?
        else {
            return None;
        };
        let from = at + 10;
        let end = from + usize::from(u16::from_be_bytes([length_high, length_low]));
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let is_internet = u16::from_be_bytes([class_high, class_low]) & !CACHE_FLUSH == CLASS_IN;
        // Names in the data may point back into the message, which therefore must come along; but not ahead.
        let before_end = message.get(..end)?;
        let data = match is_internet.then(|| Kind::of_number(kind)).flatten() {
            Some(kind) => Data::read(kind, before_end, from)?,
            None => Data::Other,
        };
        Some((Self { name, ttl: u32::from_be_bytes([a, b, c, d]), data }, end))
    }
}

impl Data {
    fn read(kind: Kind, message: &[u8], from: usize) -> Option<Self> {
        let data = message.get(from..)?;
        Some(match kind {
            Kind::A => Self::Address(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
            Kind::Aaaa => Self::Address(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?))),
            Kind::Ptr => Self::Pointer(whole_name(message, from)?),
            Kind::Srv => {
                let &[p_high, p_low, w_high, w_low, port_high, port_low] = data.get(..6)? else {
                    return None;
                };
                Self::Service(Service {
                    priority: u16::from_be_bytes([p_high, p_low]),
                    weight: u16::from_be_bytes([w_high, w_low]),
                    port: u16::from_be_bytes([port_high, port_low]),
                    target: whole_name(message, from + 6)?,
                })
            }
            Kind::Txt => Self::Text(strings(data)?),
        })
    }
}

/// A name that fills the rest of the data.
fn whole_name(message: &[u8], from: usize) -> Option<Name> {
    let (name, end) = Name::read(message, from)?;
    (end == message.len()).then_some(name)
}

fn strings(mut data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        let (string, after) = rest.split_at_checked(usize::from(length))?;
        strings.push(string.to_vec());
        data = after;
    }
    Some(strings)
}
