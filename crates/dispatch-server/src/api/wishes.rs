//! What people wish: decided once, however often the request comes, and refused with a problem that says why.

use dispatch_core::queue::{Context, Edit, NewJob, NotDone, Wanted};
use dispatch_core::{JobId, Outcome, Snapshot, Workflow};
use dispatch_store::{Answered, Focus, Request};
use dispatch_wire::api::job::wish::{
    EditJob, HIGHEST_PRIORITY, LONGEST_INPUT, LONGEST_KEY, LONGEST_LABEL, LONGEST_NAME, MOST_INPUT_TEXT,
    MOST_INPUTS, MOST_LABELS, MOST_REQUEUES, MOST_RETRIES, MOST_VERSION, WishedJob, WishedWorkflow,
};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

use super::Api;
use super::extract::invalid;
use super::idempotency::Once;
use super::problem::{Answer, Kind, Problem};

/// Decides, once for each request with a key.
pub(crate) async fn decide<T: Serialize + DeserializeOwned>(
    api: &Api,
    once: &Once,
    focus: Focus,
    decision: impl FnMut(Snapshot, &mut Context<'_>) -> Outcome<T>,
) -> Answer<T> {
    let Some(key) = &once.0 else { return Ok(api.engine().decide(focus, decision).await?) };
    let request = Request {
        who: key.user.clone(),
        key: key.key.clone(),
        fingerprint: key.fingerprint.clone(),
        at: api.clock().now(),
    };
    match api.engine().decide_answered(&request, focus, decision).await? {
        Answered::Now(answer) | Answered::Before(answer) => Ok(answer),
        Answered::OtherRequest => {
            let detail = "this Idempotency-Key was used for another request: take a new one for each";
            Err(Problem::new(Kind::KeyReused, detail).field("Idempotency-Key"))
        }
    }
}

/// Why a wish was not carried out.
pub(crate) fn refused(why: &NotDone) -> Problem {
    let kind = match why {
        NotDone::Unknown | NotDone::HostUnknown => Kind::NotFound,
        NotDone::Changed(_) | NotDone::OneChanged(..) => Kind::Changed,
        _ => Kind::Conflict,
    };
    Problem::new(kind, why.to_string())
}

/// The same of one of several new jobs. `at` is where it stands in the body.
pub(crate) fn refused_new(at: &str, why: &NotDone) -> Problem {
    let member = match why {
        NotDone::TemplateGone | NotDone::NotOffered(_) => "/template_id",
        NotDone::WorkloadUnknown | NotDone::SourceGone(_) => "/workload_id",
        NotDone::SpreadWithKey => "/dedupe_key",
        NotDone::NoHostFits => "/required_labels",
        _ => "",
    };
    let problem = refused(why);
    let field = format!("{at}{member}");
    if field.is_empty() { problem } else { problem.field(field) }
}

/// The identifier of a job in a path. What cannot be one names nothing.
pub(crate) fn job_id(text: &str) -> Answer<JobId> {
    text.parse().map_err(|_| Problem::not_found("job", text))
}

/// The identifiers of jobs in a body.
pub(crate) fn job_ids(at: &str, texts: &[String], most: usize) -> Answer<Vec<JobId>> {
    if texts.is_empty() || texts.len() > most {
        return Err(invalid(at, format!("it names 1 to {most} jobs")));
    }
    let read = |(number, text): (usize, &String)| {
        text.parse()
            .map_err(|_| invalid(&format!("{at}/{number}"), format!("`{text}` is not the id of a job")))
    };
    texts.iter().enumerate().map(read).collect()
}

/// The versions that a body names under `/versions`, each of one of these jobs.
pub(crate) fn versions(ids: &[JobId], named: &BTreeMap<String, i64>) -> Answer<BTreeMap<JobId, u64>> {
    let known: BTreeSet<&JobId> = ids.iter().collect();
    let read = |(text, version): (&String, &i64)| {
        let at = format!("/versions/{}", escaped(text));
        let id = text.parse().map_err(|_| invalid(&at, format!("`{text}` is not the id of a job")))?;
        let version = Some(*version).filter(|version| (1..=MOST_VERSION).contains(version));
        let version = version.and_then(|version| u64::try_from(version).ok());
        let why = || invalid(&at, format!("a version is a whole number from 1 to {MOST_VERSION}"));
        let version = version.ok_or_else(why)?;
        if !known.contains(&id) {
            let detail = format!("versions has the job {id}, which is not among those that are named");
            return Err(Problem::new(Kind::Conflict, detail).field(at));
        }
        Ok((id, version))
    };
    named.iter().map(read).collect()
}

/// A name as a part of a JSON pointer (RFC 6901 §3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Reads a wish for a job. `at` is where it stands in the body.
pub(crate) fn new_job(at: &str, wish: &WishedJob) -> Answer<NewJob> {
    let place = |member: &str| format!("{at}/{member}");
    texts(at, wish.name.as_ref(), &wish.labels, &wish.inputs, &wish.required_labels)?;
    numbers(at, wish.priority, wish.retries)?;
    let requeue_limit = requeue_limit(&place("requeue_limit"), wish.requeue_limit)?;
    if let Some(key) = &wish.dedupe_key {
        line(&place("dedupe_key"), key, LONGEST_KEY)?;
    }
    let spread = wish.spread.as_deref().map(|text| {
        line(&place("spread"), text, LONGEST_LABEL)?;
        text.parse().map_err(|error| invalid(&place("spread"), error))
    });
    Ok(NewJob {
        wanted: wanted(at, wish)?,
        name: wish.name.clone(),
        inputs: wish.inputs.clone(),
        labels: wish.labels.clone(),
        required_labels: wish.required_labels.clone(),
        priority: wish.priority,
        not_before: wish.not_before.as_deref().map(|text| time(&place("not_before"), text)).transpose()?,
        dedupe_key: wish.dedupe_key.clone(),
        retries: wish.retries,
        is_paused: wish.paused,
        auto_requeue: wish.auto_requeue,
        requeue_limit,
        spread: spread.transpose()?,
    })
}

/// Reads how often a job may come again.
pub(crate) fn requeue_limit(at: &str, limit: Option<u32>) -> Answer<Option<u32>> {
    if limit.is_some_and(|limit| limit > MOST_REQUEUES) {
        return Err(invalid(at, format!("it is at most {MOST_REQUEUES}")));
    }
    Ok(limit)
}

/// What a new job is to run: said in one way, and no other.
fn wanted(at: &str, wish: &WishedJob) -> Answer<Wanted> {
    let loose = [&wish.owner, &wish.repo, &wish.workflow_id, &wish.git_ref];
    let has_loose = loose.iter().any(|part| part.is_some());
    let ways = [wish.template_id.is_some(), wish.workload_id.is_some(), wish.workflow.is_some(), has_loose];
    if ways.iter().filter(|is_there| **is_there).count() != 1 {
        let why = "say what it runs, in one way: template_id, workload_id, workflow, or owner with repo, workflow_id and ref";
        return Err(invalid(at, why));
    }
    if let Some(template) = &wish.template_id {
        let gone = |_| refused_new(at, &NotDone::TemplateGone);
        return template.parse().map(Wanted::Template).map_err(gone);
    }
    if let Some(workload) = &wish.workload_id {
        let place = format!("{at}/workload_id");
        let no_id = |_| invalid(&place, format!("`{workload}` is not the id of a workload"));
        return workload.parse().map(Wanted::Workload).map_err(no_id);
    }
    if let Some(workflow) = &wish.workflow {
        return read_workflow(&format!("{at}/workflow"), workflow).map(Wanted::Workflow);
    }
    let [Some(owner), Some(repo), Some(workflow_id), Some(git_ref)] = loose.map(Clone::clone) else {
        return Err(invalid(at, "a workflow has owner, repo, workflow_id and ref: give all four"));
    };
    read_workflow(at, &WishedWorkflow { owner, repo, workflow_id, git_ref }).map(Wanted::Workflow)
}

fn read_workflow(at: &str, wish: &WishedWorkflow) -> Answer<Workflow> {
    for (member, text) in [
        ("owner", &wish.owner),
        ("repo", &wish.repo),
        ("workflow_id", &wish.workflow_id),
        ("ref", &wish.git_ref),
    ] {
        line(&format!("{at}/{member}"), text, LONGEST_NAME)?;
    }
    let WishedWorkflow { owner, repo, workflow_id, git_ref } = wish.clone();
    Ok(Workflow { owner, repo, workflow_id, git_ref })
}

/// Reads what is to differ of a job.
pub(crate) fn edit(wish: &EditJob) -> Answer<Edit> {
    let (labels, inputs) = (wish.labels.clone().unwrap_or_default(), wish.inputs.clone().unwrap_or_default());
    let required = wish.required_labels.clone().unwrap_or_default();
    texts("", wish.name.as_ref(), &labels, &inputs, &required)?;
    numbers("", wish.priority, wish.retries.flatten())?;
    if let Some(Some(key)) = &wish.dedupe_key {
        line("/dedupe_key", key, LONGEST_KEY)?;
    }
    let not_before = match &wish.not_before {
        None => None,
        Some(None) => Some(None),
        Some(Some(text)) => Some(Some(time("/not_before", text)?)),
    };
    Ok(Edit {
        name: wish.name.clone(),
        inputs: wish.inputs.clone(),
        labels: wish.labels.clone(),
        required_labels: wish.required_labels.clone(),
        priority: wish.priority,
        not_before,
        dedupe_key: wish.dedupe_key.clone(),
        retries: wish.retries,
        workflow: wish.workflow.as_ref().map(|wish| read_workflow("/workflow", wish)).transpose()?,
    })
}

fn texts(
    at: &str,
    name: Option<&String>,
    labels: &BTreeMap<String, String>,
    inputs: &BTreeMap<String, String>,
    required: &[String],
) -> Answer<()> {
    if let Some(name) = name {
        line(&format!("{at}/name"), name, LONGEST_NAME)?;
    }
    for (member, map, most) in [("labels", labels, MOST_LABELS), ("inputs", inputs, MOST_INPUTS)] {
        let place = format!("{at}/{member}");
        if map.len() > most {
            return Err(invalid(&place, format!("it has at most {most} members")));
        }
        for (key, value) in map {
            line(&place, key, LONGEST_LABEL)?;
            let place = format!("{place}/{}", escaped(key));
            if member == "labels" {
                line(&place, value, LONGEST_LABEL)?;
            } else if value.contains('\0') || value.chars().count() > LONGEST_INPUT {
                let why = format!("it has at most {LONGEST_INPUT} characters, and none of them is NUL");
                return Err(invalid(&place, why));
            }
        }
    }
    let text = inputs.iter().map(|(key, value)| key.chars().count() + value.chars().count());
    if text.sum::<usize>() > MOST_INPUT_TEXT {
        let why =
            format!("its names and values have at most {MOST_INPUT_TEXT} characters together: give less");
        return Err(invalid(&format!("{at}/inputs"), why));
    }
    if required.len() > MOST_LABELS {
        return Err(invalid(
            &format!("{at}/required_labels"),
            format!("it has at most {MOST_LABELS} labels"),
        ));
    }
    for (number, label) in required.iter().enumerate() {
        line(&format!("{at}/required_labels/{number}"), label, LONGEST_LABEL)?;
    }
    Ok(())
}

fn numbers(at: &str, priority: Option<i64>, retries: Option<u32>) -> Answer<()> {
    if priority.is_some_and(|priority| !(-HIGHEST_PRIORITY..=HIGHEST_PRIORITY).contains(&priority)) {
        let why = format!("it goes from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}");
        return Err(invalid(&format!("{at}/priority"), why));
    }
    if retries.is_some_and(|retries| retries > MOST_RETRIES) {
        return Err(invalid(&format!("{at}/retries"), format!("it is at most {MOST_RETRIES}")));
    }
    Ok(())
}

/// Text of one line. What is indexed must not be too long, and what is shown in a line must be one.
fn line(at: &str, text: &str, longest: usize) -> Answer<()> {
    let is_good = |character: char| character >= ' ' && character != '\u{7f}';
    if text.is_empty() || text.chars().count() > longest || !text.chars().all(is_good) {
        return Err(invalid(at, format!("it has 1 to {longest} characters, and no control characters")));
    }
    Ok(())
}

fn time(at: &str, text: &str) -> Answer<Timestamp> {
    text.parse().map_err(|_| {
        invalid(at, format!("`{text}` is not a time: write it as RFC 3339, such as 2026-01-02T03:04:05Z"))
    })
}
