//! The configuration is read again while the service runs. A bad file changes nothing. Groups, templates and sources that
//! left it stop at once, and what they did stays known.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_core::group::TemplateOrigin;
use dispatch_core::{Policy, Snapshot, TemplateId};
use dispatch_store::StoreError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guard::Guard;
use super::{Load, Parts, StartError, hashed, settings};
use crate::api::Api;
use crate::api::settings::{Settings, Users};
use crate::config::{self, Configuration, Difference, Mistakes, WorkflowTemplate, differences, in_force};

/// How long a list of templates may take to come.
const TEMPLATES: Duration = Duration::from_secs(20);

/// The most bytes that a list of templates has.
const MOST: usize = 1 << 20;

/// What reading the configuration again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What is different, a sentence each; some of it needs a restart.
    pub differences: Vec<Difference>,
    /// What a person should know, a sentence each.
    pub notices: Vec<String>,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// It could not be applied.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It may have been applied in part.
    #[error(
        "reading it again has failed in the middle, and dispatch ends: start it again, with the new file"
    )]
    Unfinished,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    parts: Parts,
    api: Api,
    load: Load,
    /// What is in force, and the loops that follow its sources.
    state: Mutex<State>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    configuration: Option<Arc<Configuration>>,
    supplies: Vec<super::Supply>,
    running: Option<Running>,
    /// Who watches over that from the first time on that they are followed.
    guard: Option<Guard>,
}

