//! Where the bytes of images come from: GitHub for the assets of a release, any server for what is named by URL.

use dispatch_github::{GitHub, Web};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    web: Web,
    github: Option<GitHub>,
}

impl Network {
    /// What is below the API's root is an asset, and fetched with our credentials.
    #[must_use]
    pub fn new(web: Web, github: Option<GitHub>) -> Self {
        Self { web, github }
    }
}
