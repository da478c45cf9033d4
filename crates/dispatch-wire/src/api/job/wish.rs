//! What is asked for jobs.
//!
//! What a schema here says, the service holds: a request that fits it is refused only for how things stand.

#![expect(unused_qualifications, reason = "the derives write their paths in full")]

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema, SchemaFormat};

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 200;

/// The longest dedupe key, in characters.
pub const LONGEST_KEY: usize = 200;

/// The longest name or value of a label, in characters.
pub const LONGEST_LABEL: usize = 200;

/// The most labels, and the most labels that a host must carry.
pub const MOST_LABELS: usize = 50;

/// The longest value of an input, in characters.
pub const LONGEST_INPUT: usize = 65_535;

/// The most inputs.
pub const MOST_INPUTS: usize = 100;

/// The most text that all inputs of a job have together, names and values, in characters: what GitHub takes for a workflow.
pub const MOST_INPUT_TEXT: usize = 65_535;

/// The most jobs that one request names.
pub const MOST_NAMED: usize = 1000;

/// The most jobs that are put into an order at once.
pub const MOST_ORDERED: usize = 10_000;

/// Priorities go from minus this to this.
pub const HIGHEST_PRIORITY: i64 = 1_000_000;

/// The most further attempts.
pub const MOST_RETRIES: u32 = 100;

/// The largest limit of requeues.
pub const MOST_REQUEUES: u32 = 1_000_000;

/// Text of one line: no control characters.
pub const LINE: &str = "^[^\\u0000-\\u001f\\u007f]+$";

/// Text of several lines: any character but the one of number 0, which not every database keeps.
pub const TEXT: &str = "^[^\\u0000]*$";

fn line(longest: usize) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(longest))
        .pattern(Some(LINE))
        .build()
}

fn map(most: usize, value: Object) -> Object {
    let mut map = ObjectBuilder::new()
        .property_names(Some(Schema::Object(line(LONGEST_LABEL))))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(value)))))
        .build();
    map.max_properties = Some(most);
    map
}

fn labels() -> Object {
    let mut labels = map(MOST_LABELS, line(LONGEST_LABEL));
    labels.description = Some("What people call it by, for filters.".to_owned());
    labels
}

fn inputs() -> Object {
    let value = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(LONGEST_INPUT))
        .pattern(Some(TEXT))
        .build();
    let mut inputs = map(MOST_INPUTS, value);
    let text =
        format!("What it is given: names and values have at most {MOST_INPUT_TEXT} characters together.");
    inputs.description = Some(text);
    inputs
}

fn required_labels() -> Schema {
    let items = ArrayBuilder::new()
        .items(RefOr::T(Schema::Object(line(LONGEST_LABEL))))
        .max_items(Some(MOST_LABELS))
        .description(Some("Labels that its host must carry."));
    Schema::Array(items.build())
}

/// Versions by the identifiers of jobs.
fn versions(most: usize) -> Schema {
    let version =
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MOST_VERSION)).build();
    let mut versions = ObjectBuilder::new()
        .property_names(Some(Schema::Object(uuid().build())))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(version)))))
        .build();
    versions.max_properties = Some(most);
    versions.description = Some(
        "The versions that are to be changed, of jobs that are named: of others whatever is there."
            .to_owned(),
    );
    Schema::Object(versions)
}

fn versions_named() -> Schema {
    versions(MOST_NAMED)
}

fn versions_ordered() -> Schema {
    versions(MOST_ORDERED)
}

fn uuid() -> ObjectBuilder {
    let format = SchemaFormat::Custom("uuid".to_owned());
    ObjectBuilder::new().schema_type(Type::String).format(Some(format))
}

fn uuids() -> Schema {
    uuids_up_to(MOST_NAMED)
}

fn ordered() -> Schema {
    uuids_up_to(MOST_ORDERED)
}

fn uuids_up_to(most: usize) -> Schema {
    let items = ArrayBuilder::new()
        .items(RefOr::T(Schema::Object(uuid().build())))
        .min_items(Some(1))
        .max_items(Some(most))
        .description(Some("Jobs, the first one first."));
    Schema::Array(items.build())
}

