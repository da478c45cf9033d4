//! Wrong input is answered, never fatal; what cannot start says why in one sentence.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{PASSED, big_image, image, lab, stub, terminate, verdict, whole_run};
use dispatch_testkit::firmware::{BootError, Firmware};

#[test]
fn a_malformed_report_is_answered_with_what_is_wrong_and_changes_nothing() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    firmware.post().expect("an answer");
    for (json, words) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "title"),
        (r#"{"body":"b"}"#, "title"),
        (r#"{"title":""}"#, "title"),
        (r#"{"title":"t","verdict":"great"}"#, "great"),
        ("\u{0}\u{ff}", "JSON object"),
        (r#"["a title"]"#, "JSON object"),
    ] {
        let answer = firmware.exchange("PUT", "", json.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 400, "{json}");
        assert!(answer.text().contains(words), "`{words}` is not in: {}", answer.text());
    }
    assert_eq!(verdict(&lab, "a.efi"), "booting");
    assert_eq!(firmware.put(PASSED, None).expect("an answer"), 200);
}

#[test]
fn a_report_of_100_megabytes_is_refused_with_a_word_and_costs_no_memory() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    firmware.post().expect("an answer");
    let huge = vec![b'x'; 100_000_000];
    let answer = firmware.exchange("PUT", "", &huge);
    // Either the refusal is read, or the connection is closed before all is sent.
    match answer {
        Ok(answer) => assert_eq!(answer.status, 413),
        Err(BootError::Io(_)) => {}
        Err(odd) => panic!("{odd}"),
    }
    let mut connection = firmware.connect().expect("a connection");
    connection.send(firmware.request("PUT", "Content-Length: 100000000\r\n").as_bytes()).expect("sent");
    let answer = connection.answer().expect("an answer before anything is sent");
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("8.0 MiB"), "{}", answer.text());
    let memory = program.peak_memory().expect("proc");
    assert!(memory < 60 << 20, "{memory} bytes");
    assert_eq!(firmware.put(PASSED, None).expect("an answer"), 200);
}

#[test]
fn a_report_of_just_under_the_limit_is_taken_chunked_or_not() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    firmware.post().expect("an answer");
    let json = format!(r#"{{"title":"large","body":"{}"}}"#, "x".repeat(8_000_000));
    assert_eq!(firmware.put(&json, None).expect("an answer"), 200);
    let mut connection = firmware.connect().expect("a connection");
    connection.send(firmware.request("PUT", "Transfer-Encoding: chunked\r\n").as_bytes()).expect("sent");
    connection.send(format!("{:x}\r\n{PASSED}\r\n0\r\n\r\n", PASSED.len()).as_bytes()).expect("sent");
    assert_eq!(connection.answer().expect("an answer").status, 200);
}

#[test]
fn rubbish_is_answered_or_dropped_and_the_next_client_is_served() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /dispatch HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /dispatch HTTP/9.9\r\n\r\n",
    ] {
        let mut connection = firmware.connect().expect("a connection");
        connection.send(rubbish).expect("sent");
        let answer = connection.head().expect("an answer");
        assert!((400..=501).contains(&answer.status), "{answer:?}");
    }
    for target in ["/../../etc/passwd", "/dispatch/../../etc/passwd", "/%2e%2e/etc/passwd", "/dispatch/a.efi"]
    {
        assert_eq!(firmware.at(target).head().expect("an answer").status, 404, "{target}");
    }
    for method in ["DELETE", "OPTIONS", "PATCH", "get"] {
        let answer = firmware.exchange(method, "", b"").expect("an answer");
        assert_eq!((answer.status, answer.field("allow")), (405, Some("HEAD, GET, POST, PUT")), "{method}");
    }
    assert_eq!(image(&firmware), "a.efi");
}

#[test]
fn old_clients_and_kept_connections_are_served() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let mut old = firmware.connect().expect("a connection");
    old.send(b"HEAD /dispatch HTTP/1.0\r\n\r\n").expect("sent");
    let answer = old.head().expect("an answer");
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(old.head().is_err(), "the connection is closed");

    let mut kept = firmware.connect().expect("a connection");
    let two = [firmware.request("HEAD", ""), firmware.request("HEAD", "Connection: close\r\n")].concat();
    kept.send(two.as_bytes()).expect("sent");
    assert_eq!(kept.head().expect("an answer").field("connection"), Some("keep-alive"));
    assert_eq!(kept.head().expect("an answer").field("connection"), Some("close"));
    assert!(kept.head().is_err(), "the connection is closed");
}

