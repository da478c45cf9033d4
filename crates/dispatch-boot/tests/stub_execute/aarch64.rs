//! Runs `AArch64` stubs on any processor, by an interpreter of the few instructions that they are
//! made of. It knows no others and stops at them.
//!
//! Encodings are those of the Arm Architecture Reference Manual, C4.1.

use super::firmware::{Call, OWN_IMAGE, call, read};

/// Where the firmware's functions pretend to be, 4 bytes apart.
const FUNCTIONS: u64 = 0xffff_0000_0000;
/// Where the stub returns to.
const RETURN: u64 = 0xeeee_0000_0000;
/// What the registers hold that a stub has to preserve, and the platform's own.
const MARK: u64 = 0x0101_0101_0101_0101;
const STACK: usize = 8192;

pub(crate) fn function(call: Call) -> u64 {
    FUNCTIONS + 4 * call as u64
}

/// Calls the stub whose first instruction is at `entry`, and returns its status.
pub(crate) fn enter(entry: u64, system: u64) -> u64 {
    let stack = vec![0_u64; STACK / 8];
    let top = (&raw const *stack).expose_provenance() as u64 + STACK as u64;
    let mut x = [0_u64; 32];
    for (number, register) in (0..).zip(&mut x).skip(18) {
        *register = MARK * number;
    }
    (x[0], x[1], x[30], x[31]) = (OWN_IMAGE, system, RETURN, top & !15);
    let before = x;

    let mut machine = Machine { x, pc: entry, stack: top - STACK as u64..top, flags: (false, false) };
    while machine.pc != RETURN {
        machine.step();
    }
    assert_eq!(machine.x[18..30], before[18..30], "the preserved registers are as before");
    assert_eq!(machine.x[31], before[31], "the stack is as before");
    machine.x[0]
}

struct Machine {
    /// X0 to X30, and SP.
    x: [u64; 32],
    pc: u64,
    stack: std::ops::Range<u64>,
    /// Z and C.
    flags: (bool, bool),
}

const SP: usize = 31;

