//! Runs x86-64 stubs on the processor of the test machine.

use dynasmrt::mmap::{ExecutableBuffer, MutableBuffer};
use dynasmrt::x64::X64Relocation;
use dynasmrt::{AssemblyOffset, DynasmApi, VecAssembler, dynasm};

use super::firmware::{Call, OWN_IMAGE, call};

/// What the preserved registers hold, times the register's place in the list, while a stub runs.
const MARK: i32 = 0x0101_0101;

/// `frame` is the stack pointer at the called function's entry: the return address, then the 32
/// bytes that are the function's own, into which the trampoline has put the arguments, then the
/// other arguments if there are any.
extern "win64" fn record(function: u64, frame: *const [u64; 7]) -> u64 {
    assert_eq!(frame.addr() % 16, 8, "the stack is aligned at the call");
    // SAFETY: the trampoline passes its own stack pointer.
    let [_, arguments @ ..] = unsafe { frame.read() };
    call(Call::ALL[usize::try_from(function).unwrap()], arguments)
}

/// The firmware's functions.
pub(crate) struct Functions([ExecutableBuffer; Call::ALL.len()]);

impl Functions {
    pub(crate) fn new() -> Self {
        Self(Call::ALL.map(trampoline))
    }

    pub(crate) fn address(&self, call: Call) -> u64 {
        self.0[call as usize].ptr(AssemblyOffset(0)).addr() as u64
    }
}

/// A firmware function that records its call and ruins everything that it may: registers, and
/// the part of the stack that holds its arguments.
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
        ; mov rcx, QWORD 0xafaf_afaf_afaf_afaf_u64.cast_signed()
        ; mov rdx, rcx
        ; mov r8, rcx
        ; mov r9, rcx
        ; mov r10, rcx
        ; mov r11, rcx
        ; mov [rsp + 0x08], rcx
        ; mov [rsp + 0x10], rcx
        ; mov [rsp + 0x18], rcx
        ; mov [rsp + 0x20], rcx
    );
    if call.arity() > 4 {
        dynasm!(ops ; .arch x64 ; mov [rsp + 0x28], rcx);
    }
    if call.arity() > 5 {
        dynasm!(ops ; .arch x64 ; mov [rsp + 0x30], rcx);
    }
    dynasm!(ops ; .arch x64 ; ret);
    executable(&ops.finalize().unwrap())
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
    executable(&ops.finalize().unwrap())
}

fn executable(code: &[u8]) -> ExecutableBuffer {
    let mut memory = MutableBuffer::new(code.len()).unwrap();
    memory.set_len(code.len());
    memory.copy_from_slice(code);
    memory.make_exec().unwrap()
}

/// Calls the stub whose entry point is so many bytes into the image, and returns its status.
pub(crate) fn enter(image: &[u8], entry: usize, system: u64) -> u64 {
    let (image, caller) = (executable(image), caller());
    let mut preserved = 0_u64;
    // SAFETY: `caller` has this type, and everything that the stub reaches from the system table
    // is alive until it returns.
    let status = unsafe {
        let enter: extern "win64" fn(u64, u64, *const u8, *mut u64) -> u64 =
            std::mem::transmute(caller.ptr(AssemblyOffset(0)));
        enter(OWN_IMAGE, system, image.ptr(AssemblyOffset(entry)), &raw mut preserved)
    };
    assert_eq!(preserved, 1, "the preserved registers are as before");
    status
}
