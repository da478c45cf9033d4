//! Firmware that writes down how it is called, hands out what a test has prepared, and keeps
//! count of what it has handed out.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

pub(crate) const SUCCESS: u64 = 0;
pub(crate) const WARN_FILE_SYSTEM: u64 = 6;
pub(crate) const BUFFER_TOO_SMALL: u64 = 1 << 63 | 5;
pub(crate) const UNSUPPORTED: u64 = 1 << 63 | 3;
pub(crate) const DEVICE_ERROR: u64 = 1 << 63 | 7;
pub(crate) const OUT_OF_RESOURCES: u64 = 1 << 63 | 9;
pub(crate) const NOT_FOUND: u64 = 1 << 63 | 0xe;
pub(crate) const ACCESS_DENIED: u64 = 1 << 63 | 0xf;
pub(crate) const ABORTED: u64 = 1 << 63 | 0x15;
pub(crate) const SECURITY_VIOLATION: u64 = 1 << 63 | 0x1a;

/// Handles, which are nothing but names.
pub(crate) const OWN_IMAGE: u64 = 0x1111;
const DEVICE: u64 = 0x2222;
const NEW_IMAGE: u64 = 0x3333;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Output,
    Reset,
    Stall,
    Watchdog,
    Allocate,
    Free,
    HandleProtocol,
    LoadImage,
    StartImage,
    UnloadImage,
    LoadFile,
}

impl Call {
    pub(crate) const ALL: [Self; 11] = [
        Self::Output,
        Self::Reset,
        Self::Stall,
        Self::Watchdog,
        Self::Allocate,
        Self::Free,
        Self::HandleProtocol,
        Self::LoadImage,
        Self::StartImage,
        Self::UnloadImage,
        Self::LoadFile,
    ];

    pub(crate) fn arity(self) -> usize {
        match self {
            Self::Stall | Self::Free | Self::UnloadImage => 1,
            Self::Output => 2,
            Self::Allocate | Self::HandleProtocol | Self::StartImage => 3,
            Self::Reset | Self::Watchdog => 4,
            Self::LoadFile => 5,
            Self::LoadImage => 6,
        }
    }
}

/// What the next two calls of `LoadFile` do.
#[derive(Clone, Debug)]
pub(crate) enum Download {
    /// Tells the size and then hands the file over.
    File(Vec<u8>),
    /// Returns this at once.
    Returns(u64),
    /// Tells this size, and returns that when it is called for the file.
    ThenReturns(u64, u64),
    /// Tells a size, and then that it has become larger.
    Grows,
}

/// See [`Firmware::run`]. What a test may set comes first, then what it may look at, then the rest.
pub(crate) struct Firmware {
    pub(crate) console: bool,
    pub(crate) load_file: bool,
    pub(crate) device_path: Vec<u8>,
    /// What there is to download. Later downloads fail.
    pub(crate) downloads: VecDeque<Download>,
    pub(crate) load_image: u64,
    pub(crate) start_image: u64,
    pub(crate) exit_data: bool,
    /// How many allocations succeed.
    pub(crate) allocations: usize,

    pub(crate) calls: Vec<(Call, Vec<u64>)>,
    /// The lines on the console, without what ends them.
    pub(crate) lines: Vec<String>,
    /// The files that `LoadImage` was given.
    pub(crate) loaded: Vec<Vec<u8>>,
    /// The new image's load options, when it was started.
    pub(crate) options: Option<[u64; 2]>,

    /// In multiples of 8 bytes: the pool's alignment.
    pub(crate) pool: BTreeMap<u64, Box<[u64]>>,
    pub(crate) most_allocated: usize,
    pub(crate) images: Vec<u64>,
    pub(crate) pending: Option<Download>,
    pub(crate) tables: Box<Tables>,
}

/// What the stub reaches from its handle and the system table.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) system: [u64; 16],
    boot: [[u64; 24]; 2],
    runtime: [u64; 16],
    pub(crate) con_out: [u64; 8],
    load_file: [u64; 1],
    own_image: [u64; 12],
    new_image: [u64; 12],
}

thread_local! {
    static RUNNING: RefCell<Option<Firmware>> = const { RefCell::new(None) };
}

/// A call by the stub that runs on this thread.
pub(crate) fn call(call: Call, arguments: [u64; 6]) -> u64 {
    RUNNING.with_borrow_mut(|firmware| {
        let firmware = firmware.as_mut().expect("a stub runs");
        let arguments = arguments[..call.arity()].to_vec();
        firmware.calls.push((call, arguments.clone()));
        assert!(firmware.calls.len() < 1_000_000, "the stub goes round for ever");
        firmware.answer(call, &arguments)
    })
}

fn address<T: ?Sized>(of: &T) -> u64 {
    (&raw const *of).addr() as u64
}

