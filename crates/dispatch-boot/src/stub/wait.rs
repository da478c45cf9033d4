//! The stub that waits: asks for a boot image by itself until there is one, and starts it.
//!
//! For the parent module, which says what it is for. It asks as the boot manager does (UEFI 2.10
//! §3.1.2, §13.1): by the `LoadFile` protocol of the network card's handle that it was booted
//! from itself, for the URI that it was booted from.

use std::time::Duration;

use super::MAX_TEXT;
use super::firmware::{
    ALLOCATE_POOL, BOOT_WATCHDOG, DEVICE_HANDLE, EFI_ABORTED, EFI_BUFFER_TOO_SMALL, EFI_SUCCESS, FIRST_ERROR,
    Guid, LOAD_FILE, LOAD_FILE_PROTOCOL, LOAD_IMAGE, LOAD_OPTIONS, LOAD_OPTIONS_SIZE,
    LOADED_IMAGE_DEVICE_PATH_PROTOCOL, LOADED_IMAGE_PROTOCOL, LOADER_DATA, Pause, ResetType, START_IMAGE,
    UNLOAD_IMAGE, guid, node,
};
use super::pe;
use super::program::{Is, Label, Program, Value, Var, Width};
use super::stubs::{set_watchdog, stall};

/// The shortest pause between two questions: less would be nothing but load for the server.
pub const MIN_ASK_EVERY: Duration = Duration::from_secs(1);

/// How many downloads in a row may fail before the machine is reset.
///
/// With a pause of ten seconds, and the five that firmware takes to find out that nobody answers, these are ten
/// minutes: a server that is restarted or a switch that is changed must not cost a machine its place, for a reset may
/// lead it to another boot device.
pub const MAX_FAILURES: u8 = 40;

/// How much later than the end of the pause the watchdog resets the machine, in seconds. The
/// firmware's HTTP client has time limits of its own, so this is for firmware that hangs; and an
/// hour is enough for four gigabytes at the megabyte a second of a slow firmware.
const WATCHDOG_RESERVE: u64 = 60 * 60;

/// What a file of this kind carries at [`pe::DATA_OFFSET`], and a running one at [`pe::DATA_RVA`]:
/// what makes it known to another, and all in which two of them differ.
///
/// Whoever changes what is behind the marker changes the marker. Stubs of before and after then
/// take each other for plain applications, which works as well.
mod record {
    use super::{Guid, MAX_TEXT, guid};

    pub(super) const MARKER: Guid =
        guid(0x6cbd_0f55, 0x4a0a, 0x4dd5, [0x9c, 0x0d, 0xa2, 0x13, 0x68, 0xe7, 0x5b, 0x81]);
    /// The marker as two numbers.
    pub(super) const MARKER_HALVES: [(u32, u64); 2] = {
        let (halves, _) = MARKER.as_chunks::<8>();
        [(0, u64::from_le_bytes(halves[0])), (8, u64::from_le_bytes(halves[1]))]
    };
    /// [`super::Pause::seconds`], of 32 bits.
    pub(super) const SECONDS: u32 = 0x10;
    /// [`super::Pause::rest`], of 32 bits.
    pub(super) const REST: u32 = 0x14;
    /// The line, and NUL up to the end.
    pub(super) const LINE: u32 = 0x18;
    /// The last character of the longest line, which is NUL in every line.
    #[expect(clippy::cast_possible_truncation, reason = "a line has some hundred characters")]
    pub(super) const LAST_NUL: u32 = LINE + 2 * (MAX_TEXT as u32 + 2);
    /// The length of it all, a multiple of 8.
    pub(super) const LEN: u32 = (LAST_NUL + 2).next_multiple_of(8);
}

/// What may be said on the console later.
const ASKING_AGAIN: &str = "dispatch: no answer, asking again";
const STARTING: &str = "dispatch: starting what there is now";
const NO_ANSWER: &str = "dispatch: resetting: still no answer";
const NO_WAY: &str = "dispatch: resetting: cannot ask from here";
const DISK_IMAGE: &str = "dispatch: resetting: for a disk image";
const REFUSED: &str = "dispatch: resetting: the image is refused";

