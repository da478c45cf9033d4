//! A session, as firmware and beacon see it: over real sockets, against the real program.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::collections::BTreeSet;

use common::{
    PASSED, SIZE, begun_download, big_image, content, image, lab, stub, terminate, verdict, whole_run,
};
use dispatch_testkit::firmware::{BootError, Booted};

#[test]
fn a_queue_is_booted_image_by_image_and_then_the_host_is_powered_off() {
    let mut lab = lab(&["a.efi", "b.iso", "c.img"], &[]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(whole_run(&firmware), "a.efi");
    assert_eq!(whole_run(&firmware), "b.iso");
    assert_eq!(whole_run(&firmware), "c.img");
    let text = stub(&firmware);
    assert!(text.starts_with("dispatch: powering off"), "{text}");
    program.event("drained", "").expect("an event");
    assert_eq!(lab.status().expect("a status")["tally"], "3 passed");
    assert_eq!(lab.reports().len(), 6, "{:?}", lab.reports());
    terminate(program);
}

#[test]
fn media_types_are_those_that_firmware_expects() {
    let mut lab = lab(&["a.efi", "b.iso", "c.img"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    for (host, expected) in
        [(1, "application/efi"), (2, "application/vnd.efi-iso"), (3, "application/vnd.efi-img")]
    {
        let Booted::Image { media_type, .. } = firmware.of_host(host).boot().expect("a boot") else {
            panic!("an image")
        };
        assert_eq!(media_type, expected);
    }
}

/// What used to hurt: everything was in memory.
#[test]
fn a_restart_loses_neither_queue_nor_results_nor_who_runs_what() {
    let mut lab = lab(&["a.efi", "b.efi", "c.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(whole_run(&firmware), "a.efi");
    assert_eq!(image(&firmware), "b.efi");
    let (_, run) = firmware.post().expect("an answer");
    terminate(program);

    let program = lab.start().expect("a start");
    assert_eq!(verdict(&lab, "a.efi"), "passed");
    assert_eq!(verdict(&lab, "b.efi"), "booting");
    assert_eq!(firmware.put(PASSED, None).expect("an answer"), 200, "by its address");
    assert_eq!(firmware.put(r#"{"title":"second"}"#, run.as_deref()).expect("an answer"), 200, "by its run");
    assert_eq!(whole_run(&firmware), "c.efi");
    terminate(program);
}

/// What used to hurt: a second report of the same boot got 417 and was lost.
#[test]
fn several_reports_of_one_run_are_all_kept() {
    let mut lab = lab(&["a.efi"], &[]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    let (_, run) = firmware.post().expect("an answer");
    for level in 1..=3 {
        let json = format!(r#"{{"title":"level {level}","milestone":"c{level}","verdict":"passed"}}"#);
        assert_eq!(firmware.put(&json, run.as_deref()).expect("an answer"), 200);
        assert_eq!(
            firmware.put(&json, run.as_deref()).expect("an answer"),
            200,
            "the same again, its answer lost"
        );
    }
    stub(&firmware);
    let finished = program.event("finished", "a.efi").expect("an event");
    assert_eq!(finished["reports"], 3);
    terminate(program);
    assert_eq!(lab.reports().len(), 2 * 3, "{:?}", lab.reports());
}

/// What used to hurt: a workload that hung stayed `booting` for ever.
#[test]
fn a_workload_that_hangs_ends_errored_is_retried_and_given_up() {
    let mut lab = lab(&["a.efi"], &["--deadline-run", "300ms", "--retries", "1"]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    for _ in 1..=2 {
        assert_eq!(image(&firmware), "a.efi");
        firmware.post().expect("an answer");
        let failed = program.event("failed", "a.efi").expect("an event");
        assert!(
            failed["reason"].as_str().is_some_and(|reason| reason.contains("no report within 300 ms")),
            "{failed}"
        );
    }
    let done = program.event("done", "a.efi").expect("an event");
    assert_eq!(done["verdict"], "errored");
    let reason = done["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("attempt 1 on 127.0.0.1") && reason.contains("attempt 2 on 127.0.0.1"),
        "{reason}"
    );
    terminate(program);
}

#[test]
fn an_image_that_never_calls_ends_errored() {
    let mut lab = lab(&["a.efi"], &["--deadline-boot", "300ms", "--retries", "0"]);
    let mut program = lab.start().expect("a start");
    image(&program.firmware());
    let failed = program.event("failed", "a.efi").expect("an event");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("no call")), "{failed}");
    assert_eq!(program.event("done", "a.efi").expect("an event")["verdict"], "errored");
}

/// What used to hurt: a firmware that asked again was given the next workload.
#[test]
fn a_firmware_that_asks_again_gets_the_same_image() {
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    for _ in 0..3 {
        firmware.head().expect("an answer");
    }
    assert!(firmware.boot_partly(1000).is_ok());
    for _ in 0..3 {
        assert_eq!(image(&firmware), "a.efi");
    }
    assert_eq!(image(&firmware.of_host(9)), "b.efi");
}

#[test]
fn an_assignment_that_is_never_fetched_goes_to_whoever_asks_next() {
    let mut lab = lab(&["a.efi"], &["--deadline-assigned", "300ms"]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    firmware.head().expect("an answer");
    program.event("returned", "a.efi").expect("an event");
    assert_eq!(image(&firmware.of_host(2)), "a.efi");
    let row = &lab.status().expect("a status")["jobs"][0];
    assert_eq!((&row["attempt"], &row["host"]), (&1.into(), &"127.0.0.2".into()));
}

/// What used to hurt: any visitor took a job.
#[test]
fn a_browser_gets_a_page_and_no_job() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let browser = program.firmware();
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let page = browser.exchange("GET", accept, b"").expect("an answer");
    assert_eq!(page.status, 200);
    assert!(page.field("content-type").is_some_and(|media_type| media_type.starts_with("text/html")));
    assert!(page.text().contains("a.efi") && page.text().contains("1 queued"), "{}", page.text());
    assert_eq!(verdict(&lab, "a.efi"), "queued");
}

/// What used to hurt: no terminal, no service; it could not run under systemd.
#[test]
fn without_a_terminal_it_serves_logs_and_ends_on_sigterm() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start, with no terminal anywhere");
    whole_run(&program.firmware());
    let before = program.seen.len();
    assert!(before > 0);
    terminate(program);
}

/// What used to hurt: some boot menus refuse a URL without an extension.
#[test]
fn the_boot_path_may_have_an_extension_or_a_query() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    for path in ["/dispatch.efi", "/dispatch.iso", "/dispatch.img", "/dispatch/boot.efi", "/dispatch?foo.efi"]
    {
        assert_eq!(image(&program.firmware().at(path)), "a.efi", "{path}");
    }
    assert_eq!(program.firmware().at("/other").head().expect("an answer").status, 404);
}

/// What used to hurt: powering off is dangerous on a production server that happens to boot from the network.
#[test]
fn a_stranger_is_not_powered_off_but_goes_on_with_its_next_device() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let (worker, stranger) = (program.firmware().of_host(2), program.firmware().of_host(3));
    image(&worker);
    let text = stub(&stranger);
    assert!(text.contains("next boot device"), "{text}");
    worker.post().expect("an answer");
    worker.put(PASSED, None).expect("an answer");
    let text = stub(&worker);
    assert!(text.contains("powering off"), "{text}");
    let text = stub(&stranger);
    assert!(text.contains("next boot device"), "{text}");
}

#[test]
fn with_when_idle_none_firmware_is_left_to_itself() {
    let mut lab = lab(&["a.efi"], &["--when-idle", "none"]);
    let program = lab.start().expect("a start");
    whole_run(&program.firmware());
    assert_eq!(program.firmware().boot().expect("an answer"), Booted::Refused(404));
}

#[test]
fn a_report_is_judged_by_the_rules_where_the_image_gives_no_verdict() {
    let mut lab =
        lab(&["a.efi", "b.efi", "c.efi"], &["--pass-if", "milestone", "--fail-if", "title:(?i)not ok"]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    for json in
        [r#"{"title":"x","milestone":"c3"}"#, r#"{"title":"NOT OK","milestone":"c3"}"#, r#"{"title":"x"}"#]
    {
        image(&firmware);
        firmware.post().expect("an answer");
        assert_eq!(firmware.put(json, None).expect("an answer"), 200);
    }
    stub(&firmware);
    assert_eq!(lab.status().expect("a status")["tally"], "1 passed, 1 failed, 1 unjudged");
}

#[test]
fn a_system_that_booted_from_disk_is_told_that_nothing_waits_for_it() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(firmware.post().expect("an answer").0, 417);
    assert_eq!(firmware.put(PASSED, None).expect("an answer"), 417);
    firmware.head().expect("an answer");
    assert_eq!(firmware.post().expect("an answer").0, 417, "the image has not been fetched");
    assert_eq!(verdict(&lab, "a.efi"), "assigned");
}

#[test]
fn filters_keep_what_matches_any_of_them() {
    let mut lab = lab(&["ubuntu.efi", "fedora.efi", "suse.efi"], &["fed", "sus"]);
    let program = lab.start().expect("a start");
    assert_eq!(whole_run(&program.firmware()), "fedora.efi");
    assert_eq!(whole_run(&program.firmware()), "suse.efi");
    stub(&program.firmware());
}

#[test]
fn fresh_forgets_what_was_done() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    whole_run(&program.firmware());
    terminate(program);
    let program = lab.start().expect("a start");
    stub(&program.firmware());
    terminate(program);
    lab.more.push("--fresh".to_owned());
    let program = lab.start().expect("a start");
    assert_eq!(image(&program.firmware()), "a.efi");
}

#[test]
fn many_hosts_at_once_get_a_job_each_and_no_job_twice() {
    let names: Vec<String> = (10..60).map(|number| format!("job{number}.efi")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = lab(&names, &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let runs: Vec<String> = std::thread::scope(|scope| {
        let hosts: Vec<_> = (1..=10)
            .map(|host| {
                let firmware = firmware.of_host(host);
                scope.spawn(move || (0..5).map(|_| whole_run(&firmware)).collect::<Vec<_>>())
            })
            .collect();
        hosts.into_iter().flat_map(|host| host.join().expect("a host")).collect()
    });
    let distinct: BTreeSet<&String> = runs.iter().collect();
    assert_eq!((runs.len(), distinct.len()), (50, 50));
    for host in 1..=10 {
        stub(&firmware.of_host(host));
    }
    assert_eq!(lab.status().expect("a status")["tally"], "50 passed");
}

#[test]
fn a_host_whose_download_breaks_three_times_has_errored() {
    let mut lab = lab(&[], &["--retries", "0"]);
    // More than the socket's buffers hold, so that a broken download is one.
    lab.image("big.efi", &big_image()).expect("an image");
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    for nth in 1..=3 {
        firmware.boot_partly(1000).expect("a part");
        if nth < 3 {
            assert_eq!(program.event("broken", "big.efi").expect("an event")["nth"], nth);
        }
    }
    let failed = program.event("failed", "big.efi").expect("an event");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("broke off 3 times")), "{failed}");
}

#[test]
fn a_broken_download_is_taken_up_again_by_range() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let head = firmware.head().expect("an answer");
    let etag = head.field("etag").expect("a validator");
    let part = |first: usize, last: usize, more: &str| {
        let fields = format!("Range: bytes={first}-{last}\r\n{more}");
        firmware.exchange("GET", &fields, b"").expect("an answer")
    };
    let mut bytes = part(0, 59_999, "").body;
    let rest = part(60_000, SIZE - 1, &format!("If-Range: {etag}\r\n"));
    assert_eq!(rest.status, 206);
    assert_eq!(rest.field("content-range"), Some("bytes 60000-99999/100000"));
    bytes.extend(rest.body);
    assert!(bytes == content("a.efi"));
    assert_eq!(firmware.post().expect("an answer").0, 200);

    let other = part(0, 9, "If-Range: \"other\"\r\n");
    assert_eq!((other.status, other.body.len()), (200, SIZE), "another version is sent from its start");
}

#[test]
fn a_range_outside_the_image_is_416_and_costs_nothing() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let answer = program.firmware().exchange("GET", "Range: bytes=100000-\r\n", b"").expect("an answer");
    assert_eq!((answer.status, answer.field("content-range")), (416, Some("bytes */100000")));
    assert_eq!(image(&program.firmware()), "a.efi");
}

#[test]
fn a_boot_that_breaks_off_is_an_error_for_the_virtual_firmware_too() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let address = program.firmware();
    terminate(program);
    assert!(matches!(address.boot(), Err(BootError::Io(_))));
}

#[test]
fn a_workload_that_may_reboot_its_host_is_given_again() {
    let mut lab = lab(&["kernel.efi", "other.efi"], &[]);
    lab.image("dispatch.yaml", b"workloads:\n  - name: kernel.efi\n    reboots: 1\n").expect("a file");
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(image(&firmware), "kernel.efi");
    let (_, run) = firmware.post().expect("an answer");
    assert_eq!(image(&firmware), "kernel.efi");
    program.event("rebooting", "kernel.efi").expect("an event");
    assert_eq!(firmware.post().expect("an answer"), (200, run), "it is the same run");
    assert_eq!(image(&firmware), "other.efi", "once more is not allowed");
    let failed = program.event("failed", "kernel.efi").expect("an event");
    assert!(
        failed["reason"].as_str().is_some_and(|reason| reason.contains("rebooted without a report")),
        "{failed}"
    );
}

#[test]
fn an_image_goes_out_without_being_read_into_memory() {
    let mut lab = lab(&[], &[]);
    lab.image("big.efi", &vec![7; 256 << 20]).expect("an image");
    let program = lab.start().expect("a start");
    let before = program.peak_memory().expect("proc");
    assert!(program.firmware().boot().is_ok());
    let after = program.peak_memory().expect("proc");
    assert!(after - before < 16 << 20, "{before} before, {after} after");
}

#[test]
fn sigint_ends_it_in_good_order_too_even_inside_a_download() {
    let mut lab = lab(&[], &[]);
    lab.image("big.efi", &big_image()).expect("an image");
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let _connection = begun_download(&firmware);
    assert!(program.interrupt().expect("an end").success());
}

/// Byte for byte what beacon 1.1.0 sends, as it was recorded.
#[test]
fn the_beacon_that_is_out_there_is_understood() {
    let mut lab = lab(&["a.efi"], &["--pass-if", "milestone"]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    for recorded in
        [&include_bytes!("beacon-1.1.0/boot.http")[..], &include_bytes!("beacon-1.1.0/report.http")[..]]
    {
        let mut connection = firmware.connect().expect("a connection");
        connection.send(recorded).expect("sent");
        assert_eq!(connection.answer().expect("an answer").status, 200);
    }
    let report = program.event("report", "a.efi").expect("an event");
    assert_eq!((&report["title"], &report["verdict"]), (&"certificate 3".into(), &"passed".into()));
    assert_eq!(lab.status().expect("a status")["jobs"][0]["state"], "reported");
}
