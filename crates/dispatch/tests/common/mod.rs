//! A `dispatch` process with images of its own, for each test.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod hub;
pub(crate) mod service;

use std::ops::{Deref, DerefMut};
use std::process::Command;

use dispatch_testkit::firmware::{Booted, Connection, Firmware};
use dispatch_testkit::program::{Program, Setup};
use tempfile::TempDir;

/// A setup in a folder of its own, which goes with it.
pub(crate) struct Lab {
    folder: TempDir,
    setup: Setup,
}

impl Deref for Lab {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.setup
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }
}

/// A lab that serves these images; each begins with its name and is 100,000 bytes long.
pub(crate) fn lab(images: &[&str], more: &[&str]) -> Lab {
    let folder = TempDir::new().expect("a folder");
    let setup = Setup::new(env!("CARGO_BIN_EXE_dispatch"), folder.path()).with(more);
    std::fs::create_dir_all(folder.path().join("images")).expect("a folder");
    for name in images {
        setup.image(name, &content(name)).expect("an image");
    }
    Lab { folder, setup }
}

/// A lab without images, where a virtual server in QEMU can reach it.
pub(crate) fn lab_for_qemu(more: &[&str]) -> Lab {
    let lab = lab(&[], more);
    Lab { setup: lab.setup.clone().for_qemu(), folder: lab.folder }
}

pub(crate) const SIZE: usize = 100_000;

pub(crate) fn content(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(SIZE).collect()
}

/// Boots, and tells the name of the image that came, whole and right.
pub(crate) fn image(firmware: &Firmware) -> String {
    match firmware.boot().expect("a boot") {
        Booted::Image { bytes, .. } => {
            let text = String::from_utf8_lossy(&bytes[..64]).into_owned();
            let end = text.find('.').expect("a name") + 4;
            let name = text[..end].to_owned();
            assert!(bytes == content(&name), "the image of {name} came damaged");
            name
        }
        other => panic!("no image came but {other:?}"),
    }
}

/// Boots, and tells what our own program says on the console.
pub(crate) fn stub(firmware: &Firmware) -> String {
    match firmware.boot().expect("a boot") {
        Booted::Stub(text) => text,
        other => panic!("no program of ours came but {other:?}"),
    }
}

pub(crate) const PASSED: &str = r#"{"title":"all good","verdict":"passed"}"#;

/// More than the buffers of sockets hold, so that a download of it can be broken off.
pub(crate) fn big_image() -> Vec<u8> {
    vec![7; 64 << 20]
}

/// A download that has begun and is far from its end.
pub(crate) fn begun_download(firmware: &Firmware) -> Connection {
    let mut connection = firmware.connect().expect("a connection");
    connection.send(firmware.request("GET", "").as_bytes()).expect("sent");
    connection.head().expect("an answer");
    connection.body(1 << 20).expect("a part");
    connection
}

/// A whole run: boot, call, report.
pub(crate) fn whole_run(firmware: &Firmware) -> String {
    let name = image(firmware);
    let (status, run) = firmware.post().expect("an answer");
    assert_eq!(status, 200);
    assert_eq!(firmware.put(PASSED, run.as_deref()).expect("an answer"), 200);
    name
}

/// The verdict of a job, or its state while it has none.
pub(crate) fn verdict(lab: &Lab, name: &str) -> String {
    let status = lab.status().expect("a status");
    let job =
        status["jobs"].as_array().expect("jobs").iter().rfind(|job| job["name"] == name).expect("the job");
    job["verdict"].as_str().or(job["state"].as_str()).expect("a word").to_owned()
}

/// Ends a program in good order.
pub(crate) fn terminate(program: Program) {
    assert!(program.terminate().expect("an end").success());
}

/// Whether this system lets anybody have a network of his own. Containers often do not; CI must.
pub(crate) fn may_have_networks() -> bool {
    let probe = ["--user", "--map-root-user", "--net", "ip", "link", "add", "a0", "type", "veth"];
    let output = Command::new("unshare").args(probe).output();
    let is_possible = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(is_possible || std::env::var_os("CI").is_none(), "no network namespaces: {output:?}");
    is_possible
}