/// The program that prints the line, a [`super::console_line`], and waits.
pub(super) fn wait(line: &[u8], pause: Pause) -> Program {
    let mut p = Program::new();
    let own_record = p.data(&record(line, pause));
    let stub = Wait::new(&mut p, own_record);

    stub.pause(&mut p);
    stub.find_file(&mut p);
    stub.download(&mut p);
    stub.keep_waiting(&mut p);
    stub.start(&mut p);
    stub.give_up(&mut p);
    p
}

fn record(line: &[u8], pause: Pause) -> Vec<u8> {
    let mut record = Vec::from(record::MARKER);
    record.extend_from_slice(&pause.seconds.to_le_bytes());
    record.extend_from_slice(&pause.rest.to_le_bytes());
    record.extend_from_slice(line);
    record.resize(record::LEN as usize, 0);
    record
}

/// Variables and labels that the program's parts share.
struct Wait {
    /// The record that is in force.
    record: Var,
    /// The file that it is in, to be freed when another takes its place; 0 at first, when it is
    /// the running image.
    kept: Var,
    /// The line to be printed next.
    line: Var,
    /// Failed downloads in a row.
    failures: Var,
    /// The own image's device path, its URI node, and the `LoadFile` protocol of its device.
    path: Var,
    uri: Var,
    load_file: Var,
    /// The file just downloaded.
    file: Var,
    size: Var,

    print_line: Label,
    ask: Label,
    found: Label,
    start: Label,
    failed: Label,
    no_way: Label,
    disk_image: Label,
    refused: Label,

    own_loaded: Var,
    loaded_image: Value,
}

impl Wait {
    fn new(p: &mut Program, own_record: Value) -> Self {
        let stub = Self {
            record: p.var(),
            kept: p.var(),
            line: p.var(),
            failures: p.var(),
            path: p.var(),
            uri: p.var(),
            load_file: p.var(),
            file: p.var(),
            size: p.var(),
            print_line: p.label(),
            ask: p.label(),
            found: p.label(),
            start: p.label(),
            failed: p.label(),
            no_way: p.label(),
            disk_image: p.label(),
            refused: p.label(),
            own_loaded: p.var(),
            loaded_image: p.guid(LOADED_IMAGE_PROTOCOL),
        };
        p.set(stub.record, own_record);
        p.set(stub.kept, 0);
        p.set(stub.failures, 0);
        stub
    }

    /// Prints the record's line and pauses as it says.
    fn pause(&self, p: &mut Program) {
        let (seconds, rest, watchdog) = (p.var(), p.var(), p.var());
        p.mark(self.print_line);
        p.set(self.line, self.record);
        p.add(self.line, u64::from(record::LINE));
        p.print(self.line.into());

        p.mark(self.ask);
        p.load(Width::U32, seconds, self.record, record::SECONDS);
        p.load(Width::U32, rest, self.record, record::REST);
        // Armed again in each round, so that it bites only if a round does not end.
        p.set(watchdog, seconds);
        p.add(watchdog, WATCHDOG_RESERVE);
        set_watchdog(p, watchdog.into());
        stall(p, seconds.into(), rest.into());
    }

