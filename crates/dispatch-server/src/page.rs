//! The status page: what a browser gets on the boot path, instead of a job.

use std::fmt::Write as _;

use dispatch_core::{Verdict, text};

use crate::view::{Link, View};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d8dde3;--soft:#5b6673;--good:#18794e;--bad:#c62a2f;--warn:#ad5700}\
@media(prefers-color-scheme:dark){:root{--line:#343b44;--soft:#98a2ae;--good:#4cc38a;--bad:#ff6369;--warn:#f1a10d}}\
body{font:15px/1.5 system-ui,sans-serif;margin:2.5rem auto;max-width:72rem;padding:0 1.5rem}\
h1{font-size:1.25rem;margin:0}p{margin:.25rem 0 1.5rem;color:var(--soft)}\
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;color:var(--soft);font-size:.8rem}\
td,th{padding:.45rem .9rem .45rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
td:nth-child(2){font-weight:600;word-break:break-all;min-width:12rem}td.n{color:var(--soft)}td.s,td.t{white-space:nowrap}\
td.t{font-variant-numeric:tabular-nums}td.n.bad{color:var(--bad)}td.n a{white-space:nowrap}\
progress{display:block;width:100%;max-width:16rem;height:.5rem;margin:.3rem 0}\
ul{list-style:none;margin:-1rem 0 1.5rem;padding:0}li{color:var(--warn)}li.turn{color:var(--soft)}\
.passed{color:var(--good)}.failed{color:var(--bad)}.errored,.unjudged{color:var(--warn)}";

/// The page as HTML. It needs nothing from elsewhere, and asks again every five seconds.
#[must_use]
pub fn render(title: &str, view: &View) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{tally} · dispatch</title>\
         <style>{STYLE}</style></head>\n<body><h1>dispatch · {title}</h1><p>{tally}</p>\n{outbox}\
         <table><tr><th></th><th>workload</th><th>state</th><th>verdict</th><th>host</th><th>attempt</th>\
         <th>for</th><th></th></tr>\n",
        tally = escaped(&view.tally),
        title = escaped(title),
        outbox = outbox(view),
    );
    for row in &view.jobs {
        let verdict = row.verdict.map(Verdict::as_str).unwrap_or_default();
        let attempt = if row.attempt == 0 { String::new() } else { row.attempt.to_string() };
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td class=\"s\">{}</td><td class=\"{verdict}\">{verdict}</td><td>{}</td>\
             <td>{attempt}</td><td class=\"t\">{}</td><td class=\"n{}\">{}{}{}</td></tr>",
            row.sign,
            escaped(&row.name),
            row.state,
            escaped(row.host.as_deref().unwrap_or_default()),
            text::duration(std::time::Duration::from_secs(row.age.as_secs().max(1))),
            if row.issues.refused.is_empty() { "" } else { " bad" },
            escaped(&row.note),
            row.fetch.map(|fetch| progress(fetch.got, fetch.size)).unwrap_or_default(),
            links(&row.issues.filed),
        );
    }
    html.push_str("</table></body></html>\n");
    html
}

/// What a browser is shown that asks the boot listener of a service. It needs nothing from elsewhere.
#[must_use]
pub fn of_service() -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>dispatch</title><style>{STYLE}</style></head>\n\
         <body><h1>dispatch</h1><p>Servers boot from here, over UEFI HTTP Boot: this is the URL for their boot menu. What \
         they run is shown by the service itself, at its own address.</p></body></html>\n"
    )
}

/// What is still to be done in the outside world.
fn outbox(view: &View) -> String {
    let line = |class: &str, words: &str| format!("<li{class}>{}</li>", escaped(words));
    let lines: String = view
        .outbox
        .iter()
        .map(|waits| line(if waits.why.is_some() { "" } else { " class=\"turn\"" }, &waits.words()))
        .collect();
    if lines.is_empty() { lines } else { format!("<ul>{lines}</ul>\n") }
}

fn progress(got: u64, size: u64) -> String {
    format!("<progress max=\"{}\" value=\"{}\"></progress>", size.max(1), got.min(size))
}

fn links(issues: &[Link]) -> String {
    let links: Vec<String> = issues.iter().map(link).collect();
    if links.is_empty() { String::new() } else { format!("<div>{}</div>", links.join(" ")) }
}

