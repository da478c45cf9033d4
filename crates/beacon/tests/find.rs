//! Which servers are found on a machine, and in which order.

#![cfg(test)]

mod common;

use beacon::find::{Finder, Found, Known, finders};
use beacon::state::Remembered;
use beacon::url::ServerUrl;
use common::{Machine, http_path, load_option};

fn machine() -> Machine {
    let entry = |uri: &str| load_option("UEFI \"HTTP\"", &http_path(uri), b"");
    Machine::new()
        .with("proc/cmdline", "quiet dispatch.url=\"http://cmdline/dispatch\"\n")
        .with_variable("Boot0001", &entry("http://first/dispatch?foo.efi"))
        .with_variable("Boot0002", &entry("https://secure/dispatch"))
        .with_variable("Boot0003", &entry("not a url"))
        .with_variable("Boot0004", &entry("http://current/dispatch"))
        .with_variable("BootCurrent", &[4, 0])
}

/// All URLs in order, and all warnings.
fn found(machine: &Machine, given: Option<&str>, remembered: Option<&str>) -> (Vec<String>, Vec<String>) {
    let url = |text: &str| text.parse::<ServerUrl>().expect("a URL");
    let remembered = remembered.map(|text| Remembered { url: url(text), run: None });
    let findings: Vec<_> = finders(&machine.root(), given.map(url).as_ref(), remembered.as_ref(), vec![])
        .iter()
        .map(|finder| finder.find())
        .collect();
    let urls = findings.iter().flat_map(|finding| finding.found.iter().map(|found| found.url.to_string()));
    (urls.collect(), findings.iter().flat_map(|finding| finding.warnings.clone()).collect())
}

#[test]
fn the_kernel_command_line_comes_before_the_boot_entries() {
    let (urls, warnings) = found(&machine(), None, None);
    assert_eq!(urls, ["http://cmdline/dispatch", "http://current/dispatch", "http://first/dispatch?foo.efi"]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("Boot0002") && warnings[0].contains("plain http only"), "{warnings:?}");
    assert!(warnings[1].contains("Boot0003"), "{warnings:?}");
}

#[test]
fn the_server_that_answered_boot_comes_first() {
    assert_eq!(found(&machine(), None, Some("http://known/")).0[0], "http://known/");
}

#[test]
fn a_given_url_is_the_only_one() {
    assert_eq!(found(&machine(), Some("http://given/"), Some("http://known/")).0, ["http://given/"]);
}

#[test]
fn a_bad_url_on_the_command_line_is_told_and_skipped() {
    let machine = Machine::new().with("proc/cmdline", "dispatch.url=https://lab/dispatch");
    let (urls, warnings) = found(&machine, None, None);
    assert!(urls.is_empty());
    assert!(warnings[0].contains("plain http only"), "{warnings:?}");
}

#[test]
fn a_machine_that_says_nothing_has_no_servers_and_no_warnings() {
    assert_eq!(found(&Machine::new(), None, None), (vec![], vec![]));
}

#[test]
fn the_network_is_asked_last_and_not_at_all_if_a_server_is_given() {
    let url = |text: &str| text.parse::<ServerUrl>().expect("a URL");
    let network = || -> Vec<Box<dyn Finder>> {
        vec![Box::new(Known(Found { url: url("http://announced/"), from: "test".to_owned() }))]
    };
    let all = |given: Option<ServerUrl>| -> Vec<String> {
        let finders = finders(&machine().root(), given.as_ref(), None, network());
        finders.iter().flat_map(|finder| finder.find().found).map(|found| found.url.to_string()).collect()
    };
    assert_eq!(all(None).last().map(String::as_str), Some("http://announced/"));
    assert_eq!(all(Some(url("http://given/"))), ["http://given/"]);
}
