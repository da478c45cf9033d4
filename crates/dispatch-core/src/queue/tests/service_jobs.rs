//! What people ask for jobs of a service: to make, change, hold back and take out.

use super::service::metal;
use super::verbs::template;
use super::*;
use crate::group::{Group, Spread};

fn queue() -> Model {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a", "b"]);
    queue
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_job_of_a_template_has_what_it_says_and_what_the_job_says_goes_first() {
    let plan = Template {
        inputs: map(&[("x", "1"), ("y", "1")]),
        labels: map(&[("team", "one")]),
        required_labels: vec!["big".into()],
        priority: 3,
        retries: Some(5),
        ..template("t", "g", "a")
    };
    let mut queue = Model::service(vec![Group { templates: vec![plan], ..metal("g", &[]) }]);
    queue.offer_names("g", &["a"]);
    let new = NewJob {
        inputs: map(&[("y", "2")]),
        labels: map(&[("who", "me")]),
        required_labels: vec!["fast".into()],
        ..NewJob::new(Wanted::Template("t".parse().expect("an id")))
    };
    queue.add("g", new).expect("made");
    let job = queue.job("t");
    assert_eq!(job.inputs, map(&[("x", "1"), ("y", "2")]));
    assert_eq!(job.labels, map(&[("team", "one"), ("who", "me")]));
    assert_eq!(job.required_labels, ["big", "fast"]);
    assert_eq!((job.priority, job.retries, job.created_by.as_deref()), (3, Some(5), Some("anna")));
    queue.configure(vec![metal("g", &[])]);
    queue.delete("a").expect("deleted");
    queue.idle("r1");
    queue.label("r1", &["big", "fast"]);
    assert_eq!(queue.given("r1"), None, "its template has left the configuration");
}

#[test]
fn a_template_runs_the_newest_version_that_is_offered_or_says_that_there_is_none() {
    let mut queue =
        Model::service(vec![Group { templates: vec![template("t", "g", "a")], ..metal("g", &[]) }]);
    let new = NewJob::new(Wanted::Template("t".parse().expect("an id")));
    assert_eq!(queue.add("g", new.clone()), Err((0, NotDone::NotOffered("a".into()))));
    queue.offer("g", &[file("a", 1000)]);
    queue.pass(1);
    queue.offer("g", &[file("a", 2000)]);
    queue.add("g", new).expect("made");
    let id = queue.id("t");
    assert_eq!(queue.snapshot.workload_of(id).expect("one").size, 2000);
}

#[test]
fn while_a_job_with_the_key_is_not_over_that_one_is_meant() {
    let mut queue = queue();
    let keyed = NewJob { dedupe_key: Some("k".into()), name: Some("k".into()), ..queue.by_hand("a") };
    let first = queue.add("g", keyed.clone()).expect("made")[0].job;
    assert_eq!(queue.add("g", keyed.clone()), Ok(vec![Made { job: first, was_known: true }]));
    queue.stop(first).expect("cancelled");
    let second = queue.add("g", keyed).expect("made")[0].clone();
    assert!(second.job != first && !second.was_known);
    assert_eq!(queue.again(first), Err(NotDone::KeyTaken));
    let taken = Edit { dedupe_key: Some(Some("k".into())), ..Edit::default() };
    assert_eq!(queue.edit("a", &taken), Err(NotDone::KeyTaken));
}

#[test]
fn a_paused_job_waits_and_lets_others_go_first() {
    let mut queue = queue();
    queue.pause("a", true).expect("paused");
    assert_eq!(queue.given("r1").as_deref(), Some("b"));
    assert_eq!(queue.given("r2"), None);
    queue.pause("a", false).expect("unpaused");
    assert_eq!(queue.given("r2").as_deref(), Some("a"));
    assert_eq!(queue.pause("a", true), Err(NotDone::Running));
}

#[test]
fn a_job_does_not_start_before_its_time() {
    let mut queue = queue();
    let later = queue.now + Duration::from_secs(100);
    queue.edit("a", &Edit { not_before: Some(Some(later)), ..Edit::default() }).expect("edited");
    assert_eq!(queue.given("r1").as_deref(), Some("b"));
    queue.pass(99);
    assert_eq!(queue.given("r2"), None);
    queue.pass(1);
    assert_eq!(queue.given("r2").as_deref(), Some("a"));
}

#[test]
fn a_job_goes_only_to_hosts_with_its_labels() {
    let mut queue = queue();
    let edit = Edit { required_labels: Some(vec!["big".into()]), ..Edit::default() };
    queue.edit("a", &edit).expect("edited");
    assert_eq!(queue.given("r1").as_deref(), Some("b"));
    queue.finish("r1");
    queue.label("r1", &["BIG"]);
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
}

#[test]
fn a_job_that_was_spread_keeps_its_host_when_its_labels_are_edited() {
    let mut queue = queue();
    queue.idle_away("r1");
    let spread = NewJob { spread: Some(Spread::EachHost), name: Some("s".into()), ..queue.by_hand("a") };
    queue.add("g", spread).expect("made");
    queue.edit("s", &Edit { required_labels: Some(Vec::new()), ..Edit::default() }).expect("edited");
    let job = queue.job("s");
    assert_eq!(job.required_labels, job.pin.iter().cloned().collect::<Vec<_>>());
}

#[test]
fn a_job_that_is_cancelled_while_it_runs_frees_its_host_and_its_place() {
    let mut queue = Model::service(vec![Group { max_concurrent: Some(1), ..metal("g", &[]) }]);
    queue.offer_names("g", &["a", "b"]);
    queue.given("r1").expect("a");
    let a = queue.id("a");
    queue.stop(a).expect("cancelled");
    assert_eq!(queue.latest("a").state, RunState::Cancelled);
    assert_eq!(queue.given("r1").as_deref(), Some("b"));
    assert_eq!(queue.stop(a), Err(NotDone::Over));
}

#[test]
fn a_deleted_job_is_there_for_nobody_and_one_that_runs_is_not_deleted() {
    let mut queue = queue();
    queue.given("r1").expect("a");
    assert_eq!(queue.delete("a"), Err(NotDone::Running));
    queue.delete("b").expect("deleted");
    let b = queue.id("b");
    assert_eq!(queue.given("r2"), None);
    assert_eq!(queue.again(b), Err(NotDone::Unknown));
    assert_eq!(queue.delete("b"), Err(NotDone::Unknown));
}

#[test]
fn many_jobs_are_made_all_or_none() {
    let mut queue = queue();
    let good = queue.by_hand("a");
    let bad = NewJob::new(Wanted::Template("nobody".parse().expect("an id")));
    let before = queue.snapshot.jobs.len();
    let list = [good.clone(), bad, good.clone()];
    let refused =
        queue.decide(|snapshot, context| snapshot.add_jobs(&service::group("g"), &list, None, context));
    assert_eq!(refused, Err((1, NotDone::TemplateGone)));
    assert_eq!(queue.snapshot.jobs.len(), before);
    let many = vec![good; MOST_JOBS + 1];
    let refused =
        queue.decide(|snapshot, context| snapshot.add_jobs(&service::group("g"), &many, None, context));
    assert_eq!(refused, Err((MOST_JOBS, NotDone::TooMany(MOST_JOBS))));
}

/// One verb about a job, for whoever has seen these versions.
type Verb = fn(Snapshot, JobId, Option<&[u64]>, &mut Context<'_>) -> Outcome<Result<(), NotDone>>;

#[test]
fn of_two_that_have_seen_the_same_version_one_wins() {
    let verbs: [Verb; 6] = [
        |queue, job, seen, context| queue.pause(job, true, seen, None, context.now),
        |queue, job, seen, context| queue.set_requeue(job, true, Some(1), seen, None, context.now),
        |queue, job, seen, context| {
            queue.edit(job, &Edit { priority: Some(9), ..Edit::default() }, seen, None, context)
        },
        |queue, job, seen, context| queue.move_job(job, Place::Last, seen, None, context.now),
        |queue, job, seen, context| queue.cancel(job, "so", seen, None, context.now),
        |queue, job, seen, context| queue.delete(job, seen, None, context.now),
    ];
    for first in verbs {
        for second in verbs {
            let mut queue = queue();
            let (id, version) = (queue.id("a"), queue.job("a").version);
            assert_eq!(
                queue.decide(|snapshot, context| first(snapshot, id, Some(&[version]), context)),
                Ok(())
            );
            let now = queue.job("a").version;
            assert!(now > version);
            let lost = queue.decide(|snapshot, context| second(snapshot, id, Some(&[version]), context));
            assert!(matches!(lost, Err(NotDone::Changed(_) | NotDone::Unknown)), "{lost:?}");
            assert_eq!(queue.job("a").version, now, "nothing was changed");
        }
    }
    let mut queue = queue();
    let id = queue.id("a");
    queue.stop(id).expect("cancelled");
    let version = queue.job("a").version;
    let again = |snapshot: Snapshot, context: &mut Context<'_>| {
        snapshot.retry(id, Some(&[version]), None, context.now)
    };
    assert_eq!(queue.decide(again), Ok(()));
    assert_eq!(queue.decide(again), Err(NotDone::Changed(version + 1)));
}

#[test]
fn of_two_that_have_seen_the_same_version_of_a_host_one_wins() {
    let mut queue = queue();
    queue.given("r1").expect("work");
    let (host, version) = (queue.host("r1").id, queue.host("r1").version);
    let edit = |paused| HostEdit { is_paused: Some(paused), ..HostEdit::default() };
    let change = |queue: &mut Model, edit: HostEdit| {
        queue.decide(|snapshot, context| snapshot.edit_host(host, &edit, Some(&[version]), None, context.now))
    };
    assert_eq!(change(&mut queue, edit(true)), Ok(()));
    assert_eq!(change(&mut queue, edit(false)), Err(NotDone::Changed(version + 1)));
}

impl Model {
    /// It asks, is seen, and its job is back in the queue.
    fn idle_away(&mut self, name: &str) {
        if self.given(name).is_some() {
            self.finish(name);
        }
    }
}
