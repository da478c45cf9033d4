//! What processes have used, as the kernel tells it (proc(5)).

use std::ops::Sub;
use std::path::PathBuf;

use crate::Failure;

/// In what fractions of a second the kernel tells processor time to programs (`USER_HZ`, time(7)): the same on every
/// architecture that we know.
const TICKS: f64 = 100.0;

/// Processor time in seconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Usage {
    pub(crate) fn total(&self) -> f64 {
        self.user + self.system
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// The fields of `/proc/ID/stat` after the program's name, which may hold anything; the first is field 3, the state.
fn stat(process: u32) -> Result<Vec<String>, Failure> {
    let path = PathBuf::from(format!("/proc/{process}/stat"));
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::File(path, error))?;
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// What these have used so far, threads that have ended included.
pub(crate) fn usage(processes: &[u32]) -> Result<Usage, Failure> {
    let mut sum = Usage::default();
    for process in processes {
        let stat = stat(*process)?;
        let ticks =
            |field: usize| stat.get(field - 3).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        sum.user += ticks(14) / TICKS;
        sum.system += ticks(15) / TICKS;
    }
    Ok(sum)
}

/// The most memory that each of them ever held (`VmHWM`), together, in bytes.
pub(crate) fn peak_memory(processes: &[u32]) -> Result<u64, Failure> {
    let mut sum = 0;
    for process in processes {
        let path = PathBuf::from(format!("/proc/{process}/status"));
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::File(path, error))?;
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
        sum += kib.unwrap_or(0) * 1024;
    }
    Ok(sum)
}

/// The processes that this one has started.
pub(crate) fn children(parent: u32) -> Result<Vec<u32>, Failure> {
    let entries = std::fs::read_dir("/proc").map_err(|error| Failure::File("/proc".into(), error))?;
    let processes = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // Those that end while we look are none of ours.
    let is_child = |process: &u32| stat(*process).is_ok_and(|stat| stat.get(1) == Some(&parent.to_string()));
    Ok(processes.filter(is_child).collect())
}
