//! The stubs' instructions for x86-64.
//!
//! For the parent module only. An EFI application is called, and calls the firmware, by
//! Microsoft's x64 convention (UEFI 2.10 §2.3.4): arguments in RCX, RDX, R8 and R9; 32 bytes of
//! stack above the return address that belong to the function called; RSP a multiple of 16
//! before each call; RBX, RBP, RSI, RDI and R12 to R15 preserved; the result in RAX. The entry
//! point gets the image's handle in RCX and the system table in RDX.
//!
//! Between prologue and epilogue RBX holds the system table, and the 32 bytes are there.

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

use super::firmware::{
    BOOT_SERVICES, CON_OUT, EFI_ABORTED, OUTPUT_STRING, Pause, RESET_SYSTEM, RUNTIME_SERVICES, ResetType,
    SET_WATCHDOG_TIMER, STALL, WATCHDOG_CODE,
};
use super::{Addresses, Stub};

type Assembler = VecAssembler<X64Relocation>;

/// The code of `stub`, to be entered at its first byte.
pub(super) fn assemble(stub: Stub, at: Addresses) -> Vec<u8> {
    let mut ops = Assembler::new(at.code);
    prologue(&mut ops);
    print_line(&mut ops, at.line);
    match stub {
        Stub::PowerOff => reset(&mut ops, ResetType::Shutdown),
        Stub::Reboot { after } => {
            pause(&mut ops, Pause::new(after));
            reset(&mut ops, ResetType::Cold);
        }
        Stub::Next => {}
    }
    return_aborted(&mut ops);

    #[expect(
        clippy::expect_used,
        reason = "fails on a label that is missing or out of reach; neither depends on the arguments, and the tests \
                  assemble every stub"
    )]
    ops.finalize().expect("every label is defined above")
}

/// RSP is 8 off a multiple of 16 at the entry, the return address having been pushed last. Two
/// registers and 0x28 bytes put that right and leave the 32 for the functions called.
fn prologue(ops: &mut Assembler) {
    dynasm!(ops
        ; .arch x64
        ; push rbx
        ; push rsi
        ; sub rsp, 0x28
        ; mov rbx, rdx
    );
}

fn print_line(ops: &mut Assembler, line: usize) {
    dynasm!(ops
        ; .arch x64
        ; mov rcx, [rbx + CON_OUT]
        ; test rcx, rcx
        ; jz >headless
        ; lea rdx, [extern line]
        ; call QWORD [rcx + OUTPUT_STRING]
        ; headless:
    );
}

fn pause(ops: &mut Assembler, pause: Pause) {
    dynasm!(ops
        ; .arch x64
        ; mov rax, [rbx + BOOT_SERVICES]
        ; mov ecx, DWORD pause.watchdog().cast_signed()
        ; mov edx, DWORD WATCHDOG_CODE.cast_signed()
        ; xor r8d, r8d
        ; xor r9d, r9d
        ; call QWORD [rax + SET_WATCHDOG_TIMER]

        ; mov esi, DWORD pause.seconds.cast_signed()
        ; again:
        ; test esi, esi
        ; jz >rest
        ;; stall(ops, Pause::SECOND)
        ; dec esi
        ; jmp <again
        ; rest:
    );
    // Nothing is left of most pauses, and what firmware makes of `Stall(0)` need not be found
    // out.
    if pause.rest > 0 {
        stall(ops, pause.rest);
    }
}

fn stall(ops: &mut Assembler, microseconds: u32) {
    dynasm!(ops
        ; .arch x64
        ; mov ecx, DWORD microseconds.cast_signed()
        ; mov rax, [rbx + BOOT_SERVICES]
        ; call QWORD [rax + STALL]
    );
}

fn reset(ops: &mut Assembler, reset: ResetType) {
    dynasm!(ops
        ; .arch x64
        ; mov rax, [rbx + RUNTIME_SERVICES]
        ; mov ecx, DWORD reset.code().cast_signed()
        ; xor edx, edx
        ; xor r8d, r8d
        ; xor r9d, r9d
        ; call QWORD [rax + RESET_SYSTEM]
    );
}

fn return_aborted(ops: &mut Assembler) {
    dynasm!(ops
        ; .arch x64
        ; mov rax, QWORD EFI_ABORTED.cast_signed()
        ; add rsp, 0x28
        ; pop rsi
        ; pop rbx
        ; ret
    );
}