fn write(to: u64, value: u64) {
    // SAFETY: the stub says that it has a variable there.
    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(usize::try_from(to).unwrap()).write(value) }
}

pub(crate) fn read<T: Copy>(from: u64) -> T {
    // SAFETY: the stub says that there is something.
    unsafe { std::ptr::with_exposed_provenance::<T>(usize::try_from(from).unwrap()).read_unaligned() }
}

/// A device path: hardware, a MAC address, this URI, the end.
pub(crate) fn device_path(uri: Option<&str>) -> Vec<u8> {
    let mut path = vec![1, 1, 6, 0, 0, 3];
    path.extend([3, 11, 37, 0].into_iter().chain([0x52; 33]));
    if let Some(uri) = uri {
        path.extend([3, 24]);
        path.extend(u16::try_from(uri.len() + 4).unwrap().to_le_bytes());
        path.extend(uri.bytes());
    }
    path.extend([0x7f, 0xff, 4, 0]);
    path
}

impl Firmware {
    pub(crate) fn new(downloads: impl IntoIterator<Item = Download>) -> Self {
        Self {
            console: true,
            load_file: true,
            device_path: device_path(Some("http://192.0.2.1/dispatch")),
            downloads: downloads.into_iter().collect(),
            load_image: SUCCESS,
            start_image: SUCCESS,
            exit_data: false,
            allocations: usize::MAX,
            calls: Vec::new(),
            lines: Vec::new(),
            loaded: Vec::new(),
            options: None,
            pool: BTreeMap::new(),
            most_allocated: 0,
            images: Vec::new(),
            pending: None,
            tables: Box::default(),
        }
    }

    /// Has `enter` call a stub with this as its firmware. It gets the address of the system
    /// table, in which the functions' addresses are those that `function` gives.
    pub(crate) fn run(
        mut self,
        function: impl Fn(Call) -> u64,
        enter: impl FnOnce(u64) -> u64,
    ) -> (u64, Self) {
        let tables = &mut *self.tables;
        for (call, offset) in [
            (Call::Allocate, 0x40),
            (Call::Free, 0x48),
            (Call::HandleProtocol, 0x98),
            (Call::LoadImage, 0xc8),
            (Call::StartImage, 0xd0),
            (Call::UnloadImage, 0xe0),
            (Call::Stall, 0xf8),
            (Call::Watchdog, 0x100),
        ] {
            tables.boot.as_flattened_mut()[offset / 8] = function(call);
        }
        tables.runtime[0x68 / 8] = function(Call::Reset);
        tables.con_out[1] = function(Call::Output);
        tables.load_file[0] = function(Call::LoadFile);
        tables.own_image[0x18 / 8] = DEVICE;
        tables.own_image[0x30 / 8] = 22;
        tables.own_image[0x38 / 8] = 0x4444;
        if self.console {
            tables.system[0x40 / 8] = address(&tables.con_out);
        }
        tables.system[0x58 / 8] = address(&tables.runtime);
        tables.system[0x60 / 8] = address(&tables.boot);
        // What the stub is told and what the firmware keeps are the same memory.
        let system = (&raw const tables.system).expose_provenance() as u64;

        RUNNING.set(Some(self));
        let status = enter(system);
        (status, RUNNING.take().expect("it is still there"))
    }

    /// Fails if the stub has kept anything that it should have given back.
    pub(crate) fn assert_nothing_is_left(&self) {
        assert!(self.pool.is_empty(), "{} pool allocations are left", self.pool.len());
        assert!(self.images.is_empty(), "a loaded image is left");
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.calls.iter().filter(|(called, _)| *called == call).count()
    }

    /// The arguments of all calls of this function.
    pub(crate) fn arguments(&self, call: Call) -> Vec<&[u64]> {
        self.calls.iter().filter(|(called, _)| *called == call).map(|(_, arguments)| &**arguments).collect()
    }

    pub(crate) fn con_out(&self) -> u64 {
        address(&self.tables.con_out)
    }

