//! Where a job stands, in the words that people and programs read: ten states, and the six words of others' queues.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Job, JobState};
use crate::run::{Run, RunState};
use crate::verdict::Verdict;
use crate::workload::UnknownWord;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $case:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$what])* $case,)*
        }

        impl $name {
            /// All of them, in the order in which a job goes through them.
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The word that is shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$case => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().find(|known| known.as_str() == word);
                known.copied().ok_or_else(|| UnknownWord(word.to_owned()))
            }
        }
    };
}

words! {
    /// Where a job stands: whether it waits, and else where its run is.
    Phase {
        /// It waits.
        Queued = "queued",
        /// A target was given to it, and has not begun.
        Assigned = "assigned",
        /// The image is on its way.
        Downloading = "downloading",
        /// The image is up.
        Booting = "booting",
        /// An agent in it has begun with its stages.
        Running = "running",
        /// At least one report is stored; more may follow.
        Reported = "reported",
        /// It is over, and reported, whatever it said.
        Finished = "finished",
        /// It is over, and never reported.
        Failed = "failed",
        /// It was ended before it could say anything.
        Cancelled = "cancelled",
        /// It is over, and its target is kept for a person.
        Held = "held",
    }
}

words! {
    /// The same in the six words that other queues in front of runners use.
    Status {
        /// It waits.
        Pending = "pending",
        /// It was started, and nothing has come of it yet.
        Triggered = "triggered",
        /// It runs.
        Running = "running",
        /// It is over, and nothing was found to be wrong.
        Completed = "completed",
        /// It is over, and something was wrong, with what it ran or with us.
        Failed = "failed",
        /// It was taken out.
        Cancelled = "cancelled",
    }
}

impl Phase {
    /// Where a job stands. `run` is its latest run, if it has had one: what is over is known by it.
    #[must_use]
    pub fn of(job: &Job, run: Option<&Run>) -> Self {
        let run = run.filter(|run| run.job == job.id).map(|run| run.state);
        match job.state {
            // Whatever became of the run before.
            JobState::Queued => Self::Queued,
            JobState::Cancelled => Self::Cancelled,
            JobState::Active => match run {
                Some(RunState::Downloading) => Self::Downloading,
                Some(RunState::Booting) => Self::Booting,
                Some(RunState::Reported) => Self::Reported,
                Some(RunState::Assigned | RunState::Finished | RunState::Failed | RunState::Cancelled)
                | None => Self::Assigned,
            },
            JobState::Done => match (run, job.verdict) {
                // Of a run that did not report, a late report has changed what was known.
                (Some(RunState::Finished), _)
                | (_, Some(Verdict::Passed | Verdict::Failed | Verdict::Unjudged)) => Self::Finished,
                (_, Some(Verdict::Errored) | None) => Self::Failed,
            },
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled | Self::Held)
    }
}

impl Status {
    /// Where a job stands, by its state and how it came out. Without a verdict nothing is completed.
    #[must_use]
    pub fn of(phase: Phase, verdict: Option<Verdict>) -> Self {
        match phase {
            Phase::Queued => Self::Pending,
            Phase::Assigned | Phase::Booting => Self::Triggered,
            Phase::Downloading | Phase::Running | Phase::Reported => Self::Running,
            Phase::Finished => match verdict {
                Some(Verdict::Passed | Verdict::Unjudged) => Self::Completed,
                Some(Verdict::Failed | Verdict::Errored) | None => Self::Failed,
            },
            Phase::Failed | Phase::Held => Self::Failed,
            Phase::Cancelled => Self::Cancelled,
        }
    }

