//! The stubs that do one thing and are done.

use std::time::Duration;

use dispatch_boot::stub::Stub;

use super::firmware::{ABORTED, Call, Firmware};
use super::{ARCHES, LINE, run};

fn headless() -> Firmware {
    Firmware { console: false, ..Firmware::new([]) }
}

#[test]
fn next_prints_its_line_and_returns_aborted() {
    for &arch in ARCHES {
        let (status, firmware) = run(Stub::Next, arch, Firmware::new([]));
        assert_eq!(status, ABORTED);
        assert_eq!(firmware.lines, [LINE]);
        assert_eq!(firmware.calls.len(), 1);
    }
}

#[test]
fn without_a_console_nothing_is_printed() {
    for &arch in ARCHES {
        let (status, firmware) = run(Stub::Next, arch, headless());
        assert_eq!((status, firmware.calls), (ABORTED, vec![]));
    }
}

#[test]
fn power_off_that_fails_returns_aborted() {
    for &arch in ARCHES {
        let (status, firmware) = run(Stub::PowerOff, arch, headless());
        assert_eq!(firmware.calls, [(Call::Reset, vec![2, 0, 0, 0])]);
        assert_eq!(status, ABORTED);
    }
}

#[test]
fn reboot_stalls_second_by_second_within_the_watchdog() {
    for &arch in ARCHES {
        let after = Duration::from_millis(2300);
        let (status, firmware) = run(Stub::Reboot { after }, arch, headless());
        assert_eq!(status, ABORTED);
        assert_eq!(
            firmware.calls,
            [
                (Call::Watchdog, vec![62, 0x10000, 0, 0]),
                (Call::Stall, vec![1_000_000]),
                (Call::Stall, vec![1_000_000]),
                (Call::Stall, vec![300_000]),
                (Call::Reset, vec![0, 0, 0, 0]),
            ]
        );
    }
}