/// The loops that follow the sources.
struct Running {
    /// Ends these loops only.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Reloader {
    pub(super) fn new(parts: Parts, api: Api, load: Load) -> Self {
        let (state, turn) = Default::default();
        Self(Arc::new(Inner { parts, api, load, state, turn }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What is in it is whole even if somebody panicked while holding it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration that is in force.
    ///
    /// # Panics
    ///
    /// Before the first one was applied, which is before anybody has this.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the first one is applied before anybody has this")]
    pub fn configuration(&self) -> Arc<Configuration> {
        self.state().configuration.clone().expect("a configuration is in force")
    }

    /// Reads the configuration again, and puts it into force. Goes on to its end even if nobody waits for it any more.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (reader, guard) = (self.clone(), self.state().guard.clone());
        let (told, answer) = tokio::sync::oneshot::channel();
        let reading = async move {
            // Whoever asked may be gone.
            let _ = told.send(reader.read_again().await);
        };
        let tasks = TaskTracker::new();
        match guard {
            Some(guard) => tasks.spawn(guard.over("reads the configuration again", reading)),
            None => tasks.spawn(reading),
        };
        answer.await.unwrap_or_else(|_| Err(ReloadError::Unfinished))
    }

    async fn read_again(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.0.turn.lock().await;
        let load = Arc::clone(&self.0.load);
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let loaded = loaded.unwrap_or_else(|_| Err(Mistakes(Vec::new())))?;
        let before = self.configuration();
        let mut notices: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let differences = differences(&before, &loaded.configuration);
        let configuration = in_force(loaded.configuration, &before);
        let users = hashed(&configuration, self.0.parts.engine.random()).await?;
        let fetched = self.fetched_templates(&configuration, &mut notices).await;
        let fetched = fetched.map_err(StartError::from)?;
        // Nobody looks through the old sources any more while the new ones come into force.
        self.end().await;
        let applied = self.apply(configuration, &fetched).await;
        if let Err(error) = &applied {
            tracing::error!("the configuration cannot be put into force, what was before stays: {error}");
            let (_, supplies) = self.0.parts.sources(&before);
            self.state().supplies = supplies;
        }
        self.begin();
        applied?;
        self.0.api.set_settings(api_settings(&self.configuration(), users));
        Ok(Reloaded { differences, notices })
    }

    /// Puts the first configuration into force.
    pub(super) async fn start(
        &self,
        configuration: Configuration,
        notices: &mut Vec<String>,
    ) -> Result<(), StartError> {
        let fetched = self.fetched_templates(&configuration, notices).await?;
        self.apply(configuration, &fetched).await
    }

    /// Puts a configuration into force. Its sources are followed from [`Reloader::begin`] on. If it fails, nothing has
    /// changed.
    async fn apply(
        &self,
        configuration: Configuration,
        fetched: &[(usize, WorkflowTemplate)],
    ) -> Result<(), StartError> {
        let parts = &self.0.parts;
        let policy = settings::policy(&configuration, fetched, parts.github.signed_in());
        let (sources, supplies) = parts.sources(&configuration);
        let groups = settings::groups(&configuration);
        let configure = |snapshot: Snapshot, policy: &Policy, now| snapshot.configure(&groups, policy, now);
        parts.engine.change(policy, sources, configure).await??;
        let mut state = self.state();
        state.configuration = Some(Arc::new(configuration));
        state.supplies = supplies;
        Ok(())
    }

    /// Follows the sources, from now on also those of each configuration that comes.
    pub(super) async fn follow(&self, guard: &Guard) {
        // If one is coming at the moment, its sources.
        let _turn = self.0.turn.lock().await;
        self.state().guard = Some(guard.clone());
        self.begin();
    }

    /// Follows the sources until the service ends, or until there are others.
    fn begin(&self) {
        let mut state = self.state();
        let Some(guard) = state.guard.clone() else { return };
        let (stop, tasks) = (guard.stop().child_token(), TaskTracker::new());
        for supply in std::mem::take(&mut state.supplies) {
            tasks.spawn(guard.over("follows a source", supply.run(stop.clone())));
        }
        tasks.close();
        state.running = Some(Running { stop, tasks });
    }

    /// Follows the sources no more.
    pub(super) async fn end(&self) {
        let running = self.state().running.take();
        if let Some(Running { stop, tasks }) = running {
            stop.cancel();
            tasks.wait().await;
        }
    }

    /// The templates that groups of runners have from URLs. Where one cannot be read, what was known of it stays.
    async fn fetched_templates(
        &self,
        configuration: &Configuration,
        notices: &mut Vec<String>,
    ) -> Result<Vec<(usize, WorkflowTemplate)>, StoreError> {
        let mut all: Vec<(usize, WorkflowTemplate)> = Vec::new();
        // What was known of a URL before may be in the file by now, which comes first.
        let mut taken: BTreeSet<TemplateId> = settings::template_ids(configuration);
        for (group, url) in settings::template_urls(configuration) {
            let templates = match self.read_templates(&url, configuration).await {
                Ok(templates) => templates,
                Err(why) => {
                    notices.push(format!("{why}; what was known of it before stays"));
                    self.known_templates(&url).await?
                }
            };
            for template in templates {
                if taken.insert(template.id.clone()) {
                    all.push((group, template));
                } else {
                    let shown = config::shown_url(&url);
                    notices.push(format!(
                        "{shown}: there is a template {} already: this one is left out",
                        template.id
                    ));
                }
            }
        }
        Ok(all)
    }

    async fn read_templates(
        &self,
        url: &url::Url,
        configuration: &Configuration,
    ) -> Result<Vec<WorkflowTemplate>, String> {
        let shown = config::shown_url(url);
        let text = tokio::time::timeout(TEMPLATES, self.0.parts.web.text(url, MOST)).await;
        let text = text.map_err(|_| format!("{shown} does not answer in time"))?;
        let text = text.map_err(|error| error.to_string())?;
        let text = text.ok_or_else(|| format!("there is nothing at {shown}"))?;
        config::templates(&text, url, configuration).map_err(|mistakes| mistakes.to_string())
    }

    /// What the state knows of the templates behind a URL.
    async fn known_templates(&self, url: &url::Url) -> Result<Vec<WorkflowTemplate>, StoreError> {
        let known = self.0.parts.engine.store.all_templates().await?;
        let of_url = |template: &dispatch_core::Template| matches!(&template.origin, TemplateOrigin::Url(known) if *known == url.to_string());
        let known = known.into_iter().filter(|(template, in_config)| *in_config && of_url(template));
        Ok(known.filter_map(|(template, _)| settings::known_template(&template, url)).collect())
    }
}

/// What the API needs to know of a configuration.
pub(super) fn api_settings(configuration: &Configuration, users: Users) -> Settings {
    Settings {
        users,
        session_ttl: configuration.auth.session_ttl,
        public_url: configuration.server.public_url.clone(),
        trusted_proxies: configuration.server.trusted_proxies.clone(),
        limits: settings::limits(configuration.server.rate_limit),
    }
}
