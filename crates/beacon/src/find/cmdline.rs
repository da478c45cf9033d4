//! A server named on the kernel command line: `dispatch.url=http://10.0.2.2:8080/dispatch`.

use crate::root::Root;

use super::{Finder, Finding, Found};

const PARAMETER: &str = "dispatch.url";
/// The kernel's own limits are lower on every architecture.
const MAX_BYTES: u64 = 64 * 1024;

/// Looks into `/proc/cmdline`.
#[derive(Clone, Debug)]
pub struct KernelCommandLine {
    /// The file system to look at.
    pub root: Root,
}

impl Finder for KernelCommandLine {
    fn find(&self) -> Finding {
        let line = match self.root.read("proc/cmdline", MAX_BYTES) {
            Ok(line) => line,
            Err(error) => {
                return Finding::nothing(format!(
                    "no kernel command line in /proc/cmdline: {}",
                    error.kind()
                ));
            }
        };
        let Some(text) = last_value(&String::from_utf8_lossy(&line), PARAMETER) else {
            return Finding::nothing(format!("no {PARAMETER}= on the kernel command line"));
        };
        match text.parse() {
            Ok(url) => {
                let from = "kernel command line".to_owned();
                Finding { found: vec![Found { url, from }], ..Finding::default() }
            }
            Err(error) => Finding {
                warnings: vec![format!("{PARAMETER} of the kernel command line is skipped: {error}")],
                ..Finding::nothing(format!("no usable {PARAMETER}= on the kernel command line"))
            },
        }
    }
}

/// The value of the last `name=VALUE` on a kernel command line that is not empty: who appends a parameter
/// wants to override what is there. Double quotes keep spaces together, around the value or the whole
/// parameter, as the kernel itself reads them.
#[must_use]
pub fn last_value(line: &str, name: &str) -> Option<String> {
    let mut last = None;
    for parameter in split(line) {
        if let Some((key, value)) = parameter.split_once('=')
            && key == name
            && !value.is_empty()
        {
            last = Some(value.to_owned());
        }
    }
    last
}

/// The parameters of a line, without their quotes.
fn split(line: &str) -> Vec<String> {
    let mut parameters = Vec::new();
    let mut parameter = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            _ if character.is_ascii_whitespace() && !quoted => {
                parameters.push(std::mem::take(&mut parameter));
            }
            _ => parameter.push(character),
        }
    }
    parameters.push(parameter);
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(line: &str) -> Option<String> {
        last_value(line, PARAMETER)
    }

    #[test]
    fn a_plain_parameter_is_found() {
        let line = "console=ttyS0 dispatch.url=http://10.0.2.2:8080/dispatch?x=1 quiet\n";
        assert_eq!(value(line).as_deref(), Some("http://10.0.2.2:8080/dispatch?x=1"));
    }

    #[test]
    fn quotes_are_taken_off_around_value_or_parameter() {
        assert_eq!(value(r#"a="b c" dispatch.url="http://a/" d"#).as_deref(), Some("http://a/"));
        assert_eq!(value(r#""dispatch.url=http://a/""#).as_deref(), Some("http://a/"));
        assert_eq!(value(r#"a="dispatch.url=http://a/""#), None);
    }

    #[test]
    fn the_last_one_that_is_not_empty_wins() {
        assert_eq!(value("dispatch.url=http://a/ dispatch.url=http://b/").as_deref(), Some("http://b/"));
        assert_eq!(value("dispatch.url=http://a/ dispatch.url=").as_deref(), Some("http://a/"));
    }

    #[test]
    fn other_parameters_do_not_count() {
        for line in ["", "quiet", "dispatch.url", "xdispatch.url=http://a/", "dispatch.urls=http://a/"] {
            assert_eq!(value(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = value(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn a_quoted_value_comes_out_as_it_went_in(before in "[ a-z=]{0,20}", given in "[^\"\0]{1,40}") {
            let line = format!("{before} dispatch.url=\"{given}\"");
            prop_assert_eq!(value(&line), Some(given));
        }
    }
}
