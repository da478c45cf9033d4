//! The stub that waits.

use std::time::Duration;

use dispatch_boot::stub::{Arch, MAX_FAILURES, MAX_TEXT, Stub, build};

use super::firmware::{
    ABORTED, ACCESS_DENIED, Call, DEVICE_ERROR, Download, Firmware, NOT_FOUND, OUT_OF_RESOURCES,
    SECURITY_VIOLATION, SUCCESS, UNSUPPORTED, WARN_FILE_SYSTEM, device_path,
};
use super::{ARCHES, LINE};

const ASK_EVERY: Duration = Duration::from_secs(3);
const STARTING: &str = "dispatch: starting what there is now";
const ASKING_AGAIN: &str = "dispatch: no answer, asking again";
const NO_ANSWER: &str = "dispatch: resetting: still no answer";
const NO_WAY: &str = "dispatch: resetting: cannot ask from here";
const DISK_IMAGE: &str = "dispatch: resetting: for a disk image";
const REFUSED: &str = "dispatch: resetting: the image is refused";

/// Runs the stub on each architecture, each time with the firmware that `firmware` makes of an
/// architecture, and hands what came of it to `check`.
fn wait(firmware: impl Fn(Arch) -> Firmware, check: impl Fn(u64, &Firmware)) {
    for &arch in ARCHES {
        let (status, firmware) = super::run(Stub::Wait { ask_every: ASK_EVERY }, arch, firmware(arch));
        check(status, &firmware);
        firmware.assert_nothing_is_left();
    }
}

fn file(arch: Arch, ask_every: Duration, text: &str) -> Download {
    Download::File(build(Stub::Wait { ask_every }, arch, text))
}

fn same(arch: Arch) -> Download {
    file(arch, ASK_EVERY, LINE)
}

/// An application whose length is no multiple of anything.
fn application() -> Vec<u8> {
    (0..=255).cycle().take(10_007).collect()
}

fn plain() -> Download {
    Download::File(application())
}

fn assert_cold_reset(status: u64, firmware: &Firmware) {
    assert_eq!(firmware.arguments(Call::Reset), [[0, 0, 0, 0]]);
    assert_eq!(status, ABORTED, "when the reset fails");
    assert_eq!(firmware.count(Call::StartImage), 0);
}

/// The pauses before each download, in microseconds.
fn pauses(firmware: &Firmware) -> Vec<u64> {
    let mut pauses = vec![0];
    for (call, arguments) in &firmware.calls {
        match call {
            Call::Stall => *pauses.last_mut().unwrap() += arguments[0],
            Call::LoadFile if arguments[4] == 0 => pauses.push(0),
            _ => {}
        }
    }
    pauses.pop();
    pauses
}

#[test]
fn it_pauses_then_starts_what_there_is() {
    wait(
        |_| Firmware::new([plain()]),
        |status, firmware| {
            assert_eq!(firmware.lines, [LINE, STARTING]);
            assert_eq!(firmware.loaded, [application()]);
            assert_eq!(firmware.count(Call::StartImage), 1);
            assert_eq!(firmware.count(Call::Reset), 0);
            assert_eq!(pauses(firmware), [3_000_000]);
            assert_eq!(status, ABORTED, "an application that succeeds is done all the same");
        },
    );
}

#[test]
fn an_image_is_started_under_the_usual_watchdog() {
    wait(
        |_| Firmware::new([plain()]),
        |_, firmware| {
            let calls = &firmware.calls;
            let start = calls.iter().position(|(call, _)| *call == Call::StartImage).unwrap();
            assert_eq!(calls[start - 1], (Call::Watchdog, vec![300, 0x10000, 0, 0]));
            assert_eq!(firmware.arguments(Call::Watchdog)[0], [3603, 0x10000, 0, 0]);
        },
    );
}

#[test]
fn an_image_gets_the_load_options_of_the_boot_option() {
    wait(|_| Firmware::new([plain()]), |_, firmware| assert_eq!(firmware.options, Some([22, 0x4444])));
}

#[test]
fn the_status_of_an_image_is_passed_on() {
    for returned in [ABORTED, NOT_FOUND, 1] {
        wait(
            |_| Firmware { start_image: returned, exit_data: true, ..Firmware::new([plain()]) },
            |status, _| assert_eq!(status, returned),
        );
    }
}

#[test]
fn exit_data_is_freed() {
    wait(
        |_| Firmware { exit_data: true, ..Firmware::new([plain()]) },
        |status, firmware| {
            assert_eq!(status, ABORTED);
            assert_eq!(firmware.count(Call::Free), 2);
        },
    );
}