#[test]
fn head_is_answered_within_a_second_while_a_hundred_clients_are_slow() {
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    lab.image("big.efi", &big_image()).expect("an image");
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut connection = firmware.of_host(100).connect().expect("a connection");
        if number % 2 == 0 {
            // A download that nobody reads on.
            connection.send(firmware.request("GET", "").as_bytes()).expect("sent");
        } else {
            // A request that never ends.
            connection.send(b"GET /dispatch HT").expect("sent");
        }
        slow.push(connection);
    }
    for host in 1..=3 {
        let mut connection = firmware.of_host(host).connect().expect("a connection");
        connection.within(Duration::from_secs(1)).expect("a deadline");
        connection.send(firmware.request("HEAD", "").as_bytes()).expect("sent");
        connection.head().expect("an answer within a second");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_the_transfer_and_is_not_padded() {
    let mut lab = lab(&[], &[]);
    lab.image("big.efi", &big_image()).expect("an image");
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    let mut connection = firmware.connect().expect("a connection");
    connection.send(firmware.request("GET", "").as_bytes()).expect("sent");
    let answer = connection.head().expect("an answer");
    let path = lab.folder.join("images/big.efi");
    std::fs::File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(8 << 20))
        .expect("a shorter file");
    let error = connection.body(answer.length().expect("a length")).expect_err("it breaks off");
    assert!(error.to_string().contains("breaks off"), "{error}");
    program.event("broken", "big.efi").expect("an event");
}

#[test]
fn a_file_that_is_written_in_place_while_it_is_sent_cannot_pass() {
    let mut lab = lab(&[], &[]);
    lab.image("big.efi", &big_image()).expect("an image");
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    let mut connection = firmware.connect().expect("a connection");
    connection.send(firmware.request("GET", "").as_bytes()).expect("sent");
    let answer = connection.head().expect("an answer");
    let image = std::fs::File::options().write(true).open(lab.folder.join("images/big.efi"));
    let same_length: Vec<u8> = big_image().iter().map(|byte| !byte).collect();
    image.and_then(|mut image| image.write_all(&same_length)).expect("written in place");
    let error = connection.body(answer.length().expect("a length")).expect_err("it breaks off");
    assert!(error.to_string().contains("breaks off"), "{error}");
    program.event("broken", "big.efi").expect("an event");
    assert_eq!(firmware.post().expect("an answer").0, 417);
    assert_eq!(firmware.put(PASSED, None).expect("an answer"), 417);
}

/// A firmware that is sent more than it has room for asks for nothing but the image again, for ever.
#[test]
fn an_image_that_has_grown_since_its_head_is_not_sent_into_less_room() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(firmware.head().expect("an answer").length().expect("a length"), 100_000);
    lab.image("a.efi", &vec![1; 200_000]).expect("an image");
    let path = lab.folder.join("images/a.efi");
    let earlier =
        std::fs::metadata(&path).and_then(|meta| meta.modified()).expect("a time") - Duration::from_secs(5);
    let file = std::fs::File::options().write(true).open(&path).expect("the image");
    file.set_modified(earlier).expect("a time");
    let get = || firmware.exchange("GET", "", b"").expect("an answer");
    let answer = get();
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("a larger one by now"));
    assert_eq!(firmware.head().expect("an answer").length().expect("a length"), 200_000);
    assert_eq!(get().body.len(), 200_000);
}

