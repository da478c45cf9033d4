//! What a text in a configuration may be: a time, a size, a URL. Each kind has one sentence that says what to write,
//! and a schema for editors.

use std::borrow::Cow;
use std::time::Duration;

use bytesize::ByteSize;
use dispatch_boot::Bind;
use dispatch_boot::route::BootPath;
use dispatch_core::queue::WhenIdle;
use dispatch_core::{GroupId, HostName, Mac, Spread, UnknownHosts};
use dispatch_github::Slug;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use url::Url;

use super::model::{JudgeRule, Storage};
use crate::hub::ReportTo;
use crate::source::description::time;
use crate::source::urls::FileUrl;

/// A kind, as the walk over a file knows it: by the name of its schema.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// What such a text is, and what to write.
    pub(super) expected: &'static str,
    /// Mistakes do not repeat what was written: it may hold a password.
    pub(super) is_quiet: bool,
    pub(super) fits: fn(&str) -> bool,
}

/// Texts with a type of their own: the name of the kind, what it becomes, what it is, its schema, how it is read.
macro_rules! kinds {
    ($($name:ident($type:ty) $quiet:literal $expected:literal $schema:tt = $parse:expr;)*) => {
        $(
            #[derive(Clone, Debug)]
            pub(super) struct $name(pub(super) $type);

            impl $name {
                fn parse(text: &str) -> Option<$type> {
                    let parse: fn(&str) -> Option<$type> = $parse;
                    parse(text)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(from)?;
                    Self::parse(&text).map(Self).ok_or_else(|| serde::de::Error::custom($expected))
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*

        /// All of them.
        pub(super) const KINDS: &[Kind] = &[$(
            Kind {
                name: stringify!($name),
                expected: $expected,
                is_quiet: $quiet,
                fits: |text| $name::parse(text).is_some(),
            },
        )*];
    };
}

kinds! {
    Time(Duration) false "a time: write one such as 90s, 15m, 2h or 1d"
        { "type": ["string", "integer"], "examples": ["90s", "15m", "2h", "1d"] }
        = |text| time(text).ok();
    Size(u64) false "a size: write one such as 500MiB or 50GiB"
        { "type": ["string", "integer"], "examples": ["500MiB", "50GiB"] }
        = |text| text.parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|size| *size > 0);
    Id(String) false "an id: write 1 to 100 letters, digits or any of `- _ .`, the first a letter or a digit"
        { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$" }
        = |text| text.parse::<GroupId>().ok().map(String::from);
    Words(String) false "a text: write at least one character, and no control characters"
        { "type": "string", "minLength": 1 }
        = |text| Some(text.to_owned()).filter(|text| !text.trim().is_empty() && !text.chars().any(char::is_control));
    Label(String) false "a label: write a word without commas"
        { "type": "string", "pattern": "^[^,]*[^,\\s][^,]*$" }
        = |text| Some(text.trim().to_owned()).filter(|text| is_label(text));
    Listen(Bind) false
        "an address to listen on: write ADDRESS:PORT or :PORT, such as 192.0.2.1:9090, [::1]:9090 or :9090"
        { "type": ["string", "integer"], "examples": [":9090", "127.0.0.1:9090"] }
        = |text| text.parse().ok().filter(|_| has_port(text));
    BootUrlPath(BootPath) false
        "a boot path: begin with `/`, and use letters, digits and any of `/ - _ . ~`, such as /dispatch"
        { "type": "string", "pattern": "^/[A-Za-z0-9/._~-]*$" }
        = |text| BootPath::new(text).ok();
    IdleWord(WhenIdle) false "a word for hosts without work: write auto, next, wait, poweroff, reboot or none"
        { "type": "string", "enum": ["auto", "next", "wait", "poweroff", "reboot", "none"] }
        = |text| text.parse().ok();
    UnknownWord(UnknownHosts) false "a word for unknown hosts: write enroll, accept or ignore"
        { "type": "string", "enum": ["enroll", "accept", "ignore"] }
        = |text| match text {
            "enroll" => Some(UnknownHosts::Enroll),
            "accept" => Some(UnknownHosts::Accept),
            "ignore" => Some(UnknownHosts::Ignore),
            _ => None,
        };
    ReportWord(ReportTo) false "a place for reports: write issue, file or both"
        { "type": "string", "enum": ["issue", "file", "both"] }
        = |text| match text {
            "issue" => Some(ReportTo::Issue),
            "file" => Some(ReportTo::File),
            "both" => Some(ReportTo::Both),
            _ => None,
        };
    SpreadWord(Spread) false "a spread: write any, each-host or each:LABEL"
        { "type": "string", "pattern": "^(any|each-host|each:.+)$" }
        = |text| text.parse().ok();
    RuleText(JudgeRule) false "a rule: write milestone, label:NAME, title:REGEX or body:REGEX, with a valid expression"
        { "type": "string", "pattern": "^(milestone|label:.+|title:.*|body:.*)$" }
        = |text| text.parse().ok();
    Repository(Slug) false "a repository: write OWNER/NAME"
        { "type": "string", "pattern": "^[^/]+/[^/]+$" }
        = |text| text.parse().ok();
    ImageUrl(FileUrl) true
        "the URL of an image: write https://HOST/PATH/NAME.iso, without a password; behind # only sha256=DIGEST"
        { "type": "string", "pattern": "^https?://" }
        = |text| text.parse().ok();
    WebUrl(Url) true "a URL: write https://HOST/PATH, without a user name or password"
        { "type": "string", "pattern": "^https?://" }
        = |text| web_url(text);
    Landing(LandingPlace) true "a place to land: write a path such as /groups, or the URL of this service"
        { "type": "string", "pattern": "^(/|https?://)" }
        = |text| landing(text);
    CorsOrigin(String) false "an origin: write https://HOST or https://HOST:PORT, without a path"
        { "type": "string", "pattern": "^(\\*|https?://[^/]+/?)$" }
        = |text| origin(text);
    StorageUrl(StorageText) true
        "a place for files: write file:///FOLDER or s3://BUCKET/PREFIX, without a user name or password"
        { "type": "string", "pattern": "^(file:///|s3://)" }
        = |text| storage(text).map(StorageText);
    PostgresUrl(SecretString) true "the URL of a PostgreSQL: write postgres://USER:PASSWORD@HOST:5432/DATABASE"
        { "type": "string", "pattern": "^(postgres(ql)?://|\\$\\{)" }
        = |text| postgres(text).then(|| text.to_owned().into());
    MacAddress(Mac) false "a MAC address: write one of a single card, such as 52:54:00:12:34:56"
        { "type": "string", "pattern": "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$" }
        = |text| text.parse::<Mac>().ok().filter(|mac| mac.is_unicast());
    SmbiosUuid(String) false "a UUID: write it as 4c4c4544-0042-3510-8056-b4c04f4d3332"
        { "type": "string", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" }
        = |text| uuid(text);
    BootName(HostName) false
        "a name in a boot URL: write 1 to 63 letters, digits or any of `- _ .`, the first a letter or a digit"
        { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" }
        = |text| text.parse().ok();
    Network(IpNet) false "an address or a network: write 192.0.2.1 or 192.0.2.0/24"
        { "type": "string", "examples": ["192.0.2.1", "192.0.2.0/24"] }
        = |text| text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
    FilePath(String) false "a path: write one, absolute or relative to this file's folder"
        { "type": "string", "minLength": 1 }
        = |text| Some(text.to_owned()).filter(|text| !text.is_empty() && !text.contains('\0'));
    SecretPath(String) false
        "the path of a file, or credential:NAME"
        { "type": "string", "minLength": 1 }
        = |text| Some(text.to_owned()).filter(|text| !text.is_empty() && !text.contains('\0'));
    Secret(SecretString) true "a secret: it must not be empty"
        { "type": "string" }
        = |text| Some(text.to_owned().into()).filter(|_| !text.trim().is_empty());
    GitRef(String) false "a branch or tag: write its name without spaces"
        { "type": "string", "minLength": 1 }
        = |text| Some(text.to_owned()).filter(|_| !text.is_empty() && !text.contains(|c: char| c.is_control() || c == ' '));
}

/// Where large things are kept, with a path that may still be relative.
#[derive(Clone, Debug)]
pub(super) struct StorageText(pub(super) Storage);

/// Where people land.
#[derive(Clone, Debug)]
pub(super) enum LandingPlace {
    /// On a path of this service.
    Path(String),
    /// Perhaps elsewhere.
    Url(Url),
}

/// The kind that a schema of this name stands for.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty() && !text.contains(',') && !text.chars().any(char::is_control)
}

/// Whether an address says its port: the default of another listener is no help.
fn has_port(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_err() && !text.ends_with(']')
}

fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.has_host();
    (matches!(url.scheme(), "http" | "https") && is_plain).then_some(url)
}

fn landing(text: &str) -> Option<LandingPlace> {
    // Browsers take `//HOST` and `/\HOST` for other hosts.
    let is_path = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace());
    if is_path { Some(LandingPlace::Path(text.to_owned())) } else { web_url(text).map(LandingPlace::Url) }
}

fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let url = web_url(text)?;
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    (!has_more).then(|| url.origin().ascii_serialization())
}

fn storage(text: &str) -> Option<Storage> {
    let url = Url::parse(text).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !is_plain || url.query().is_some() || url.fragment().is_some() || url.port().is_some() {
        return None;
    }
    match url.scheme() {
        "file" => url.to_file_path().ok().map(Storage::Folder),
        "s3" => {
            let bucket = url.host_str().filter(|bucket| !bucket.is_empty())?.to_owned();
            Some(Storage::S3 { bucket, prefix: url.path().trim_matches('/').to_owned() })
        }
        _ => None,
    }
}

fn postgres(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
}

fn uuid(text: &str) -> Option<String> {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    (lengths == [8, 4, 4, 4, 12] && is_hex).then(|| text.to_ascii_lowercase())
}

/// A list, of which an item may be missing because it was a mistake: so that the others keep their places.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<Option<T>>);

impl<T> List<T> {
    /// What is there, with its position.
    pub(super) fn into_items(self) -> impl Iterator<Item = (usize, T)> {
        self.0.into_iter().enumerate().filter_map(|(index, item)| item.map(|item| (index, item)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        <Vec<T>>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<T>>::json_schema(generator)
    }
}

/// One, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct Several<T>(pub(super) List<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<T> {
            Many(Vec<Option<T>>),
            One(T),
        }
        Form::deserialize(from).map(|form| {
            Self(List(match form {
                Form::Many(items) => items,
                Form::One(item) => vec![Some(item)],
            }))
        })
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Several_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// `true`, `false`, or a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Watch {
    Whether(bool),
    Every(Duration),
}

impl<'de> Deserialize<'de> for Watch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)?.as_str() {
            "true" => Ok(Self::Whether(true)),
            "false" => Ok(Self::Whether(false)),
            text => time(text).map(Self::Every).map_err(serde::de::Error::custom),
        }
    }
}

/// The kind of [`Watch`]: its schema is not that of a text.
pub(super) const WATCH: Kind = Kind {
    name: "Watch",
    expected: "whether to watch, and how often: write true, false, or a time such as 5m",
    is_quiet: false,
    fits: |text| matches!(text, "true" | "false") || time(text).is_ok(),
};

impl JsonSchema for Watch {
    fn schema_name() -> Cow<'static, str> {
        WATCH.name.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "string", "integer"], "examples": json!([true, "5m"]) })
    }
}