    /// The states of jobs that are not over which have this word.
    #[must_use]
    pub fn open_phases(self) -> &'static [Phase] {
        match self {
            Self::Pending => &[Phase::Queued],
            Self::Triggered => &[Phase::Assigned, Phase::Booting],
            Self::Running => &[Phase::Downloading, Phase::Running, Phase::Reported],
            Self::Completed | Self::Failed | Self::Cancelled => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::group::GroupId;
    use crate::id::{HostId, JobId, RunId, WorkloadId};
    use crate::run::Transfer;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn job(state: JobState, verdict: Option<Verdict>) -> Job {
        let (id, workload) = (JobId::new(NOW, [1; 10]), WorkloadId::new(NOW, [2; 10]));
        Job { state, verdict, ..Job::new(id, GroupId::session(), "a", workload, NOW) }
    }

    fn run(state: RunState) -> Run {
        Run {
            id: RunId::new(NOW, [3; 10]),
            job: JobId::new(NOW, [1; 10]),
            host: HostId::new(NOW, [4; 10]),
            workload: WorkloadId::new(NOW, [2; 10]),
            epoch: 1,
            attempt: 1,
            state,
            verdict: None,
            reason: None,
            created: NOW,
            since: NOW,
            deadline: None,
            size: 0,
            transfer: Transfer::None,
            transfers: 0,
            sent: 0,
            most_sent: 0,
            broken: 0,
            wholes: 0,
            reboots: 0,
            reboots_allowed: 0,
            booted_at: None,
            is_disputed: false,
            reports: 0,
        }
    }

    #[test]
    fn a_job_stands_where_its_run_does() {
        for (state, phase, status) in [
            (RunState::Assigned, Phase::Assigned, Status::Triggered),
            (RunState::Downloading, Phase::Downloading, Status::Running),
            (RunState::Booting, Phase::Booting, Status::Triggered),
            (RunState::Reported, Phase::Reported, Status::Running),
        ] {
            let found = Phase::of(&job(JobState::Active, None), Some(&run(state)));
            assert_eq!((found, Status::of(found, None)), (phase, status));
        }
    }

    #[test]
    fn a_job_that_waits_is_pending_whatever_became_of_its_last_run() {
        for state in RunState::ALL {
            let found = Phase::of(&job(JobState::Queued, None), Some(&run(state)));
            assert_eq!((found, Status::of(found, None)), (Phase::Queued, Status::Pending));
        }
    }

    #[test]
    fn a_job_that_is_over_has_finished_if_it_reported_and_completed_if_nothing_was_wrong() {
        for (verdict, state, phase, status) in [
            (Verdict::Passed, RunState::Finished, Phase::Finished, Status::Completed),
            (Verdict::Unjudged, RunState::Finished, Phase::Finished, Status::Completed),
            (Verdict::Failed, RunState::Finished, Phase::Finished, Status::Failed),
            (Verdict::Errored, RunState::Finished, Phase::Finished, Status::Failed),
            (Verdict::Errored, RunState::Failed, Phase::Failed, Status::Failed),
            // Its report came late.
            (Verdict::Passed, RunState::Failed, Phase::Finished, Status::Completed),
        ] {
            let found = Phase::of(&job(JobState::Done, Some(verdict)), Some(&run(state)));
            assert_eq!((found, Status::of(found, Some(verdict))), (phase, status), "{verdict} {state}");
        }
    }

    #[test]
    fn each_word_is_read_as_it_is_written() {
        for phase in Phase::ALL {
            assert_eq!(phase.as_str().parse().ok(), Some(*phase));
        }
        for status in Status::ALL {
            assert_eq!(status.as_str().parse().ok(), Some(*status));
        }
        assert!("done".parse::<Phase>().is_err());
    }

    fn verdicts() -> impl Strategy<Value = Option<Verdict>> {
        use Verdict::{Errored, Failed, Passed, Unjudged};
        prop::option::of(prop::sample::select(vec![Passed, Failed, Errored, Unjudged]))
    }

    proptest! {
        #[test]
        fn nothing_is_completed_that_is_not_over_or_that_failed(
            state in prop::sample::select(vec![
                JobState::Queued, JobState::Active, JobState::Done, JobState::Cancelled,
            ]),
            verdict in verdicts(),
            last in prop::option::of(prop::sample::select(RunState::ALL.to_vec())),
        ) {
            let job = job(state, verdict);
            let run = last.map(run);
            let phase = Phase::of(&job, run.as_ref());
            let status = Status::of(phase, verdict);
            prop_assert_eq!(phase.is_final(), state.is_final());
            if status == Status::Completed {
                prop_assert_eq!(state, JobState::Done);
                prop_assert!(matches!(verdict, Some(Verdict::Passed | Verdict::Unjudged)));
            }
            prop_assert_eq!(status.open_phases().contains(&phase), !state.is_final());
        }
    }
}
