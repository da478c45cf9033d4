//! What must hold for the text of every report.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn facts<'a>(title: &'a str, body: &'a str) -> Facts<'a> {
    Facts {
        report: ReportId::new(Timestamp::UNIX_EPOCH, [1; 10]),
        run: RunId::new(Timestamp::UNIX_EPOCH, [2; 10]),
        title,
        body,
        labels: &[],
        assignees: &[],
        milestone: None,
        verdict: Verdict::Failed,
        late: false,
        host: "r1",
        workload: "a.efi",
        digest: Some(Digest::new([0xab; 32])),
        attempt: 2,
        took: Duration::from_secs(725),
    }
}

const FOOTER: Options = Options { footer: true };

/// All parts as they are sent.
fn parts(draft: &Draft) -> Vec<String> {
    std::iter::once(draft.body(&[])).chain(draft.comments.iter().cloned()).collect()
}

/// Whether a text ends inside a fenced code block, told without the code that is tested; lists apart.
fn ends_in_code(text: &str) -> bool {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let rest = line.trim_start_matches(' ');
        if line.len() - rest.len() > 3 {
            continue;
        }
        let Some(mark) = rest.chars().next().filter(|mark| "`~".contains(*mark)) else { continue };
        let count = rest.chars().take_while(|letter| *letter == mark).count();
        let behind = &rest[count..];
        match open {
            None if count >= 3 && !(mark == '`' && behind.contains('`')) => open = Some((mark, count)),
            Some((other, least)) if mark == other && count >= least && behind.trim().is_empty() => {
                open = None;
            }
            _ => {}
        }
    }
    open.is_some()
}

#[test]
fn a_report_becomes_an_issue_with_its_footer() {
    let draft = compose(&facts("SNP: ok", "# All\r\nwell"), FOOTER);
    let run = RunId::new(Timestamp::UNIX_EPOCH, [2; 10]);
    let expected = format!(
        "<!-- dispatch report={report} run={run} part=1/1 -->\n\n# All\nwell\n\n---\n\n<sub>**failed** · `a.efi` \
         (`sha256:{}`) · host `r1` · attempt 2 · 12 min 5 s · run `{short}`</sub>",
        "ab".repeat(32),
        report = draft.report,
        run = run.public_name(),
        short = run.public_name().short(),
    );
    assert_eq!(draft.body(&[]), expected);
    assert_eq!((draft.title.as_str(), draft.parts()), ("SNP: ok", 1));
}

#[test]
fn what_lets_somebody_report_for_a_run_is_nowhere_in_its_issue() {
    let facts = Facts { body: &"0123456789\n".repeat(12_000), ..facts("t", "") };
    let id = facts.run.to_string();
    for part in parts(&compose(&facts, FOOTER)) {
        assert!(!part.contains(&id) && !part.contains(&id[..18]), "{}", &part[..200]);
        assert_eq!(find_marker(&part).map(|marker| marker.run), Some(facts.run.public_name()));
    }
}

#[test]
fn without_a_footer_the_marker_stays() {
    let draft = compose(&facts("t", "b"), Options { footer: false });
    assert!(draft.body(&[]).ends_with("part=1/1 -->\n\nb"));
    assert!(find_marker(&draft.body(&[])).is_some());
}

#[test]
fn a_footer_pings_nobody() {
    let facts = Facts { host: "@everybody | #1", workload: "`@x`", late: true, ..facts("t", "b") };
    let body = compose(&facts, FOOTER).body(&[]);
    assert!(body.contains("**failed**, late: its run was over · `` `@x` ``"), "{body}");
    assert!(body.contains("host `@everybody | #1`"), "{body}");
}

#[test]
fn a_long_title_is_cut_and_an_empty_one_is_replaced() {
    let long = compose(&facts(&"ö".repeat(300), ""), FOOTER).title;
    assert_eq!(long, format!("{}…", "ö".repeat(255)));
    assert_eq!(compose(&facts(&"ö".repeat(256), ""), FOOTER).title, "ö".repeat(256));
    assert_eq!(compose(&facts("\u{200b} \n", ""), FOOTER).title, "Report of a.efi");
    let nameless = Facts { workload: " ", ..facts("\0", "") };
    assert_eq!(compose(&nameless, FOOTER).title, "Report without a title");
}

#[test]
fn a_long_text_goes_on_in_comments() {
    let body = "0123456789\n".repeat(12_000);
    let draft = compose(&facts("t", &body), FOOTER);
    assert_eq!(draft.parts(), 3);
    assert!(draft.body(&[]).contains("0123456789\n\n\n*(part 1 of 3; it goes on in the comments)*\n\n---"));
    assert!(draft.comments[1].contains("part=3/3 -->\n\n*(continued, part 3 of 3)*\n\n0123456789\n"));
}

