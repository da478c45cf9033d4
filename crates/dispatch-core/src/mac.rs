//! MAC addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A MAC address (IEEE 802 EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it can stand for one network card: neither all zeros (loopback) nor multicast.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a MAC address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a MAC address: write six pairs of hexadecimal digits, such as 52:54:00:12:34:56")]
pub struct NotAMac(String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mac = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut mac {
            *byte = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| NotAMac(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(NotAMac(text.to_owned()));
        }
        Ok(Self(mac))
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn macs_are_read_in_both_usual_forms_and_nothing_else() {
        assert_eq!("52-54-00-AA-bb-01".parse::<Mac>().expect("a MAC").to_string(), "52:54:00:aa:bb:01");
        for text in ["", "52:54:00:00:00", "52:54:00:00:00:00:01", "5:54:0:0:0:0", "52:54:00:00:00:+1"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_zeros_and_multicast_are_no_identity() {
        assert!(!Mac([0; 6]).is_unicast());
        assert!(!Mac([1, 0, 0x5e, 0, 0, 1]).is_unicast());
        assert!(Mac([0x52, 0x54, 0, 0, 0, 1]).is_unicast());
    }

    proptest! {
        #[test]
        fn any_text_is_a_mac_or_none(text in ".*") {
            let _ = text.parse::<Mac>();
        }

        #[test]
        fn a_mac_reads_what_it_writes(bytes: [u8; 6]) {
            prop_assert_eq!(Mac(bytes).to_string().parse::<Mac>().ok(), Some(Mac(bytes)));
        }
    }
}
