//! Reports.

use dispatch_core::queue::Issue;
use dispatch_core::{GroupId, HostId, JobId, ReportId, RunId, RunName, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use super::{Statement, by_ids, distinct};
use crate::load::all;
use crate::{Store, StoreError, rows};

/// A report in a list: without its content, which may be long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// Which.
    pub id: ReportId,
    /// Its run.
    pub run: RunName,
    /// The run's job.
    pub job: JobId,
    /// The run's host.
    pub host: HostId,
    /// The run's group.
    pub group: GroupId,
    /// When it came.
    pub at: Timestamp,
    /// The run was over by then.
    pub is_late: bool,
    /// Its title.
    pub title: String,
    /// Its verdict, given or judged.
    pub verdict: Verdict,
    /// The issue that it was filed as.
    pub issue: Option<Issue>,
}

/// Which reports: those that fit in every respect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportFilter {
    /// Of this group.
    pub group: Option<GroupId>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of this run.
    pub run: Option<RunId>,
    /// From this host.
    pub host: Option<HostId>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
}

/// The place of a report in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportKeyset {
    /// When it came, in microseconds.
    pub at: i64,
    /// Which it is.
    pub id: ReportId,
}

impl From<&ReportLine> for ReportKeyset {
    fn from(report: &ReportLine) -> Self {
        Self { at: report.at.as_microsecond(), id: report.id }
    }
}

impl ReportFilter {
    /// The statement that lists them, the latest first.
    #[must_use]
    pub fn statement(&self, after: Option<&ReportKeyset>, limit: u32) -> Statement {
        let mut statement = Statement::new(
            "SELECT id, run, job, host, grp, at, late, title, verdict FROM reports WHERE job IS NOT NULL",
        );
        statement
            .narrow(" AND grp = ?", self.group.as_ref().map(|group| group.as_str().into()))
            .narrow(" AND job = ?", self.job.map(|job| job.to_string().into()))
            .narrow(" AND run = ?", self.run.map(|run| run.to_string().into()))
            .narrow(" AND host = ?", self.host.map(|host| host.to_string().into()))
            .narrow(" AND verdict = ?", self.verdict.map(|verdict| verdict.as_str().into()));
        if let Some(key) = after {
            statement.add(" AND (at, id) < (?, ?)", [key.at.into(), key.id.to_string().into()]);
        }
        statement.add(" ORDER BY at DESC, id DESC LIMIT ?", [i64::from(limit).into()]);
        statement
    }
}

fn line(row: &AnyRow) -> Result<ReportLine, StoreError> {
    Ok(ReportLine {
        id: rows::parsed(row, "id")?,
        run: rows::parsed::<RunId>(row, "run")?.public_name(),
        job: rows::parsed(row, "job")?,
        host: rows::parsed(row, "host")?,
        group: rows::parsed(row, "grp")?,
        at: rows::time(row, "at")?,
        is_late: rows::flag(row, "late")?,
        title: rows::text(row, "title")?,
        verdict: rows::parsed(row, "verdict")?,
        issue: None,
    })
}

impl Store {
    /// A page of reports, the latest first.
    pub async fn reports(
        &self,
        filter: &ReportFilter,
        after: Option<&ReportKeyset>,
        limit: u32,
    ) -> Result<Vec<ReportLine>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut lines = all(&mut transaction, filter.statement(after, limit).query(), line).await?;
        let ids = distinct(lines.iter().map(|line| line.id.to_string()));
        let select = "SELECT * FROM issues WHERE report IN ({ids})";
        let issues = by_ids(&mut transaction, select, &ids, rows::issue).await?;
        for issue in issues {
            if let Some(line) = lines.iter_mut().find(|line| line.id == issue.report) {
                line.issue = Some(issue);
            }
        }
        Ok(lines)
    }
}