    fn answer(&mut self, call: Call, arguments: &[u64]) -> u64 {
        match (call, arguments) {
            (Call::Output, &[console, line]) => {
                assert_eq!(console, self.con_out());
                self.print(line);
                DEVICE_ERROR
            }
            (Call::Allocate, &[kind, size, buffer]) => {
                assert_eq!(kind, 2, "EfiLoaderData");
                if self.allocations == 0 {
                    return OUT_OF_RESOURCES;
                }
                self.allocations -= 1;
                write(buffer, self.allocate(size));
                SUCCESS
            }
            (Call::Free, &[buffer]) => {
                assert!(self.pool.remove(&buffer).is_some(), "freed but not allocated");
                SUCCESS
            }
            (Call::HandleProtocol, &[handle, guid, interface]) => {
                let Some(found) = self.protocol(handle, read(guid)) else { return UNSUPPORTED };
                write(interface, found);
                SUCCESS
            }
            (Call::LoadFile, &[this, path, policy, size, buffer]) => {
                assert_eq!((this, policy), (address(&self.tables.load_file), 1));
                assert_eq!(read::<[u8; 2]>(path), [3, 24], "the URI node");
                self.load_file(size, buffer)
            }
            (Call::LoadImage, &[_, parent, path, file, size, image]) => {
                assert_eq!((parent, path), (OWN_IMAGE, address(&*self.device_path)));
                let file = &self.pool[&file];
                let file: Vec<u8> = file.iter().flat_map(|word| word.to_le_bytes()).collect();
                self.loaded.push(file[..usize::try_from(size).unwrap()].to_vec());
                if [SUCCESS, SECURITY_VIOLATION].contains(&self.load_image) {
                    self.images.push(NEW_IMAGE);
                    write(image, NEW_IMAGE);
                }
                self.load_image
            }
            (Call::StartImage, &[image, size, data]) => {
                assert_eq!(self.images.pop(), Some(image), "an image that is loaded");
                assert!(self.pool.is_empty(), "the image has the memory to itself");
                let fields = self.tables.new_image;
                self.options = Some([fields[0x30 / 8], fields[0x38 / 8]]);
                if self.exit_data {
                    write(size, 6);
                    write(data, self.allocate(6));
                }
                self.start_image
            }
            (Call::UnloadImage, &[image]) => {
                assert_eq!(self.images.pop(), Some(image), "an image that is loaded");
                SUCCESS
            }
            // These come back with an error even where a stub could not go on: it has to.
            (Call::Reset | Call::Stall | Call::Watchdog, _) => DEVICE_ERROR,
            _ => unreachable!("{call:?} takes other arguments"),
        }
    }

    fn print(&mut self, mut line: u64) {
        let mut units = Vec::new();
        while let unit @ 1.. = read::<u16>(line) {
            units.push(unit);
            line += 2;
        }
        let text = String::from_utf16(&units).unwrap();
        assert!(text.ends_with("\r\n"));
        self.lines.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }

    fn allocate(&mut self, size: u64) -> u64 {
        // Not zeroes, as from real firmware.
        let words = usize::try_from(size).unwrap().div_ceil(8);
        let memory = vec![0xafaf_afaf_afaf_afaf; words.max(1)].into_boxed_slice();
        let at = (&raw const *memory).expose_provenance() as u64;
        self.pool.insert(at, memory);
        self.most_allocated = self.most_allocated.max(self.pool.len());
        at
    }

    fn protocol(&self, handle: u64, guid: [u8; 16]) -> Option<u64> {
        let guid = guid.map(|byte| format!("{byte:02x}")).concat();
        match (handle, &*guid) {
            (OWN_IMAGE, "a1311b5b6295d2118e3f00a0c969723b") => Some(address(&self.tables.own_image)),
            (NEW_IMAGE, "a1311b5b6295d2118e3f00a0c969723b") => Some(address(&self.tables.new_image)),
            (OWN_IMAGE, "7e1562bc333eec4f99202d3b36d750df") => Some(address(&*self.device_path)),
            (DEVICE, "9130ec564c95d2118e3f00a0c969723b") if self.load_file => {
                Some(address(&self.tables.load_file))
            }
            _ => None,
        }
    }

    fn load_file(&mut self, size: u64, buffer: u64) -> u64 {
        if buffer == 0 {
            assert_eq!(read::<u64>(size), 0, "the first call asks for the size");
            let download = self.downloads.pop_front().unwrap_or(Download::Returns(NOT_FOUND));
            let len = match &download {
                Download::Returns(status) => return *status,
                Download::File(file) => file.len() as u64,
                Download::ThenReturns(len, _) => *len,
                Download::Grows => 100,
            };
            write(size, len);
            self.pending = Some(download);
            return BUFFER_TOO_SMALL;
        }
        match self.pending.take().expect("the first call has no buffer") {
            Download::Returns(_) => unreachable!("it has returned"),
            Download::ThenReturns(_, status) => status,
            Download::Grows => {
                write(size, 1000);
                BUFFER_TOO_SMALL
            }
            Download::File(file) => {
                assert_eq!(read::<u64>(size), file.len() as u64);
                let memory = self.pool.get_mut(&buffer).expect("a buffer from the pool");
                for (word, bytes) in memory.iter_mut().zip(file.chunks(8)) {
                    let mut whole = word.to_le_bytes();
                    whole[..bytes.len()].copy_from_slice(bytes);
                    *word = u64::from_le_bytes(whole);
                }
                SUCCESS
            }
        }
    }
}