/// An issue, to be read with one click. What is no web address is not made one that can be clicked.
fn link(issue: &Link) -> String {
    let number = issue.number;
    if issue.url.starts_with("https://") || issue.url.starts_with("http://") {
        let title = escaped(&issue.repository);
        format!("<a href=\"{}\" title=\"{title}\" rel=\"noreferrer\">#{number}</a>", escaped(&issue.url))
    } else {
        format!("#{number}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dispatch_core::queue::{Issue, JobState};
    use dispatch_core::run::Transfer;
    use dispatch_core::{Effect, ReportId, RunState};
    use dispatch_store::{Overview, Refused, WaitingEffect};
    use jiff::Timestamp;

    use super::*;
    use crate::doing::tests::{job, run};
    use crate::view::Fetching;

    fn page_of(overview: &Overview) -> String {
        let (now, live) = (Timestamp::UNIX_EPOCH, HashMap::new());
        render("a test", &View::new(overview, &live, &[], now, now))
    }

    /// A job that is done, whose report is an issue with this URL.
    fn filed_as(url: &str) -> String {
        let run = run(RunState::Finished, Transfer::Whole, 0);
        let report = ReportId::new(Timestamp::UNIX_EPOCH, [1; 10]);
        let issue = Issue { report, repository: "o/\"r\"".to_owned(), number: 12, url: url.to_owned() };
        let (jobs, issues) = (vec![job(JobState::Done)], vec![(run.id, issue)]);
        page_of(&Overview { jobs, issues, runs: vec![run], ..Overview::default() })
    }

    #[test]
    fn an_issue_is_a_link_and_what_is_no_web_address_is_none() {
        let html = filed_as("https://github.test/o/r/issues/12?a=\"b\"&c");
        let link = "<a href=\"https://github.test/o/r/issues/12?a=&quot;b&quot;&amp;c\" title=\"o/&quot;r&quot;\" \
                    rel=\"noreferrer\">#12</a>";
        assert!(html.contains(link), "{html}");
        let html = filed_as("javascript:alert(1)");
        assert!(html.contains("#12") && !html.contains("<a ") && !html.contains("javascript"), "{html}");
    }

    #[test]
    fn an_image_that_is_being_fetched_has_a_bar() {
        let (now, live) = (Timestamp::UNIX_EPOCH, HashMap::new());
        let job = job(JobState::Queued);
        let fetching = Fetching { workload: job.workload, got: 43, size: 100, per_second: None };
        let overview = Overview { jobs: vec![job], ..Overview::default() };
        let html = render("a test", &View::new(&overview, &live, &[fetching], now, now));
        let cell = "its image is being fetched, 43 % of 100 B<progress max=\"100\" value=\"43\"></progress>";
        assert!(html.contains(cell), "{html}");
    }

    #[test]
    fn a_report_that_will_never_be_an_issue_stands_out() {
        let run = run(RunState::Finished, Transfer::Whole, 0);
        let report = ReportId::new(Timestamp::UNIX_EPOCH, [1; 10]);
        let refused = vec![Refused { report, run: run.id, why: "<spam>".to_owned() }];
        let html = page_of(&Overview {
            jobs: vec![job(JobState::Done)],
            runs: vec![run],
            refused,
            ..Overview::default()
        });
        let cell = "<td class=\"n bad\">1 report will never be an issue: &lt;spam&gt;;";
        assert!(html.contains(cell), "{html}");
    }

    #[test]
    fn what_waits_is_said_before_the_jobs() {
        let report = ReportId::new(Timestamp::UNIX_EPOCH, [1; 10]);
        let effect = Effect::WriteReport { report };
        let waiting = WaitingEffect {
            key: effect.idempotency_key(),
            effect,
            at: Timestamp::UNIX_EPOCH,
            due: Timestamp::from_second(40).expect("a time"),
            attempts: 1,
            error: Some("<disk> full".to_owned()),
            progress: None,
        };
        let html = page_of(&Overview { outbox: vec![waiting], effects_due: 1, ..Overview::default() });
        let line = "<ul><li>1 report file waits: &lt;disk&gt; full; next try in 40 s</li></ul>\n<table>";
        assert!(html.contains(line), "{html}");
        assert!(!page_of(&Overview::default()).contains("<li>"));
    }

    #[test]
    fn what_others_wrote_is_shown_and_not_obeyed() {
        let view = View { jobs: Vec::new(), tally: "<script>".into(), effects_due: 0, outbox: Vec::new() };
        let html = render("a & \"b\"", &view);
        assert!(html.contains("&lt;script&gt;") && html.contains("a &amp; &quot;b&quot;"));
        assert!(!html.contains("<script>"));
    }
}