#[test]
fn without_a_console_it_waits_in_silence() {
    wait(
        |arch| Firmware { console: false, ..Firmware::new([file(arch, ASK_EVERY, "news"), plain()]) },
        |_, firmware| {
            assert_eq!(firmware.count(Call::Output), 0);
            assert_eq!(firmware.count(Call::StartImage), 1);
        },
    );
}

#[test]
fn another_wait_is_not_started_and_the_same_line_not_printed_again() {
    wait(
        |arch| Firmware::new([same(arch), same(arch), plain()]),
        |_, firmware| {
            assert_eq!(firmware.lines, [LINE, STARTING]);
            assert_eq!(pauses(firmware), [3_000_000; 3]);
            assert_eq!(firmware.count(Call::LoadImage), 1);
        },
    );
}

#[test]
fn a_new_line_is_printed_once() {
    let longest = "x".repeat(MAX_TEXT);
    wait(
        |arch| {
            let other = |text| file(arch, ASK_EVERY, text);
            Firmware::new([other("a"), other("a"), other(""), other(&longest), same(arch), plain()])
        },
        |_, firmware| assert_eq!(firmware.lines, [LINE, "a", &longest, LINE, STARTING]),
    );
}

#[test]
fn a_new_pause_is_honoured() {
    let day = Duration::from_hours(24);
    wait(
        |arch| {
            let pause = |pause| file(arch, pause, LINE);
            Firmware::new([
                pause(Duration::from_millis(1500)),
                pause(Duration::ZERO),
                pause(Duration::MAX),
                plain(),
            ])
        },
        |_, firmware| {
            let micros = |pause: Duration| u64::try_from(pause.as_micros()).unwrap();
            assert_eq!(pauses(firmware), [3_000_000, 1_500_000, 1_000_000, micros(day)]);
            let watchdogs: Vec<_> = firmware.arguments(Call::Watchdog).iter().map(|args| args[0]).collect();
            assert_eq!(watchdogs, [3603, 3601, 3601, 90_000, 300]);
        },
    );
}

#[test]
fn a_thousand_questions_take_no_memory() {
    wait(
        |arch| {
            let asks = (0..1000).map(|ask| file(arch, Duration::from_secs(1), &(ask / 2).to_string()));
            Firmware::new(asks.chain([plain()]))
        },
        |_, firmware| {
            assert_eq!(firmware.lines.len(), 1 + 500 + 1);
            assert_eq!(firmware.most_allocated, 2, "the one in force and the one just downloaded");
            assert_eq!(firmware.count(Call::StartImage), 1);
        },
    );
}

#[test]
fn what_only_resembles_a_wait_is_started() {
    for spoil in [0x200, 0x20f, 0x200 + 0x18 + 2 * (MAX_TEXT + 2)] {
        wait(
            |arch| {
                let mut file = build(Stub::Wait { ask_every: ASK_EVERY }, arch, LINE);
                file[spoil] ^= 1;
                Firmware::new([Download::File(file)])
            },
            |_, firmware| assert_eq!(firmware.count(Call::StartImage), 1, "{spoil:#x}"),
        );
    }
}

#[test]
fn a_file_of_any_length_is_started() {
    let record_end = 0x200 + 0x1b0;
    for len in [1, 7, 0x1ff, 0x200, record_end - 1, record_end, 4097] {
        wait(
            |arch| {
                // As far as it goes, this is a stub that waits.
                let mut file = build(Stub::Wait { ask_every: ASK_EVERY }, arch, LINE);
                file.resize(len, 0);
                Firmware::new([Download::File(file), plain()])
            },
            |_, firmware| {
                let whole = len >= record_end;
                assert_eq!(firmware.loaded[0].len(), if whole { application().len() } else { len });
            },
        );
    }
}

#[test]
fn a_failure_is_told_once_and_does_not_end_the_waiting() {
    let failures = [
        Download::Returns(NOT_FOUND),
        Download::Returns(DEVICE_ERROR),
        Download::Returns(SUCCESS),
        Download::ThenReturns(500, DEVICE_ERROR),
        Download::Grows,
    ];
    for failure in failures {
        wait(
            |_| {
                let failures = std::iter::repeat_n(failure.clone(), usize::from(MAX_FAILURES) - 1);
                Firmware::new(failures.chain([plain()]))
            },
            |_, firmware| {
                assert_eq!(firmware.lines, [LINE, ASKING_AGAIN, STARTING]);
                assert_eq!(pauses(firmware), [3_000_000; MAX_FAILURES as usize]);
                assert_eq!(firmware.count(Call::Reset), 0);
            },
        );
    }
}