#[test]
fn what_is_left_out_is_said_before_the_footer_and_does_not_move_the_parts() {
    let body = "0123456789\n".repeat(12_000);
    let labels: Vec<_> = (0..200).map(|number| format!("{number}{}", "x".repeat(60))).collect();
    let facts = Facts { labels: &labels, ..facts("t", &body) };
    let draft = compose(&facts, FOOTER);
    let plain = compose(&Facts { labels: &[], ..facts }, FOOTER);
    assert_eq!(draft.comments, plain.comments);
    let text = draft.body(&[LeftOut::new(Field::Milestone, "m", Why::NoSuchMilestone)]);
    assert!(text.chars().count() <= LONGEST_TEXT);
    let (before, after) = text.split_once("**Left out:** label `0xxx").expect("a note");
    assert!(before.ends_with("comments)*\n\n") && after.contains(" more.\n\n---\n"), "{after}");
}

#[test]
fn what_a_report_leaves_open_does_not_swallow_the_footer() {
    for (body, end) in [
        ("<!-- never closed\nx", "\nx\n-->\n\n\n---"),
        ("~~~~ sh\nx", "\nx\n~~~~\n\n\n---"),
        ("<details><summary>log</summary>\n\nx", "\nx\n\n</details>\n\n\n---"),
    ] {
        let text = compose(&facts("t", body), FOOTER).body(&[]);
        assert!(text.contains(end), "{text}");
    }
}

/// Lines as reports have them, and such as make trouble.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z ]{0,200}",
        2 => " {0,4}(`{2,6}|~{2,6})[a-z]{0,5}",
        1 => ("[`~]", 90..300_usize, "[a-z]{0,80}").prop_map(|(mark, count, info)| mark.repeat(count) + &info),
        1 => Just("<!-- dispatch report=x -->".to_owned()),
        1 => Just("<!--".to_owned()),
        1 => Just("-->".to_owned()),
        1 => Just("<details><details>".to_owned()),
        1 => "(é|🇩🇪|\u{301}|\0|\u{1b}|\u{202e}|\r|.){0,50}",
        1 => prop_oneof![Just("x"), Just("`"), Just("~"), Just("y ")].prop_map(|text| text.repeat(20_000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_part_keeps_to_the_limits_and_has_its_marker(
        lines in proptest::collection::vec(line(), 0..20), times in 1..12_usize,
        title in any::<String>(), names in proptest::collection::vec("(`{0,130}|@|\\||.){0,30}", 0..30),
    ) {
        let body = (lines.join("\n") + "\n").repeat(times);
        let name = names.first().map(String::as_str).unwrap_or_default();
        let facts = Facts {
            title: &title, labels: &names, assignees: &names, milestone: Some(name), host: name, workload: name,
            ..facts("", &body)
        };
        let draft = compose(&facts, FOOTER);
        prop_assert!((1..=LONGEST_TITLE).contains(&draft.title.chars().count()));
        prop_assert!(draft.labels.len() <= 100 && draft.assignees.len() <= 10);
        prop_assert!(draft.labels.iter().all(|label| (1..=50).contains(&label.chars().count())));
        let more: Vec<_> =
            names.iter().map(|name| LeftOut::new(Field::Label, name, Why::Refused(name.clone()))).collect();
        let issue = draft.body(&more);
        let texts: Vec<_> = std::iter::once(&issue).chain(&draft.comments).collect();
        for (part, text) in (1..).zip(texts) {
            prop_assert!(text.chars().count() <= LONGEST_TEXT, "part {part}: {}", text.chars().count());
            let marker = Marker { report: facts.report, run: facts.run.public_name(), part, parts: draft.parts() };
            prop_assert_eq!(find_marker(text), Some(marker));
            prop_assert_eq!(text.matches("<!-- dispatch").count(), 1);
        }
    }

    #[test]
    fn the_whole_text_is_found_again_in_order(
        lines in proptest::collection::vec(line(), 0..20), times in 1..12_usize,
    ) {
        let body = (lines.join("\n") + "\n").repeat(times);
        let draft = compose(&facts("t", &body), FOOTER);
        let whole = parts(&draft).concat();
        let clean = clean::text(&body);
        let mut rest = whole.as_str();
        // A line may be cut where it is longer than what is left of a part; pieces of it are not.
        for piece in clean.trim_end().split('\n').flat_map(|line| line.split(' ')).filter(|piece| piece.len() < 10_000) {
            let Some(at) = rest.find(piece) else {
                return Err(TestCaseError::fail(format!("{piece:?} is missing")));
            };
            rest = &rest[at + piece.len()..];
        }
        let room = LONGEST_TEXT - OURS;
        let pieces = split::split(clean.trim_end(), room);
        prop_assert_eq!(pieces.iter().map(|piece| piece.text).collect::<String>(), clean.trim_end());
        for (piece, part) in pieces.iter().zip(parts(&draft)) {
            prop_assert!(part.contains(piece.text));
        }
    }

    #[test]
    fn code_blocks_are_whole_in_every_part(
        lines in proptest::collection::vec("[a-z ]{0,80}| {0,4}(`{2,6}|~{2,6})[a-z]{0,5}", 1..30), times in 1..200_usize,
    ) {
        let body = (lines.join("\n") + "\n").repeat(times);
        for part in parts(&compose(&facts("t", &body), FOOTER)) {
            prop_assert!(!ends_in_code(&part), "{}", &part[part.len().saturating_sub(400)..]);
        }
    }
}
