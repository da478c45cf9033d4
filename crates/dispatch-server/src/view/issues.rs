//! What became of reports as issues.

use std::collections::HashMap;

use dispatch_core::{Effect, RunId, text};
use dispatch_store::Overview;
use serde::Serialize;

/// An issue that a report was filed as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// Where it is, as `owner/name`.
    pub repository: String,
    /// Where people read it.
    pub url: String,
}

/// What became of the reports of a run as issues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Issues {
    /// Those that are there, in the order of the reports.
    pub filed: Vec<Link>,
    /// How many are still to be filed.
    pub waiting: u64,
    /// Of each report that will never be an issue: why.
    pub refused: Vec<String>,
}

impl Issues {
    /// What became of the reports of each run.
    pub(super) fn of_runs(overview: &Overview) -> HashMap<RunId, Self> {
        let mut all: HashMap<RunId, Self> = HashMap::new();
        for (run, issue) in &overview.issues {
            let link =
                Link { number: issue.number, repository: issue.repository.clone(), url: issue.url.clone() };
            all.entry(*run).or_default().filed.push(link);
        }
        for waiting in &overview.outbox {
            if let Effect::FileIssue { run, .. } = &waiting.effect {
                all.entry(*run).or_default().waiting += 1;
            }
        }
        for refused in &overview.refused {
            all.entry(refused.run).or_default().refused.push(refused.why.clone());
        }
        all
    }

    /// Whether nothing was to be filed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `3 reports, 3 issues`.
    #[must_use]
    pub fn in_brief(&self, reports: u32) -> String {
        let filed = match self.filed.as_slice() {
            [] => None,
            [one] if reports == 1 => Some(format!("#{}", one.number)),
            all => Some(text::count(all.len() as u64, "issue")),
        };
        let waiting = (self.waiting > 0).then(|| format!("{} to be filed", self.waiting));
        let refused = (!self.refused.is_empty()).then(|| format!("{} refused", self.refused.len()));
        let parts = [Some(text::count(reports.into(), "report")), filed, waiting, refused];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What was refused for good, in a sentence, each reason once.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        let mut whys: Vec<&str> = Vec::new();
        for why in &self.refused {
            if !whys.contains(&why.as_str()) {
                whys.push(why);
            }
        }
        let never = match self.refused.len() {
            0 => return None,
            1 => "1 report will never be an issue".to_owned(),
            many => format!("{many} reports will never be issues"),
        };
        Some(format!("{never}: {}", whys.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issues(filed: &[u64], waiting: u64, refused: &[&str]) -> Issues {
        let link = |number: &u64| Link {
            number: *number,
            repository: "o/r".to_owned(),
            url: format!("https://github.test/o/r/issues/{number}"),
        };
        let refused = refused.iter().map(ToString::to_string).collect();
        Issues { filed: filed.iter().map(link).collect(), waiting, refused }
    }

    #[test]
    fn reports_and_their_issues_are_counted() {
        assert_eq!(issues(&[], 0, &[]).in_brief(3), "3 reports");
        assert_eq!(issues(&[7, 8, 9], 0, &[]).in_brief(3), "3 reports, 3 issues");
        assert_eq!(issues(&[12], 0, &[]).in_brief(1), "1 report, #12");
        assert_eq!(issues(&[12], 1, &["no"]).in_brief(3), "3 reports, 1 issue, 1 to be filed, 1 refused");
    }

    #[test]
    fn what_was_refused_is_told_with_each_reason_once() {
        assert_eq!(issues(&[7], 1, &[]).refused(), None);
        let gone = "the repository takes no issues";
        assert_eq!(
            issues(&[], 0, &[gone]).refused().as_deref(),
            Some("1 report will never be an issue: the repository takes no issues")
        );
        let words = issues(&[], 0, &[gone, "spam", gone]).refused();
        assert_eq!(
            words.as_deref(),
            Some("3 reports will never be issues: the repository takes no issues; spam")
        );
    }
}
