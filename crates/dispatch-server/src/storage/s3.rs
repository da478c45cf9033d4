//! The settings of a bucket, and the way to it: the library makes and signs the requests, our own client sends them.

use async_trait::async_trait;
use dispatch_github::{ExchangeError, Web};
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{BackoffConfig, RetryConfig};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// What the configuration says of S3. What is left out is taken from the environment as AWS names it.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    /// The region, such as `eu-central-1`.
    pub region: Option<String>,
    /// The root of a server that is not Amazon's.
    pub endpoint: Option<String>,
    /// The name of the key.
    pub access_key: Option<String>,
    /// The key.
    pub secret_key: Option<SecretString>,
    /// A token, where the key is one for a while.
    pub session_token: Option<SecretString>,
    /// Whether the bucket is in the path and not in the host's name. By default it is for servers that are not
    /// Amazon's, and for buckets with a dot, which no certificate fits.
    pub path_style: Option<bool>,
}

/// The settings, whole.
#[derive(Clone, Debug)]
pub struct S3Settings {
    bucket: String,
    region: String,
    endpoint: Option<Url>,
    is_path_style: bool,
    access_key: String,
    secret_key: SecretString,
    session_token: Option<SecretString>,
}

/// A mistake in the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum S3OptionsError {
    /// Half a pair, or none.
    #[error(
        "there is no {0} for S3: set storage.access_key and storage.secret_key, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials(&'static str),
    /// Amazon has many.
    #[error("there is no region for S3: set storage.region or AWS_REGION to that of the bucket")]
    NoRegion,
    /// Not the root of a server. It is not repeated: there may be a secret in it.
    #[error(
        "storage.endpoint must be the root of a server, https://HOST or http://HOST:PORT, without user, query and \
             fragment"
    )]
    Endpoint,
}

impl S3Options {
    /// The settings for this bucket, with what `environment` has where the configuration is silent. Key and secret
    /// come from the same of both: halves of two pairs fit nothing.
    pub fn resolve(
        self,
        bucket: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<S3Settings, S3OptionsError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let endpoint = self.endpoint.or_else(|| variable("AWS_ENDPOINT_URL_S3"));
        let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = endpoint.map(|endpoint| root(&endpoint)).transpose()?;
        let region =
            self.region.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        // Servers of other makers take any region, and most are set up with this one.
        let region = region.or_else(|| endpoint.as_ref().map(|_| "us-east-1".to_owned()));
        let is_configured = self.access_key.is_some() || self.secret_key.is_some();
        let (key, secret, token) = if is_configured {
            (self.access_key, self.secret_key, self.session_token)
        } else {
            let secret = |name| variable(name).map(SecretString::from);
            (variable("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY"), secret("AWS_SESSION_TOKEN"))
        };
        Ok(S3Settings {
            bucket: bucket.to_owned(),
            region: region.ok_or(S3OptionsError::NoRegion)?,
            is_path_style: self.path_style.unwrap_or(endpoint.is_some() || bucket.contains('.')),
            endpoint,
            access_key: key.ok_or(S3OptionsError::NoCredentials("access key"))?,
            secret_key: secret.ok_or(S3OptionsError::NoCredentials("secret key"))?,
            session_token: token,
        })
    }
}

fn root(endpoint: &str) -> Result<Url, S3OptionsError> {
    let url = Url::parse(endpoint).map_err(|_| S3OptionsError::Endpoint)?;
    let is_root = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_root { Ok(url) } else { Err(S3OptionsError::Endpoint) }
}

impl S3Settings {
    /// The bucket.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The root that the bucket is asked at, if it is not Amazon's.
    fn asked_at(&self) -> Option<String> {
        let url = self.endpoint.as_ref()?;
        let text = url.as_str().trim_end_matches('/');
        if self.is_path_style {
            return Some(text.to_owned());
        }
        // Here the library expects the bucket in the name already.
        Some(text.replacen("://", &format!("://{}.", self.bucket), 1))
    }

    /// The bucket. Nothing is asked yet.
    pub(super) fn connect(&self, web: Web) -> Result<AmazonS3, object_store::Error> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(self.secret_key.expose_secret())
            .with_virtual_hosted_style_request(!self.is_path_style)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One at a time: not every server speaks the request for many, and some of those say nothing of a bucket
            // that is not there.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                max_retries: 0,
                backoff: BackoffConfig::default(),
                ..RetryConfig::default()
            })
            .with_http_connector(Connector(web));
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token.expose_secret());
        }
        if let Some(endpoint) = self.asked_at() {
            let is_plain = endpoint.starts_with("http:");
            builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
        }
        builder.build()
    }
}