#[test]
fn a_file_that_changed_is_served_as_it_is_and_never_under_the_old_length() {
    let mut lab = lab(&["a.efi"], &[]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(firmware.head().expect("an answer").length().expect("a length"), 100_000);
    lab.image("a.efi", &[1; 5000]).expect("an image");
    program.event("assigned", "a.efi").expect("an event");
    // What was written a moment ago may not be complete.
    assert!(firmware.of_host(2).head().is_ok());
    assert!(stub(&firmware).contains("next boot device"));
    let waits = program.event("waits", "a.efi").expect("an event");
    assert!(waits["reason"].as_str().is_some_and(|reason| reason.contains("being written")), "{waits}");
    let path = lab.folder.join("images/a.efi");
    let earlier =
        std::fs::metadata(&path).and_then(|meta| meta.modified()).expect("a time") - Duration::from_secs(5);
    let file = std::fs::File::options().write(true).open(&path).expect("the image");
    file.set_modified(earlier).expect("a time");
    let firmware = firmware.of_host(3);
    assert_eq!(firmware.head().expect("an answer").length().expect("a length"), 5000);
    program.event("replaced", "a.efi").expect("an event");
    assert!(firmware.boot().is_ok());
}

#[test]
fn a_vanished_directory_is_waited_for_and_costs_no_attempt() {
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    let (here, away) = (lab.folder.join("images"), lab.folder.join("away"));
    std::fs::rename(&here, &away).expect("moved");
    let text = stub(&firmware);
    assert!(text.contains("next boot device"), "{text}");
    let waits = program.event("waits", "a.efi").expect("an event");
    assert!(waits["reason"].as_str().is_some_and(|reason| reason.contains("No such file")), "{waits}");
    std::fs::rename(&away, &here).expect("moved back");
    // What HEAD has promised is kept for a moment; another host is not bound by it.
    assert_eq!(whole_run(&firmware.of_host(2)), "a.efi");
    assert_eq!(whole_run(&firmware.of_host(2)), "b.efi");
    stub(&firmware.of_host(2));
    assert_eq!(verdict(&lab, "a.efi"), "passed");
}

#[test]
fn an_unwritable_reports_folder_delays_the_files_and_nothing_else() {
    let mut lab = lab(&["a.efi"], &[]);
    // A file where the folder should be: not even root can write into it.
    std::fs::write(lab.folder.join("reports"), "in the way").expect("a file");
    let mut program = lab.start().expect("a start");
    assert_eq!(whole_run(&program.firmware()), "a.efi");
    program
        .until("a warning", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("cannot be written"))
        })
        .expect("a warning");
    std::fs::remove_file(lab.folder.join("reports")).expect("removed");
    terminate(program);
    let program = lab.start().expect("a start");
    terminate(program);
    assert_eq!(lab.reports().len(), 2, "{:?}", lab.reports());
}

#[test]
fn odd_names_are_served_like_any_other() {
    let names = ["..efi.efi", "a b%20c?.efi", "ünïcode.efi", "-rf.efi"];
    let mut lab = lab(&names, &[]);
    let program = lab.start().expect("a start");
    for _ in names {
        assert!(program.firmware().boot().is_ok());
        program.firmware().post().expect("an answer");
        assert_eq!(program.firmware().put(PASSED, None).expect("an answer"), 200);
    }
    stub(&program.firmware());
    terminate(program);
    assert_eq!(lab.reports().len(), 8);
}

#[test]
fn a_name_that_steers_terminals_is_shown_and_not_obeyed() {
    let mut lab = lab(&["\u{1b}]0;x\u{7}.efi"], &[]);
    let yaml = "workloads:\n  - name: \"\\e]0;x\"\n";
    terminate(lab.start().expect("a start"));
    let dir = lab.folder.join("images");
    let status =
        Command::new(&lab.binary).arg("status").arg("--state").arg(lab.folder.join("state")).output();
    let shown = String::from_utf8(status.expect("the status").stdout).expect("text");
    assert!(shown.contains("]0;x .efi") && !shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
    std::fs::write(dir.join("dispatch.yaml"), yaml).expect("a description");
    let (_, stderr) = lab.start_badly().expect("a try");
    assert!(stderr.contains("no image ` ]0;x`") && !stderr.contains('\u{1b}'), "{stderr:?}");
}

fn refused(lab: &dispatch_testkit::program::Setup, words: &[&str]) {
    let (status, stderr) = lab.start_badly().expect("a try");
    assert_eq!(status.code(), Some(1), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "`{word}` is not in: {stderr}");
    }
    assert_eq!(stderr.trim_end().lines().count(), 1, "one sentence: {stderr}");
    assert!(stderr.starts_with("dispatch: "), "{stderr}");
}

#[test]
fn what_cannot_start_says_why_in_one_sentence_and_exits_1() {
    let empty = lab(&[], &[]);
    refused(&empty, &["offers nothing to boot"]);
    empty.image("empty.efi", b"").expect("a file");
    refused(&empty, &["offers nothing to boot"]);
    std::fs::remove_dir_all(empty.folder.join("images")).expect("removed");
    refused(&empty, &["cannot read the directory", "No such file"]);

    let filtered = lab(&["a.efi"], &["zzz"]);
    refused(&filtered, &["`zzz`"]);

    let mut taken = lab(&["a.efi"], &[]);
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    taken.bind = holder.local_addr().expect("its address");
    refused(&taken, &["is taken", "--bind"]);

    let mistake = lab(&["a.efi"], &[]);
    std::fs::write(mistake.folder.join("images/dispatch.yaml"), "workloads:\n  - nome: a.efi\n")
        .expect("a file");
    refused(&mistake, &["dispatch.yaml", "line 2", "nome"]);

    let damaged = lab(&["a.efi"], &[]);
    std::fs::create_dir_all(damaged.folder.join("state")).expect("a folder");
    let mut file = std::fs::File::create(damaged.folder.join("state/dispatch.db")).expect("a file");
    file.write_all(&[b'x'; 8192]).expect("written");
    refused(&damaged, &["dispatch.db"]);
}

