//! The program as it is run in an image, on a made-up machine, against small servers on loopback.

#![cfg(test)]

mod common;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use common::{Machine, NOT_MINE, OK, Server, http_path, load_option};

const NAMED: &str = "HTTP/1.1 200 OK\r\nDispatch-Run: 0193-abc\r\nContent-Length: 0\r\n\r\n";

fn beacon(machine: &Machine, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beacon"));
    command.env_clear().args(arguments).args(["--root", machine.path()]);
    command.stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("beacon runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit status"), text(stdout), text(stderr))
}

fn run_with_stdin(command: &mut Command, input: &str) -> (i32, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("beacon runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("beacon ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit status"), text(stdout), text(stderr))
}

fn boots_from(server: &Server) -> Machine {
    let option = load_option("UEFI HTTPv4", &http_path(server.url("/dispatch?x.efi").as_str()), b"");
    Machine::new().with_identity().with_variable("Boot0002", &option).with_variable("BootCurrent", &[2, 0])
}

#[test]
fn boot_and_two_reports_go_to_the_server_of_the_boot_entry() {
    let server = Server::new(&[NAMED, OK, OK]);
    let url = server.url("/dispatch?x.efi").to_string();
    let machine = boots_from(&server).with("cert.md", "# good\n");

    let (code, stdout, stderr) = run(&mut beacon(&machine, &["boot"]));
    assert_eq!(
        (code, stdout, stderr.as_str()),
        (0, format!("beacon: run 0193-abc started, told {url}\n"), "")
    );
    assert_eq!(machine.state(), format!("{{\"url\":\"{url}\",\"run\":\"0193-abc\"}}\n"));

    let file = format!("{}/cert.md", machine.path());
    let report = [
        "report",
        "-t",
        "cert",
        "-b",
        &file,
        "-l",
        "a",
        "-l",
        "b",
        "-a",
        "me",
        "-m",
        "c3",
        "--verdict",
        "passed",
    ];
    let (code, stdout, stderr) = run(&mut beacon(&machine, &report));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with(&format!("beacon: report of run 0193-abc told {url} (")), "{stdout}");

    let (code, ..) = run_with_stdin(&mut beacon(&machine, &["report", "--title", "log"]), "from \"stdin\"\n");
    assert_eq!(code, 0);

    let requests = server.requests();
    assert!(requests[0].starts_with("POST /dispatch?x.efi HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(!requests[0].to_ascii_lowercase().contains("dispatch-run"));
    assert!(requests[1].starts_with("PUT /dispatch?x.efi HTTP/1.1\r\n"), "{}", requests[1]);
    for request in &requests {
        assert!(request.to_ascii_lowercase().contains("dispatch-host-uuid: 4c4c4544-0051"), "{request}");
        assert!(request.to_ascii_lowercase().contains("dispatch-host-mac: 52:54:00:77:00:01,"), "{request}");
    }
    for request in &requests[1..] {
        assert!(request.to_ascii_lowercase().contains("\r\ndispatch-run: 0193-abc\r\n"), "{request}");
    }
    let json = r##"{"title":"cert","body":"# good\n","labels":["a","b"],"assignees":["me"],"milestone":"c3","verdict":"passed"}"##;
    assert!(requests[1].ends_with(json), "{}", requests[1]);
    assert!(requests[2].ends_with(r#"{"title":"log","body":"from \"stdin\"\n"}"#), "{}", requests[2]);
}

#[test]
fn a_server_of_version_1_1_0_names_no_run_and_is_told_all_the_same() {
    let server = Server::new(&[OK, OK]);
    let url = server.url("/dispatch?x.efi").to_string();
    let machine = boots_from(&server);
    let (code, stdout, _) = run(&mut beacon(&machine, &["boot"]));
    assert_eq!((code, stdout), (0, format!("beacon: started, told {url}\n")));
    assert_eq!(machine.state(), format!("{{\"url\":\"{url}\"}}\n"));
    let (code, stdout, _) = run(&mut beacon(&machine, &["report", "-t", "cert"]));
    assert_eq!((code, stdout), (0, format!("beacon: report told {url} (16 bytes)\n")));
    let requests = server.requests();
    assert!(!requests[1].to_ascii_lowercase().contains("dispatch-run"), "{}", requests[1]);
    assert!(requests[1].ends_with(r#"{"title":"cert"}"#));
}

#[test]
fn after_a_417_the_next_server_is_told_and_remembered() {
    let (other, mine) = (Server::new(&[NOT_MINE]), Server::new(&[NAMED]));
    let machine = boots_from(&mine).with("proc/cmdline", format!("dispatch.url={}", other.url("/dispatch")));
    let (code, _, stderr) = run(&mut beacon(&machine, &["boot"]));
    assert_eq!(code, 0);
    assert!(stderr.contains("(kernel command line): 417, it has no run of this host"), "{stderr}");
    assert!(machine.state().contains(&mine.port.to_string()));
    other.requests();
}

#[test]
fn a_damaged_state_is_a_warning() {
    let server = Server::new(&[OK]);
    let machine = boots_from(&server).with("run/dispatch/beacon.json", "{\"url\":");
    let (code, _, stderr) = run(&mut beacon(&machine, &["report", "-t", "x"]));
    assert_eq!(code, 0);
    assert!(stderr.contains("run/dispatch/beacon.json is damaged"), "{stderr}");
}

#[test]
fn a_run_directory_that_cannot_be_written_is_a_warning() {
    let server = Server::new(&[NAMED]);
    let machine = boots_from(&server).with("run/dispatch", "a file in the way");
    let (code, stdout, stderr) = run(&mut beacon(&machine, &["boot"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("run 0193-abc started"));
    assert!(stderr.contains("cannot remember the server"), "{stderr}");
}

#[test]
fn the_environment_names_a_server_but_no_proxy() {
    let server = Server::new(&[OK]);
    let mut command = beacon(&Machine::new(), &["boot"]);
    command.env("DISPATCH_URL", server.url("/x").as_str());
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:1/");
    }
    let (code, _, stderr) = run(&mut command);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(server.requests()[0].starts_with("POST /x HTTP/1.1\r\n"));
}

#[test]
fn an_empty_variable_of_the_environment_names_none() {
    let server = Server::new(&[OK]);
    let (code, ..) = run(beacon(&boots_from(&server), &["boot"]).env("DISPATCH_URL", ""));
    assert_eq!(code, 0);
}

#[test]
fn what_cannot_be_told_is_exit_status_1_and_one_sentence() {
    let (code, stdout, stderr) = run(&mut beacon(&Machine::new(), &["boot", "--timeout", "0"]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("name one with --url, DISPATCH_URL, or dispatch.url="), "{stderr}");
    let missing = ["report", "-t", "x", "-b", "/nowhere/cert.md", "--timeout", "0"];
    let (code, _, stderr) = run(&mut beacon(&Machine::new(), &missing));
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot read the body of the report from /nowhere/cert.md"), "{stderr}");
}

#[test]
fn an_empty_title_does_not_lose_the_report() {
    let server = Server::new(&[OK]);
    let (code, _, stderr) = run(&mut beacon(&boots_from(&server), &["report", "-t", " "]));
    assert_eq!(code, 0);
    assert!(stderr.contains("the title is empty"), "{stderr}");
    assert!(server.requests()[0].ends_with(r#"{"title":"untitled"}"#));
}

#[test]
fn wrong_usage_is_exit_status_2() {
    for wrong in [
        &["report"][..],
        &["boot", "--url", "https://lab/dispatch"],
        &["boot", "--timeout", "soon"],
        &["report", "-t", "x", "--verdict", "great"],
        &["shout"],
    ] {
        assert_eq!(run(&mut beacon(&Machine::new(), wrong)).0, 2, "{wrong:?}");
    }
}

#[test]
fn help_says_where_servers_come_from() {
    let (code, stdout, _) = run(Command::new(env!("CARGO_BIN_EXE_beacon")).arg("--help"));
    assert_eq!(code, 0);
    let (_, report, _) = run(Command::new(env!("CARGO_BIN_EXE_beacon")).args(["report", "--help"]));
    assert!(report.lines().all(|line| line.len() <= 80), "{report}");
    for part in ["DISPATCH_URL", "dispatch.url=", "boot entries", "Exit status"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert!(stdout.lines().all(|line| line.len() <= 80), "{stdout}");
}
