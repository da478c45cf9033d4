//! Hosts: bare-metal servers.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// How a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It has a run.
    Busy,
    /// It was told to wait or to ask again, and still does.
    Idle,
    /// It does something of its own, or is off: it has not asked for a while, or was sent away.
    Offline,
    /// The configuration lists it, and it has never asked.
    Unseen,
}

/// A label of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostLabel {
    /// The label.
    pub name: String,
    /// Whether it comes from the configuration, or from what the host is, and cannot be changed here.
    pub fixed: bool,
}

/// A bare-metal server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// The id that the configuration or a person gives it, else its `uid`.
    pub id: String,
    /// Its identifier, which never changes. Absent where the configuration lists a host that was never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub uid: Option<String>,
    /// The id that the configuration or a person gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// The name in its boot URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub boot_name: Option<String>,
    /// How people see it in a line of text.
    pub label: String,
    /// Its network cards.
    pub macs: Vec<String>,
    /// Where it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// The SMBIOS UUID that it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub uuid: Option<String>,
    /// What its processor is, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub arch: Option<String>,
    /// All of its labels.
    pub labels: Vec<HostLabel>,
    /// The groups that it works for, by its labels.
    pub groups: Vec<String>,
    /// The configuration lists it.
    pub listed: bool,
    /// It may work.
    pub accepted: bool,
    /// It gets no work until a person says so.
    pub paused: bool,
    /// How it is.
    pub state: HostState,
    /// Why it gets no work at the moment, or what it was told last, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits: Option<String>,
    /// What it was told to do when there was no work for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub told: Option<String>,
    /// The name of the run that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub run_id: Option<String>,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub first_seen: Option<String>,
    /// When it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub last_seen: Option<String>,
    /// Grows with each change that a person makes; also the `ETag`.
    pub version: u64,
}

/// A member that may be absent, which leaves things as they are, or `null`, which takes away what was there.
#[expect(clippy::option_option, reason = "absent and null are not the same")]
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A label: one line that is not blank, and not one of those that begin with `host:`, which each host has by itself.
const LABEL: &str = "^(?![Hh][Oo][Ss][Tt]:)[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$";

fn labels() -> Schema {
    let label = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(100))
        .pattern(Some(LABEL));
    let labels = ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(RefOr::T(Schema::Object(label.build())))
        .max_items(Some(100))
        .description(Some("Its labels: all of them but those that are fixed."));
    Schema::Array(labels.build())
}

/// What is to differ of a host. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditHost {
    /// Its id; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100,
        pattern = "^(?![0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$)[A-Za-z0-9][A-Za-z0-9._-]*$")]
    pub key: Option<Option<String>>,
    /// What people call it; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub name: Option<Option<String>>,
    /// Its labels: all of them but those that are fixed.
    #[serde(default)]
    #[schema(schema_with = labels)]
    pub labels: Option<Vec<String>>,
    /// The version that is to be changed; any, if it is absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub version: Option<i64>,
}
