//! What a stub does, written once for all architectures: a list of the few kinds of steps that a
//! caller of firmware takes, and the data it takes them with.
//!
//! For the parent module. `stubs` and `wait` write programs, `x86_64` and `aarch64` translate
//! them one step at a time. Variables live in memory and only pass through registers within a
//! step, so an architecture has no registers to allocate and little to get wrong. The code is
//! some times larger than it could be, which nobody notices at two kilobytes.

use super::console_line;
use super::firmware::{
    BOOT_SERVICES, CON_OUT, FIRST_ERROR, FREE_POOL, Guid, HANDLE_PROTOCOL, OUTPUT_STRING, RESET_SYSTEM,
    RUNTIME_SERVICES, ResetType,
};
use super::pe;

/// A variable of 64 bits, on the stack. It holds anything until it has been set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Var(u32);

impl Var {
    /// The image's own handle, as the entry point got it (UEFI 2.10 §4.1.1).
    pub(super) const IMAGE: Self = Self(0);
    /// The system table, as the entry point got it.
    pub(super) const SYSTEM: Self = Self(1);
    /// What the last function called has returned.
    pub(super) const STATUS: Self = Self(2);
    /// The table or protocol whose function is about to be called.
    const TABLE: Self = Self(3);

    const RESERVED: u32 = 4;

    /// Where the variable is, in bytes from the first one.
    pub(super) const fn offset(self) -> u32 {
        8 * self.0
    }
}

/// A place in the program, to be marked once by [`Step::Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(pub(super) usize);

/// Something that a step reads, of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// What the variable holds.
    Var(Var),
    /// Where the variable is: for functions that write to it.
    AddressOf(Var),
    /// A number.
    Number(u64),
    /// The address of a part of the image, which is so many bytes from its base.
    Image(usize),
}

impl From<Var> for Value {
    fn from(var: Var) -> Self {
        Self::Var(var)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// How much memory is read, in bits. What is read becomes a number without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// At any address.
    U8,
    /// At any address: the nodes of a device path are not aligned (§10.3.1).
    U16,
    /// At a multiple of 4.
    U32,
    /// At a multiple of 8.
    U64,
}

/// A comparison of numbers without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Equal,
    Unequal,
    AtLeast,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `var = value`
    Set(Var, Value),
    /// `var += value`, modulo 2⁶⁴.
    Add(Var, Value),
    /// `var = *(address + offset)`
    Load(Width, Var, Value, u32),
    /// `*(address + offset) = value`, of 64 bits at a multiple of 8.
    Store(Value, u32, Value),
    /// Calls the function whose address is so many bytes into the table that the variable points
    /// to, and keeps what it returns in [`Var::STATUS`]. Six arguments at most.
    Call(Var, u32, Vec<Value>),
    /// Goes on at the label.
    Jump(Label),
    /// Goes on at the label if the comparison holds.
    JumpIf(Value, Is, Value, Label),
    /// Where jumps to the label go.
    Mark(Label),
    /// Ends the application with this status.
    Return(Value),
}

/// A program under construction.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// What the image's data section holds.
    pub(super) data: Vec<u8>,
    pub(super) labels: usize,
    vars: u32,
}

/// CR, LF and the terminating NUL, as the console takes them (§12.4.3).
const LINE_BREAK: [u8; 6] = [b'\r', 0, b'\n', 0, 0, 0];

/// The most arguments that a function is called with.
pub(super) const MAX_ARGUMENTS: usize = 6;

impl Program {
    pub(super) fn new() -> Self {
        Self { steps: Vec::new(), data: Vec::new(), labels: 0, vars: Var::RESERVED }
    }

    /// How much room its variables take, in bytes.
    pub(super) fn vars_len(&self) -> u32 {
        8 * self.vars
    }

    pub(super) fn var(&mut self) -> Var {
        self.vars += 1;
        Var(self.vars - 1)
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// Adds data at a multiple of 8.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Value {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = pe::DATA_RVA + self.data.len();
        self.data.extend_from_slice(bytes);
        Value::Image(at)
    }

    pub(super) fn guid(&mut self, guid: Guid) -> Value {
        self.data(&guid)
    }

    pub(super) fn set(&mut self, var: Var, value: impl Into<Value>) {
        self.steps.push(Step::Set(var, value.into()));
    }

