//! From an uploaded component to one that is ready to be called.

use std::{io, sync::Arc};

use futures_util::future::BoxFuture;
use xcomponent_core::{
    call::Fault,
    definition::MethodKind,
    id::{Digest, MethodName},
};
use xcomponent_pack as pack;

use super::{Shared, compile, inspect::inspect, lane::within, live::Live, loaded::Loaded};

/// Guards and actions, sorted.
pub type Methods = Vec<(MethodKind, MethodName)>;

/// Why a component is not accepted. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is no component of this project, damaged, or imports what guests may not have.
    #[error(transparent)]
    Unreadable(#[from] pack::ReadError),
    /// It is larger or more complex than is accepted.
    #[error("the component has {found} {what}, at most {max} are accepted")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are accepted.
        max: usize,
    },
    /// It cannot be compiled, or only at too high a cost.
    #[error(transparent)]
    Compile(#[from] compile::Error),
    /// It does not fit the contract between components and host.
    #[error("the component does not fit the contract: {message}")]
    Contract {
        /// What does not fit.
        message: String,
    },
    /// It faults before it answers its first question.
    #[error("the component faults when it is started: {}", fault.message)]
    Start {
        /// How.
        fault: Fault,
    },
    /// It says one thing in its section and another when it is asked.
    #[error(
        "the component's list of methods differs from its section `xcomponent:methods`: {}",
        names(differing)
    )]
    ListDiffers {
        /// Methods that only one of the two has.
        differing: Methods,
    },
    /// Its definition names methods that it does not answer.
    #[error("the component does not answer {}", names(methods))]
    MissingMethods {
        /// Which.
        methods: Methods,
    },
    /// The host's own cache cannot be used.
    #[error("the cache of compiled components cannot be used")]
    Cache(#[source] io::Error),
}

impl InstallError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(error) => error.code(),
            Self::TooLarge { .. } => "too_large",
            Self::Compile(error) => error.code(),
            Self::Contract { .. } => "contract_broken",
            Self::Start { .. } => "start_faulted",
            Self::ListDiffers { .. } => "methods_differ",
            Self::MissingMethods { .. } => "missing_methods",
            Self::Cache(_) => "cache_unusable",
        }
    }
}

/// Inspects, compiles, links and starts a component and compares the methods it answers with those
/// that are `wanted`.
pub(super) async fn install(
    shared: &Arc<Shared>,
    component: &[u8],
    artifact: Digest,
    wanted: &[(MethodKind, MethodName)],
    allow_missing: bool,
) -> Result<Methods, InstallError> {
    let described = inspect(component, &shared.config.compile)?;
    let missing: Methods = wanted
        .iter()
        .filter(|method| !described.contains(method))
        .cloned()
        .collect();
    if !missing.is_empty() && !allow_missing {
        return Err(InstallError::MissingMethods { methods: missing });
    }
    let _turn = shared
        .installs
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let loaded = match shared.versions.get(&artifact) {
        Some(loaded) => loaded,
        None => compiled(shared, component, artifact).await?,
    };
    let listing: BoxFuture<'static, _> = Box::pin(list(Arc::clone(shared), Arc::clone(&loaded)));
    let listed = within(shared.config.wall_per_call_max, listing)
        .await
        .and_then(|listed| listed);
    let listed = listed.map_err(|fault| InstallError::Start { fault })?;
    let only = |some: &Methods, others: &Methods| -> Methods {
        some.iter()
            .filter(|method| !others.contains(method))
            .cloned()
            .collect()
    };
    let differing = [only(&listed, &described), only(&described, &listed)].concat();
    if !differing.is_empty() {
        return Err(InstallError::ListDiffers { differing });
    }
    shared.versions.insert(artifact, loaded);
    Ok(listed)
}

async fn list(shared: Arc<Shared>, loaded: Arc<Loaded>) -> Result<Methods, Fault> {
    Live::start(&loaded, &shared.config).await?.list().await
}

async fn compiled(
    shared: &Arc<Shared>,
    component: &[u8],
    artifact: Digest,
) -> Result<Arc<Loaded>, InstallError> {
    let code = match shared.cache.get(&artifact).map_err(InstallError::Cache)? {
        Some(code) => code,
        None => {
            let code = compile::run(component, &shared.config.compile).await?;
            shared
                .cache
                .put(&artifact, &code)
                .map_err(InstallError::Cache)?;
            code
        }
    };
    shared.link(&code).map_err(|error| InstallError::Contract {
        message: format!("{error:#}"),
    })
}

fn names(methods: &Methods) -> String {
    let name = |(kind, name): &(MethodKind, MethodName)| match kind {
        MethodKind::Guard => format!("guard `{name}`"),
        MethodKind::Action => format!("action `{name}`"),
    };
    methods.iter().map(name).collect::<Vec<_>>().join(", ")
}