    /// Finds the protocol and the URI to download by. Anew in each round: a driver may have
    /// installed them anew as well.
    fn find_file(&self, p: &mut Program) {
        let device = p.var();
        let device_path = p.guid(LOADED_IMAGE_DEVICE_PATH_PROTOCOL);
        let load_file = p.guid(LOAD_FILE_PROTOCOL);
        p.open(Var::IMAGE, self.loaded_image, self.own_loaded, self.no_way);
        p.open(Var::IMAGE, device_path, self.path, self.no_way);
        p.load(Width::U64, device, self.own_loaded, DEVICE_HANDLE);
        p.open(device, load_file, self.load_file, self.no_way);

        // EDK2's client takes the URI from the path that it is handed; without one it waits for
        // DHCP to name one. The nodes before it lead to the device, which would not know them.
        let (kind, len) = (p.var(), p.var());
        let next = p.label();
        p.set(self.uri, self.path);
        p.mark(next);
        p.load(Width::U16, kind, self.uri, 0);
        p.jump_if(kind, Is::Equal, node::URI, self.found);
        p.load(Width::U8, kind, self.uri, 0);
        p.jump_if(kind, Is::Equal, node::END, self.no_way);
        p.load(Width::U16, len, self.uri, node::LEN);
        p.add(self.uri, len);
        // A node shorter than its own header would have this go round for ever.
        p.jump_if(len, Is::AtLeast, node::MIN_LEN, next);
        p.jump(self.no_way);
    }

    /// Downloads the file into memory from the pool.
    fn download(&self, p: &mut Program) {
        let (has_size, complete, free) = (p.label(), p.label(), p.label());
        p.mark(self.found);
        p.set(self.size, 0);
        self.load(p, 0.into());
        p.jump_if(Var::STATUS, Is::Equal, EFI_BUFFER_TOO_SMALL, has_size);
        p.jump_if_failed(self.failed);
        // A file of no length.
        p.jump_if(Var::STATUS, Is::Equal, EFI_SUCCESS, self.failed);
        // A warning: EFI_WARN_FILE_SYSTEM says that the buffer is to become a RAM disk
        // (§13.1.2), and others cannot mean an application either.
        p.jump(self.disk_image);

        p.mark(has_size);
        let arguments = [LOADER_DATA.into(), self.size.into(), Value::AddressOf(self.file)];
        p.boot_service(ALLOCATE_POOL, &arguments);
        p.jump_if_failed(self.failed);
        self.load(p, self.file.into());
        p.jump_if(Var::STATUS, Is::Equal, EFI_SUCCESS, complete);
        // The memory is not freed: it is a RAM disk by now.
        p.jump_if(Var::STATUS, Is::AtLeast, FIRST_ERROR, free);
        p.jump(self.disk_image);

        // Also when there is a larger file by now (EFI_BUFFER_TOO_SMALL): the next round asks for
        // its size.
        p.mark(free);
        p.free(self.file);
        p.jump(self.failed);

        p.mark(complete);
        p.set(self.failures, 0);
    }

    /// `LoadFile` with a boot policy: EDK2's client does nothing without.
    fn load(&self, p: &mut Program, buffer: Value) {
        let size = Value::AddressOf(self.size);
        p.call(self.load_file, LOAD_FILE, &[self.load_file.into(), self.uri.into(), 1.into(), size, buffer]);
    }

    /// If the file is a stub that waits, goes on waiting as it says.
    fn keep_waiting(&self, p: &mut Program) {
        let (there, here, end) = (p.var(), p.var(), p.var());
        let (left, right) = (p.var(), p.var());
        let (long_enough, compare, another) = (p.label(), p.label(), p.label());

        let shortest = pe::DATA_OFFSET as u64 + u64::from(record::LEN);
        p.jump_if(self.size, Is::AtLeast, shortest, long_enough);
        p.jump(self.start);
        p.mark(long_enough);

        p.set(there, self.file);
        p.add(there, pe::DATA_OFFSET as u64);
        for (offset, half) in record::MARKER_HALVES {
            p.load(Width::U64, left, there, offset);
            p.jump_if(left, Is::Unequal, half, self.start);
        }
        // Nobody has verified this file, so its line shall at least have an end.
        p.load(Width::U16, left, there, record::LAST_NUL);
        p.jump_if(left, Is::Unequal, 0, self.start);

        p.set(here, self.record);
        p.set(end, there);
        p.add(end, u64::from(record::LEN));
        p.mark(compare);
        p.load(Width::U64, left, there, 0);
        p.load(Width::U64, right, here, 0);
        p.jump_if(left, Is::Unequal, right, another);
        p.add(there, 8);
        p.add(here, 8);
        p.jump_if(there, Is::Unequal, end, compare);
        p.free(self.file);
        p.jump(self.ask);

        // The file is kept for its record, in place of the last one: at most one is.
        p.mark(another);
        p.free_if_any(self.kept);
        p.set(self.kept, self.file);
        p.set(self.record, self.file);
        p.add(self.record, pe::DATA_OFFSET as u64);
        p.say_line_break();
        p.jump(self.print_line);
    }