/// A workflow of GitHub Actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishedWorkflow {
    /// Whose repository it is in.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub owner: String,
    /// In which of these.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub repo: String,
    /// Its file name there, or its number.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub workflow_id: String,
    /// The branch or tag that it is run on.
    #[serde(rename = "ref")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub git_ref: String,
}

/// A job that is wished for, with all members that it may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishedJob {
    /// It is what this template says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub template_id: Option<String>,
    /// It runs this workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub workload_id: Option<String>,
    /// It runs this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WishedWorkflow>,
    /// It runs a workflow of this one's repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$", nullable = false)]
    pub owner: Option<String>,
    /// In which of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$", nullable = false)]
    pub repo: Option<String>,
    /// Its file name there, or its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$", nullable = false)]
    pub workflow_id: Option<String>,
    /// The branch or tag that it is run on.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$", nullable = false)]
    pub git_ref: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub name: Option<String>,
    /// What it is given, beside what the template gives.
    #[serde(default)]
    #[schema(schema_with = inputs)]
    pub inputs: BTreeMap<String, String>,
    /// What people call it by, for filters, beside what the template says.
    #[serde(default)]
    #[schema(schema_with = labels)]
    pub labels: BTreeMap<String, String>,
    /// Labels that its host must carry, beside those of the template.
    #[serde(default)]
    #[schema(schema_with = required_labels)]
    pub required_labels: Vec<String>,
    /// Higher goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    pub priority: Option<i64>,
    /// It does not start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// While another job of the group with the same one is not over, that one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub dedupe_key: Option<String>,
    /// How many more attempts it gets after its first one errored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 100)]
    pub retries: Option<u32>,
    /// It waits until a person lets it go.
    #[serde(default)]
    pub paused: bool,
    /// When it is over, another one like it is queued.
    #[serde(default)]
    pub auto_requeue: bool,
    /// How often that happens; for ever if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000)]
    pub requeue_limit: Option<u32>,
    /// How many jobs it becomes: `any` for one, `each-host` for one for each host that fits, `each:LABEL` for one for each
    /// value of a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, pattern = "^(any|each-host|each:[^\\u0000-\\u001f\\u007f]+)$")]
    pub spread: Option<String>,
}

/// What a wish says of what is to be run, each in its own way.
const WAYS: [&[&str]; 4] =
    [&["template_id"], &["workload_id"], &["workflow"], &["owner", "repo", "workflow_id", "ref"]];

/// A job that is wished for. It names a template, a workload, or a workflow, and not two of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NewJob(pub WishedJob);

impl utoipa::PartialSchema for NewJob {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(all)) = <WishedJob as utoipa::PartialSchema>::schema() else {
            return <WishedJob as utoipa::PartialSchema>::schema();
        };
        let ways = WAYS.iter().fold(OneOfBuilder::new(), |one_of, way| {
            let mut object = all.clone();
            for other in WAYS.iter().filter(|other| *other != way).flat_map(|other| other.iter()) {
                object.properties.remove(*other);
            }
            object.required = way.iter().map(|name| (*name).to_owned()).collect();
            for name in *way {
                if let Some(RefOr::T(schema)) = object.properties.get_mut(*name) {
                    never_null(schema);
                }
            }
            one_of.item(Schema::Object(object))
        });
        let text =
            "A job that is wished for. It names a template, a workload, or a workflow, and not two of these.";
        RefOr::T(Schema::OneOf(ways.description(Some(text)).build()))
    }
}

impl ToSchema for NewJob {
    fn name() -> std::borrow::Cow<'static, str> {
        "NewJob".into()
    }
}

/// What is required cannot be left out by writing `null`.
fn never_null(schema: &mut Schema) {
    match schema {
        Schema::Object(object) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(kind) = types.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(kind.clone());
            }
        }
        Schema::OneOf(one_of) => {
            let is_null = |item: &RefOr<Schema>| {
                matches!(item, RefOr::T(Schema::Object(object))
                    if object.schema_type == SchemaType::Type(Type::Null))
            };
            one_of.items.retain(|item| !is_null(item));
        }
        _ => {}
    }
}

