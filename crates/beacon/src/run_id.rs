//! The name that a server gives to a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The content of a `Dispatch-Run` header: opaque to us, but it goes into a file, into a header of ours and
/// onto a terminal, so it must be visible ASCII of a sensible length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// Longer names are refused.
const MAX_LENGTH: usize = 128;

/// What arrived as a run is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by 1 to {MAX_LENGTH} visible ASCII characters, and this is something else")]
pub struct RunIdError;

impl RunId {
    /// Takes the raw value of a header.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RunIdError> {
        let text = str::from_utf8(bytes).map_err(|_| RunIdError)?;
        if !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RunIdError)
        }
    }

    /// The name as it goes into a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;

    fn try_from(text: String) -> Result<Self, RunIdError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_sensible_length_is_a_run() {
        assert!(RunId::from_bytes(b"0193-abc").is_ok());
        assert!(RunId::from_bytes(&[b'x'; 128]).is_ok());
        assert_eq!(RunId::from_bytes(&[b'x'; 129]), Err(RunIdError));
        for bad in [&b""[..], b"a b", b"a\r\nb", "ü".as_bytes(), b"\xff"] {
            assert_eq!(RunId::from_bytes(bad), Err(RunIdError), "{bad:?}");
        }
    }
}
