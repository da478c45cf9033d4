//! Tiny EFI applications for x86-64: what a lab server boots when a boot shall end at once.
//!
//! They are a handful of hand-assembled instructions in a 1 KiB PE image, so that the lab needs no compiler for EFI.
//! The instructions follow UEFI 2.10 §2.3.4 (calling convention: the image handle in `rcx`, the system table in
//! `rdx`, 32 bytes of shadow space below a stack aligned to 16), §4.3 (system table), §4.4 (boot services) and §4.5
//! (runtime services).

use std::time::Duration;

/// `EFI_ABORTED` (UEFI 2.10 appendix D): returned by an application, it makes the firmware take the next boot option.
pub const EFI_ABORTED: u64 = 0x8000_0000_0000_0015;

const HEADERS: usize = 0x200;
const CODE_RVA: u32 = 0x1000;
/// An alignment both of the section in the file and of its padding.
const FILE_ALIGNMENT: usize = 0x200;

/// How an application ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Powers the machine off.
    PowerOff,
    /// Resets the machine: it boots again from the first boot option.
    Reset,
    /// Returns this `EFI_STATUS` to the firmware.
    Return(u64),
}

/// A description of an application; [`EfiApp::build`] makes it.
#[derive(Debug, Clone)]
pub struct EfiApp {
    end: End,
    message: Option<String>,
    pause: Duration,
}

impl EfiApp {
    /// An application that does nothing but end.
    #[must_use]
    pub fn new(end: End) -> Self {
        Self { end, message: None, pause: Duration::ZERO }
    }

    /// Prints a line on the firmware's console first, so that the serial log shows which application ran.
    #[must_use]
    pub fn message(mut self, line: &str) -> Self {
        self.message = Some(line.to_owned());
        self
    }

    /// Waits before it ends; the resolution is a microsecond. The firmware's watchdog ends it after five minutes.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The PE32+ image.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        image(&self.code())
    }

    fn code(&self) -> Vec<u8> {
        // push rbx; sub rsp,0x20; mov rbx,rdx: keeps the system table and aligns the stack.
        let mut code = vec![0x53, 0x48, 0x83, 0xec, 0x20, 0x48, 0x89, 0xd3];
        let mut string_reference = None;
        if self.message.is_some() {
            // mov rcx,[rbx+0x40] (ConOut); lea rdx,[rip+string]; call [rcx+8] (OutputString)
            code.extend([0x48, 0x8b, 0x4b, 0x40, 0x48, 0x8d, 0x15, 0, 0, 0, 0]);
            string_reference = Some(code.len());
            code.extend([0xff, 0x51, 0x08]);
        }
        if !self.pause.is_zero() {
            // mov rax,[rbx+0x60] (BootServices); mov rcx,microseconds; call [rax+0xf8] (Stall)
            code.extend([0x48, 0x8b, 0x43, 0x60, 0x48, 0xb9]);
            code.extend(u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX).to_le_bytes());
            code.extend([0xff, 0x90, 0xf8, 0, 0, 0]);
        }
        match self.end {
            End::PowerOff => reset_system(&mut code, 2),
            End::Reset => reset_system(&mut code, 0),
            End::Return(status) => {
                // mov rax,status; add rsp,0x20; pop rbx; ret
                code.extend([0x48, 0xb8]);
                code.extend(status.to_le_bytes());
                code.extend([0x48, 0x83, 0xc4, 0x20, 0x5b, 0xc3]);
            }
        }
        if let (Some(next), Some(line)) = (string_reference, &self.message) {
            if code.len() % 2 == 1 {
                code.push(0);
            }
            let distance = u32::try_from(code.len() - next).unwrap_or_default();
            code[next - 4..next].copy_from_slice(&distance.to_le_bytes());
            code.extend(format!("{line}\r\n\0").encode_utf16().flat_map(u16::to_le_bytes));
        }
        code
    }
}

/// `mov rax,[rbx+0x58]` (`RuntimeServices`); `mov ecx,kind; xor edx,edx; xor r8d,r8d; xor r9d,r9d;`
/// `call [rax+0x68]` (`ResetSystem`); `jmp $`, because it does not return.
fn reset_system(code: &mut Vec<u8>, kind: u8) {
    code.extend([0x48, 0x8b, 0x43, 0x58, 0xb9, kind, 0, 0, 0]);
    code.extend([0x31, 0xd2, 0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9, 0xff, 0x50, 0x68, 0xeb, 0xfe]);
}

/// Wraps position-independent code into a PE32+ image with one section.
fn image(code: &[u8]) -> Vec<u8> {
    let code_len = u32::try_from(code.len()).unwrap_or(u32::MAX);
    let file_len = u32::try_from(code.len().next_multiple_of(FILE_ALIGNMENT)).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADERS + code.len());
    // DOS header: only its signature and the offset of the PE header count.
    out.extend(b"MZ");
    out.resize(0x3c, 0);
    out.extend(0x40u32.to_le_bytes());
    out.extend(b"PE\0\0");
    let u16s =
        |out: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
    let u32s =
        |out: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
    // COFF header: x86-64, one section, no time, no symbols, 240 bytes of optional header, executable and
    // large-address-aware.
    u16s(&mut out, &[0x8664, 1]);
    u32s(&mut out, &[0, 0, 0]);
    u16s(&mut out, &[240, 0x22]);
    // Optional header: magic and linker version, size of code, of data, of bss, entry point, base of code.
    u16s(&mut out, &[0x20b, 0]);
    u32s(&mut out, &[file_len, 0, 0, CODE_RVA, CODE_RVA]);
    // Image base (any: the code is position-independent), then section and file alignment.
    u32s(&mut out, &[0, 0, CODE_RVA, 0x200]);
    u16s(&mut out, &[0; 6]);
    // Reserved, size of the image, size of the headers, checksum.
    u32s(&mut out, &[0, (CODE_RVA + code_len).next_multiple_of(CODE_RVA), 0x200, 0]);
    // Subsystem 10, EFI application; no DLL flags; stack and heap sizes; no loader flags; 16 empty directories.
    u16s(&mut out, &[10, 0]);
    u32s(&mut out, &[0; 9]);
    u32s(&mut out, &[16]);
    u32s(&mut out, &[0; 32]);
    // The one section: code that may be read and executed.
    out.extend(b".text\0\0\0");
    u32s(&mut out, &[code_len, CODE_RVA, file_len, 0x200, 0, 0, 0, 0x6000_0020]);
    out.resize(HEADERS, 0);
    out.extend(code);
    out.resize(out.len().next_multiple_of(FILE_ALIGNMENT), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_without_a_message_is_one_kibibyte() {
        assert_eq!(EfiApp::new(End::PowerOff).build().len(), 1024);
    }

    #[test]
    fn the_message_is_where_the_code_looks_for_it() {
        let code = EfiApp::new(End::Return(EFI_ABORTED)).message("hi").code();
        let distance = u32::from_le_bytes(code[15..19].try_into().unwrap());
        let string = &code[19 + distance as usize..];
        assert_eq!(string, b"h\0i\0\r\0\n\0\0\0");
    }
}
