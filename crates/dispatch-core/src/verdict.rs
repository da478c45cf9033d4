//! Verdicts: how they are ordered, and how reports that carry none are judged.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::workload::UnknownWord;

/// How a run or a job came out. The order is from good to bad: whatever is learnt later may move a verdict
/// up in this order, never down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The thing under test is good.
    Passed,
    /// It reported, and said neither.
    Unjudged,
    /// Our side or the lab is bad; nothing is known of the thing under test.
    Errored,
    /// The thing under test is bad.
    Failed,
}

impl Verdict {
    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unjudged => "unjudged",
            Self::Errored => "errored",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Verdict {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Passed, Self::Unjudged, Self::Errored, Self::Failed]
            .into_iter()
            .find(|verdict| verdict.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// What a rule looks at when a report has no verdict of its own.
#[derive(Clone, Copy, Debug)]
pub struct ReportFacts<'a> {
    /// The report's title.
    pub title: &'a str,
    /// The report's body.
    pub body: &'a str,
    /// The report's labels.
    pub labels: &'a [String],
    /// The report's milestone.
    pub milestone: Option<&'a str>,
    /// The verdict that the image gave, if any.
    pub verdict: Option<Verdict>,
}

/// A condition of `--pass-if` and `--fail-if`.
#[derive(Clone, Debug)]
pub enum Rule {
    /// `milestone`: the report names a milestone.
    Milestone,
    /// `label:X`: the report has exactly this label.
    Label(String),
    /// `title:REGEX`: the expression is found in the title.
    Title(Regex),
    /// `body:REGEX`: the expression is found in the body.
    Body(Regex),
}

/// Why a text is not a rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// None of the known forms.
    #[error("`{0}` is no rule: write `milestone`, `label:NAME`, `title:REGEX` or `body:REGEX`")]
    Unknown(String),
    /// A regular expression that cannot be compiled.
    #[error("the regular expression of `{rule}` is not valid: {error}")]
    Regex {
        /// The rule as given.
        rule: String,
        /// What is wrong with it.
        error: regex::Error,
    },
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let regex = |expression: &str| {
            Regex::new(expression).map_err(|error| RuleError::Regex { rule: text.to_owned(), error })
        };
        match text.split_once(':') {
            None if text == "milestone" => Ok(Self::Milestone),
            Some(("label", label)) if !label.is_empty() => Ok(Self::Label(label.to_owned())),
            Some(("title", expression)) => Ok(Self::Title(regex(expression)?)),
            Some(("body", expression)) => Ok(Self::Body(regex(expression)?)),
            _ => Err(RuleError::Unknown(text.to_owned())),
        }
    }
}

impl Rule {
    fn matches(&self, report: &ReportFacts<'_>) -> bool {
        match self {
            Self::Milestone => report.milestone.is_some(),
            Self::Label(label) => report.labels.contains(label),
            Self::Title(regex) => regex.is_match(report.title),
            Self::Body(regex) => regex.is_match(report.body),
        }
    }
}

/// How reports without a verdict of their own are judged.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Any match: passed, unless a rule of `fail_if` matches as well.
    pub pass_if: Vec<Rule>,
    /// Any match: failed.
    pub fail_if: Vec<Rule>,
    /// No match.
    pub otherwise: Verdict,
}

impl Default for Judge {
    /// Without rules, nobody has judged.
    fn default() -> Self {
        Self { pass_if: Vec::new(), fail_if: Vec::new(), otherwise: Verdict::Unjudged }
    }
}

impl Judge {
    /// There were rules, and nobody knows them any more: they might have said that it failed.
    pub const UNKNOWN: Self = Self { pass_if: Vec::new(), fail_if: Vec::new(), otherwise: Verdict::Errored };

    /// The verdict of one report.
    #[must_use]
    pub fn verdict(&self, report: &ReportFacts<'_>) -> Verdict {
        if let Some(own) = report.verdict {
            own
        } else if self.fail_if.iter().any(|rule| rule.matches(report)) {
            Verdict::Failed
        } else if self.pass_if.iter().any(|rule| rule.matches(report)) {
            Verdict::Passed
        } else {
            self.otherwise
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(title: &'a str, labels: &'a [String], milestone: Option<&'a str>) -> ReportFacts<'a> {
        ReportFacts { title, body: "kernel 6.1\nSNP: ok", labels, milestone, verdict: None }
    }

    fn judge(pass_if: &[&str], fail_if: &[&str]) -> Judge {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a rule")).collect();
        Judge { pass_if: rules(pass_if), fail_if: rules(fail_if), ..Judge::default() }
    }

    #[test]
    fn a_report_without_verdict_is_unjudged_where_no_rule_matches() {
        assert_eq!(judge(&[], &[]).verdict(&facts("t", &[], None)), Verdict::Unjudged);
        assert_eq!(judge(&["milestone"], &[]).verdict(&facts("t", &[], None)), Verdict::Unjudged);
    }

    #[test]
    fn rules_judge_reports_of_images_that_give_no_verdict() {
        let labels = ["certified".to_owned()];
        assert_eq!(judge(&["milestone"], &[]).verdict(&facts("t", &[], Some("c3"))), Verdict::Passed);
        assert_eq!(judge(&["label:certified"], &[]).verdict(&facts("t", &labels, None)), Verdict::Passed);
        assert_eq!(judge(&["label:certif"], &[]).verdict(&facts("t", &labels, None)), Verdict::Unjudged);
        assert_eq!(judge(&["body:SNP: ok$"], &[]).verdict(&facts("t", &[], None)), Verdict::Passed);
        assert_eq!(judge(&[], &["title:(?i)FAIL"]).verdict(&facts("it fails", &[], None)), Verdict::Failed);
    }

    #[test]
    fn a_fail_rule_outranks_a_pass_rule() {
        let both = judge(&["milestone"], &["title:bad"]);
        assert_eq!(both.verdict(&facts("bad", &[], Some("c3"))), Verdict::Failed);
    }

    #[test]
    fn rules_do_not_touch_a_verdict_that_the_image_gave() {
        let mut report = facts("bad", &[], Some("c3"));
        report.verdict = Some(Verdict::Failed);
        assert_eq!(judge(&["milestone"], &[]).verdict(&report), Verdict::Failed);
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused_with_the_forms_that_do() {
        for text in ["", "label", "label:", "milestone:3", "colour:red"] {
            let error = text.parse::<Rule>().expect_err("refused").to_string();
            assert!(error.contains("label:NAME"), "{error}");
        }
        assert!("title:(".parse::<Rule>().expect_err("refused").to_string().contains("title:("));
    }

    #[test]
    fn the_order_is_from_good_to_bad() {
        assert!(Verdict::Passed < Verdict::Unjudged);
        assert!(Verdict::Unjudged < Verdict::Errored);
        assert!(Verdict::Errored < Verdict::Failed);
    }
}
