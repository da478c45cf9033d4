//! Runs the x86-64 stubs on the CPU of the test machine, as firmware would: copied into memory
//! section by section, entered with a system table whose functions write down how they are
//! called.
//!
//! It shows what a boot on real firmware cannot: a headless machine, a `ResetSystem` that
//! returns, and whether the calling convention is kept to the letter.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "it calls machine code that it has just made")]
#![expect(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::cell::RefCell;
use std::time::Duration;

use dispatch_boot::stub::{Arch, Stub, build};
use dynasmrt::mmap::{ExecutableBuffer, MutableBuffer};
use dynasmrt::x64::X64Relocation;
use dynasmrt::{AssemblyOffset, DynasmApi, VecAssembler, dynasm};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};

const EFI_ABORTED: u64 = 0x8000_0000_0000_0015;

/// What the preserved registers hold, times the register's place in the list, while a stub runs.
const MARK: i32 = 0x0101_0101;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Output,
    Reset,
    Stall,
    Watchdog,
}

thread_local! {
    static CALLS: RefCell<Vec<(Call, [u64; 4])>> = const { RefCell::new(Vec::new()) };
}

/// `frame` is the stack pointer at the called function's entry: the return address, then the 32
/// bytes that are the function's own, into which the trampoline has put the arguments.
extern "win64" fn record(call: u64, frame: *const [u64; 5]) {
    assert_eq!(frame.addr() % 16, 8, "the stack is aligned at the call");
    let call = [Call::Output, Call::Reset, Call::Stall, Call::Watchdog][usize::try_from(call).unwrap()];
    // SAFETY: the trampoline passes its own stack pointer.
    let [_, arguments @ ..] = unsafe { frame.read() };
    CALLS.with_borrow_mut(|calls| calls.push((call, arguments)));
}

/// A firmware function that records its call, ruins every register it may, and returns an error.
fn trampoline(call: Call) -> ExecutableBuffer {
    let mut ops = VecAssembler::<X64Relocation>::new(0);
    dynasm!(ops
        ; .arch x64
        ; mov [rsp + 0x08], rcx
        ; mov [rsp + 0x10], rdx
        ; mov [rsp + 0x18], r8
        ; mov [rsp + 0x20], r9
        ; mov rcx, call as i32
        ; mov rdx, rsp
        ; sub rsp, 0x28
        ; mov rax, QWORD (record as *const ()).addr().cast_signed() as i64
        ; call rax
        ; add rsp, 0x28
        ; mov rax, QWORD (1 << 63 | 3_u64).cast_signed()
        ; mov rcx, rax
        ; mov rdx, rax
        ; mov r8, rax
        ; mov r9, rax
        ; mov r10, rax
        ; mov r11, rax
        ; mov [rsp + 0x08], rax
        ; mov [rsp + 0x10], rax
        ; mov [rsp + 0x18], rax
        ; mov [rsp + 0x20], rax
        ; ret
    );
    executable(&[(0, &ops.finalize().unwrap())])
}

/// `fn(handle, system_table, entry, preserved: *mut u64) -> status`: enters a stub with marks in
/// the registers that it has to preserve, and sets `preserved` if it did.
fn caller() -> ExecutableBuffer {
    let mut ops = VecAssembler::<X64Relocation>::new(0);
    macro_rules! each_preserved {
        ($each:ident) => {
            $each!(rbx, 1);
            $each!(rbp, 2);
            $each!(rsi, 3);
            $each!(rdi, 4);
            $each!(r12, 5);
            $each!(r13, 6);
            $each!(r14, 7);
            $each!(r15, 8);
        };
    }
    macro_rules! mark {
        ($register:ident, $place:literal) => {
            dynasm!(ops ; .arch x64 ; push $register ; mov $register, MARK * $place)
        };
    }
    macro_rules! check {
        ($register:ident, $place:literal) => {
            dynasm!(ops ; .arch x64 ; xor $register, MARK * $place ; or rcx, $register)
        };
    }
    each_preserved!(mark);
    dynasm!(ops
        ; .arch x64
        ; push r9
        ; sub rsp, 0x20
        ; call r8
        ; add rsp, 0x20
        ; pop r9
        ; xor ecx, ecx
    );
    each_preserved!(check);
    dynasm!(ops
        ; .arch x64
        ; xor edx, edx
        ; test rcx, rcx
        ; sete dl
        ; mov [r9], rdx
        ; pop r15
        ; pop r14
        ; pop r13
        ; pop r12
        ; pop rdi
        ; pop rsi
        ; pop rbp
        ; pop rbx
        ; ret
    );
    executable(&[(0, &ops.finalize().unwrap())])
}

