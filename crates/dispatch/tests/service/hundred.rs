//! A hundred hosts at once, a limit of their group, and a kill in the middle.

use std::collections::VecDeque;
use std::thread;

use dispatch_testkit::firmware::{BootError, Booted, Firmware};
use serde_json::json;

use super::common::service::{Engine, ServiceLab};
use super::common::{PASSED, terminate};

on_both! {
    a_hundred_hosts_boot_within_what_their_groups_may_and_a_kill_in_the_middle_changes_nothing
}

const CONFIG: &str = r#"
boot: { listen: "BOOT", unknown_hosts: accept, when_idle: wait }
groups:
  metal:
    - { id: lab, name: Lab, max_concurrent: 20, sources: [{ dir: ./images, spread: each-host }] }
"#;

/// How many may run at once, as the configuration says.
const MOST: usize = 20;

/// How many ask beyond that, and have to wait.
const MORE: usize = 5;

/// How many ask at the same moment.
const THREADS: usize = 8;

/// Does something for each, several at the same moment.
fn at_once<T: Send, R: Send>(all: Vec<T>, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    let size = all.len().div_ceil(THREADS).max(1);
    let mut all = all.into_iter();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        loop {
            let part: Vec<T> = all.by_ref().take(size).collect();
            if part.is_empty() {
                break;
            }
            let each = &each;
            threads.push(scope.spawn(move || part.into_iter().map(each).collect::<Vec<R>>()));
        }
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread that ends")).collect()
    })
}

/// A host that has an image: what it has done of its run.
struct Working {
    firmware: Firmware,
    run: Option<String>,
    has_reported: bool,
    is_back: bool,
}

impl Working {
    fn new(firmware: Firmware) -> Self {
        Self { firmware, run: None, has_reported: false, is_back: false }
    }

    /// Does what is left; ends early where nobody answers, and is to be called again.
    fn go_on(mut self) -> Self {
        // What is cut off is tried again once there is somebody.
        let _ = self.steps();
        self
    }

    fn steps(&mut self) -> Result<(), BootError> {
        if self.run.is_none() {
            let (status, run) = self.firmware.post()?;
            assert_eq!(status, 200);
            self.run = run;
        }
        if !self.has_reported {
            assert_eq!(self.firmware.put(PASSED, self.run.as_deref())?, 200);
            self.has_reported = true;
        }
        if !self.is_back {
            let booted = self.firmware.boot()?;
            assert!(matches!(booted, Booted::Stub(_)), "it has had its job: {booted:?}");
            self.is_back = true;
        }
        Ok(())
    }
}

fn a_hundred_hosts_boot_within_what_their_groups_may_and_a_kill_in_the_middle_changes_nothing(
    engine: Engine,
) {
    let mut lab = ServiceLab::new(engine, &["a.efi"], CONFIG);
    let mut running = lab.start();
    let firmware = running.program.firmware();
    // All ask at once. Each is seen, and gets a job of its own by that.
    let mut asking: Vec<Firmware> = (1..=100).map(|host| firmware.of_host(host)).collect();
    let mut waiting = VecDeque::new();
    let (mut done, mut was_killed) = (0, false);
    while done < 100 {
        let booted = at_once(asking, |host| (host.boot().expect("an answer"), host));
        let mut working = Vec::new();
        for (booted, host) in booted {
            match booted {
                Booted::Image { .. } => working.push(Working::new(host)),
                _ => waiting.push_back(host),
            }
        }
        assert!(working.len() <= MOST, "{} at once", working.len());
        if working.len() == MOST && !was_killed {
            was_killed = true;
            // Some have reported, some have called, some have not: whatever they had done when it died, it is known.
            working = thread::scope(|scope| {
                let threads = scope.spawn(|| at_once(working, Working::go_on));
                running.program.event("report", "").expect("a report");
                running.program.kill().expect("killed");
                threads.join().expect("a thread that ends")
            });
            running = lab.start();
        }
        let over = at_once(working, Working::go_on);
        assert!(over.iter().all(|host| host.is_back), "each has come to its end");
        done += over.len();
        // Enough to fill the group, and some for whom there is no room.
        asking = waiting.drain(..waiting.len().min(MOST + MORE)).collect();
    }
    assert!(was_killed && waiting.is_empty());
    let reader = running.client("readonly");
    let stats = reader.get("/api/v1/groups/lab/history/stats?range=1h");
    assert_eq!(stats["verdicts"], json!({ "passed": 100, "failed": 0, "errored": 0, "unjudged": 0 }));
    let group = reader.get("/api/v1/groups/lab");
    assert_eq!((&group["queued_jobs"], &group["running_jobs"]), (&json!(0), &json!(0)), "{group}");
    terminate(running.program);
}
