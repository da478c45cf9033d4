//! `dispatch.yaml`: what is said of workloads beside their bytes.

use std::time::Duration;

use dispatch_core::queue::Found;
use dispatch_core::run::DeadlineChanges;
use dispatch_core::{Arch, Terms};
use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

/// How much of a description is read, in bytes.
pub const MAX_DESCRIPTION: usize = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    #[serde(default)]
    workloads: Vec<Described>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: Spanned<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    reboots: u32,
    #[serde(default)]
    order: i32,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    #[serde(default)]
    architecture: Option<Arch>,
    #[serde(default)]
    retries: Option<u32>,
    #[serde(default)]
    deadlines: Deadlines,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Deadlines {
    assigned: Option<Time>,
    download: Option<Time>,
    boot: Option<Time>,
    run: Option<Time>,
    grace: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        time(&String::deserialize(from)?).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A time that is longer than nothing: `90` (seconds), `90s`, `15m`, `2h` or `1d`.
pub fn time(text: &str) -> Result<Duration, String> {
    let is_seconds = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if is_seconds {
        text.parse().ok().map(Duration::from_secs)
    } else {
        text.parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .ok()
            .and_then(|time| Duration::try_from(time).ok())
    };
    parsed
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "write a time such as 90, 90s, 15m, 2h or 1d".to_owned())
}

/// Descriptions of the images of one source. Every image may be described once.
#[derive(Debug, Default)]
pub struct Descriptions {
    seen: Vec<String>,
}

/// An image that is described, and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// The line that names it, from 1.
    pub line: u64,
}

impl Descriptions {
    /// Applies a description to the images that it names, of those that the source offers, and returns what it names
    /// and is not offered. The mistake is one sentence with its line and field.
    pub fn apply(&mut self, text: &str, found: &mut [Found]) -> Result<Vec<Unknown>, String> {
        let mut unknown = Vec::new();
        if text.lines().all(|line| line.trim_start().starts_with('#') || line.trim().is_empty()) {
            return Ok(unknown);
        }
        let description: Description = serde_saphyr::from_str(text).map_err(|error| mistake(&error, text))?;
        for described in description.workloads {
            let (name, line) = (described.name.value.clone(), described.name.referenced.line());
            if self.seen.contains(&name) {
                return Err(format!("line {line}: field `name`: workload `{name}` is described twice"));
            }
            let terms = terms(described)?;
            match found.iter_mut().find(|file| file.name == name) {
                Some(file) => file.terms = terms,
                None => unknown.push(Unknown { name: name.clone(), line }),
            }
            self.seen.push(name);
        }
        Ok(unknown)
    }
}

fn terms(described: Described) -> Result<Terms, String> {
    let mut labels: Vec<String> = Vec::new();
    for label in described.labels {
        let line = label.referenced.line();
        let label = label.value.trim().to_owned();
        if label.is_empty() || label.contains(',') {
            return Err(format!("line {line}: field `labels`: a label is a word without commas"));
        }
        labels.push(label);
    }
    let Deadlines { assigned, download, boot, run, grace } = described.deadlines;
    let time = |time: Option<Time>| time.map(|Time(time)| time);
    Ok(Terms {
        reboots: described.reboots,
        description: described.description,
        arch: described.architecture,
        labels,
        retries: described.retries,
        deadlines: DeadlineChanges {
            assigned: time(assigned),
            download: time(download),
            boot: time(boot),
            run: time(run),
            grace: time(grace),
        },
        order: described.order.into(),
    })
}

/// A mistake in one sentence, with the line that it is in: the library names the place but not always the field.
fn mistake(error: &serde_saphyr::Error, text: &str) -> String {
    let what = error.without_snippet().to_string().replace('\n', " ");
    let number = error.location().and_then(|location| usize::try_from(location.line()).ok());
    let line = number.and_then(|number| text.lines().nth(number.saturating_sub(1)));
    line.map_or(what.clone(), |line| format!("{what}: `{}`", line.trim()))
}

#[cfg(test)]
mod tests {
    use dispatch_core::Kind;
    use jiff::Timestamp;

    use super::*;

    fn found(names: &[&str]) -> Vec<Found> {
        let found = |name: &&str| Found {
            name: (*name).to_owned(),
            kind: Kind::Efi,
            size: 1,
            modified: Timestamp::UNIX_EPOCH,
            digest: None,
            origin: None,
            terms: Terms::default(),
        };
        names.iter().map(found).collect()
    }

    #[test]
    fn everything_that_can_be_said_of_a_workload_is_read() {
        let yaml = "workloads:\n\
                    - name: a.efi\n  description: A kernel update\n  reboots: 2\n  order: -3\n\
                    \x20 labels: [epyc-9004, lab 2]\n  architecture: aarch64\n  retries: 0\n\
                    \x20 deadlines: { assigned: 90, download: 1m, boot: 15m, run: 4h, grace: 1d }\n";
        let mut found = found(&["a.efi", "b.efi"]);
        Descriptions::default().apply(yaml, &mut found).expect("a description");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = Terms {
            reboots: 2,
            description: Some("A kernel update".into()),
            arch: Some(Arch::Aarch64),
            labels: vec!["epyc-9004".into(), "lab 2".into()],
            retries: Some(0),
            deadlines: DeadlineChanges {
                assigned: seconds(90),
                download: seconds(60),
                boot: seconds(900),
                run: seconds(14_400),
                grace: seconds(86_400),
            },
            order: -3,
        };
        assert_eq!((&found[0].terms, &found[1].terms), (&expected, &Terms::default()));
        assert_eq!(Descriptions::default().apply("# nothing\n", &mut found), Ok(Vec::new()));
    }

    #[test]
    fn a_mistake_names_line_and_field() {
        for (yaml, words) in [
            ("workloads:\n  - name: a.efi\n    rebots: 2\n", ["line 3", "rebots"]),
            ("workloads:\n  - name: a.efi\n    reboots: many\n", ["line 3", "many"]),
            ("workloads:\n  - reboots: 1\n", ["line 2", "name"]),
            ("workloads:\n  - name: a.efi\n  - name: a.efi\n", ["line 3", "twice"]),
            ("workloads:\n  - name: a.efi\n    architecture: x86\n", ["line 3", "architecture"]),
            ("workloads:\n  - name: a.efi\n    deadlines: { boot: soon }\n", ["line 3", "such as 90"]),
            ("workloads:\n  - name: a.efi\n    deadlines: { bot: 5m }\n", ["line 3", "bot"]),
            ("workloads:\n  - name: a.efi\n    labels: [\"\"]\n", ["line 3", "labels"]),
            ("workloads:\n  - name: a.efi\n    order: first\n", ["line 3", "order"]),
        ] {
            let error = Descriptions::default().apply(yaml, &mut found(&["a.efi"])).expect_err("refused");
            for word in words {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn two_descriptions_of_one_workload_are_a_mistake() {
        let (mut found, mut descriptions) = (found(&["a.efi"]), Descriptions::default());
        let yaml = "workloads:\n  - name: a.efi\n";
        assert_eq!(descriptions.apply(yaml, &mut found), Ok(Vec::new()));
        let unknown = Unknown { name: "z.efi".into(), line: 2 };
        assert_eq!(descriptions.apply("workloads:\n  - name: z.efi\n", &mut found), Ok(vec![unknown]));
        assert!(descriptions.apply(yaml, &mut found).is_err_and(|error| error.contains("twice")));
    }

    #[test]
    fn times_are_read_in_every_usual_form() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("1h 30m", 5400)]
        {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-5m", "soon", "5 parsecs"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