#[test]
fn a_second_process_on_the_same_state_says_so_and_the_first_goes_on() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    refused(&lab, &["in use by another dispatch", "--state"]);
    lab.more.push("--fresh".to_owned());
    refused(&lab, &["in use by another dispatch"]);
    assert_eq!(image(&program.firmware()), "a.efi");
}

#[test]
fn a_wrong_command_line_exits_2() {
    let lab = lab(&["a.efi"], &[]);
    for words in [
        &[][..],
        &["--dir"],
        &["--dir", "x", "--no-such-option"],
        &["--dir", "x", "--retries", "many"],
        &["--dir", "x", "--deadline-run", "soon"],
        &["--dir", "x", "--pass-if", "colour:red"],
        &["--dir", "x", "--bind", "nowhere"],
        &["--dir", "x", "--path", "dispatch"],
        &["--dir", "x", "--when-idle", "sleep"],
        &["--dir", "x", "--host", "10.0.0.256"],
        &["--dir", "x", "--host", "52-54-00-12-34-5g"],
        &["--dir", "x", "--again", "withdrawn"],
        &["status"],
    ] {
        let output = Command::new(&lab.binary).args(words).output().expect("a try");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn the_health_of_a_session_can_be_asked_for() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let answer = program.firmware().at("/health").exchange("GET", "", b"").expect("an answer");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    assert!(answer.text().contains(r#""status":"ok""#), "{}", answer.text());
}

#[test]
fn a_host_whose_image_vanished_while_it_was_up_is_answered() {
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    lab.image("dispatch.yaml", b"workloads:\n  - name: a.efi\n    reboots: 1\n").expect("a file");
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    firmware.post().expect("an answer");
    std::fs::remove_file(lab.folder.join("images/a.efi")).expect("removed");
    assert_eq!(image(&firmware), "b.efi");
}

#[test]
fn a_file_from_before_1970_is_served() {
    let mut lab = lab(&["a.efi"], &[]);
    let path = lab.folder.join("images/a.efi");
    let file = std::fs::File::options().write(true).open(path).expect("the image");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH - Duration::from_hours(1)).expect("a time");
    let program = lab.start().expect("a start");
    assert_eq!(image(&program.firmware()), "a.efi");
}

/// Ctrl-S on a terminal, or a pager that waits: standard output takes nothing.
#[test]
fn an_output_that_nobody_reads_holds_up_no_host() {
    let mut lab = lab(&["a.efi"], &[]);
    let port = lab.start().expect("a start").address;
    lab.bind = port;
    let mut command = lab.command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a start");
    let firmware = Firmware::new(port, "/dispatch");
    let title = "x".repeat(20_000);
    while firmware.head().is_err() {
        assert!(child.try_wait().expect("a child").is_none(), "it has ended");
    }
    image(&firmware);
    firmware.post().expect("an answer");
    for number in 0..20 {
        let json = format!(r#"{{"title":"{number} {title}"}}"#);
        assert_eq!(firmware.put(&json, None).expect("an answer"), 200, "report {number}");
    }
    assert_eq!(firmware.at("/health").head().expect("an answer").status, 200);
    child.kill().and_then(|()| child.wait()).expect("ended");
}

#[test]
fn an_image_of_more_than_4_gib_is_served_with_a_word() {
    const SIZE: u64 = (4 << 30) + 1;
    let mut lab = lab(&[], &[]);
    lab.image("large.iso", b"").expect("an image");
    let path = lab.folder.join("images/large.iso");
    let file = std::fs::File::options().write(true).open(path).expect("an image");
    file.set_len(SIZE).expect("a large image");
    let mut program = lab.start().expect("a start");
    let is_said = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.contains("large.iso") && text.contains("4 GiB"))
    };
    program.until("the word", is_said).expect("a word");
    assert_eq!(program.firmware().head().expect("an answer").length().expect("a length"), SIZE);
    terminate(program);
}