    pub(super) fn add(&mut self, var: Var, value: impl Into<Value>) {
        self.steps.push(Step::Add(var, value.into()));
    }

    pub(super) fn load(&mut self, width: Width, var: Var, address: impl Into<Value>, offset: u32) {
        self.steps.push(Step::Load(width, var, address.into(), offset));
    }

    pub(super) fn store(&mut self, address: impl Into<Value>, offset: u32, value: impl Into<Value>) {
        self.steps.push(Step::Store(address.into(), offset, value.into()));
    }

    pub(super) fn call(&mut self, table: Var, function: u32, arguments: &[Value]) {
        debug_assert!(arguments.len() <= MAX_ARGUMENTS, "no architecture passes more");
        self.steps.push(Step::Call(table, function, arguments.to_vec()));
    }

    /// Calls one of the boot services.
    pub(super) fn boot_service(&mut self, function: u32, arguments: &[Value]) {
        self.load(Width::U64, Var::TABLE, Var::SYSTEM, BOOT_SERVICES);
        self.call(Var::TABLE, function, arguments);
    }

    /// `HandleProtocol`; goes on at the label if the handle has no such protocol.
    pub(super) fn open(&mut self, handle: Var, protocol: Value, interface: Var, or_else: Label) {
        self.boot_service(HANDLE_PROTOCOL, &[handle.into(), protocol, Value::AddressOf(interface)]);
        self.jump_if_failed(or_else);
    }

    /// Gives memory back to the pool.
    pub(super) fn free(&mut self, memory: Var) {
        self.boot_service(FREE_POOL, &[memory.into()]);
    }

    /// [`Program::free`], unless it is NULL.
    pub(super) fn free_if_any(&mut self, memory: Var) {
        let none = self.label();
        self.jump_if(memory, Is::Equal, 0, none);
        self.free(memory);
        self.mark(none);
    }

    pub(super) fn jump(&mut self, label: Label) {
        self.steps.push(Step::Jump(label));
    }

    pub(super) fn jump_if(&mut self, left: impl Into<Value>, is: Is, right: impl Into<Value>, label: Label) {
        self.steps.push(Step::JumpIf(left.into(), is, right.into(), label));
    }

    /// Goes on at the label if the last function called has failed. Warnings are no failures.
    pub(super) fn jump_if_failed(&mut self, label: Label) {
        self.jump_if(Var::STATUS, Is::AtLeast, FIRST_ERROR, label);
    }

    pub(super) fn mark(&mut self, label: Label) {
        self.steps.push(Step::Mark(label));
    }

    pub(super) fn returns(&mut self, status: impl Into<Value>) {
        self.steps.push(Step::Return(status.into()));
    }

    /// Prints a line of ours, if there is a console. The console is looked up for every line: it
    /// may be gone, or another one, since the last (§4.3, `ConOut`).
    pub(super) fn print(&mut self, line: Value) {
        let headless = self.label();
        self.load(Width::U64, Var::TABLE, Var::SYSTEM, CON_OUT);
        self.jump_if(Var::TABLE, Is::Equal, 0, headless);
        self.call(Var::TABLE, OUTPUT_STRING, &[Var::TABLE.into(), line]);
        self.mark(headless);
    }

    /// Makes the variable point to a text that is known before the program is, as a line for
    /// [`Program::print`]. It ends an unfinished line before: firmware's progress of a download
    /// is one.
    pub(super) fn set_line(&mut self, line: Var, text: &str) {
        let bytes = self.line(text);
        self.set(line, bytes);
    }

    fn line(&mut self, text: &str) -> Value {
        self.data(&[&LINE_BREAK[..4], &console_line(text)].concat())
    }

    /// Prints a text, as a line of its own.
    pub(super) fn say(&mut self, text: &str) {
        let line = self.line(text);
        self.print(line);
    }

    /// Ends a line that the firmware may have left unfinished.
    pub(super) fn say_line_break(&mut self) {
        let line = self.data(&LINE_BREAK);
        self.print(line);
    }

    /// Resets the machine. Firmware that is unable to comes back.
    pub(super) fn reset(&mut self, reset: ResetType) {
        self.load(Width::U64, Var::TABLE, Var::SYSTEM, RUNTIME_SERVICES);
        self.call(Var::TABLE, RESET_SYSTEM, &[reset.code().into(), 0.into(), 0.into(), 0.into()]);
    }
}
