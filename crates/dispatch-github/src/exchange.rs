//! HTTP for libraries that make their own requests, such as that for S3: they get the trust and the proxies that
//! everything else here has, and nothing is sent again or elsewhere.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::web::Web;
use crate::words;

/// A request that has no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// There is no connection: nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// The connection broke: nobody knows whether the other side has done it.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl From<reqwest::Error> for ExchangeError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() && error.is_timeout() {
            return Self::Connect("it takes too long".to_owned());
        }
        if error.is_connect() || error.is_builder() {
            return Self::Connect(words::cause(&error));
        }
        Self::Broken(words::cause(&error))
    }
}

impl Web {
    /// Sends this request once, as it is. A redirect is an answer like any other. How long it may take is up to the
    /// caller: only that there is a connection has a limit here.
    pub async fn exchange<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<impl Body<Data = Bytes, Error = ExchangeError> + Send + Sync + 'static>, ExchangeError>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Sync + 'static,
    {
        let request = request.map(reqwest::Body::wrap);
        let request = reqwest::Request::try_from(request)?;
        let response: Response<reqwest::Body> = self.client.execute(request).await?.into();
        Ok(response.map(|body| body.map_err(ExchangeError::from)))
    }
}
