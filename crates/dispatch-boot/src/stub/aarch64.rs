//! The programs' steps as instructions for `AArch64`.
//!
//! For the parent module only. An EFI application is called, and calls the firmware, by Arm's
//! procedure call standard (UEFI 2.10 §2.3.6.4): arguments in X0 to X7; SP always a multiple of
//! 16; X19 to X29 preserved; the return address in X30; the result in X0. X18 belongs to the
//! platform and is left alone. The entry point gets the image's handle in X0 and the system table
//! in X1.
//!
//! Only registers that need not be preserved are used, but for X29 and X30, and none of them
//! keeps anything from one step to the next. The variables begin at SP; above them, X29 and X30
//! make the frame record that a debugger follows.
#![expect(
    clippy::unnecessary_semicolon,
    clippy::useless_conversion,
    clippy::used_underscore_binding,
    reason = "in what `dynasm!` makes of offsets and registers that are known at run time"
)]

use dynasmrt::aarch64::Aarch64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

use super::program::{Is, Program, Step, Value, Var, Width};

type Assembler = VecAssembler<Aarch64Relocation>;

/// Registers for the time of a step.
const X9: u8 = 9;
const X10: u8 = 10;

/// The code of the program, to be entered at its first byte, which is `code` bytes from the
/// image's base.
pub(super) fn assemble(program: &Program, code: usize) -> Vec<u8> {
    let mut ops = Assembler::new(code);
    let labels: Vec<_> = (0..program.labels).map(|_| ops.new_dynamic_label()).collect();
    let vars = program.vars_len().next_multiple_of(16);
    dynasm!(ops
        ; .arch aarch64
        ; stp x29, x30, [sp, -16]!
        ; mov x29, sp
        ; sub sp, sp, vars
        ; str x0, [sp, Var::IMAGE.offset()]
        ; str x1, [sp, Var::SYSTEM.offset()]
    );
    for step in &program.steps {
        translate(&mut ops, step, &labels, vars);
    }

    #[expect(
        clippy::expect_used,
        reason = "fails on a label that is missing or out of reach; neither depends on the arguments, and the tests \
                  assemble every stub"
    )]
    ops.finalize().expect("every label is marked in the program")
}

fn translate(ops: &mut Assembler, step: &Step, labels: &[DynamicLabel], vars: u32) {
    match step {
        Step::Set(var, value) => {
            read(ops, X9, *value);
            dynasm!(ops ; .arch aarch64 ; str x9, [sp, var.offset()]);
        }
        Step::Add(var, value) => {
            read(ops, X9, *value);
            dynasm!(ops
                ; .arch aarch64
                ; ldr x10, [sp, var.offset()]
                ; add x10, x10, x9
                ; str x10, [sp, var.offset()]
            );
        }
        Step::Load(width, var, address, offset) => {
            read(ops, X9, *address);
            match width {
                Width::U8 => dynasm!(ops ; .arch aarch64 ; ldrb w10, [x9, *offset]),
                // By bytes, because firmware may have left alignment faults on.
                Width::U16 => dynasm!(ops
                    ; .arch aarch64
                    ; ldrb w10, [x9, *offset]
                    ; ldrb w11, [x9, *offset + 1]
                    ; orr w10, w10, w11, lsl 8
                ),
                Width::U32 => dynasm!(ops ; .arch aarch64 ; ldr w10, [x9, *offset]),
                Width::U64 => dynasm!(ops ; .arch aarch64 ; ldr x10, [x9, *offset]),
            }
            dynasm!(ops ; .arch aarch64 ; str x10, [sp, var.offset()]);
        }
        Step::Store(address, offset, value) => {
            read(ops, X9, *address);
            read(ops, X10, *value);
            dynasm!(ops ; .arch aarch64 ; str x10, [x9, *offset]);
        }
        Step::Call(table, function, arguments) => {
            for (argument, register) in arguments.iter().zip(0..) {
                read(ops, register, *argument);
            }
            dynasm!(ops
                ; .arch aarch64
                ; ldr x9, [sp, table.offset()]
                ; ldr x9, [x9, *function]
                ; blr x9
                ; str x0, [sp, Var::STATUS.offset()]
            );
        }
        Step::Jump(label) => dynasm!(ops ; .arch aarch64 ; b =>labels[label.0]),
        Step::JumpIf(left, is, right, label) => {
            read(ops, X9, *left);
            read(ops, X10, *right);
            dynasm!(ops ; .arch aarch64 ; cmp x9, x10);
            let label = labels[label.0];
            match is {
                Is::Equal => dynasm!(ops ; .arch aarch64 ; b.eq =>label),
                Is::Unequal => dynasm!(ops ; .arch aarch64 ; b.ne =>label),
                Is::AtLeast => dynasm!(ops ; .arch aarch64 ; b.hs =>label),
            }
        }
        Step::Mark(label) => dynasm!(ops ; .arch aarch64 ; =>labels[label.0]),
        Step::Return(status) => {
            read(ops, 0, *status);
            dynasm!(ops
                ; .arch aarch64
                ; add sp, sp, vars
                ; ldp x29, x30, [sp], 16
                ; ret
            );
        }
    }
}

/// Changes no register but this one.
fn read(ops: &mut Assembler, register: u8, value: Value) {
    match value {
        Value::Var(var) => dynasm!(ops ; .arch aarch64 ; ldr X(register), [sp, var.offset()]),
        Value::AddressOf(var) => dynasm!(ops ; .arch aarch64 ; add XSP(register), sp, var.offset()),
        Value::Image(at) => dynasm!(ops ; .arch aarch64 ; adr X(register), extern at),
        Value::Number(number) => {
            // Sixteen bits at a time, since few numbers fit into one instruction.
            let part = |shift: u32| u32::try_from(number >> shift & 0xffff).unwrap_or_default();
            let (first, second, third, fourth) = (part(0), part(16), part(32), part(48));
            dynasm!(ops ; .arch aarch64 ; movz X(register), first);
            if second != 0 {
                dynasm!(ops ; .arch aarch64 ; movk X(register), second, lsl 16);
            }
            if third != 0 {
                dynasm!(ops ; .arch aarch64 ; movk X(register), third, lsl 32);
            }
            if fourth != 0 {
                dynasm!(ops ; .arch aarch64 ; movk X(register), fourth, lsl 48);
            }
        }
    }
}
