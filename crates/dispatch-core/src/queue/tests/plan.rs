//! Why jobs wait and hosts are idle, in words.

use super::service::{group, key, listed, metal};
use super::*;
use crate::group::{Group, UnknownHosts};
use crate::queue::plan::{Plan, PlanInput, plan};

impl Model {
    /// What is said with all that is known.
    pub(super) fn plan(&self) -> Plan {
        let mut waiting: BTreeMap<GroupId, u64> = BTreeMap::from([(GroupId::session(), 0)]);
        for group in self.snapshot.policy.groups.iter().flat_map(|groups| groups.iter()) {
            waiting.insert(group.id.clone(), 0);
        }
        for job in self.snapshot.jobs.iter().filter(|job| job.state == JobState::Queued) {
            *waiting.entry(job.group.clone()).or_default() += 1;
        }
        let (snapshot, unreadable) = (self.snapshot.clone(), self.unreadable.clone());
        plan(&PlanInput { snapshot, before: BTreeMap::new(), waiting, unreadable }, self.now)
    }

    fn of_job(&self, name: &str) -> String {
        self.plan().jobs.remove(&self.job(name).id).expect("a sentence")
    }

    fn of_host(&self, name: &str) -> String {
        self.plan().hosts.remove(&self.host(name).id).expect("a sentence")
    }

    fn name_hosts(&mut self, names: &[&str]) {
        for name in names {
            let key = Some(Some(key(name)));
            self.edit_host(name, &HostEdit { key, ..HostEdit::default() }).expect("a host");
        }
    }
}

#[test]
fn a_job_that_waits_for_a_label_says_which_and_who_has_it() {
    let mut queue = Model::service(vec![metal("epyc", &["epyc-9004"])]);
    queue.offer_names("epyc", &["a", "b", "c"]);
    assert_eq!(queue.of_job("a"), "waits: needs label epyc-9004, no host has asked yet");
    queue.idle("r1");
    queue.name_hosts(&["r1"]);
    assert_eq!(queue.of_job("a"), "waits: needs label epyc-9004, which no host carries");
    queue.label("r1", &["epyc-9004"]);
    assert_eq!(
        queue.of_job("a"),
        "can start: r1 gets it when it asks next, and was last seen at 2023-11-14T22:13:20Z"
    );
    assert_eq!(
        queue.of_job("c"),
        "can start after 2 other jobs: r1 is free and fits, and was last seen at 2023-11-14T22:13:20Z"
    );
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
    assert_eq!(
        queue.of_job("b"),
        "waits: needs label epyc-9004, no such host is free; r1 is running a since 2023-11-14T22:13:20Z"
    );
    assert_eq!(queue.of_host("r1"), "is running a since 2023-11-14T22:13:20Z");
}

#[test]
fn what_holds_a_job_back_from_any_host_is_said_first() {
    let full = Group { max_concurrent: Some(1), ..metal("g", &[]) };
    let mut queue = Model::service(vec![full]);
    queue.offer_names("g", &["a", "b"]);
    queue.given("r1");
    queue.name_hosts(&["r1"]);
    assert_eq!(
        queue.of_job("b"),
        "waits: a run of its group goes on, and it may have one at a time; r1 is running a since \
         2023-11-14T22:13:20Z"
    );
    queue.switch("g", Switch::Paused).expect("a group");
    assert_eq!(queue.of_job("b"), "waits: its group is paused");
    queue.configure(vec![metal("other", &[])]);
    assert_eq!(queue.of_job("b"), "waits: its group has left the configuration");
}

#[test]
fn a_host_that_fits_and_may_not_work_is_named_with_why() {
    let mut queue = Model::service(vec![metal("g", &["x"])]);
    queue.offer_names("g", &["a"]);
    queue.idle("r1");
    queue.name_hosts(&["r1"]);
    queue.label("r1", &["x"]);
    queue.edit_host("r1", &HostEdit { is_paused: Some(true), ..HostEdit::default() }).expect("a host");
    assert_eq!(queue.of_job("a"), "waits: needs label x, r1 fits and is paused");
    assert!(queue.of_host("r1").starts_with("gets no work: it is paused; it was told "));
    queue.edit_host("r1", &HostEdit { is_paused: Some(false), ..HostEdit::default() }).expect("a host");
    queue.snapshot.policy.unknown_hosts = UnknownHosts::Enroll;
    assert_eq!(queue.of_job("a"), "waits: needs label x, r1 fits and waits to be accepted");
    queue.snapshot.policy.listed = [listed("r9", &["x"])].into();
    queue.snapshot.hosts.clear();
    assert_eq!(queue.of_job("a"), "waits: needs label x, r9 has not asked yet");
}

#[test]
fn an_image_that_cannot_be_read_is_why_a_job_waits() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    queue.unreadable.insert(queue.job("a").workload, gone());
    assert!(queue.given("r1").is_none());
    assert_eq!(queue.of_job("a"), "waits: its image cannot be read: No such file");
    assert_eq!(
        queue.of_host("r1").split_once("; it was told").expect("what it was told").0,
        "idle: what waits in g and fits is held back, as a: its image cannot be read: No such file"
    );
    queue.unreadable.clear();
    assert_eq!(
        queue.of_job("a"),
        "waits: its image cannot be read: No such file; that is looked at again when a host asks for it"
    );
}

#[test]
fn an_idle_host_says_why_nothing_is_for_it() {
    let mut queue = Model::service(vec![metal("gpu", &["gpu"])]);
    assert_eq!(queue.idle("r1").stub, Some(Stub::Next));
    let told = "; it was told to go on with its next boot device at 2023-11-14T22:13:20Z";
    assert_eq!(
        queue.of_host("r1"),
        format!("gets no work: it belongs to no group; gpu needs label gpu{told}")
    );
    queue.label("r1", &["gpu"]);
    assert_eq!(queue.of_host("r1"), format!("idle: nothing waits in gpu{told}"));
    queue.offer_names("gpu", &["a"]);
    assert_eq!(
        queue.of_host("r1"),
        "can start a when it asks next, and was last seen at 2023-11-14T22:13:20Z"
    );
    let edit = Edit { required_labels: Some(vec!["big".into()]), ..Edit::default() };
    let job = queue.job("a").id;
    queue.decide(|snapshot, context| snapshot.edit(job, &edit, None, None, context)).expect("edited");
    assert_eq!(
        queue.of_host("r1"),
        format!("idle: what waits in gpu is for others, as a, which needs label big{told}")
    );
    queue.switch("gpu", Switch::Paused).expect("a group");
    assert_eq!(queue.of_host("r1"), format!("idle: gpu is paused{told}"));
}

#[test]
fn of_a_page_of_a_queue_no_more_is_said_than_is_known() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.idle("r1");
    queue.name_hosts(&["r1"]);
    queue.offer_names("g", &["a", "b"]);
    let mut input = PlanInput { snapshot: queue.snapshot.clone(), ..PlanInput::default() };
    input.waiting.insert(group("g"), 12);
    input.before.insert(group("g"), 10);
    let said = plan(&input, queue.now);
    assert_eq!(
        said.jobs[&queue.job("b").id],
        "can start, 11 jobs of its group at most may go first: r1 is free and fits, and was last seen at \
         2023-11-14T22:13:20Z"
    );
    input.snapshot.jobs.clear();
    let said = plan(&input, queue.now);
    let host = &said.hosts[&queue.host("r1").id];
    assert!(host.starts_with("idle: 12 jobs wait in g, none of which was looked at"), "{host}");
}