    /// Starts the file as the boot manager would have (§3.1.2, §7.4), and ends as it ends.
    fn start(&self, p: &mut Program) {
        let (image, loaded, option) = (p.var(), p.var(), p.var());
        let (status, exit_data, exit_data_size) = (p.var(), p.var(), p.var());
        let (loaded_it, no_options, ended) = (p.label(), p.label(), p.label());

        p.mark(self.start);
        p.say(STARTING);
        p.set(image, 0);
        // With the path, the image finds its device and itself in its own loaded image protocol.
        let arguments = [
            1.into(),
            Var::IMAGE.into(),
            self.path.into(),
            self.file.into(),
            self.size.into(),
            Value::AddressOf(image),
        ];
        p.boot_service(LOAD_IMAGE, &arguments);
        p.set(status, Var::STATUS);
        // The image is a copy, and may need the room.
        p.free(self.file);
        p.jump_if(status, Is::Equal, EFI_SUCCESS, loaded_it);
        // With EFI_SECURITY_VIOLATION the image is loaded all the same, only not to be started.
        p.jump_if(image, Is::Equal, 0, self.refused);
        p.boot_service(UNLOAD_IMAGE, &[image.into()]);
        p.jump(self.refused);

        p.mark(loaded_it);
        // The boot option's own data, such as a command line, is for the image that is booted.
        p.open(image, self.loaded_image, loaded, no_options);
        for field in [LOAD_OPTIONS_SIZE, LOAD_OPTIONS] {
            p.load(Width::U64, option, self.own_loaded, field);
            p.store(loaded, field, option);
        }
        p.mark(no_options);
        p.free_if_any(self.kept);
        set_watchdog(p, BOOT_WATCHDOG.into());
        p.set(exit_data, 0);
        let arguments = [image.into(), Value::AddressOf(exit_data_size), Value::AddressOf(exit_data)];
        p.boot_service(START_IMAGE, &arguments);

        // An application that has ended is unloaded (§7.4.2); what it leaves is for its caller
        // to free.
        p.set(status, Var::STATUS);
        p.free_if_any(exit_data);
        p.jump_if(status, Is::Unequal, EFI_SUCCESS, ended);
        p.set(status, EFI_ABORTED);
        p.mark(ended);
        p.returns(status);
    }

    /// The ends that are not a start.
    fn give_up(&self, p: &mut Program) {
        let (first, reset) = (p.label(), p.label());

        p.mark(self.failed);
        p.add(self.failures, 1);
        p.jump_if(self.failures, Is::Equal, 1, first);
        p.set_line(self.line, NO_ANSWER);
        p.jump_if(self.failures, Is::AtLeast, u64::from(MAX_FAILURES), reset);
        p.jump(self.ask);
        p.mark(first);
        p.say(ASKING_AGAIN);
        p.jump(self.ask);

        for (label, text) in [(self.no_way, NO_WAY), (self.disk_image, DISK_IMAGE), (self.refused, REFUSED)] {
            p.mark(label);
            p.set_line(self.line, text);
            p.jump(reset);
        }

        p.mark(reset);
        p.print(self.line.into());
        p.reset(ResetType::Cold);
        // Firmware that cannot reset: on with its next boot option, as `Stub::PowerOff`.
        p.free_if_any(self.kept);
        p.returns(EFI_ABORTED);
    }
}
