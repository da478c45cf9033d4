//! Identifiers. All are UUIDs of version 7 (RFC 9562 §5.7), so that they sort by the time they were made;
//! time and randomness are arguments.
//!
//! Whoever knows a [`RunId`] may report for its run. It is told to the image that runs and to nobody else: what other
//! people read, as issues, names a run by its [`RunName`].

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// In which runs have their public names. Never to be changed: it is in issues by now.
const RUN_NAMES: Uuid = Uuid::from_u128(0x6f1d_2a57_93c4_5be0_8a1f_d04e_7b29_c3f6);

/// Makes a version 7 UUID from a time and ten random bytes.
#[must_use]
pub fn uuid_v7(now: Timestamp, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// An identifier made at `now` from ten random bytes.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(uuid_v7(now, random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// One entry in a queue.
    JobId
    /// One attempt of a job on one target. It is random enough that nobody guesses it: whoever knows it
    /// may report for the run. What leaves the house has its [public name](RunId::public_name) instead.
    RunId
    /// A bare-metal server.
    HostId
    /// One version of something that can be run.
    WorkloadId
    /// One report of a run.
    ReportId
}

impl JobId {
    /// The identifier of the job that follows this one in a line of jobs, made at `now`. It needs no chance: the one before
    /// has enough.
    #[must_use]
    pub fn following(self, now: Timestamp) -> Self {
        let mut random = [0; 10];
        random.copy_from_slice(&self.0.as_bytes()[6..]);
        for byte in random.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        Self::new(now, random)
    }
}

/// The name of a run that anybody may know. The same run always has the same; nobody finds the run by it who does not
/// have the state: it is a hash (a UUID of version 5, RFC 9562 §5.5) of an identifier with 74 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunName(Uuid);

impl RunId {
    /// What the run is called where people read it whom we do not know.
    #[must_use]
    pub fn public_name(self) -> RunName {
        RunName(Uuid::new_v5(&RUN_NAMES, self.0.as_bytes()))
    }
}

impl RunName {
    /// Its first eight digits, which are enough for people.
    #[must_use]
    pub fn short(self) -> String {
        let mut digits = self.0.simple().to_string();
        digits.truncate(8);
        digits
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunName {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_public_name_never_changes() {
        let run = RunId::new(Timestamp::UNIX_EPOCH, [2; 10]);
        assert_eq!(run.public_name().to_string(), "48cd0626-b597-55da-b5dc-ea222bd221e4");
        assert_eq!(run.public_name().short(), "48cd0626");
    }

    proptest! {
        #[test]
        fn a_public_name_has_nothing_of_the_identifier(millis in 0..4_000_000_000_000_i64, random in any::<[u8; 10]>()) {
            let made = Timestamp::from_millisecond(millis).expect("a time");
            let run = RunId::new(made, random);
            let (id, name) = (run.to_string(), run.public_name());
            prop_assert_eq!(name.to_string().parse::<RunName>(), Ok(name));
            for part in id.split('-').filter(|part| part.len() > 4) {
                prop_assert!(!name.to_string().contains(part), "{} {}", id, name);
            }
            prop_assert!(!id.contains(&name.short()));
        }
    }
}