#[test]
fn too_many_failures_in_a_row_reset_the_machine() {
    wait(
        |_| Firmware::new([]),
        |status, firmware| {
            assert_eq!(firmware.lines, [LINE, ASKING_AGAIN, NO_ANSWER]);
            assert_eq!(firmware.count(Call::LoadFile), usize::from(MAX_FAILURES));
            assert_cold_reset(status, firmware);
        },
    );
}

#[test]
fn an_answer_starts_the_count_of_failures_again() {
    wait(
        |arch| {
            let failures =
                || std::iter::repeat_n(Download::Returns(NOT_FOUND), usize::from(MAX_FAILURES) - 1);
            Firmware::new(failures().chain([same(arch)]).chain(failures()).chain([plain()]))
        },
        |_, firmware| {
            assert_eq!(firmware.lines, [LINE, ASKING_AGAIN, ASKING_AGAIN, STARTING]);
            assert_eq!(firmware.count(Call::Reset), 0);
        },
    );
}

#[test]
fn memory_that_the_firmware_does_not_have_is_a_failure() {
    wait(
        |_| Firmware { allocations: 0, ..Firmware::new(std::iter::repeat_n(plain(), 2 * usize::from(MAX_FAILURES))) },
        |status, firmware| {
            assert_eq!(firmware.count(Call::Allocate), usize::from(MAX_FAILURES));
            assert_eq!(firmware.lines, [LINE, ASKING_AGAIN, NO_ANSWER]);
            assert_cold_reset(status, firmware);
        },
    );
    assert_ne!(OUT_OF_RESOURCES, SUCCESS);
}

#[test]
fn a_disk_image_resets_the_machine_before_it_is_downloaded() {
    wait(
        |arch| Firmware::new([file(arch, ASK_EVERY, "news"), Download::Returns(WARN_FILE_SYSTEM)]),
        |status, firmware| {
            assert_eq!(firmware.lines, [LINE, "news", DISK_IMAGE]);
            assert_cold_reset(status, firmware);
        },
    );
}

#[test]
fn a_disk_image_that_is_found_late_keeps_its_memory() {
    for &arch in ARCHES {
        let firmware = Firmware::new([Download::ThenReturns(5000, WARN_FILE_SYSTEM)]);
        let (status, firmware) = super::run(Stub::Wait { ask_every: ASK_EVERY }, arch, firmware);
        assert_eq!(firmware.lines, [LINE, DISK_IMAGE]);
        assert_eq!(firmware.count(Call::Free), 0);
        assert_cold_reset(status, &firmware);
    }
}

#[test]
fn an_image_that_the_firmware_refuses_resets_the_machine() {
    for refusal in [ACCESS_DENIED, UNSUPPORTED, SECURITY_VIOLATION, OUT_OF_RESOURCES] {
        wait(
            |arch| Firmware {
                load_image: refusal,
                ..Firmware::new([file(arch, ASK_EVERY, "news"), plain()])
            },
            |status, firmware| {
                assert_eq!(firmware.lines, [LINE, "news", STARTING, REFUSED]);
                assert_eq!(firmware.count(Call::UnloadImage), usize::from(refusal == SECURITY_VIOLATION));
                assert_cold_reset(status, firmware);
            },
        );
    }
}

#[test]
fn without_a_way_to_ask_it_resets_after_the_pause() {
    let unusable_paths = [
        // No URI.
        device_path(None),
        // Nothing but the end.
        vec![0x7f, 0xff, 4, 0],
        // A node that is shorter than a node.
        vec![1, 1, 3, 0, 3, 24, 4, 0, 0x7f, 0xff, 4, 0],
        // A node that would lead to itself.
        vec![1, 1, 0, 0, 3, 24, 4, 0, 0x7f, 0xff, 4, 0],
    ];
    let check = |status, firmware: &Firmware| {
        assert_eq!(firmware.lines, [LINE, NO_WAY]);
        assert_eq!(firmware.count(Call::LoadFile), 0);
        assert_eq!(firmware.count(Call::Stall), 3);
        assert_cold_reset(status, firmware);
    };
    wait(|_| Firmware { load_file: false, ..Firmware::new([plain()]) }, check);
    for path in unusable_paths {
        wait(|_| Firmware { device_path: path.clone(), ..Firmware::new([plain()]) }, check);
    }
}

#[test]
fn the_uri_may_be_long_and_odd() {
    for len in [0, 1, 255, 1000] {
        wait(
            |_| Firmware { device_path: device_path(Some(&"u".repeat(len))), ..Firmware::new([plain()]) },
            |_, firmware| assert_eq!(firmware.count(Call::StartImage), 1),
        );
    }
}
