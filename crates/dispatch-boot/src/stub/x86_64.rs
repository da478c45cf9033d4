//! The programs' steps as instructions for x86-64.
//!
//! For the parent module only. An EFI application is called, and calls the firmware, by
//! Microsoft's x64 convention (UEFI 2.10 §2.3.4): arguments in RCX, RDX, R8 and R9, further ones
//! on the stack; 32 bytes of stack above the return address that belong to the function called;
//! RSP a multiple of 16 before each call; RBX, RBP, RSI, RDI and R12 to R15 preserved; the result
//! in RAX. The entry point gets the image's handle in RCX and the system table in RDX.
//!
//! Only registers that need not be preserved are used, but for RBP, and none of them keeps
//! anything from one step to the next. From RSP upwards there are, after the prologue: the 32
//! bytes, the arguments beyond the fourth, the variables. RBP is 128 bytes into the variables, so
//! that instructions reach 32 of them by a single byte.
#![expect(
    clippy::useless_conversion,
    clippy::used_underscore_binding,
    reason = "in what `dynasm!` makes of a register that is known at run time"
)]

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

use super::program::{Is, MAX_ARGUMENTS, Program, Step, Value, Var, Width};

type Assembler = VecAssembler<X64Relocation>;

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;

/// Where the first arguments go.
const ARGUMENTS: [u8; 4] = [RCX, RDX, 8, 9];
/// Where the next ones go, in bytes from RSP, 8 for each.
const MORE_ARGUMENTS: i32 = 0x20;
/// Where the variables begin, in bytes from RSP.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "two arguments of 8 bytes")]
const VARIABLES: i32 = MORE_ARGUMENTS + 8 * (MAX_ARGUMENTS - ARGUMENTS.len()) as i32;
/// Where RBP points to, in bytes from the first variable.
const MIDDLE: i32 = 128;

/// The code of the program, to be entered at its first byte, which is `code` bytes from the
/// image's base.
pub(super) fn assemble(program: &Program, code: usize) -> Vec<u8> {
    let mut ops = Assembler::new(code);
    let labels: Vec<_> = (0..program.labels).map(|_| ops.new_dynamic_label()).collect();
    let frame = frame(program);
    dynasm!(ops
        ; .arch x64
        ; push rbp
        ; sub rsp, frame
        ; lea rbp, [rsp + VARIABLES + MIDDLE]
        ; mov [BYTE rbp + slot(Var::IMAGE)], rcx
        ; mov [BYTE rbp + slot(Var::SYSTEM)], rdx
    );
    for step in &program.steps {
        translate(&mut ops, step, &labels, frame);
    }

    #[expect(
        clippy::expect_used,
        reason = "fails on a label that is missing or out of reach; neither depends on the arguments, and the tests \
                  assemble every stub"
    )]
    ops.finalize().expect("every label is marked in the program")
}

/// The return address and RBP have been pushed, so RSP is a multiple of 16, and so must the
/// frame be.
fn frame(program: &Program) -> i32 {
    let len = VARIABLES.cast_unsigned() + program.vars_len();
    len.next_multiple_of(16).cast_signed()
}

/// Where the variable is, in bytes from RBP.
#[expect(clippy::expect_used, reason = "does not depend on the arguments, and the tests assemble every stub")]
fn slot(var: Var) -> i8 {
    i8::try_from(var.offset().cast_signed() - MIDDLE).expect("no program has more than 32 variables")
}

fn translate(ops: &mut Assembler, step: &Step, labels: &[DynamicLabel], frame: i32) {
    match step {
        Step::Set(var, value) => {
            read(ops, RAX, *value);
            dynasm!(ops ; .arch x64 ; mov [BYTE rbp + slot(*var)], rax);
        }
        Step::Add(var, value) => {
            read(ops, RAX, *value);
            dynasm!(ops ; .arch x64 ; add [BYTE rbp + slot(*var)], rax);
        }
        Step::Load(width, var, address, offset) => {
            read(ops, RCX, *address);
            let offset = offset.cast_signed();
            match width {
                Width::U8 => dynasm!(ops ; .arch x64 ; movzx eax, BYTE [rcx + offset]),
                Width::U16 => dynasm!(ops ; .arch x64 ; movzx eax, WORD [rcx + offset]),
                Width::U32 => dynasm!(ops ; .arch x64 ; mov eax, [rcx + offset]),
                Width::U64 => dynasm!(ops ; .arch x64 ; mov rax, [rcx + offset]),
            }
            dynasm!(ops ; .arch x64 ; mov [BYTE rbp + slot(*var)], rax);
        }
        Step::Store(address, offset, value) => {
            read(ops, RCX, *address);
            read(ops, RAX, *value);
            dynasm!(ops ; .arch x64 ; mov [rcx + offset.cast_signed()], rax);
        }
        Step::Call(table, function, arguments) => call(ops, *table, *function, arguments),
        Step::Jump(label) => dynasm!(ops ; .arch x64 ; jmp =>labels[label.0]),
        Step::JumpIf(left, is, right, label) => {
            read(ops, RAX, *left);
            read(ops, RCX, *right);
            dynasm!(ops ; .arch x64 ; cmp rax, rcx);
            let label = labels[label.0];
            match is {
                Is::Equal => dynasm!(ops ; .arch x64 ; je =>label),
                Is::Unequal => dynasm!(ops ; .arch x64 ; jne =>label),
                Is::AtLeast => dynasm!(ops ; .arch x64 ; jae =>label),
            }
        }
        Step::Mark(label) => dynasm!(ops ; .arch x64 ; =>labels[label.0]),
        Step::Return(status) => {
            read(ops, RAX, *status);
            dynasm!(ops ; .arch x64 ; add rsp, frame ; pop rbp ; ret);
        }
    }
}

fn call(ops: &mut Assembler, table: Var, function: u32, arguments: &[Value]) {
    // Those on the stack first: they pass through RAX alone.
    for (argument, place) in arguments.iter().skip(ARGUMENTS.len()).zip((MORE_ARGUMENTS..).step_by(8)) {
        read(ops, RAX, *argument);
        dynasm!(ops ; .arch x64 ; mov [rsp + place], rax);
    }
    for (argument, register) in arguments.iter().zip(ARGUMENTS) {
        read(ops, register, *argument);
    }
    dynasm!(ops
        ; .arch x64
        ; mov rax, [BYTE rbp + slot(table)]
        ; call QWORD [rax + function.cast_signed()]
        ; mov [BYTE rbp + slot(Var::STATUS)], rax
    );
}

/// Changes no register but this one.
fn read(ops: &mut Assembler, register: u8, value: Value) {
    match value {
        Value::Var(var) => dynasm!(ops ; .arch x64 ; mov Rq(register), [BYTE rbp + slot(var)]),
        Value::AddressOf(var) => dynasm!(ops ; .arch x64 ; lea Rq(register), [BYTE rbp + slot(var)]),
        Value::Image(at) => dynasm!(ops ; .arch x64 ; lea Rq(register), [extern at]),
        // To write the lower half of a register clears the upper one.
        Value::Number(number) => match u32::try_from(number) {
            Ok(0) => dynasm!(ops ; .arch x64 ; xor Rd(register), Rd(register)),
            Ok(number) => dynasm!(ops ; .arch x64 ; mov Rd(register), DWORD number.cast_signed()),
            Err(_) => dynasm!(ops ; .arch x64 ; mov Rq(register), QWORD number.cast_signed()),
        },
    }
}
