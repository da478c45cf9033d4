//! What the view asks of the session beside looking at its store.

use dispatch_core::JobId;

use super::Viewer;
use super::model::Request;

impl Viewer<'_> {
    pub(super) fn retry(&mut self, _job: JobId) {
        self.ui.said = Some("not possible yet".to_owned());
    }

    pub(super) fn cancel(&mut self, _job: JobId) {
        self.ui.said = Some("not possible yet".to_owned());
    }

    /// The last requests, the newest first.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.requests.clone()
    }
}