fn executable(parts: &[(usize, &[u8])]) -> ExecutableBuffer {
    let len = parts.iter().map(|(at, bytes)| at + bytes.len()).max().unwrap();
    let mut memory = MutableBuffer::new(len).unwrap();
    memory.set_len(len);
    for (at, bytes) in parts {
        memory[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    memory.make_exec().unwrap()
}

struct Ran {
    status: u64,
    calls: Vec<(Call, [u64; 4])>,
    /// The console object, and the line in the loaded image.
    output: [u64; 2],
}

fn run(stub: Stub, console: bool) -> Ran {
    let image = build(stub, Arch::X86_64, "hello");
    let file = PeFile64::parse(&*image).unwrap();
    let at = |name| {
        let section = file.section_by_name(name).unwrap();
        (usize::try_from(section.address()).unwrap(), section.data().unwrap())
    };
    let (data, code) = (at(".rdata"), at(".text"));
    let loaded = executable(&[data, code]);

    let functions = [Call::Output, Call::Reset, Call::Stall, Call::Watchdog].map(trampoline);
    let [output, reset, stall, watchdog] =
        functions.each_ref().map(|function| function.ptr(AssemblyOffset(0)).addr() as u64);

    let mut con_out = [0_u64; 8];
    con_out[1] = output;
    let mut runtime = [0_u64; 16];
    runtime[0x68 / 8] = reset;
    let mut boot = [0_u64; 48];
    boot[0xf8 / 8] = stall;
    boot[0x100 / 8] = watchdog;
    let mut system = [0_u64; 16];
    if console {
        system[0x40 / 8] = (&raw const con_out).addr() as u64;
    }
    system[0x58 / 8] = (&raw const runtime).addr() as u64;
    system[0x60 / 8] = (&raw const boot).addr() as u64;

    let caller = caller();
    let mut preserved = 0_u64;
    // SAFETY: `caller` has this type, and everything that the stub reaches from the system table
    // is alive until it returns.
    let status = unsafe {
        let enter: extern "win64" fn(u64, *const [u64; 16], *const u8, *mut u64) -> u64 =
            std::mem::transmute(caller.ptr(AssemblyOffset(0)));
        let entry = loaded.ptr(AssemblyOffset(usize::try_from(file.entry()).unwrap()));
        enter(7, &raw const system, entry, &raw mut preserved)
    };
    assert_eq!(preserved, 1, "the preserved registers are as before");

    Ran {
        status,
        calls: CALLS.take(),
        output: [(&raw const con_out).addr() as u64, loaded.ptr(AssemblyOffset(data.0)).addr() as u64],
    }
}

#[test]
fn next_prints_its_line_and_returns_aborted() {
    let ran = run(Stub::Next, true);
    assert_eq!(ran.status, EFI_ABORTED);
    let [(call, arguments)] = ran.calls[..] else {
        panic!("{:?}", ran.calls);
    };
    assert_eq!(call, Call::Output);
    assert_eq!(arguments[..2], ran.output);
}

#[test]
fn without_a_console_nothing_is_printed() {
    let ran = run(Stub::Next, false);
    assert_eq!((ran.status, ran.calls), (EFI_ABORTED, vec![]));
}

#[test]
fn power_off_that_fails_returns_aborted() {
    let ran = run(Stub::PowerOff, false);
    assert_eq!(ran.calls, [(Call::Reset, [2, 0, 0, 0])]);
    assert_eq!(ran.status, EFI_ABORTED);
}

#[test]
fn reboot_stalls_second_by_second_within_the_watchdog() {
    let after = Duration::from_millis(2300);
    let ran = run(Stub::Reboot { after }, true);
    assert_eq!(ran.status, EFI_ABORTED);

    let [(Call::Output, _), (Call::Watchdog, watchdog), stalls @ .., (Call::Reset, reset)] = &ran.calls[..]
    else {
        panic!("{:?}", ran.calls);
    };
    assert_eq!(*watchdog, [62, 0x10000, 0, 0]);
    assert_eq!(*reset, [0, 0, 0, 0]);
    let stalls: Vec<_> = stalls.iter().map(|(call, arguments)| (*call, arguments[0])).collect();
    assert_eq!(stalls, [(Call::Stall, 1_000_000), (Call::Stall, 1_000_000), (Call::Stall, 300_000)]);
}