impl Machine {
    fn step(&mut self) {
        let code: u32 = read(self.pc);
        let bits = |low: u32, len: u32| u64::from(code >> low & ((1 << len) - 1));
        let register = |low| usize::try_from(bits(low, 5)).unwrap();
        let signed = |value: u64, len: u32| (value << (64 - len)).cast_signed() >> (64 - len);
        let (d, n, m) = (register(0), register(5), register(16));
        let imm12 = bits(10, 12);
        let mut next = self.pc + 4;

        match code {
            // STP (pre-index), LDP (post-index), of X registers
            _ if code >> 22 == 0b10_1010_0110 => {
                let to = self.x[n].wrapping_add_signed(signed(bits(15, 7), 7) * 8);
                self.x[n] = to;
                self.write(n, to, self.x[d]);
                self.write(n, to + 8, self.x[register(10)]);
            }
            _ if code >> 22 == 0b10_1010_0011 => {
                let from = self.x[n];
                self.x[d] = self.load(n, from);
                self.x[register(10)] = self.load(n, from + 8);
                self.x[n] = from.wrapping_add_signed(signed(bits(15, 7), 7) * 8);
            }
            // ADD, SUB (immediate), of X registers and SP
            _ if code >> 22 == 0b10_0100_0100 => self.x[d] = self.x[n] + imm12,
            _ if code >> 22 == 0b11_0100_0100 => self.x[d] = self.x[n] - imm12,
            // STR, LDR (immediate, unsigned offset), of X registers
            _ if code >> 22 == 0b11_1110_0100 => self.write(n, self.x[n] + 8 * imm12, self.value(d)),
            _ if code >> 22 == 0b11_1110_0101 => self.x[d] = self.load(n, self.x[n] + 8 * imm12),
            // LDR, LDRB of W registers
            _ if code >> 22 == 0b10_1110_0101 => {
                let from = self.x[n] + 4 * imm12;
                assert!(from.is_multiple_of(4), "an unaligned load");
                self.x[d] = read::<u32>(from).into();
            }
            _ if code >> 22 == 0b00_1110_0101 => self.x[d] = read::<u8>(self.x[n] + imm12).into(),
            // ADD (shifted register, by nothing), of X registers
            _ if code >> 21 == 0b100_0101_1000 && bits(10, 6) == 0 => {
                self.x[d] = self.value(n).wrapping_add(self.value(m));
            }
            // ORR (shifted register, to the left), of W registers
            _ if code >> 21 == 0b001_0101_0000 => {
                self.x[d] = (self.value(n) | self.value(m) << bits(10, 6)) & 0xffff_ffff;
            }
            // SUBS (shifted register, by nothing) to XZR, which is CMP
            _ if code >> 21 == 0b111_0101_1000 && d == 31 && bits(10, 6) == 0 => {
                let (left, right) = (self.value(n), self.value(m));
                self.flags = (left == right, left >= right);
            }
            // ADR
            _ if bits(24, 5) == 0b1_0000 && code >> 31 == 0 => {
                self.x[d] = self.pc.wrapping_add_signed(signed(bits(5, 19) << 2 | bits(29, 2), 21));
            }
            // MOVZ, MOVK, of X registers
            _ if code >> 23 == 0b1_1010_0101 => self.x[d] = bits(5, 16) << (16 * bits(21, 2)),
            _ if code >> 23 == 0b1_1110_0101 => {
                let shift = 16 * bits(21, 2);
                self.x[d] = self.x[d] & !(0xffff << shift) | bits(5, 16) << shift;
            }
            // B, B.cond
            _ if code >> 26 == 0b00_0101 => next = self.pc.wrapping_add_signed(signed(bits(0, 26), 26) * 4),
            _ if code >> 24 == 0b0101_0100 && code >> 4 & 1 == 0 => {
                let (zero, carry) = self.flags;
                let holds = match bits(0, 4) {
                    0 => zero,
                    1 => !zero,
                    2 => carry,
                    other => panic!("condition {other}"),
                };
                if holds {
                    next = self.pc.wrapping_add_signed(signed(bits(5, 19), 19) * 4);
                }
            }
            // BLR
            _ if code & !(31 << 5) == 0xd63f_0000 => {
                self.x[30] = next;
                self.call_firmware(self.x[n]);
            }
            // RET
            0xd65f_03c0 => next = self.x[30],
            _ => panic!("an instruction that is unknown here: {code:08x}"),
        }
        self.pc = next;
    }

    /// A register where 31 is XZR, not SP.
    fn value(&self, register: usize) -> u64 {
        if register == SP { 0 } else { self.x[register] }
    }

    fn check(&self, base: usize, at: u64) {
        assert!(at.is_multiple_of(8), "an unaligned access");
        if base == SP {
            assert!(self.x[SP].is_multiple_of(16), "the stack pointer is aligned");
            assert!(self.stack.contains(&at), "an access outside of the stack");
            assert!(at >= self.x[SP], "an access below the stack pointer");
        }
    }

    fn load(&self, base: usize, at: u64) -> u64 {
        self.check(base, at);
        read(at)
    }

    fn write(&self, base: usize, at: u64, value: u64) {
        self.check(base, at);
        let at = std::ptr::with_exposed_provenance_mut::<u64>(usize::try_from(at).unwrap());
        // SAFETY: it is on the stack, or where the firmware has told the stub.
        unsafe { at.write(value) }
    }

    /// Calls, and ruins every register that a function may.
    fn call_firmware(&mut self, function: u64) {
        assert!(self.x[SP].is_multiple_of(16), "the stack is aligned at the call");
        let number = usize::try_from((function - FUNCTIONS) / 4).unwrap();
        let status = call(Call::ALL[number], *self.x.first_chunk().unwrap());
        for register in &mut self.x[..18] {
            *register = status ^ MARK;
        }
        (self.x[0], self.x[30]) = (status, MARK);
        self.flags = (true, false);
    }
}
