//! What a person orders from the view.

use dispatch_core::JobId;
use dispatch_core::queue::NotDone;
use dispatch_store::StoreError;

use super::Viewer;

impl Viewer<'_> {
    pub(super) async fn retry(&mut self, job: JobId) {
        let result = self.engine.retry(job).await;
        self.say(job, "is in the queue again", result);
    }

    pub(super) async fn cancel(&mut self, job: JobId) {
        let result = self.engine.cancel(job).await;
        self.say(job, "is cancelled", result);
    }

    fn say(&mut self, job: JobId, done: &str, result: Result<Result<(), NotDone>, StoreError>) {
        let name = self.board.job(job).map_or("the job", |job| job.name.as_str());
        self.ui.said = Some(match result {
            Ok(Ok(())) => format!("{name} {done}"),
            Ok(Err(why)) => format!("{name}: {why}"),
            Err(error) => error.to_string(),
        });
    }
}
