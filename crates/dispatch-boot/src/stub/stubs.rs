//! The stubs that do one thing and are done, and the pause that all of them share.
//!
//! For the parent module.

use super::firmware::{EFI_ABORTED, Pause, ResetType, SET_WATCHDOG_TIMER, STALL, WATCHDOG_CODE};
use super::program::{Is, Program, Value};

/// Prints the line, then turns the power off.
pub(super) fn power_off(line: &[u8]) -> Program {
    let mut program = beginning(line);
    program.reset(ResetType::Shutdown);
    program.returns(EFI_ABORTED);
    program
}

/// Prints the line, pauses, then resets.
pub(super) fn reboot(line: &[u8], pause: Pause) -> Program {
    let mut program = beginning(line);
    set_watchdog(&mut program, u64::from(pause.watchdog()).into());
    stall(&mut program, u64::from(pause.seconds).into(), u64::from(pause.rest).into());
    program.reset(ResetType::Cold);
    program.returns(EFI_ABORTED);
    program
}

/// Prints the line, then leaves the machine to its next boot option.
pub(super) fn next(line: &[u8]) -> Program {
    let mut program = beginning(line);
    program.returns(EFI_ABORTED);
    program
}

fn beginning(line: &[u8]) -> Program {
    let mut program = Program::new();
    let line = program.data(line);
    program.print(line);
    program
}

/// Has the firmware reset the machine in so many seconds from now, unless it is set again.
pub(super) fn set_watchdog(program: &mut Program, seconds: Value) {
    program.boot_service(SET_WATCHDOG_TIMER, &[seconds, WATCHDOG_CODE.into(), 0.into(), 0.into()]);
}

/// Pauses: `seconds` times a second, then `rest` microseconds; see [`Pause`] for why.
pub(super) fn stall(program: &mut Program, seconds: Value, rest: Value) {
    let passed = program.var();
    let (again, remainder, over) = (program.label(), program.label(), program.label());
    program.set(passed, 0);
    program.mark(again);
    program.jump_if(passed, Is::AtLeast, seconds, remainder);
    program.boot_service(STALL, &[u64::from(Pause::SECOND).into()]);
    program.add(passed, 1);
    program.jump(again);
    program.mark(remainder);
    // Nothing is left of most pauses, and what firmware makes of `Stall(0)` need not be found
    // out.
    program.jump_if(rest, Is::Equal, 0, over);
    program.boot_service(STALL, &[rest]);
    program.mark(over);
}