/// Many jobs at once: all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJobs {
    /// The jobs, in the order in which they are to be queued.
    #[schema(min_items = 1, max_items = 1000)]
    pub jobs: Vec<NewJob>,
}

/// The order that jobs are to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobList {
    /// The jobs, the first one first: together they take the places that they have. Jobs that are left out stay where they
    /// are.
    #[schema(schema_with = ordered)]
    pub job_ids: Vec<String>,
    /// The versions that are to be changed: if one is another by now, nothing is.
    #[serde(default)]
    #[schema(schema_with = versions_ordered)]
    pub versions: BTreeMap<String, i64>,
}

/// Where a job is to go: one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveJob {
    /// Just before this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Just behind this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Before or behind everything else that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<QueueEnd>,
    /// The version that is to be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

/// An end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueEnd {
    /// Before everything else.
    First,
    /// Behind everything else.
    Last,
}

impl utoipa::PartialSchema for MoveJob {
    fn schema() -> RefOr<Schema> {
        let end = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["first", "last"]))
            .description(Some("Before or behind everything else that waits"));
        let ways = [
            ("before", uuid().description(Some("Just before this job"))),
            ("after", uuid().description(Some("Just behind this job"))),
            ("to", end),
        ];
        let one_of = ways.into_iter().fold(OneOfBuilder::new(), |one_of, (name, schema)| {
            let version = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(MOST_VERSION))
                .description(Some("The version that is to be changed: otherwise whatever is there"));
            let way = ObjectBuilder::new()
                .property(name, schema)
                .required(name)
                .property("version", version)
                .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
            one_of.item(way)
        });
        let text =
            "Where a job is to go: one of the three. It takes the priority of the job that it is put beside.";
        RefOr::T(Schema::OneOf(one_of.description(Some(text)).build()))
    }
}

impl ToSchema for MoveJob {
    fn name() -> std::borrow::Cow<'static, str> {
        "MoveJob".into()
    }
}

/// The largest version that a request names: larger ones are not whole numbers everywhere.
pub const MOST_VERSION: i64 = 9_007_199_254_740_991;

/// What is to differ of a job that waits. What is left out stays; `null` takes away what may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditJob {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub name: Option<String>,
    /// What it is given: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schema(schema_with = inputs)]
    pub inputs: Option<BTreeMap<String, String>>,
    /// What people call it by: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schema(schema_with = labels)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Labels that its host must carry: all of them. The one that it was spread to stays.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schema(schema_with = required_labels)]
    pub required_labels: Option<Vec<String>>,
    /// Higher goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    pub priority: Option<i64>,
    /// It does not start before; with `null` it starts when it can.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Option<String>>,
    /// While it is not over, no other job of its group has the same; with `null` others may.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f]+$")]
    pub dedupe_key: Option<Option<String>>,
    /// How many more attempts it gets after its first one errored; with `null` as many as usual.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schema(value_type = Option<u32>, maximum = 100)]
    pub retries: Option<Option<u32>>,
    /// The workflow that it runs, if it runs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WishedWorkflow>,
    /// The version that is to be changed: otherwise whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub version: Option<i64>,
}

/// A member that is there, be it `null`.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Whether a job comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequeueJob {
    /// When it is over, another one like it is queued.
    pub auto_requeue: bool,
    /// How often that happens; for ever if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000)]
    pub requeue_limit: Option<u32>,
    /// The version that is to be changed: otherwise whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub version: Option<i64>,
}

/// A change that says nothing but what it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionOnly {
    /// The version that is to be changed: otherwise whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub version: Option<i64>,
}

/// What is to be done with many jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkAction {
    /// Hold them back.
    Pause,
    /// Let them go.
    Unpause,
    /// Take them out of the queue, and end their runs.
    Cancel,
    /// Take them out of sight.
    Delete,
    /// Put them back into the queue.
    Retry,
}

/// Many jobs, and what is to be done with each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkJobs {
    /// Which.
    #[schema(schema_with = uuids)]
    pub ids: Vec<String>,
    /// The versions that are to be changed.
    #[serde(default)]
    #[schema(schema_with = versions_named)]
    pub versions: BTreeMap<String, i64>,
    /// What.
    pub action: BulkAction,
}