/// Sends the library's requests by our own client.
#[derive(Clone)]
struct Connector(Web);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if completes_upload(request.method().as_str(), request.uri().query()) {
            // The library does so for small objects only: what is there already is not replaced.
            let value = "*".parse().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            request.headers_mut().insert("if-none-match", value);
        }
        let response = self.0.exchange(request).await.map_err(failed)?;
        let (parts, body) = response.into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(failed))))
    }
}

/// Whether a request puts the parts of an upload together.
fn completes_upload(method: &str, query: Option<&str>) -> bool {
    method == "POST" && query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("uploadId=")))
}

fn failed(error: ExchangeError) -> HttpError {
    let kind = match error {
        ExchangeError::Connect(_) => HttpErrorKind::Connect,
        ExchangeError::Broken(_) => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(_: &str) -> Option<String> {
        None
    }

    fn keys() -> S3Options {
        S3Options {
            region: Some("eu-central-1".to_owned()),
            access_key: Some("configured".to_owned()),
            secret_key: Some(SecretString::from("hunter2")),
            ..S3Options::default()
        }
    }

    #[test]
    fn the_configuration_is_enough() {
        let settings = keys().resolve("lab", &silent).expect("settings");
        assert_eq!((settings.region.as_str(), settings.is_path_style), ("eu-central-1", false));
        assert_eq!(settings.asked_at(), None);
    }

    #[test]
    fn where_the_configuration_is_silent_the_environment_is_asked() {
        let environment = |name: &str| {
            let value = match name {
                "AWS_ACCESS_KEY_ID" => "ambient",
                "AWS_SECRET_ACCESS_KEY" => "hunter3",
                "AWS_SESSION_TOKEN" => "hunter4",
                "AWS_REGION" => "",
                "AWS_DEFAULT_REGION" => "us-west-2",
                "AWS_ENDPOINT_URL" => "http://127.0.0.1:9000/",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let settings = S3Options::default().resolve("lab", &environment).expect("settings");
        assert_eq!((settings.region.as_str(), settings.access_key.as_str()), ("us-west-2", "ambient"));
        assert_eq!(settings.asked_at().as_deref(), Some("http://127.0.0.1:9000"));
        assert!(settings.session_token.is_some());
    }

    #[test]
    fn a_configured_key_is_not_joined_with_a_secret_or_token_of_the_environment() {
        let environment = |name: &str| name.starts_with("AWS_SE").then(|| "ambient".to_owned());
        assert!(keys().resolve("lab", &environment).expect("settings").session_token.is_none());
        let half = S3Options { secret_key: None, ..keys() };
        assert_eq!(
            half.resolve("lab", &environment).expect_err("half"),
            S3OptionsError::NoCredentials("secret key")
        );
    }

    #[test]
    fn amazon_needs_a_region_and_other_servers_do_not() {
        let options = S3Options { region: None, ..keys() };
        assert_eq!(options.clone().resolve("lab", &silent).expect_err("no region"), S3OptionsError::NoRegion);
        let elsewhere = S3Options { endpoint: Some("https://s3.lab".to_owned()), ..options };
        assert_eq!(elsewhere.resolve("lab", &silent).expect("settings").region, "us-east-1");
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_name() {
        let at = |path_style| {
            let endpoint = Some("https://s3.lab:8000".to_owned());
            let options = S3Options { endpoint, path_style, ..keys() };
            options.resolve("lab", &silent).expect("settings").asked_at().expect("an endpoint")
        };
        assert_eq!(at(None), "https://s3.lab:8000");
        assert_eq!(at(Some(false)), "https://lab.s3.lab:8000");
        // No certificate fits two labels before Amazon's name.
        assert!(keys().resolve("a.b", &silent).expect("settings").is_path_style);
    }

    #[test]
    fn an_endpoint_is_the_root_of_a_server_and_is_not_repeated_where_it_is_not() {
        for wrong in
            ["s3.lab", "ftp://s3.lab", "https://key:hunter2@s3.lab", "https://s3.lab/?a", "https://s3.lab/#a"]
        {
            let options = S3Options { endpoint: Some(wrong.to_owned()), ..keys() };
            let error = options.resolve("lab", &silent).expect_err(wrong);
            assert_eq!(error, S3OptionsError::Endpoint);
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let options = keys();
        let settings = options.clone().resolve("lab", &silent).expect("settings");
        assert!(!format!("{options:?} {settings:?}").contains("hunter2"));
    }

    #[test]
    fn only_the_end_of_an_upload_is_made_conditional() {
        assert!(completes_upload("POST", Some("uploadId=a")));
        assert!(!completes_upload("POST", Some("uploads=")));
        assert!(!completes_upload("PUT", Some("partNumber=1&uploadId=a")));
        assert!(!completes_upload("DELETE", Some("uploadId=a")));
    }
}
