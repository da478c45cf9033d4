//! What the loop tells the store.

use std::collections::VecDeque;
use std::io::Read as _;

use dispatch_boot::stub::inspect::{HEAD_LEN, arch_of, efi_arch};
use dispatch_core::fetch::{Key, Need};
use dispatch_core::queue::{JobState, ON_ITS_WAY, is_about_image, waits_for_image};
use dispatch_core::{Arch, Digest, Outcome, Snapshot};
use dispatch_store::StoreError;
use jiff::Timestamp;

use super::reconcile::Fetch;

/// What the store does not know yet of an image.
pub(super) enum News {
    Begun { start: u64 },
    Fetched { took: std::time::Duration },
    Wrong(String),
    Spoiled(String),
}

/// What is still to be told, in order.
pub(super) type Untold = VecDeque<(Key, News)>;

impl Fetch {
    /// Tells the store what happened, in order. What cannot be told is told the next time.
    pub(super) async fn tell_news(&mut self, needs: &[Need]) -> Result<(), StoreError> {
        while let Some((key, news)) = self.news.front() {
            let made_for = match (news, key.digest()) {
                (News::Fetched { .. }, Some(digest)) => self.made_for(digest).await,
                _ => None,
            };
            if let Some(need) = needs.iter().find(|need| need.key == *key) {
                let (image, size) = (&need.workloads, need.size);
                let decide = |snapshot: Snapshot, now: Timestamp| match news {
                    News::Begun { start } => snapshot.fetch_begins(image, size, *start, now),
                    News::Fetched { took } => match key.digest() {
                        Some(digest) => snapshot.image_here(image, digest, made_for, Some(*took), now),
                        None => Outcome { answer: (), changes: Vec::new() },
                    },
                    News::Wrong(why) => snapshot.image_wrong(image, why, now),
                    News::Spoiled(why) => snapshot.image_spoiled(image, why, now),
                };
                self.engine
                    .decide(self.engine.of_image(image), |snapshot, context| decide(snapshot, context.now))
                    .await?;
            }
            self.news.pop_front();
        }
        Ok(())
    }

    /// The processor that an image is made for, if its bytes tell.
    async fn made_for(&self, digest: Digest) -> Option<Arch> {
        let cache = self.images.cache().clone();
        let look = move || {
            let mut head = Vec::with_capacity(HEAD_LEN);
            cache.whole(&digest)?.file.take(HEAD_LEN as u64).read_to_end(&mut head).ok()?;
            efi_arch(&head).and_then(arch_of)
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    /// Has the jobs say what they wait for, where they do not yet.
    pub(super) async fn tell_standing(
        &mut self,
        needs: &[Need],
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        for need in needs {
            let (key, image) = (need.key, &need.workloads);
            let (here, waits) = {
                let state = self.images.state();
                (state.here.get(&key).copied(), state.waits.get(&key).cloned())
            };
            let some_wait = |wanted: &dyn Fn(Option<&str>) -> bool| {
                let queued = snapshot.jobs.iter().filter(|job| job.state == JobState::Queued);
                queued.filter(|job| image.contains(&job.workload)).any(|job| wanted(job.waits.as_deref()))
            };
            let wait_for_it = || some_wait(&|waits| waits.is_some_and(is_about_image));
            let (engine, focus) = (&self.engine, self.engine.of_image(image));
            match (here, waits) {
                (Some(digest), _)
                    if !self.looked_at.contains(&digest) || !snapshot.knows_image(image) || wait_for_it() =>
                {
                    let made_for = self.made_for(digest).await;
                    let decide =
                        |snapshot: Snapshot, now| snapshot.image_here(image, digest, made_for, None, now);
                    engine.decide(focus, |known, context| decide(known, context.now)).await?;
                    self.looked_at.insert(digest);
                }
                (None, Some(why)) => {
                    if some_wait(&|waits| waits != Some(&waits_for_image(&why))) {
                        let decide = |snapshot: Snapshot, now| snapshot.image_waits(image, &why, now);
                        engine.decide(focus, |known, context| decide(known, context.now)).await?;
                    }
                    self.told.insert(key);
                }
                (None, None) if !self.under_way.contains_key(&key) => {
                    let was_told = self.told.remove(&key) || self.is_first;
                    if was_told && wait_for_it() || some_wait(&|waits| waits == Some(ON_ITS_WAY)) {
                        engine.decide(focus, |known, _| known.image_to_come(image)).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
