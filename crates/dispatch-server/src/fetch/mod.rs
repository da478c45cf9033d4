//! PLACEHOLDER
use crate::source::Opened;
use dispatch_core::queue::Unreadable;
use dispatch_core::{Workload, WorkloadId};
use std::collections::BTreeMap;
/// Images.
#[derive(Clone, Default)]
pub struct Images;
impl Images {
    /// New.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
    /// Open.
    pub async fn open(&self, _: &Workload) -> Result<Opened, Unreadable> {
        todo!()
    }
    /// Absent.
    #[must_use]
    pub fn absent(&self, _: &[Workload]) -> BTreeMap<WorkloadId, Unreadable> {
        todo!()
    }
}
